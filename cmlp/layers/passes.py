"""Passes through the parts of a net: runs of built-in layers, and layers in Python between them.

Between the parts samples are rows of numbers, whatever shape a layer gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import checks
from ..checks import Array
from .base import is_trainable
from .segment import Segment
from .shapes import Shape, shaped


class InPython:
    """A layer written in Python as a part of a net.

    Parameters
    ----------
    layer : object with forward and backward
    in_shape, out_shape : tuple of int, optional
        Shapes of its inputs and outputs, where they are known.
    """

    def __init__(self, layer: Any, in_shape: Shape | None, out_shape: Shape | None) -> None:
        self.layer, self._in_shape, self._out_shape = layer, in_shape, out_shape

    def forward(self, x: Array, training: bool | None = None) -> Array:
        """Its outputs as rows; without ``training`` as in prediction."""
        planes = shaped(x, self._in_shape)
        how = () if training is None else (training,)
        y = self.layer.forward(planes, *how)
        name = f"output of {self.layer!r}"
        spatial = self._out_shape is not None and len(self._out_shape) == 3
        wanted = self._out_shape if spatial else None
        rows = checks.as_rows(y, name, x.dtype.name, wanted, finite=False)
        if len(rows) != len(x):
            raise ValueError(f"{name} has {len(rows)} rows; expected {len(x)}")
        return rows

    def backward(self, dy: Array) -> Array:
        """dL/dx as rows."""
        dx = self.layer.backward(shaped(dy, self._out_shape))
        found = checks.as_float(dx, f"dx of {self.layer!r}", dy.dtype.name, finite=False)
        return found.reshape(len(found), -1) if found.ndim > 2 else found

    @property
    def is_trained(self) -> bool:
        """Whether any of its parameters is to be trained."""
        return is_trainable(self.layer)


Part = Segment | InPython


def run_forward(parts: Sequence[Part], x: Array, training: bool, draw: int = 0) -> Array:
    """Outputs of the parts, one after the other.

    In training the layers that draw do so for the ``draw``-th time.
    """
    y = x
    for part in parts:
        if isinstance(part, Segment):
            y = part.forward(y, training, draw)
        else:
            y = part.forward(y, training)
    return y


def run_predict(parts: Sequence[Part], x: Array) -> Array:
    """The same as in prediction; keeps nothing."""
    y = x
    for part in parts:
        y = part.predictor.predict(y) if isinstance(part, Segment) else part.forward(y)
    return y


def run_backward(parts: Sequence[Part], dy: Array, need_dx: bool) -> Array:
    """Gradients of the last `run_forward`; what is returned has no meaning without need_dx.

    Nothing goes back further than to the first part that is to be trained.
    """
    first = 0 if need_dx else next((i for i, p in enumerate(parts) if p.is_trained), len(parts))
    d = dy
    for i, part in reversed(list(enumerate(parts))[first:]):
        if isinstance(part, Segment):
            d = part.backward(d, need_dx or i > first)
        else:
            d = part.backward(d)
    return d
