"""Estimators on tables with columns of any kind: ``preprocess``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..checks import Array
from ..data import Source
from ..preprocessing import Preprocessing, Standardizer
from ..table import Table
from ..tabular import TablePreprocessor
from .base import BaseMLP


class TableMLP(BaseMLP):
    """What ``preprocess`` adds to `BaseMLP`: nothing where it is None.

    The net is trained on what a `TablePreprocessor` makes of the part that is trained on; its
    ``preprocessing`` keeps that, so that ``net_`` and its file take tables, too.
    """

    preprocess: Any
    preprocessor_: TablePreprocessor

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        again = self.warm_start and self._has_weights()
        if again and (self.preprocess is None) == hasattr(self, "preprocessor_"):
            raise ValueError(
                f"preprocess is {self.preprocess!r}; expected what the net was made by: fit "
                "without warm_start makes a new one"
            )
        if self.preprocess is None:
            self.__dict__.pop("preprocessor_", None)
            super().fit(X, y, sample_weight, X_val=X_val, y_val=y_val)
            return self
        self._validate_params()
        if isinstance(X, Source):
            raise ValueError("X is a source; expected a table in memory, for preprocess")
        if y is None:
            raise ValueError("y is None; expected labels or numbers")
        table = Table.of(X, "X")
        y = np.asarray(y)
        if len(y) != len(table):
            raise ValueError(f"X has {len(table)} rows; expected {len(y)}, as y has")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together; expected both or none")
        rows, held_out = self._rows_apart(len(table), y, X_val is None)
        if held_out is not None:
            X_val, y_val = table.take(held_out), y[held_out]
        weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        part = table.take(rows)
        if again:
            targets = self.net_.preprocessing.targets
            self.net_.preprocessing = Preprocessing()
            self.n_features_in_ = len(self.preprocessor_.encoder_.input_names)
            self.__dict__.pop("feature_names_in_", None)
        else:
            made = TablePreprocessor() if self.preprocess == "auto" else clone(self.preprocess)
            self.preprocessor_ = made.fit(part if hasattr(X, "columns") else np.asarray(X)[rows])
            targets = self._target_scale(y[rows])
        encoder = self.preprocessor_.encoder_
        try:
            super().fit(
                encoder.transform(part, "X"),
                _scaled(y[rows], targets),
                weight,
                X_val=None if X_val is None else encoder.transform(X_val, "X_val"),
                y_val=None if y_val is None else _scaled(np.asarray(y_val), targets),
            )
        finally:
            if self._has_weights() and self.net_.n_in == len(encoder.input_names):
                self.net_.preprocessing = Preprocessing(encoder, targets)
            self.n_features_in_ = self.preprocessor_.n_features_in_
            if hasattr(self.preprocessor_, "feature_names_in_"):
                self.feature_names_in_ = self.preprocessor_.feature_names_in_
        return self

    fit.__doc__ = BaseMLP.fit.__doc__

    def _rows_apart(self, n: int, y: Array, may: bool) -> tuple[Array, Array | None]:
        """The rows to train on, and those to validate on, before anything is learnt from them."""
        rows = np.arange(n)
        if not (may and self.early_stopping) or self.solver == "lbfgs":
            return rows, None
        parts = train_test_split(
            rows,
            random_state=check_random_state(self.random_state),
            test_size=self.validation_fraction,
            stratify=y if is_classifier(self) and y.ndim == 1 else None,
        )
        return parts[0], parts[1]

    def _target_scale(self, y: Array) -> Standardizer | None:
        """Of the targets of a regression, but for counts."""
        if not self._numeric or self.loss == "poisson":
            return None
        return Standardizer.fit(y.reshape(len(y), -1).astype(np.float64))

    def _outputs(self, X: Any) -> Array:
        if self.preprocess is None or not self._has_weights():
            return super()._outputs(X)
        check_is_fitted(self)
        return self.net_.predict(X)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        self._refuse("partial_fit")
        super()._partial_fit(X, y, sample_weight)
        return self

    def _new_single(self, x: Any) -> Any:
        self._refuse("learn_one")
        return super()._new_single(x)

    def _refuse(self, method: str) -> None:
        if self.preprocess is not None:
            raise ValueError(
                f"{method} needs preprocess=None, as all rows are looked at before training; "
                f"preprocess is {self.preprocess!r}"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.preprocess is not None:
            tags.input_tags.sparse = False
            tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _scaled(y: Array, targets: Standardizer | None) -> Array:
    if targets is None:
        return y
    found: Array = targets.transform(y.reshape(len(y), -1).astype(np.float64)).reshape(y.shape)
    return found
