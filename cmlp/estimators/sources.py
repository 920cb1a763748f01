"""Sources in place of X and y: inputs are read while the net is trained, targets are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .. import checks
from ..checks import Array
from ..data import Source
from ..data.blocks import Blocks, Chunk
from ..training.data import Data, factors, scale_of
from ..training.stream import Stream
from .training import make_data

_PREFIX = "the source's "


class WithTargets(Blocks):
    """The inputs of other blocks, with targets and weights that are in memory."""

    def __init__(self, blocks: Blocks, y: Array, weight: Array | None) -> None:
        self._blocks, self._y, self._weight = blocks, y, weight
        self.sizes, self.width, self.names = blocks.sizes, blocks.width, blocks.names
        self.has_rows = blocks.has_rows
        self._starts = np.cumsum([0, *blocks.sizes])

    def chunks(self, block: int, start: int) -> Iterator[Chunk]:
        at = int(self._starts[block]) + start
        for chunk in self._blocks.chunks(block, start):
            yield self._chunk(chunk.x, slice(at, at + chunk.n_rows))
            at += chunk.n_rows

    def take(self, rows: Array) -> Chunk:
        return self._chunk(self._blocks.take(rows).x, rows)

    def _chunk(self, x: Any, rows: Any) -> Chunk:
        return Chunk(x, self._y[rows], None if self._weight is None else self._weight[rows])

    def most_bytes(self) -> int:
        return self._blocks.most_bytes()

    def check_unchanged(self) -> None:
        self._blocks.check_unchanged()


class SourceData(Stream):
    """Samples of a source whose targets have been encoded.

    Attributes
    ----------
    x : ndarray of shape (1, n_in)
        A row of the type that all have.
    y, weight : ndarray, and ndarray or None
    """

    def __init__(
        self, source: Source, dtype: str, y: Array, weight: Array | None, unit: float, seed: int
    ) -> None:
        self.x, self.y, self.weight = np.empty((1, source.n_in), dtype), y, weight

        def check(chunk: Chunk) -> Data:
            rows = checks.as_rows(chunk.x, _PREFIX + "x", dtype, source.n_in)
            return Data(rows, chunk.y, chunk.weight, unit)

        blocks = WithTargets(source.blocks, y, weight)
        options = source.shuffle, source.window, None, source.n_readers
        super().__init__(Source(blocks, *options), check, seed)


Samples = Data | SourceData


class TakesSources:
    """The part of an estimator that takes a source."""

    _validated: Any
    _settle_outputs: Any
    _encode: Any
    _with_class_weight: Any
    dtype: Any
    solver: Any
    early_stopping: Any
    random_state: Any

    def _of_source(
        self, source: Source, y: Any, sample_weight: Any, reset: bool, has_own: bool
    ) -> Samples:
        """The samples of a source; ``has_own``: whether there are data to validate on."""
        if y is not None or sample_weight is not None:
            raise TypeError("y or sample_weight is given; expected neither with a source")
        if self.solver == "lbfgs":
            raise ValueError("solver is 'lbfgs'; expected a stochastic one with a source")
        if self.early_stopping and not has_own:
            raise ValueError("early_stopping needs X_val and y_val with a source")
        x = self._look_at(source, reset)
        y, weight = _targets_of(source)
        self._settle_outputs(y, False)
        encoded, unit = self._encode(y, x.dtype.name), 1.0
        weight = self._with_class_weight(y, weight)
        if weight is not None:
            weight, unit = factors(weight, x.dtype.name, scale_of(weight))
        mapped = source.blocks.mapped() if source.shuffle == "full" else None
        if mapped is not None and mapped.x.dtype == x.dtype:
            return make_data(checks.as_float(mapped.x, "x", x.dtype.name), encoded, weight, unit)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return SourceData(source, x.dtype.name, encoded, weight, unit, seed)

    def _look_at(self, source: Source, reset: bool) -> Array:
        """Some rows through scikit-learn's checks, which notes their width and names."""
        known = vars(self).get("feature_names_in_")
        names = None if source.columns is None else np.array(source.columns, object)
        dtypes = [np.float64, np.float32] if self.dtype is None else [np.dtype(self.dtype)]
        first = next(source.blocks.chunks(0, 0)).slice(0, 256)
        if not reset and known is not None and names is not None and list(known) != list(names):
            raise ValueError(f"the source has the columns {names}; expected {known}")
        if reset or known is None:
            x: Array = self._validated(np.asarray(first.x), first.y, reset, dtypes)[0]
        else:
            x = checks.as_rows(first.x, _PREFIX + "x", np.dtype(dtypes[0]).name, len(known))
        if reset and names is not None:
            vars(self)["feature_names_in_"] = names
        return x


def _targets_of(source: Source) -> tuple[Array, Array | None]:
    """Targets and weights of all rows."""
    chunks = list(source.blocks.targets())
    y = np.concatenate([np.asarray(chunk.y) for chunk in chunks])
    if y.dtype.kind == "f":
        checks.check_finite(y, _PREFIX + "y")
    if chunks[0].weight is None:
        return y, None
    weight = np.concatenate([np.asarray(chunk.weight) for chunk in chunks])
    return y, checks.as_weights(weight, _PREFIX + "sample_weight", len(y), "float64")
