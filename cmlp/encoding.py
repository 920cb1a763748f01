"""From the columns of a table to a net's inputs, as learnt from a training part: `TableEncoder`.

Each column has an encoder that is fitted once and never changes: `NumberEncoder`, `CategoryEncoder`
or `TimeEncoder`.  A value that a net has not been trained on, such as an unknown category or a
number that was never missing before, is all zeros: a place that no training row uses would keep
its random weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .table import Column, Table, listed, shown

Floats = NDArray[np.float64]

KINDS = ("number", "category", "time", "ignore")
NUMBERS = ("robust", "standard", "quantile", "none")

_CLIP = 3.0
_MOST = 1e300  # what is scaled stays within, however small a spread was
_QUANTILES = 101
_MOST_VALUES = 1 << 16
_PARTS = (("month", 12.0), ("weekday", 7.0), ("hour", 24.0))


@dataclass(frozen=True)
class NumberEncoder:
    """A number as (x - center) / scale, and whether it is missing where that occurred.

    Attributes
    ----------
    method : {"robust", "standard", "quantile", "none"}
        ``"robust"``: median and spread of the middle half, clipped smoothly to (-3, 3) by
        z / sqrt(1 + (z / 3)^2), after Holzmüller, Grinsztajn and Steinwart, *Better by default:
        Strong pre-tuned MLPs and boosted trees on tabular data* (2024). ``"standard"``: mean and
        deviation. ``"quantile"``: the quantiles of a normal distribution.
    center, scale : float
    quantiles : tuple of (float, float)
        Values and what becomes of them, between which lines are drawn.
    missing : bool
        Whether a second input says that there is no value; the first one is 0 then.
    """

    kind: ClassVar[str] = "number"

    method: str
    center: float
    scale: float
    quantiles: tuple[tuple[float, float], ...]
    missing: bool

    @classmethod
    def fit(cls, column: Column, method: str) -> NumberEncoder:
        """Learn from the values that are there."""
        values = column.numbers()
        known = values[~np.isnan(values)]
        missing = len(known) < len(values)
        center, scale = 0.0, 1.0
        quantiles: tuple[tuple[float, float], ...] = ()
        if len(known) and method == "standard":
            center, scale = float(known.mean()), float(known.std())
        elif len(known) and method == "robust":
            low, center, high = map(float, np.quantile(known, [0.25, 0.5, 0.75]))
            scale = high - low
            if scale == 0.0:
                scale = (float(known.max()) - float(known.min())) / 2
        elif len(known) and method == "quantile":
            quantiles = _quantiles(known)
        if not (math.isfinite(center) and math.isfinite(scale)):
            raise ValueError(f"column {shown(column.name)} has numbers too large to be scaled")
        constant = len(known) == 0 or known.max() == known.min() or scale == 0.0
        return cls(method, center, 1.0 if constant else scale, quantiles, missing)

    @property
    def names(self) -> tuple[str, ...]:
        """What the inputs are called after the column's name."""
        return ("", " missing") if self.missing else ("",)

    def transform(self, column: Column) -> Floats:
        """Inputs (n, 1), or (n, 2) with whether it is missing."""
        values = column.numbers()
        absent = np.isnan(values)
        if self.quantiles:
            known, z = np.array(self.quantiles).T
            values = np.interp(values, known, z)
        else:
            with np.errstate(over="ignore"):
                values = np.clip((values - self.center) / self.scale, -_MOST, _MOST)
        if self.method == "robust":
            values = _clipped(values)
        values = np.where(absent, 0.0, values)
        return np.column_stack([values, absent]) if self.missing else values[:, np.newaxis]

    def describe(self) -> str:
        """For people."""
        how = {"none": "as it is", "quantile": "by quantiles"}.get(self.method)
        how = how or f"{self.method}, center {self.center:.6g}, scale {self.scale:.6g}"
        return f"number ({how}{', missing or not' if self.missing else ''})"


def _clipped(z: Floats) -> Floats:
    """z / sqrt(1 + (z / 3)^2), where the square may overflow."""
    inside: Floats = z / np.hypot(1.0, z / _CLIP)
    return inside


def _quantiles(known: Floats) -> tuple[tuple[float, float], ...]:
    """Different values at evenly spaced ranks, with the mean normal quantile of each."""
    share = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    values = np.quantile(known, share)
    z = np.array([NormalDist().inv_cdf(p) for p in share])
    different, places = np.unique(values, return_inverse=True)
    means = np.bincount(places, z) / np.bincount(places)
    return tuple(zip(different.tolist(), means.tolist(), strict=True))


