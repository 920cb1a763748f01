"""Tables with columns of any kind: numbers, truth values, times and text, cells missing or not.

A `Table` holds the columns of a file, of a data frame (pandas, polars) or of an Arrow table, not
copied where Arrow needs no copy.  What the cells of a column spell is found out when it is asked
for.  This needs pyarrow; of the package it imports errors alone.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError, one_line

KINDS = ("number", "truth", "time", "text")

# pandas' list of what is written for no value, and the question mark of the UCI tables.
MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "?", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null",
)  # fmt: skip

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
LEADING_ZEROS = r"^[+-]?0[0-9]+$"
TIME = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}/[0-9]{2}/[0-9]{2}|[0-9]{2}\.[0-9]{2}\.[0-9]{4})"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?Z?)?$"
)
_INFINITE = ("inf", "infinity", "nan")
_EXACT = 2.0**53  # below it every whole number is a float64


def arrow() -> Any:
    """pyarrow with its computations; ImportError says how to install it."""
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError as error:
        raise ImportError("tables need pyarrow: pip install cmlp[data]") from error
    return pyarrow


def shown(value: object) -> str:
    """A value from a file as messages show it: printable and short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 42 else f"{text[:41]}..."


def listed(values: Sequence[object]) -> str:
    """The first ten, for a message."""
    return ", ".join(map(shown, values[:10])) + (", ..." if len(values) > 10 else "")


class Labels(NamedTuple):
    """Each different value once, in order of appearance, and which each row has; -1 for none."""

    values: list[Any]
    codes: NDArray[Any]


