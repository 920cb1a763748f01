"""Layers that give the same numbers another shape."""

from __future__ import annotations

from math import prod
from typing import Any

from .. import _core
from .base import Layer
from .shapes import Shape, as_shape


class _View(Layer):
    activation = "identity"
    keeps_shape = False

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        shapes = (self._at(), self.shape_after(self._at()))
        return [_core.Layer("reshape", n_in, n_in, dtype, shapes=shapes)]


class Reshape(_View):
    """The numbers of a sample in another shape, in the same order.

    A net that begins with it takes samples (batch, n).

    Parameters
    ----------
    shape : int or (int, int, int)
        n, or (channels, height, width).

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.Sequential(cmlp.Reshape((1, 28, 28)), cmlp.MaxPool2D(4), cmlp.Flatten())
    >>> net.n_in, net.n_out
    (784, 49)
    """

    shape: Shape

    def __init__(self, shape: int | tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = as_shape(shape, "shape")

    @property
    def n_in(self) -> int:
        return prod(self.shape)

    @property
    def n_out(self) -> int:
        return prod(self.shape)

    def shape_after(self, shape: Shape) -> Shape:
        if prod(shape) != prod(self.shape):
            raise ValueError(f"{prod(shape)} numbers do not fit into {self.shape}")
        return self.shape

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape) if len(self.shape) == 3 else self.shape[0]}


class Flatten(_View):
    """The numbers of planes one after the other, as rows of `Dense` layers.

    (channels, height, width) becomes (channels * height * width,): plane after plane, row by row.
    """

    def shape_after(self, shape: Shape) -> Shape:
        return (prod(shape),)
