"""Pooling: one number for each window of a plane."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import _core, checks
from .window import Window

Pair = int | tuple[int, int]


class _Pool(Window):
    ceil_mode: bool

    activation = "identity"
    _kind: ClassVar[str]

    def __init__(
        self,
        kernel: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel, stride, padding, checks.flag(ceil_mode, "ceil_mode"))
        self.ceil_mode = ceil_mode

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        n_out, window = self._width_after(), self._window(self._at())
        return [_core.Layer(self._kind, n_in, n_out, dtype, **window)]

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"kernel": list(self.kernel), "stride": list(self.stride)}
        if self.padding != (0, 0):
            config["padding"] = list(self.padding)
        if self.ceil_mode:
            config["ceil_mode"] = True
        return config


class MaxPool2D(_Pool):
    """The largest number of each window of each plane.

    Of equal ones the first, row by row, has the whole gradient.  Padding counts for nothing.

    Parameters
    ----------
    kernel : int or (int, int)
        Size of a window: rows and columns.
    stride : int or (int, int), optional
        From one window to the next; the kernel if None.  Windows overlap where it is less.
    padding : int or (int, int), default 0
        Rows and columns around the input, less than the kernel.
    ceil_mode : bool, default False
        Whether a last window counts that reaches beyond the input with its padding.
    """

    _kind = "max_pool"


class AvgPool2D(_Pool):
    """The mean of each window of each plane, zeros of the padding included.

    Parameters
    ----------
    kernel : int or (int, int)
        Size of a window: rows and columns.
    stride : int or (int, int), optional
        From one window to the next; the kernel if None.  Windows overlap where it is less.
    padding : int or (int, int), default 0
        Rows and columns of zeros around the input, less than the kernel.
    ceil_mode : bool, default False
        Whether a last window counts that reaches beyond the input with its padding; its mean is of
        what lies within.
    """

    _kind = "average_pool"
