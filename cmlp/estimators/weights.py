"""``coefs_`` and ``intercepts_``: the net's parameters in scikit-learn's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..checks import Array
from ..layers import Dense
from ..network import Sequential

Pair = tuple[list[Any], list[Any]]


class Weights:
    """Mixin: ``coefs_`` and ``intercepts_`` are read from the net when asked for, and given back.

    The arrays that are read are copies and cannot be written into, so that a write is not lost.
    What is assigned, whole lists or their elements, is taken at the next use of the net.
    """

    net_: Sequential
    # The lists as they were given out or assigned, and the arrays in them that the net holds.
    _lists: Pair | None = None
    _known: tuple[Any, ...] = ()

    @property
    def coefs_(self) -> list[Array]:
        """Weight matrices (n_in, n_out) of the layers."""
        return self._read()[0]

    @coefs_.setter
    def coefs_(self, value: Sequence[Any]) -> None:
        self._lists = (list(value), self._read()[1] if self._has_weights() else [])

    @property
    def intercepts_(self) -> list[Array]:
        """Bias vectors (n_out,) of the layers."""
        return self._read()[1]

    @intercepts_.setter
    def intercepts_(self, value: Sequence[Any]) -> None:
        self._lists = (self._read()[0] if self._has_weights() else [], list(value))

    def _has_weights(self) -> bool:
        return self._lists is not None or "net_" in vars(self)

    def _read(self) -> Pair:
        if self._lists is None:
            if "net_" not in vars(self):
                raise AttributeError(f"this {type(self).__name__} is not fitted yet")
            dense = self._dense()
            self._lists = [d.weight.T for d in dense], [d.bias for d in dense]
            self._known = (*self._lists[0], *self._lists[1])
        return self._lists

    def _dense(self) -> list[Dense]:
        return [layer for layer in self.net_.layers if isinstance(layer, Dense)]

    def _sizes(self) -> list[int]:
        """Units of every layer of the net."""
        dense = self._dense()
        return [dense[0].n_in, *(layer.n_out for layer in dense)]

    def _net_changed(self) -> None:
        """The net has been trained: what was read is old."""
        self._lists = None

    def _assigned(self) -> list[Array] | None:
        """Weights, then biases, as arrays if the user has assigned any since the last look."""
        if self._lists is None:
            return None
        given = [*self._lists[0], *self._lists[1]]
        if len(given) == len(self._known) and all(map(_same, given, self._known)):
            return None
        if not self._lists[0] or len(self._lists[0]) != len(self._lists[1]):
            raise ValueError(
                f"coefs_ has {len(self._lists[0])} arrays and intercepts_ {len(self._lists[1])}; "
                "expected one of each for every layer"
            )
        dtype = "float32" if all(np.asarray(a).dtype == np.float32 for a in given) else "float64"
        return [checks.as_float(a, "coefs_ or intercepts_", dtype) for a in given]

    def _take(self, arrays: Sequence[Array]) -> None:
        """Put weights, then biases, of the shapes that it has, into the net."""
        dense = self._dense()
        for layer, w, b in zip(dense, arrays, arrays[len(dense) :], strict=False):
            layer.weight, layer.bias = w.T, b
        self._net_changed()


def sizes_of(arrays: Sequence[Array]) -> list[int]:
    """Units of every layer, from weights and biases that must fit together."""
    n = len(arrays) // 2
    weights, biases = arrays[:n], arrays[n:]
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        n_in = w.shape[0] if i == 0 else biases[i - 1].shape[0]
        if w.ndim != 2 or b.ndim != 1 or w.shape != (n_in, len(b)):
            raise ValueError(
                f"coefs_[{i}] has shape {w.shape}, intercepts_[{i}] {b.shape}; "
                "expected (n_in, n_out) and (n_out,) that chain"
            )
    return [weights[0].shape[0], *(len(b) for b in biases)]


def _same(a: Any, b: Any) -> bool:
    return a is b
