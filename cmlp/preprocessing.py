"""What lies between data as they are and a net: names of features, means and scales.

A `Preprocessing` belongs to a net (``net.preprocessing``) and goes with it wherever it goes: into
files, copies, exports and other libraries.  Of the package this imports checks and errors alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from .checks import Array
from .encoding import TableEncoder
from .errors import FormatError

__all__ = ["Preprocessing", "Standardizer", "TableEncoder"]


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Columns brought to mean 0 and deviation 1: (x - mean) / scale, column by column.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_in,), float64
        Learnt from the training part.  The scale is the standard deviation (divided by n, not
        n - 1), and 1 for a column that is constant.

    Raises
    ------
    ValueError
        Shapes that differ, a value that is not finite, a scale that is not positive.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            a = checks.as_float(getattr(self, name), name, "float64")
            if a.flags.writeable:
                a = a.copy()
                a.flags.writeable = False
            object.__setattr__(self, name, a)
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise ValueError(
                f"mean has shape {self.mean.shape} and scale {self.scale.shape}; "
                "expected (n_in,) for both"
            )
        if not (self.scale > 0).all():
            raise ValueError(f"scale holds {self.scale.min()}; expected positive numbers")

    @classmethod
    def fit(cls, x: ArrayLike) -> Standardizer:
        """Learn mean and scale from x (n, n_in), n at least 1; computed in float64."""
        rows = checks.as_array(x, "x")
        if rows.ndim != 2 or len(rows) == 0:
            raise ValueError(f"x has shape {rows.shape}; expected (n, n_in) with n of 1 or more")
        if not np.isfinite(rows).all():
            raise ValueError("x holds NaN or infinity; expected finite numbers")
        scale = np.std(rows, axis=0, dtype=np.float64)
        # Rounding can leave a constant column a tiny deviation, and a tiny one none.
        constant = (rows.max(axis=0) == rows.min(axis=0)) | (scale == 0)
        return cls(np.mean(rows, axis=0, dtype=np.float64), np.where(constant, 1.0, scale))

    def transform(self, x: ArrayLike) -> NDArray[Any]:
        """Standardise x (n, n_in): float64 for float64 inputs, float32 for all others."""
        rows = self._checked(x)
        return _as_float_of(rows, self.scaled(rows))

    def scaled(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Checked rows standardised, in float64."""
        with np.errstate(over="ignore"):
            z: NDArray[np.float64] = np.subtract(rows, self.mean, dtype=np.float64)
            z /= self.scale
        return z

    def inverse_transform(self, x: ArrayLike) -> NDArray[Any]:
        """Undo `transform`, with the same shapes and types."""
        rows = self._checked(x)
        with np.errstate(over="ignore"):
            values: NDArray[np.float64] = np.multiply(rows, self.scale, dtype=np.float64)
            values += self.mean
        return _as_float_of(rows, values)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, which JSON keeps to the last bit; `from_dict` takes them back."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Standardizer:
        """Rebuild from `to_dict`'s result.

        Raises
        ------
        FormatError
            Not such a dictionary.
        """
        try:
            mean, scale = (np.array(values[key], dtype=np.float64) for key in ("mean", "scale"))
            return cls(mean, scale)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FormatError(f"a Standardizer needs lists mean and scale ({error})") from error

    def _checked(self, x: ArrayLike) -> NDArray[Any]:
        rows = checks.as_array(x, "x")
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"x has shape {rows.shape}; expected (n, {len(self.mean)})")
        return rows


