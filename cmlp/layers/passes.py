"""Passes through the parts of a net: runs of built-in layers, and layers in Python between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import checks
from ..checks import Array
from .base import is_trainable
from .segment import Segment


def run_forward(parts: Sequence[Any], x: Array, training: bool, draw: int = 0) -> Array:
    """Outputs of segments and layers in Python, one after the other.

    In training the layers that draw do so for the ``draw``-th time.
    """
    y = x
    for part in parts:
        if isinstance(part, Segment):
            y = part.forward(y, training, draw)
        else:
            y = _output_of(part, part.forward(y, training), x)
    return y


def run_predict(parts: Sequence[Any], x: Array) -> Array:
    """The same as in prediction; keeps nothing."""
    y = x
    for part in parts:
        if isinstance(part, Segment):
            y = part.predictor.predict(y)
        else:
            y = _output_of(part, part.forward(y), x)
    return y


def run_backward(parts: Sequence[Any], dy: Array, need_dx: bool) -> Array:
    """Gradients of the last `run_forward`; what is returned has no meaning without need_dx.

    Nothing goes back further than to the first part that is to be trained.
    """
    first = 0 if need_dx else next((i for i, p in enumerate(parts) if _is_trained(p)), len(parts))
    d = dy
    for i, part in reversed(list(enumerate(parts))[first:]):
        if isinstance(part, Segment):
            d = part.backward(d, need_dx or i > first)
        else:
            d = checks.as_float(part.backward(d), f"dx of {part!r}", dy.dtype.name, finite=False)
    return d


def _output_of(layer: Any, y: Any, x: Array) -> Array:
    """What a layer in Python gave, as rows for the next one."""
    name = f"output of {layer!r}"
    rows = checks.as_rows(y, name, x.dtype.name, None, finite=False)
    if len(rows) != len(x):
        raise ValueError(f"{name} has {len(rows)} rows; expected {len(x)}")
    return rows


def _is_trained(part: Any) -> bool:
    return part.is_trained if isinstance(part, Segment) else is_trainable(part)