@dataclass(frozen=True)
class CategoryEncoder:
    """A category as one input for each value, and one for rare ones and one for none.

    Attributes
    ----------
    values : tuple of str
        Those with an input of their own, the most frequent first.
    rare, missing : bool
        Whether training rows had other values, and none; only then these have an input. An
        unknown value is taken for a rare one.
    """

    kind: ClassVar[str] = "category"

    values: tuple[str, ...]
    rare: bool
    missing: bool

    @classmethod
    def fit(cls, column: Column, most: int) -> CategoryEncoder:
        """Learn the most frequent values, of more than ``most`` those that occur twice or more."""
        found = column.labels(_MOST_VALUES)
        counts = np.bincount(found.codes[found.codes >= 0], minlength=len(found.values))
        order = np.argsort(-counts, kind="stable")
        if len(order) > most:
            order = np.array([i for i in order[:most] if counts[i] > 1], dtype=np.int64)
        values = tuple(str(found.values[i]) for i in order)
        return cls(values, len(values) < len(found.values), bool((found.codes < 0).any()))

    @property
    def names(self) -> tuple[str, ...]:
        """What the inputs are called after the column's name."""
        rare = [" other"] if self.rare else []
        missing = [" missing"] if self.missing else []
        return (*(f" = {value}" for value in self.values), *rare, *missing)

    def transform(self, column: Column) -> Floats:
        """Inputs (n, values), 0 but for one of them."""
        found = column.labels(_MOST_VALUES)
        place = {value: i for i, value in enumerate(self.values)}
        n, width = len(self.values), len(self.names)
        # One column more takes what has no input.
        other = n if self.rare else width
        places = [place.get(str(value), other) for value in found.values]
        places.append(width - 1 if self.missing else width)  # of the code -1
        inputs = np.zeros((len(found.codes), width + 1))
        inputs[np.arange(len(inputs)), np.array(places)[found.codes]] = 1.0
        return np.ascontiguousarray(inputs[:, :width])

    def describe(self) -> str:
        """For people."""
        more = ", others" if self.rare else ""
        more += ", missing or not" if self.missing else ""
        return f"category ({len(self.values)} values: {listed(self.values)}{more})"


@dataclass(frozen=True)
class TimeEncoder:
    """A time as a trend and the places in year, week and day, as sine and cosine.

    Attributes
    ----------
    center, scale : float
        Of the seconds since 1970: the trend is (t - center) / scale, clipped as robust numbers.
    parts : tuple of str
        Those of month, weekday and hour in which the training rows differ.
    missing : bool
        Whether an input says that there is no time; all others are 0 then.
    """

    kind: ClassVar[str] = "time"

    center: float
    scale: float
    parts: tuple[str, ...]
    missing: bool

    @classmethod
    def fit(cls, column: Column) -> TimeEncoder:
        """Learn from the times that are there."""
        times = column.times()
        known = times[~np.isnat(times)]
        if not len(known):
            return cls(0.0, 1.0, (), bool(len(times)))
        low, center, high = map(float, np.quantile(_seconds(known), [0.0, 0.5, 1.0]))
        scale = (high - low) / 2 or 1.0
        parts = tuple(name for name, value in _calendar(known).items() if value.max() > value.min())
        return cls(center, scale, parts, len(known) < len(times))

    @property
    def names(self) -> tuple[str, ...]:
        """What the inputs are called after the column's name."""
        waves = [f" {part} {wave}" for part in self.parts for wave in ("sine", "cosine")]
        return (" trend", *waves, *([" missing"] if self.missing else []))

    def transform(self, column: Column) -> Floats:
        """Inputs (n, 1 + 2 parts), and whether it is missing."""
        times = column.times()
        absent = np.isnat(times)
        times = np.where(absent, np.datetime64(0, "us"), times)
        trend = (_seconds(times) - self.center) / self.scale
        found = [_clipped(trend)]
        calendar, length = _calendar(times), dict(_PARTS)
        for part in self.parts:
            angle = 2 * np.pi * calendar[part] / length[part]
            found += [np.sin(angle), np.cos(angle)]
        inputs = np.where(absent[:, np.newaxis], 0.0, np.column_stack(found))
        return np.column_stack([inputs, absent]) if self.missing else inputs

    def describe(self) -> str:
        """For people."""
        missing = ", missing or not" if self.missing else ""
        return f"time ({', '.join(('trend', *self.parts))}{missing})"


def _seconds(times: NDArray[np.datetime64]) -> Floats:
    """Seconds since 1970."""
    microseconds = times.astype("datetime64[us]").astype(np.int64)
    seconds: Floats = microseconds / 1e6
    return seconds


