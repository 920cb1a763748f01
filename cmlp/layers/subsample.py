"""LeNet's pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from ..checks import Array
from .base import Layer
from .shapes import Shape, as_shape
from .weighted import Weighted
from .window import Window

if TYPE_CHECKING:
    from numpy.random import Generator

Pair = int | tuple[int, int]


class SubSample2D(Window, Weighted):
    """f(w_c s + b_c), s the sum of a window of plane c, with a coefficient and a bias for each.

    From LeCun, Bottou, Bengio and Haffner, *Gradient-based learning applied to document
    recognition* (1998), section II.B.

    Parameters
    ----------
    kernel : int or (int, int)
        Size of a window: rows and columns.
    stride : int or (int, int), optional
        From one window to the next; the kernel if None.
    padding : int or (int, int), default 0
        Rows and columns of zeros around the input, less than the kernel.
    activation : str or Layer, default "identity"
        f, as in `Conv2D`.
    weight_init, bias_init : callable, optional
        Initializers, or functions (shape, rng) -> array.  Coefficients: one over the numbers of a
        window, so that it begins as the mean; biases: zero.

    Attributes
    ----------
    weight, bias : ndarray of shape (channels,)
        Read-only copies.  Assign a whole array to change them.
    grad_weight, grad_bias : ndarray
        dL/dw and dL/db of the last backward pass.
    """

    def __init__(
        self,
        kernel: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        activation: str | Layer = "identity",
        weight_init: Callable[..., ArrayLike] | None = None,
        bias_init: Callable[..., ArrayLike] | None = None,
    ) -> None:
        super().__init__(kernel, stride, padding)
        self._take(activation, True, weight_init, bias_init)

    @property
    def units(self) -> int:
        """One: each plane has inputs of its own, and coefficients alike do not stay alike."""
        return 1

    def shapes(self, n_in: int | Shape) -> dict[str, tuple[int, ...]]:
        channels = as_shape(n_in, "n_in")[0]
        return {"weight": (channels,), "bias": (channels,)}

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        n_out, window = self._width_after(), self._window(self._at())
        return self._with_activation(_core.Layer("subsample", n_in, n_out, dtype, **window))

    def _initial(
        self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str, followed_by: str
    ) -> Array:
        if name == "weight" and self.weight_init is None:
            return np.full(shape, 1.0 / (self.kernel[0] * self.kernel[1]), dtype)
        return super()._initial(name, shape, rng, dtype, followed_by)

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"kernel": list(self.kernel), "stride": list(self.stride)}
        if self.padding != (0, 0):
            config["padding"] = list(self.padding)
        return {**config, **super().config()}
