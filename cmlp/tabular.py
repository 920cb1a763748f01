"""What tables become before a net, as a transformer of scikit-learn's kind: `TablePreprocessor`."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import checks
from .encoding import (
    KINDS,
    NUMBERS,
    CategoryEncoder,
    Encoder,
    NumberEncoder,
    TableEncoder,
    TimeEncoder,
)
from .table import Column, Table, is_frame, listed, shown

__all__ = ["TablePreprocessor"]

_FEW = 20  # different texts of which a column is never taken for identifiers


class TablePreprocessor:
    """From columns of any kind to the inputs of a net.

    Numbers are scaled, categories and truth values get an input for each value, times become a
    trend and their places in year, week and day. Whether a value is missing is an input of its
    own where it is in training; an unknown category is taken for one of the rare ones, if training
    had any, and otherwise is all zeros. Needs pyarrow.

    Parameters
    ----------
    kinds : mapping of str to {"number", "category", "time", "ignore"}, optional
        What columns are, where what is found in them is wrong. By default numbers and times are
        what they spell, truth values and text are categories, and left out are columns of one
        value and identifiers: texts of which more than 20, and more than half as many as rows,
        are different.
    numbers : {"robust", "standard", "quantile", "none"}, default "robust"
        How numbers are scaled; see `cmlp.encoding.NumberEncoder`.
    max_categories : int, default 64
        Most values of a column that have an input of their own; the rest, and then those that
        occur once, have one together.

    Attributes
    ----------
    encoder_ : TableEncoder
        What `fit` learnt; what a net's ``preprocessing`` and its file keep.
    reports_ : list of str
        What the user should know: columns left out, and those with many values.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the table has names.

    Examples
    --------
    >>> import pandas
    >>> from cmlp import TablePreprocessor
    >>> frame = pandas.DataFrame({"size": [1.0, 3.0, None], "kind": ["a", "b", "a"]})
    >>> p = TablePreprocessor().fit(frame)
    >>> p.get_feature_names_out().tolist()
    ['size', 'size missing', 'kind = a', 'kind = b']
    >>> p.transform(frame)[2]
    array([0., 1., 1., 0.])
    """

    def __init__(
        self,
        kinds: Mapping[str, str] | None = None,
        numbers: str = "robust",
        max_categories: int = 64,
    ) -> None:
        self.kinds = kinds
        self.numbers = numbers
        self.max_categories = max_categories

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the training part.

        Parameters
        ----------
        X : data frame, Arrow table, Table or array of shape (n, columns)
        y : ignored

        Raises
        ------
        ValueError
            A parameter, or a column that is not of the kind that ``kinds`` says; no column left.
        TypeError
            X is no table.
        """
        checks.choice(self.numbers, "numbers", NUMBERS)
        checks.positive_int(self.max_categories, "max_categories")
        table = Table.of(X, "X")
        kinds = dict(self.kinds or {})
        for name, kind in kinds.items():
            checks.choice(kind, f"kinds[{name!r}]", KINDS)
            table[name]  # refused unless there is one
        if not len(table):
            raise ValueError("X has no rows; expected 1 or more")
        self.reports_: list[str] = []
        encoders: dict[str, Encoder] = {}
        for column in table:
            if column.name in encoders:
                table[column.name]  # refused: named twice
            kind = kinds.get(column.name) or self._kind_of(column)
            if kind != "ignore":
                encoders[column.name] = self._encoder(column, kind)
        if not encoders:
            raise ValueError(f"{table.place}: no column is left; {'; '.join(self.reports_)}")
        named = is_frame(X)
        self.n_features_in_ = len(table.columns)
        vars(self).pop("feature_names_in_", None)
        if named:
            self.feature_names_in_ = np.array(table.names, dtype=object)
        elif len(encoders) < len(table.columns):
            named = True  # an array's columns are called 0, 1, ...
        self.encoder_ = TableEncoder(encoders, named)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """The inputs (n, n_in) of a table with the columns that `fit` has seen.

        Raises
        ------
        ValueError
            A column is missing, or has values of another kind.
        AttributeError
            Before `fit`.
        """
        return self.encoder_.transform(X, "X")

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """`fit`, and `transform` of the same table."""
        return self.fit(X).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """What the inputs are called."""
        return np.array(self.encoder_.input_names, dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ValueError for a name that is none."""
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(
                    f"{name!r} is no parameter; expected {listed([*self.get_params()])}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(string=True, categorical=True, allow_nan=True),
        )

    # ---- kinds of columns ----

    def _kind_of(self, column: Column) -> str:
        """What a column is taken for."""
        n, name = len(column), shown(column.name)
        refuse_odd_cells(column)
        found, different = column.kind, column.n_different()
        if different <= 1 and not (different and column.n_missing):
            self.reports_.append(f"column {name} has one value, and is left out")
            return "ignore"
        if found == "text" and different > max(_FEW, n // 2):
            self.reports_.append(
                f"column {name} has {different} different texts in {n} rows, and is left out as "
                "an identifier"
            )
            return "ignore"
        if found == "text" and different > self.max_categories:
            self.reports_.append(
                f"column {name} has {different} different texts, of which the "
                f"{self.max_categories} most frequent have an input of their own"
            )
        if found == "number" and different == n > _FEW and column.whole and _numbers_rows(column):
            self.reports_.append(f"column {name} numbers the rows, and may be an identifier")
        return {"text": "category", "truth": "category"}.get(found, found)

    def _encoder(self, column: Column, kind: str) -> Encoder:
        if kind == "number":
            return NumberEncoder.fit(column, self.numbers)
        if kind == "time":
            return TimeEncoder.fit(column)
        return CategoryEncoder.fit(column, self.max_categories)


def refuse_odd_cells(column: Column) -> None:
    """Raise ValueError for text of which half or more is numbers: it would be no category."""
    odd = column.nearly_numbers()
    if odd is not None:
        raise ValueError(
            f"{column.place(odd)}: {column.fault(odd)}, as other cells are; expected numbers, "
            "or the kind of the column or its texts for no value to be given"
        )


def _numbers_rows(column: Column) -> bool:
    return bool((np.diff(np.sort(column.numbers())) == 1).all())
