"""``coefs_`` and ``intercepts_``: a net's parameters in scikit-learn's form."""

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
    """Weights and biases, read from a net when asked for, and given back to it.

    The arrays that are read are copies and cannot be written into, so that a write is not lost.
    What is assigned, whole lists or their elements, is taken at the next use of the net.

    Attributes
    ----------
    lists : (list, list) or None
        Weights (n_in, n_out) and biases (n_out,) as they were given out or assigned.
    """

    def __init__(self) -> None:
        self.lists: Pair | None = None
        self._known: tuple[Any, ...] = ()  # the arrays in the lists that the net holds

    def read(self, net: Sequential | None) -> Pair:
        """Lists of weights and of biases; empty ones where there are none."""
        if self.lists is None:
            dense = [] if net is None else dense_of(net)
            self.lists = [d.weight.T for d in dense], [d.bias for d in dense]
            self._known = (*self.lists[0], *self.lists[1])
        return self.lists

    def assign(self, place: int, value: Sequence[Any], net: Sequential | None) -> None:
        """Take a list of weights (place 0) or of biases (place 1)."""
        lists = self.read(net)
        self.lists = (list(value), lists[1]) if place == 0 else (lists[0], list(value))

    def forget(self) -> None:
        """The net has been trained: what was read is old."""
        self.lists = None

    def assigned(self) -> list[Array] | None:
        """Weights, then biases, as arrays if any have been assigned since the last look."""
        if self.lists is None or not self._touched(self.lists):
            return None
        given = [*self.lists[0], *self.lists[1]]
        if not self.lists[0] or len(self.lists[0]) != len(self.lists[1]):
            raise ValueError(
                f"coefs_ has {len(self.lists[0])} arrays and intercepts_ {len(self.lists[1])}; "
                "expected one of each for every layer"
            )
        dtype = "float32" if all(np.asarray(a).dtype == np.float32 for a in given) else "float64"
        return [checks.as_float(a, "coefs_ or intercepts_", dtype) for a in given]

    def _touched(self, lists: Pair) -> bool:
        given = [*lists[0], *lists[1]]
        return len(given) != len(self._known) or not all(map(_same, given, self._known))

    def put(self, arrays: Sequence[Array], net: Sequential) -> None:
        """Put weights, then biases, of the shapes that it has, into the net."""
        dense = dense_of(net)
        for layer, w, b in zip(dense, arrays, arrays[len(dense) :], strict=False):
            layer.weight, layer.bias = w.T, b
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        # arrays that were read cannot be told to stay read-only
        kept = self.lists is not None and self._touched(self.lists)
        return {"lists": self.lists if kept else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.lists, self._known = state["lists"], ()


def dense_of(net: Sequential) -> list[Dense]:
    """The layers that have weights and biases."""
    return [layer for layer in net.layers if isinstance(layer, Dense)]


def widths_of(net: Sequential) -> list[int]:
    """Units of every layer of a net."""
    dense = dense_of(net)
    return [dense[0].n_in, *(layer.n_out for layer in dense)]


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
