"""Reading tables: delimited text, Parquet, Feather, JSON lines and NPZ, none of them trusted.

A size that a file states is compared with the bytes that are there before memory is taken for
it. What is broken raises `FormatError` with one line that names the file and the place in it; a
wrong argument raises ValueError; a file that cannot be opened raises OSError.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..table import Column, Labels, Table, is_frame
from .columnar import COLUMNAR, read_columnar
from .columns import choose
from .csv import read_text
from .dataset import Dataset, PathLike
from .dialect import Format
from .npz import read_npz
from .opening import PACKINGS, STDIN, Name, contents
from .targets import encode, found_target

__all__ = ["TABLE_SUFFIXES", "is_table_name", "load_table", "read_inputs", "read_table"]

_TEXT = (".csv", ".tsv", ".txt")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", *COLUMNAR, ".npz")
_TASKS = ("auto", "classification", "regression")

Targets = str | Sequence[str]


def read_table(path: PathLike, **layout: Any) -> Table:
    """Read a table with columns of any kind, cells missing or not.

    Parameters
    ----------
    path : path
        As `load_table` takes it, but for NPZ files.
    **layout
        ``header``, ``delimiter``, ``decimal``, ``encoding`` and ``na_values`` of `load_table`.

    Returns
    -------
    Table
        Its ``about`` says what was found out: separator, header and so on.
    """
    return _read(Path(path), Format(**_plain(layout)))


def load_table(
    path: PathLike | Any,
    target: Targets | None = None,
    *,
    features: Sequence[str] | None = None,
    task: str = "auto",
    classes: Sequence[int] | Sequence[str] | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    na_values: Sequence[str] = (),
) -> Dataset:
    """Read a table of numbers from a file or out of memory.

    Parameters
    ----------
    path : path, data frame or Arrow table
        A file whose name ends in ``.csv``, ``.tsv`` or ``.txt`` (delimited text, quoted with
        ``"``, at most 65,536 columns), ``.parquet``, ``.feather``, ``.arrow``, ``.jsonl``,
        ``.ndjson`` or ``.npz``; all but the last may be packed (``.gz``, ``.bz2``, ``.xz``,
        ``.zst``). ``-`` is delimited text from standard input. A frame is one of pandas or
        polars. All but NPZ need pyarrow: ``pip install cmlp[data]``.
    target : str or sequence of str, optional
        The column to predict, by default the last one; several are targets of a regression. In
        an NPZ file the array, by default ``y`` (the inputs are the array ``x``, pictures are
        unrolled). Columns of text without a header are called ``1``, ``2`` and so on.
    features : sequence of str, optional
        The columns for the inputs, in this order; by default all but the target and an index
        that a tool wrote (a first column without a name that counts the rows). In an NPZ file,
        which names no columns, only their number is checked.
    task : {"auto", "classification", "regression"}
        ``"auto"`` takes text, truth values and up to 20 different whole numbers (written without
        a point) as labels of classes, numbers with a fraction as targets of a regression.
    classes : sequence of int or of str, optional
        The classes that a trained network knows, in its order; implies classification. By
        default the labels of the file, sorted.
    header : bool, optional
        Whether the first row of text holds names; by default a comparison with the rows below
        tells.
    delimiter : str, optional
        What separates the cells of text; by default the tab, semicolon, bar or comma that the
        first rows agree on, or the one of a first line ``sep=;``.
    decimal : {".", ","}, optional
        What stands before a fraction in text; by default seen from the first rows.
    encoding : str, optional
        Of text, by Python's names; by default UTF-8, or UTF-16 where the file says so.
    na_values : sequence of str
        Texts that stand for no value besides the usual ones, such as ``NA``, ``?`` and ``null``.

    Returns
    -------
    Dataset
        ``x`` is float64, but float32 from arrays of NPZ files that it holds exactly.

    Raises
    ------
    FormatError
        A broken or empty file, a row of another length, an input that is not a finite number.
        The message has the line, or the row counted from 1, and the column.
    ValueError
        Another suffix, a column that is not there, a target that does not fit the task, a label
        that is not among `classes`, fewer than two classes, or whole numbers that could be
        labels or not (more than 20 different ones): give `task`.
    OSError
        The file cannot be opened.
    ImportError
        No pyarrow.
    """
    if task not in _TASKS:
        raise ValueError(f"task: got {task!r}, expected one of {', '.join(_TASKS)}")
    task = task if classes is None else "classification"
    form = Format(header, delimiter, decimal, encoding, tuple(na_values))
    names = [target] if isinstance(target, str) else target
    if is_frame(path):
        table = Table.of(path, "table")
        return dataset_of(table, names, features, task, classes, form.na_values)
    path = Path(path)
    if Name.of(path).kind == ".npz":
        if names is not None and len(names) > 1:
            raise ValueError(f"target: got {len(names)} names, expected one array of {path}")
        n_features = None if features is None else len(features)
        raw = read_npz(path, names[0] if names else None, n_features)
        assert raw.target is not None
        y, found = encode(path, raw.target, task, classes)
        return Dataset(path.stem, raw.x, y, found, None, raw.image_shape)
    return dataset_of(_read(path, form), names, features, task, classes, form.na_values)


def dataset_of(
    table: Table,
    targets: Sequence[str] | None,
    features: Sequence[str] | None,
    task: str,
    classes: Sequence[Any] | None,
    na_values: Sequence[str] = (),
) -> Dataset:
    """The set of a table whose features are numbers."""
    inputs, outputs = choose(table, targets, features)
    x = matrix(inputs)
    target = targets_of(outputs, task, na_values)
    y, found = encode(table.place, target, task, classes)
    return Dataset(table.name, x, y, found, tuple(column.name for column in inputs))


def targets_of(
    columns: Sequence[Column], task: str, na_values: Sequence[str]
) -> Labels | NDArray[np.float64]:
    """One target as labels or numbers, several as numbers (n, n_out)."""
    columns = [column.with_missing(("", *na_values)) for column in columns]
    if len(columns) == 1:
        return found_target(columns[0], task)
    return matrix(columns)


def matrix(columns: Sequence[Column]) -> NDArray[np.float64]:
    """Columns of finite numbers side by side."""
    x = np.empty((len(columns[0]), len(columns)))
    for i, column in enumerate(columns):
        x[:, i] = column.numbers(missing=False)
    return x


def read_inputs(
    path: PathLike, *, features: Sequence[str] | None = None, **layout: Any
) -> NDArray[Any]:
    """The inputs (n, n_in) of a table file alone; the arguments are those of `load_table`."""
    path = Path(path)
    if Name.of(path).kind == ".npz":
        return read_npz(path, None, None if features is None else len(features), False).x
    return inputs_of(_read(path, Format(**_plain(layout))), features)


def inputs_of(table: Table, features: Sequence[str] | None) -> NDArray[np.float64]:
    """The columns of these names as numbers; by default all."""
    return matrix(table.columns if features is None else table.select(features).columns)


def is_table_name(path: PathLike) -> bool:
    """Whether a path ends as tables do, or is standard input."""
    path = Path(path)
    return path == STDIN or Name.of(path).kind in TABLE_SUFFIXES


def _plain(layout: dict[str, Any]) -> dict[str, Any]:
    unknown = set(layout) - {field.name for field in dataclasses.fields(Format)}
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    return {name: tuple(v) if name == "na_values" else v for name, v in layout.items()}


def _read(path: Path, form: Format) -> Table:
    name = Name.of(path)
    if name.kind not in TABLE_SUFFIXES or (name.packing and name.kind == ".npz"):
        endings, packings = ", ".join(TABLE_SUFFIXES), ", ".join(PACKINGS)
        raise ValueError(
            f"path: got {path}, expected a name that ends in {endings}, packed or not ({packings})"
        )
    data = contents(path)
    if name.kind in _TEXT:
        return read_text(path, name.stem, data, form)
    return read_columnar(path, name.stem, name.kind, data, form.na_values)
