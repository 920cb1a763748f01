"""The parameters of a net's layers as one vector: layer after layer, each in the order it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..checks import Array
from .base import Layer


class Flat:
    """Access to all parameters at once; one pass in the core where every layer is built in.

    Parameters
    ----------
    layers : sequence of Layer, or objects with ``parameters`` and ``gradients``
    dtype : {"float32", "float64"}
    join : bool
        Move the parameters into one block of memory.  Nobody else may use the layers meanwhile.
    """

    def __init__(self, layers: Sequence[Any], dtype: str, join: bool) -> None:
        self.layers, self.dtype = layers, dtype
        built_in = all(isinstance(layer, Layer) for layer in layers)
        cores = [core for layer in layers for core in layer.cores] if built_in else []
        self.core = _core.LayerList(cores) if cores else None
        if self.core is not None and join:
            self.core.join()

    def get(self, gradients: bool = False) -> Array:
        """A copy of all parameters, or of all gradients."""
        if self.core is not None:
            return self.core.get(gradients)
        what = "gradients" if gradients else "parameters"
        found = [getattr(layer, what)() for layer in self.layers if hasattr(layer, what)]
        vectors = [np.ravel(a) for named in found for a in named.values()]
        return np.concatenate([np.empty(0), *vectors], dtype=self.dtype, casting="same_kind")

    def set(self, v: Array) -> None:
        """Take all parameters from a checked vector."""
        if self.core is not None:
            self.core.set(np.ascontiguousarray(v))
            return
        start = 0
        for layer in self.layers:
            if isinstance(layer, Layer):
                core = layer.built()
                for name, shape in core.shapes.items():
                    stop = start + int(np.prod(shape))
                    core.set(name, v[start:stop].reshape(shape))
                    start = stop
            elif hasattr(layer, "parameters"):
                for a in layer.parameters().values():
                    a[...] = v[start : start + a.size].reshape(a.shape)
                    start += a.size

    def lerp(self, other: Flat, tau: float) -> None:
        """Move the parameters a share of the way to those of a net of the same layers."""
        mine, theirs = self.get(), other.get()
        if mine.shape != theirs.shape:
            raise ValueError(f"other has {theirs.size} parameters; expected {mine.size}")
        t = mine.dtype.type(tau)
        self.set((1 - t) * mine + t * theirs.astype(mine.dtype))