class Column:
    """The cells of a column as they came.

    Parameters
    ----------
    name : str
    cells : pyarrow.Array or ChunkedArray
        Text as it was written (``written``), or values of Arrow's types.
    where : callable
        The place of row i (from 0) for messages.
    decimal : str
        What stands before the fraction of a number in text.
    missing : sequence of str
        Texts that stand for no value.
    """

    def __init__(
        self,
        name: str,
        cells: Any,
        where: Callable[[int], str],
        *,
        decimal: str = ".",
        missing: Sequence[str] = (),
    ) -> None:
        pa = arrow()
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        if pa.types.is_string_view(cells.type):  # few computations know it
            cells = cells.cast(pa.large_string())
        if pa.types.is_null(cells.type):
            cells = cells.cast(pa.float64())
        self.name = name
        self._raw, self._where, self._decimal = cells, where, decimal
        self._missing = tuple(missing)

    def __len__(self) -> int:
        return len(self._raw)

    @property
    def written(self) -> bool:
        """Whether the cells are text."""
        pa = arrow()
        kind = self._raw.type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def with_missing(self, missing: Sequence[str]) -> Column:
        """The same cells, of which other texts stand for no value."""
        return Column(self.name, self._raw, self._where, decimal=self._decimal, missing=missing)

    def take(self, rows: slice | NDArray[Any]) -> Column:
        """The cells of some rows."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return Column(
                self.name, self._raw.slice(start, max(0, stop - start)),
                lambda i: self._where(start + i), decimal=self._decimal, missing=self._missing,
            )  # fmt: skip
        return Column(
            self.name, self._raw.take(arrow().array(rows)), lambda i: self._where(int(rows[i])),
            decimal=self._decimal, missing=self._missing,
        )  # fmt: skip

    @cached_property
    def cells(self) -> Any:
        """The cells, null where there is no value."""
        if not self.written or not self._missing:
            return self._raw
        pa = arrow()
        absent = pa.compute.is_in(self._raw, pa.array(self._missing, self._raw.type))
        return pa.compute.if_else(absent, pa.scalar(None, self._raw.type), self._raw)

    @cached_property
    def n_missing(self) -> int:
        """How many rows have no value."""
        pa = arrow()
        n = int(self.cells.null_count)
        if pa.types.is_floating(self.cells.type):
            n += int(pa.compute.sum(pa.compute.is_nan(self.cells)).as_py() or 0)
        return n

    @cached_property
    def kind(self) -> str:
        """What the cells are, one of `KINDS`; numbers where all are missing."""
        pa = arrow()
        kind = self._raw.type
        if not self.written:
            if pa.types.is_boolean(kind):
                return "truth"
            if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
                return "number"
            if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
                return "time"
            raise FormatError(
                f"{self._place()} is of type {shown(str(kind))}, "
                "expected numbers, text, truth values or times"
            )
        if self._all(NUMBER, self._points):
            return "text" if self._any(LEADING_ZEROS) else "number"
        if self._all("^(?i:true|false)$", self.cells):
            return "truth"
        return "time" if self._all(TIME, self.cells) else "text"

    @cached_property
    def whole(self) -> bool:
        """Whether all are whole numbers, written without a point."""
        pa = arrow()
        if self.written:
            return self._all("^[+-]?[0-9]+$", self.cells)
        return bool(pa.types.is_integer(self._raw.type))

    @property
    def _points(self) -> Any:
        """The cells with a point before the fraction."""
        if self._decimal == ".":
            return self.cells
        return arrow().compute.replace_substring(self.cells, self._decimal, ".")

    def _all(self, pattern: str, cells: Any) -> bool:
        compute = arrow().compute
        found = compute.all(compute.match_substring_regex(cells, pattern), min_count=0)
        return bool(found.as_py())

    def _any(self, pattern: str) -> bool:
        compute = arrow().compute
        found = compute.any(compute.match_substring_regex(self.cells, pattern), min_count=0)
        return bool(found.as_py())

    # ---- values ------------------------------------------------------------------------------

    def numbers(self, missing: bool = True) -> NDArray[np.float64]:
        """The cells as float64 (n,), truth values as 0 and 1, NaN where there is none.

        Raises
        ------
        FormatError
            A cell that is no finite number, or (not ``missing``) an empty one: its place.
        """
        pa = arrow()
        compute = pa.compute
        if self.written and self._decimal == ".":
            try:
                values = self._floats(self._raw)
            except pa.ArrowInvalid:
                pass
            else:
                if np.isfinite(values).all():
                    return values
        if not self.written:
            if self.kind not in ("number", "truth"):
                raise FormatError(f"{self._place()} is {self._named()}, expected numbers")
            values = self._floats(self.cells)
        else:
            cells = self._points
            is_number = compute.match_substring_regex(cells, NUMBER)
            if not compute.all(is_number, min_count=0).as_py():
                if self.kind == "truth":
                    lower = compute.utf8_lower(self.cells)
                    values = self._floats(compute.equal(lower, "true"))
                    return self._checked(values, missing)
                i = int(compute.index(is_number, False).as_py())
                self._fail(i, None if missing else self._first_missing())
            values = self._floats(cells)
        return self._checked(values, missing)

    def _floats(self, cells: Any) -> NDArray[np.float64]:
        pa = arrow()
        found = pa.compute.cast(cells, pa.float64(), safe=False)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks()
        values: NDArray[np.float64] = found.to_numpy(zero_copy_only=False)
        return values

    def _checked(self, values: NDArray[np.float64], missing: bool) -> NDArray[np.float64]:
        finite = np.isfinite(values)
        if finite.all():
            return values
        wrong = np.isinf(values) if missing else ~finite
        if wrong.any():
            self._fail(int(wrong.argmax()), None)
        return values

    def _first_missing(self) -> int | None:
        pa = arrow()
        i = int(pa.compute.index(pa.compute.is_null(self.cells), True).as_py())
        return None if i < 0 else i

    def _fail(self, i: int, j: int | None) -> None:
        """Raise for the first of two rows; what is wrong follows from the cell."""
        i = i if j is None else min(i, j)
        raise FormatError(f"{self._where(i)}, column {shown(self.name)}: {self.fault(i)}")

    def fault(self, i: int) -> str:
        """What keeps the cell of row i from being a finite number."""
        cell = self._raw[i].as_py()
        if cell is None or cell == "":
            return "the cell is empty, expected a number"
        spelled = re.fullmatch(NUMBER, str(cell)) or str(cell).lower().lstrip("+-") in _INFINITE
        return f"{shown(cell)} is not a {'finite ' if spelled else ''}number"

    def labels(self, most: int) -> Labels:
        """The different values and which each row has, as they are written; text where written.

        Raises
        ------
        FormatError
            More than ``most``.
        """
        pa = arrow()
        found = pa.compute.dictionary_encode(self.cells)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks() if found.num_chunks != 1 else found.chunk(0)
        if isinstance(found, pa.ChunkedArray):
            found = found.unify_dictionaries().combine_chunks()
        if len(found.dictionary) > most:
            raise FormatError(f"{self._place()} has more than {most} different values")
        codes = found.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Labels(found.dictionary.to_pylist(), codes.astype(np.int32, copy=False))

    def times(self) -> NDArray[np.datetime64]:
        """The cells as datetime64[us] (n,), NaT where there is none.

        Raises
        ------
        FormatError
            A cell that is no time, such as a 30th of February: its place.
        """
        pa = arrow()
        compute, cells = pa.compute, self.cells
        if self.n_missing == len(self):
            return np.full(len(self), np.datetime64("NaT", "us"))
        if not self.written and self.kind != "time":
            raise FormatError(f"{self._place()} is {self._named()}, expected times")
        if self.written:
            text = compute.replace_substring_regex(
                cells, r"^([0-9]{2})\.([0-9]{2})\.([0-9]{4})", r"\3-\2-\1"
            )
            text = compute.replace_substring(compute.replace_substring(text, "/", "-"), "T", " ")
            text = compute.replace_substring_regex(text, "Z$", "")
            text = compute.replace_substring_regex(text, r"( [0-9]{2}:[0-9]{2})$", r"\1:00")
            try:
                cells = compute.cast(text, pa.timestamp("us"))
            except pa.ArrowInvalid as error:
                raise FormatError(
                    f"{self._place()} is no column of times ({one_line(error)})"
                ) from error
        found = compute.cast(cells, pa.timestamp("us"), safe=False)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks()
        values: NDArray[np.datetime64] = found.to_numpy(zero_copy_only=False)
        return values.astype("datetime64[us]", copy=False)

    def n_different(self) -> int:
        """How many different values there are, none not counted."""
        return int(arrow().compute.count_distinct(self.cells, mode="only_valid").as_py())

    def loses_digits(self) -> bool:
        """Whether whole numbers are too large for float64 to tell them apart."""
        if self.kind != "number" or not self.whole:
            return False
        values = self.numbers()
        if not (np.abs(values) >= _EXACT).any():
            return False
        return len(np.unique(values[~np.isnan(values)])) < self.n_different()

    def nearly_numbers(self) -> int | None:
        """The first row that is no number, in text of which half or more is; None otherwise."""
        pa = arrow()
        if not self.written or self.kind != "text" or self._any(LEADING_ZEROS):
            return None
        is_number = pa.compute.match_substring_regex(self._points, NUMBER)
        if 2 * pa.compute.sum(is_number).as_py() < len(self) - self.n_missing:
            return None
        return int(pa.compute.index(is_number, False).as_py())

    def texts(self) -> list[str]:
        """The cells as text, as they are written."""
        return ["" if cell is None else str(cell) for cell in self._raw.to_pylist()]

    def place(self, row: int) -> str:
        """Where the cell of a row stands."""
        return f"{self._where(row)}, column {shown(self.name)}"

    def _place(self) -> str:
        source = self._where(0).rpartition(": ")[0]
        return f"{source}: column {shown(self.name)}" if source else f"column {shown(self.name)}"

    def _named(self) -> str:
        names = {"time": "of times", "text": "text", "truth": "of truth values"}
        return names.get(self.kind, "of numbers")


class Table:
    """Columns of the same length by their names, in order.

    Attributes
    ----------
    name : str
    place : str
        What messages call it: the path of its file.
    about : dict of str
        What was found out when it was read: separator, header and so on.
    """

    def __init__(
        self,
        name: str,
        columns: Iterable[Column],
        about: dict[str, str] | None = None,
        place: object = None,
    ) -> None:
        self.name = name
        self.place = name if place is None else str(place)
        self.columns = list(columns)
        self.about = dict(about or {})

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __repr__(self) -> str:
        return f"<Table {self.name}: {len(self):,} rows, {len(self.columns)} columns>"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        """The column of a name; ValueError where none or several have it."""
        found = [column for column in self.columns if column.name == name]
        if not found:
            raise ValueError(f"{self.place} has no column {name!r}, it has {listed(self.names)}")
        if len(found) > 1:
            raise FormatError(f"{self.place}: the column {shown(name)} is named twice")
        return found[0]

    def select(self, names: Sequence[str]) -> Table:
        """The columns of these names, in this order."""
        counts = Counter(self.names)
        place = {column.name: column for column in self.columns}
        for name in names:
            if counts[name] != 1:
                return self._with([self[name] for name in names])
        return self._with([place[name] for name in names])

    def take(self, rows: slice | NDArray[Any]) -> Table:
        """Some rows."""
        return self._with([column.take(rows) for column in self.columns])

    def _with(self, columns: Iterable[Column]) -> Table:
        return Table(self.name, columns, self.about, self.place)

    @classmethod
    def of(cls, frame: Any, name: str = "x") -> Table:
        """The columns of a data frame, an Arrow table, or an array (n, columns).

        Raises
        ------
        TypeError
            Nothing of that kind, or a column whose values Arrow has no type for.
        """
        if isinstance(frame, Table):
            return frame
        pa = arrow()
        try:
            held = _arrow_table(pa, frame)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise TypeError(f"{name} is no table ({one_line(error)})") from error
        columns = []
        for column, cells in zip(held.column_names, held.columns, strict=True):
            columns.append(Column(str(column), cells, lambda i: f"{name}: row {i + 1}"))
        return cls(name, columns)


def is_frame(x: object) -> bool:
    """Whether x has named columns: a table, a data frame or an Arrow table."""
    return isinstance(x, Table) or (hasattr(x, "columns") and hasattr(x, "shape"))


def _arrow_table(pa: Any, frame: Any) -> Any:
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if type(frame).__module__.partition(".")[0] == "pandas":
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
        return pa.Table.from_pandas(frame, preserve_index=False)
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.table(frame)
    rows = np.asarray(frame)
    if rows.ndim != 2:
        raise ValueError(f"shape {rows.shape}; expected (n, columns)")
    names = map(str, itertools.count())
    return pa.table({next(names): pa.array(column, from_pandas=True) for column in rows.T})
