"""The parameters of a net as one vector: layer after layer, part after part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks
from ..checks import Array
from .base import own_gradients, own_parameters
from .segment import Segment


class Flat:
    """A net's parameters in the order of `Sequential.get_flat`.

    Parameters
    ----------
    parts : sequence of Segment and InPython
    dtype : {"float32", "float64"}
    """

    def __init__(self, parts: Sequence[Any], dtype: str) -> None:
        self.dtype = dtype
        self.blocks = [
            _core.LayerList(part.cores) if isinstance(part, Segment) else part.layer
            for part in parts
        ]

    def join(self) -> None:
        """Move the parameters of each run of built-in layers into one block of memory."""
        for block in self.blocks:
            if isinstance(block, _core.LayerList):
                with _core.Hold(block.layers):
                    block.join()

    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each parameter."""
        found: list[tuple[int, ...]] = []
        for block in self.blocks:
            if isinstance(block, _core.LayerList):
                found += [shape for core in block.layers for shape in core.shapes.values()]
            else:
                found += [a.shape for a in own_parameters(block).values()]
        return found

    def get(self, gradients: bool = False) -> Array:
        """A copy of all values, or of the gradients of the last backward pass."""
        vectors: list[Array] = []
        for block in self.blocks:
            if isinstance(block, _core.LayerList):
                vectors.append(block.get(gradients))
            else:
                named = own_gradients(block) if gradients else own_parameters(block)
                vectors += [np.ravel(a) for a in named.values()]
        if self.is_one_block:
            return vectors[0]
        return np.concatenate([np.empty(0), *vectors], dtype=self.dtype, casting="same_kind")

    def set(self, vector: ArrayLike, gradients: bool = False) -> None:
        """Take a vector of all values, or of gradients."""
        values, start = checks.as_float(vector, "values", self.dtype), 0
        n = sum(math.prod(shape) for shape in self.shapes())
        if values.shape != (n,):
            raise ValueError(f"values has shape {values.shape}; expected ({n},)")
        for block in self.blocks:
            if isinstance(block, _core.LayerList):
                stop = start + block.n_parameters
                block.set(values[start:stop], gradients)
                start = stop
                continue
            named = own_gradients(block) if gradients else own_parameters(block)
            for a in named.values():
                a[...] = values[start : start + a.size].reshape(a.shape)
                start += a.size

    def lerp(self, other: Flat, tau: float) -> None:
        """Set w to (1 - tau) w + tau w_other, for parameters of the same shapes."""
        if self.is_one_block and other.is_one_block and self.dtype == other.dtype:
            self.blocks[0].lerp(other.blocks[0], tau)
        else:
            t = np.dtype(self.dtype).type(tau)
            self.set((1 - t) * self.get() + t * other.get().astype(self.dtype))

    @property
    def is_one_block(self) -> bool:
        """Whether all layers are built in."""
        return len(self.blocks) == 1 and isinstance(self.blocks[0], _core.LayerList)