def _as_float_of(x: NDArray[Any], values: NDArray[np.float64]) -> NDArray[Any]:
    """Values for x: float64 where that is, else float32."""
    with np.errstate(over="ignore"):
        return values if x.dtype == np.float64 else values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What a net does to samples before its layers, and to their outputs behind them.

    A net with ``inputs`` takes samples as they are in the data, everywhere: ``predict``,
    ``forward``, training, exported files, the command line.  With ``targets`` it is trained on
    standardised targets and gives numbers as they are in the data.

    Parameters
    ----------
    inputs : Standardizer or TableEncoder, optional
        Of the inputs, (n_in,). With what a `TablePreprocessor` has learnt (``encoder_``) the net
        takes tables: data frames, Arrow tables, or arrays of columns. Its ``forward`` and
        ``backward`` are then of the encoded inputs' gradient.
    targets : Standardizer, optional
        Of the targets of a regression, (n_out,).
    feature_names : sequence of str, optional
        What the inputs are called.  Data frames with other columns, or in another order, are
        refused.

    Examples
    --------
    >>> import numpy as np
    >>> import cmlp
    >>> x, y = np.array([[1000.0], [1001.0], [1002.0]]), np.array([10.0, 20.0, 30.0])
    >>> net = cmlp.Sequential(cmlp.Dense(1, 1), seed=0)
    >>> net.preprocessing = cmlp.Preprocessing.fit(x, y)
    >>> history = cmlp.Trainer(net, cmlp.SquaredError()).fit(x, y, epochs=300)
    >>> net.predict([[1001.5]]).round(1)
    array([[25.]], dtype=float32)
    """

    inputs: Standardizer | TableEncoder | None = None
    targets: Standardizer | None = None
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("inputs", (Standardizer, TableEncoder)), ("targets", (Standardizer,))):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kinds):
                expected = " or ".join(kind.__name__ for kind in kinds)
                raise TypeError(f"{name} is {value!r}; expected a {expected} or None")
        if isinstance(self.inputs, TableEncoder):
            called = self.inputs.names if self.inputs.named else None
            if self.feature_names not in (None, called):
                raise ValueError(
                    f"feature_names is {_some(self.feature_names or ())}; expected those of inputs"
                )
            object.__setattr__(self, "feature_names", called)
        elif self.feature_names is not None:
            names = checks.label_values(self.feature_names, "feature_names")
            if names.ndim != 1 or names.dtype.kind != "U":
                raise TypeError(f"feature_names is {self.feature_names!r}; expected strings")
            object.__setattr__(self, "feature_names", tuple(names.tolist()))

    @classmethod
    def fit(cls, x: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn means and scales from training data.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
            The names of a data frame's columns become ``feature_names``.
        y : array_like of shape (n,) or (n, n_out), optional
            Targets of a regression that are to be standardised, too.
        """
        targets = None if y is None else Standardizer.fit(_columns(y))
        return cls(Standardizer.fit(x), targets, names_of(x))

    @property
    def scales(self) -> bool:
        """Whether there is anything to be computed."""
        return self.inputs is not None or self.targets is not None

    @property
    def table(self) -> TableEncoder | None:
        """What turns tables into inputs, if the net takes tables."""
        return self.inputs if isinstance(self.inputs, TableEncoder) else None

    def scaler(self, target: str) -> Standardizer | None:
        """What standardises the inputs; ValueError if the net takes tables, for another program."""
        if isinstance(self.inputs, TableEncoder):
            raise ValueError(
                f"the net takes tables, whose categories and missing values {target} cannot "
                "express; expected a net of numbers"
            )
        return self.inputs

    def named(self, names: tuple[str, ...] | None) -> Preprocessing:
        """The same with these names where it has none yet."""
        if names is None or self.feature_names is not None or self.table is not None:
            return self
        return replace(self, feature_names=names)

    def scales_as(self, other: Preprocessing) -> bool:
        """Tell whether it computes the same as another."""
        pairs = [(self.inputs, other.inputs), (self.targets, other.targets)]
        return all(
            a is b or (a is not None and b is not None and a.to_dict() == b.to_dict())
            for a, b in pairs
        )

    def check_fits(self, n_in: int | None, n_out: int | None) -> None:
        """Raise ValueError unless a net of these widths can have it."""
        inputs: int | None = None
        names: int | None = None
        if isinstance(self.inputs, TableEncoder):
            inputs = len(self.inputs.input_names)
        else:
            inputs = None if self.inputs is None else len(self.inputs.mean)
            names = None if self.feature_names is None else len(self.feature_names)
        targets = None if self.targets is None else len(self.targets.mean)
        for name, found, expected in (
            ("inputs", inputs, n_in),
            ("targets", targets, n_out),
            ("feature_names", names, n_in),
        ):
            if found is not None and expected is not None and found != expected:
                raise ValueError(f"preprocessing has {found} {name}; expected {expected}")

    def rows(
        self,
        x: object,
        name: str,
        dtype: str,
        n_in: int | tuple[int, ...] | None,
        finite: bool = True,
        allow_empty: bool = False,
    ) -> Array:
        """Samples as rows of numbers: (batch, n_in) of ``dtype``; ``n_in`` may be a shape.

        Means are taken away in float64, before anything is rounded to the net's type.
        """
        if isinstance(self.inputs, TableEncoder):
            return checks.as_float(
                self.inputs.transform(x, name), f"{name}, encoded,", dtype, finite
            )
        self.check_names(x, name)
        if self.inputs is None:
            return checks.as_rows(x, name, dtype, n_in, finite, allow_empty)
        a = checks.as_array(x, name)
        wide = "float32" if a.dtype == np.float32 else "float64"
        rows = self.inputs.scaled(checks.as_rows(a, name, wide, n_in, False, allow_empty))
        return checks.as_float(rows, f"{name}, standardised,", dtype, finite)

    def check_names(self, x: object, name: str = "x") -> None:
        """Raise ValueError for a data frame whose columns are not the features."""
        names = names_of(x) if self.table is None else None  # which finds its columns
        if names is not None and self.feature_names is not None and names != self.feature_names:
            raise ValueError(
                f"{name} has the columns {_some(names)}; expected {_some(self.feature_names)}"
            )

    def standardised(self, y: ArrayLike, name: str = "y") -> ArrayLike:
        """Targets as the loss takes them."""
        if self.targets is None:
            return y
        rows = checks.as_rows(_columns(y, name), name, "float64", len(self.targets.mean))
        return self.targets.transform(rows)

    def values(self, y: Array) -> Array:
        """Outputs or standardised targets (batch, n_out) as they are in the data."""
        return y if self.targets is None else self.targets.inverse_transform(y)


def names_of(x: object) -> tuple[str, ...] | None:
    """The names of a data frame's columns, if all are strings; None for anything else."""
    columns = getattr(x, "columns", None)
    if columns is None or not hasattr(x, "shape"):
        return None
    names = tuple(columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def _columns(y: ArrayLike, name: str = "y") -> Array:
    a = checks.as_array(y, name)
    return a[:, np.newaxis] if a.ndim == 1 else a


def _some(names: tuple[str, ...]) -> str:
    return str([*names[:10], "..."] if len(names) > 10 else list(names))