def _calendar(times: NDArray[np.datetime64]) -> dict[str, Floats]:
    """Places in year, week and day."""
    months = times.astype("datetime64[M]").astype(np.int64) % 12
    days = times.astype("datetime64[D]")
    weekdays = (days.astype(np.int64) + 3) % 7
    hours = (times - days) / np.timedelta64(1, "h")
    return {
        "month": months.astype(np.float64),
        "weekday": weekdays.astype(np.float64),
        "hour": hours.astype(np.float64),
    }


Encoder = NumberEncoder | CategoryEncoder | TimeEncoder
_ENCODERS: dict[str, type[Encoder]] = {
    kind.kind: kind for kind in (NumberEncoder, CategoryEncoder, TimeEncoder)
}


class TableEncoder:
    """What was learnt of the columns of a table; never changed.

    Parameters
    ----------
    encoders : mapping of str to encoder
        By the names of the columns, in order.
    named : bool
        Whether tables have columns of these names; otherwise they are taken in order.
    """

    def __init__(self, encoders: Mapping[str, Encoder], named: bool = True) -> None:
        self.encoders, self.named = dict(encoders), named

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are used."""
        return tuple(self.encoders)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs of the net."""
        return tuple(name + more for name, e in self.encoders.items() for more in e.names)

    def transform(self, x: Any, name: str = "x") -> Floats:
        """Inputs (n, n_in) of a table, a data frame or an array of columns.

        Raises
        ------
        ValueError
            A column is missing, or has values of another kind.
        TypeError
            x is no table.
        """
        table = Table.of(x, name)
        columns = self._columns(table, name)
        parts = [
            encoder.transform(column)
            for encoder, column in zip(self.encoders.values(), columns, strict=True)
        ]
        return np.hstack(parts) if parts else np.empty((len(table), 0))

    def _columns(self, table: Table, name: str) -> list[Column]:
        if self.named:
            held = set(table.names)
            lacking = [one for one in self.names if one not in held]
            if lacking:
                raise ValueError(
                    f"{table.place} lacks the columns {listed(lacking)}; it has "
                    f"{listed(table.names)}"
                )
            return table.select(self.names).columns
        if len(table.columns) != len(self.names):
            raise ValueError(f"{name} has {len(table.columns)} columns; expected {len(self.names)}")
        return table.columns

    def describe(self) -> dict[str, str]:
        """What each column is taken for."""
        return {name: encoder.describe() for name, encoder in self.encoders.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which keep every number; `from_dict` takes them back."""
        columns = [
            {"name": name, "kind": encoder.kind, **asdict(encoder)}
            for name, encoder in self.encoders.items()
        ]
        return {"named": self.named, "columns": columns}

    @classmethod
    def from_dict(cls, about: Any) -> TableEncoder:
        """Rebuild from `to_dict`'s result; FormatError for anything else."""
        try:
            if not isinstance(about, dict) or set(about) != {"named", "columns"}:
                raise ValueError("expected named and columns")
            found: dict[str, Encoder] = {}
            for column in about["columns"]:
                values = dict(column)
                name, kind = values.pop("name"), values.pop("kind")
                if type(name) is not str or name in found:
                    raise ValueError(f"a column is called {shown(name)}")
                found[name] = _checked(_ENCODERS[kind], values)
            if type(about["named"]) is not bool:
                raise ValueError("named is no bool")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"the columns of a preprocessing are broken ({error})") from error
        return cls(found, about["named"])


def _checked(kind: type[Encoder], values: dict[str, Any]) -> Encoder:
    """An encoder of values that a file has; ValueError or TypeError where they make no sense."""
    for name, value in values.items():
        if name in ("missing", "rare"):
            good = type(value) is bool
        elif name in ("center", "scale"):
            good = type(value) in (int, float) and math.isfinite(value)
            good = good and (name == "center" or value > 0)
        elif name == "method":
            good = value in NUMBERS
        elif name == "quantiles":
            good = isinstance(value, list) and all(
                isinstance(pair, list) and len(pair) == 2
                and all(type(v) in (int, float) and math.isfinite(v) for v in pair)
                for pair in value
            )  # fmt: skip
            good = good and all(a[0] < b[0] for a, b in itertools.pairwise(value))
            values = {**values, name: tuple(tuple(pair) for pair in value) if good else ()}
        else:
            good = isinstance(value, list) and all(type(text) is str for text in value)
            good = good and len(set(value)) == len(value)
            if name == "parts":
                good = good and set(value) <= {part for part, _ in _PARTS}
            values = {**values, name: tuple(value) if good else ()}
        if not good:
            raise ValueError(f"{name} is {shown(value)}")
    return kind(**values)
