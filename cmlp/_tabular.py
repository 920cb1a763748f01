"""Reading tables: CSV, TSV, NPZ and Parquet files, none of them trusted.

A size that a file states is compared with the bytes that are there before memory is taken for
it. What is broken raises `FormatError` with one line that names the file and the place in it; a
wrong argument raises ValueError; a file that cannot be opened raises OSError.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
import struct
import sys
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from cmlp._dataset import Dataset, Labels, PathLike
from cmlp._idx import MAX_EXPANSION, n_bytes, one_line, read_exactly
from cmlp.errors import FormatError

__all__ = ["TABLE_SUFFIXES", "load_table", "read_inputs"]

TABLE_SUFFIXES = (".csv", ".tsv", ".npz", ".parquet")

_TASKS = ("auto", "classification", "regression")
_FLOAT32_MAX = float(np.finfo(np.float32).max)
# What the zip reader raises on damaged archives besides its own error.
_ZIP_FAULTS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, OverflowError,
    RuntimeError,
)  # fmt: skip
MAX_CLASSES = MAX_COLUMNS = 1 << 16
_MAX_LINE = 1 << 24
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class _Wanted(NamedTuple):
    """Which columns the caller asks for."""

    target: str | None
    with_target: bool
    features: Sequence[str] | None


class _Column(NamedTuple):
    """A target column of n rows: each different value once, and which of them each row has."""

    values: list[str] | list[int] | list[float]
    codes: NDArray[Any]


class _Raw(NamedTuple):
    """A file's inputs, and its targets: a column, or (n, n_out) numbers, or none.

    Targets that are too many different ones for classes are (n, 1) numbers.
    """

    x: NDArray[np.float32]
    target: _Column | NDArray[Any] | None
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None


# ---- tables ----------------------------------------------------------------------------------


def load_table(
    path: PathLike,
    target: str | None = None,
    *,
    features: Sequence[str] | None = None,
    task: str = "auto",
    classes: Sequence[int] | Sequence[str] | None = None,
    header: bool | None = None,
) -> Dataset:
    """Read a CSV, TSV, NPZ or Parquet file.

    Parameters
    ----------
    path : path
        Ends in ``.csv``, ``.tsv``, ``.npz`` or ``.parquet``. CSV is UTF-8 text, separated by
        the one of comma, tab and semicolon that its first line has most of, quoted with ``"``;
        it has at most 65,536 columns.
        Parquet needs pyarrow: ``pip install cmlp[data]``.
    target : str, optional
        The column to predict, by default the last one; in an NPZ file the array, by default
        ``y`` (the inputs are the array ``x``, pictures are unrolled). Columns of a CSV file
        without a header are called ``1``, ``2`` and so on.
    features : sequence of str, optional
        The columns for the inputs, in this order; by default all but the target. In an NPZ
        file, which names no columns, only their number is checked.
    task : {"auto", "classification", "regression"}
        ``"auto"`` takes text, truth values and whole numbers (written without a point) as
        labels of classes, at most 65,536 of them, other numbers as targets of a regression.
    classes : sequence of int or of str, optional
        The classes that a trained network knows, in its order; implies classification. By
        default the labels of the file, sorted.
    header : bool, optional
        Whether the first row of a CSV file holds names; by default it does if no cell of it is
        a number.

    Returns
    -------
    Dataset

    Raises
    ------
    FormatError
        A broken or empty file, a row of another length, an input that is not a finite number.
        The message has the line, or the row counted from 1, and the column.
    ValueError
        Another suffix, a column that is not there, a target that does not fit the task, a label
        that is not among `classes`, fewer than two classes, or whole numbers that could be
        labels or not (more than 20, and more than half as many as rows): give `task`.
    OSError
        The file cannot be opened.
    ImportError
        Parquet without pyarrow.
    """
    path = Path(path)
    if task not in _TASKS:
        raise ValueError(f"task: got {task!r}, expected one of {', '.join(_TASKS)}")
    if classes is not None:
        task = "classification"
    raw = _read(path, _Wanted(target, True, features), header, task == "classification")
    assert raw.target is not None
    y, found = _encode(path, raw.target, task, classes)
    return Dataset(path.stem, raw.x, y, found, raw.feature_names, raw.image_shape)


def read_inputs(
    path: PathLike, *, features: Sequence[str] | None = None, header: bool | None = None
) -> NDArray[np.float32]:
    """The inputs (n, n_in) of a table file alone; the arguments are those of `load_table`."""
    return _read(Path(path), _Wanted(None, False, features), header, False).x


def _read(path: Path, wanted: _Wanted, header: bool | None, mixed_labels: bool) -> _Raw:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _read_csv(path, wanted, header, mixed_labels)
    if suffix == ".npz":
        return _read_npz(path, wanted)
    if suffix == ".parquet":
        return _read_parquet(path, wanted)
    endings = ", ".join(TABLE_SUFFIXES)
    raise ValueError(f"path: got {path}, expected a name that ends in {endings}")


def _choose(path: Path, names: Sequence[str], wanted: _Wanted) -> tuple[list[int], int | None]:
    """Find the columns of the inputs and of the target, which is the last one unless named."""
    place = {name: i for i, name in enumerate(names)}
    asked = [("features", name) for name in wanted.features or []]
    if wanted.target is not None:
        asked.append(("target", wanted.target))
    for argument, name in asked:
        if name not in place:
            raise ValueError(f"{argument}: {path} has no column {name!r}, it has {_listed(names)}")
    y = None
    if wanted.with_target:
        y = len(names) - 1 if wanted.target is None else place[wanted.target]
    if wanted.features is None:
        x = [i for i in range(len(names)) if i != y]
    else:
        x = [place[name] for name in wanted.features]
    if y in x:
        raise ValueError(f"features: {_shown(names[x[x.index(y)]])} is the target of {path}")
    if not x:
        raise FormatError(f"{path}: no column is left for the inputs, expected two columns or more")
    return x, y


def _encode(
    path: Path,
    target: _Column | NDArray[Any],
    task: str,
    classes: Sequence[int] | Sequence[str] | None,
) -> tuple[NDArray[Any], Labels | None]:
    """Turn targets into class numbers and their labels, or into float32 numbers."""
    if task == "auto":
        task = _guess_task(path, target)
    if task == "classification":
        return _encode_labels(path, target, classes)
    if isinstance(target, _Column):
        first = target.values[0]
        if isinstance(first, str):
            raise ValueError(f"task: {path} has the target {_shown(first)}, expected numbers")
        target = np.array(target.values, dtype=np.float64)[target.codes, np.newaxis]
    return _finite_float32(path, "target", target), None


def _guess_task(path: Path, target: _Column | NDArray[Any]) -> str:
    """Numbers with a fraction are regression; text and whole numbers are labels."""
    n = len(target.codes if isinstance(target, _Column) else target)
    if not isinstance(target, _Column):
        if target.shape[1] > 1 or (target % 1 != 0).any():
            return "regression"
        n_values = f"more than {MAX_CLASSES}"
    elif isinstance(target.values[0], float):
        return "regression"
    elif isinstance(target.values[0], str) or len(target.values) <= max(20, n // 2):
        return "classification"
    else:
        n_values = str(len(target.values))
    raise ValueError(
        f"task: {path} has {n_values} different whole numbers as targets of {n} rows, "
        "expected task='classification' or task='regression' to be given"
    )


def _encode_labels(
    path: Path, target: _Column | NDArray[Any], classes: Sequence[int] | Sequence[str] | None
) -> tuple[NDArray[np.int64], Labels]:
    """Number the labels by `classes`, or by their sorted order."""
    if not isinstance(target, _Column):
        several = target.shape[1] > 1
        what = "several targets a row" if several else f"more than {MAX_CLASSES} different targets"
        raise ValueError(f"task: {path} has {what}, expected one label")
    labels: list[Any] = []
    for value in target.values:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(f"task: {path} has the target {value}, expected labels")
        labels.append(value if isinstance(value, str) else int(value))
    known: Labels = tuple(sorted(set(labels)) if classes is None else classes)
    if classes is None and len(known) < 2:
        raise ValueError(f"target: {path} has one class, {_shown(known[0])}, expected two or more")
    # Compared as text: 3 in one kind of file is "3" in another.
    number = {str(label): i for i, label in enumerate(known)}
    for label in labels:
        if str(label) not in number:
            raise ValueError(
                f"classes: {path} has the label {_shown(label)}, expected one of {_listed(known)}"
            )
    return np.array([number[str(label)] for label in labels], np.int64)[target.codes], known


def _shown(value: str | float) -> str:
    """A value from a file as messages show it: printable and short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 42 else f"{text[:41]}..."


def _listed(values: Sequence[str] | Sequence[int]) -> str:
    return ", ".join(map(_shown, values[:10])) + (", ..." if len(values) > 10 else "")


def _check_unique(path: Path, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise FormatError(f"{path}: the column {_shown(twice)} is named twice")


def _finite_float32(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """`values` (n, columns) as C-contiguous float32, refused if one is not finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(result)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        value = values[row, column]
        raise FormatError(f"{path}: {name}, row {row + 1}: {value} is no finite float32 number")
    return result


# ---- CSV and TSV -----------------------------------------------------------------------------


def _read_csv(path: Path, wanted: _Wanted, header: bool | None, mixed_labels: bool) -> _Raw:
    """Read row by row: the text is never in memory as a whole.

    `mixed_labels` takes a target column of words and numbers as labels, which is otherwise
    refused.
    """
    rows = _csv_rows(path)
    line, first = next(rows, (0, []))
    if not first:
        raise FormatError(f"{path}: the file is empty")
    if header is None:
        header = all(_number(cell) is None for cell in first)
    names = _column_names(path, first, header)
    features, target = _choose(path, names, wanted)
    inputs = array("f")
    cells = None if target is None else _Cells(path, names[target])
    data = rows if header else itertools.chain([(line, first)], rows)
    for line, row in data:
        if len(row) != len(names):
            raise FormatError(f"{path}: line {line} has {len(row)} cells, expected {len(names)}")
        inputs.extend(_numbers(path, line, row, names, features))
        if cells is not None and target is not None:
            cells.add(row[target].strip(), line)
    if not inputs:
        raise FormatError(f"{path}: no rows below the header")
    x = np.frombuffer(inputs, dtype=np.float32).reshape(-1, len(features))
    y = None if cells is None else cells.column(mixed_labels)
    return _Raw(x, y, tuple(names[i] for i in features))


class _Cells:
    """A target column as it is read.

    Each different cell is kept once, until they are too many for labels: then they are numbers.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._code_of: dict[str, int] = {}
        self._first_lines: list[int] = []
        self._codes = array("H")
        self._numbers: array[float] | None = None

    def add(self, cell: str, line: int) -> None:
        if self._numbers is not None:
            self._numbers.append(self._number(cell, line))
            return
        code = self._code_of.setdefault(cell, len(self._code_of))
        if code == len(self._first_lines):
            self._first_lines.append(line)
        if code < MAX_CLASSES:
            self._codes.append(code)
            return
        known = np.array(list(map(self._number, self._code_of, self._first_lines)))
        self._numbers = array("d", known[np.frombuffer(self._codes, np.uint16)].tobytes())
        self._numbers.append(known[-1])

    def _number(self, cell: str, line: int) -> float:
        if fault := _fault(cell):
            raise FormatError(
                f"{self._where(line)}: {fault}, "
                f"and more than {MAX_CLASSES} different targets cannot be labels"
            )
        return float(cell)

    def column(self, mixed_labels: bool) -> _Column | NDArray[Any]:
        """What the cells are, once all are there."""
        if self._numbers is not None:
            return np.frombuffer(self._numbers)[:, np.newaxis]
        codes = np.frombuffer(self._codes, np.uint16)
        return _Column(self._values(list(self._code_of), mixed_labels), codes)

    def _values(self, cells: list[str], mixed_labels: bool) -> list[str] | list[int] | list[float]:
        """The different cells as whole numbers, numbers or text."""
        faults = [_fault(cell) for cell in cells]
        if not any(faults):
            if all(_WHOLE_NUMBER.fullmatch(cell) for cell in cells):
                return [int(cell) for cell in cells]
            return [float(cell) for cell in cells]
        if "" in cells:
            line = self._first_lines[cells.index("")]
            raise FormatError(f"{self._where(line)}: the cell is empty, expected a target")
        if mixed_labels or all(_number(cell) is None for cell in cells):
            return cells
        i = next(i for i, fault in enumerate(faults) if fault)
        line = self._first_lines[i]
        raise FormatError(f"{self._where(line)}: {faults[i]}, as other targets are")

    def _where(self, line: int) -> str:
        return f"{self._path}: line {line}, column {_shown(self._name)}"


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of its last line from 1."""
    line = cells = 0

    def lines(stream: TextIO) -> Iterator[str]:
        """The text line by line, as long as a row of it stays small."""
        nonlocal cells
        while text := stream.readline(_MAX_LINE):
            cells += text.count(delimiter)
            if cells >= MAX_COLUMNS or len(text) == _MAX_LINE:
                raise FormatError(
                    f"{path}: after line {line}: a row of more than {MAX_COLUMNS} cells, "
                    f"or a line of more than {_MAX_LINE} characters"
                )
            yield text

    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            start = stream.readline(_MAX_LINE)
            while start and not start.strip():
                start = stream.readline(_MAX_LINE)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",\t;", key=start.count)
            stream.seek(0)
            reader = csv.reader(
                lines(stream), delimiter=delimiter, skipinitialspace=True, strict=True
            )
            for row in reader:
                line, cells = reader.line_num, 0
                if len(row) > 1 or any(cell.strip() for cell in row):
                    yield line, row
    except csv.Error as error:
        raise FormatError(f"{path}: after line {line}: {error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 text ({error.reason})") from error


def _column_names(path: Path, first: list[str], header: bool) -> list[str]:
    """The header's names; a column without one is called by its number from 1."""
    names = [(cell.strip() if header else "") or str(i) for i, cell in enumerate(first, 1)]
    _check_unique(path, names)
    return names


def _number(cell: str) -> float | None:
    """The number that a cell spells, None if it spells none."""
    # float() would take the underscores of Python's literals.
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(
    path: Path, line: int, row: list[str], names: list[str], columns: list[int]
) -> list[float]:
    """The cells of `columns` as numbers that float32 can hold."""
    cells = [row[i] for i in columns]
    try:
        numbers = list(map(float, cells))
        if all(-_FLOAT32_MAX <= v <= _FLOAT32_MAX for v in numbers) and "_" not in "".join(cells):
            return numbers
    except ValueError:
        pass
    # The row is wrong; which cell is it?
    bad = next(i for i in columns if _fault(row[i]))
    raise FormatError(f"{path}: line {line}, column {_shown(names[bad])}: {_fault(row[bad])}")


def _fault(cell: str) -> str | None:
    """What keeps a cell from being a finite float32 number; None if nothing does."""
    if not cell.strip():
        return "the cell is empty, expected a number"
    number = _number(cell)
    if number is None:
        return f"{_shown(cell)} is not a number"
    if not abs(number) <= _FLOAT32_MAX:
        return f"{_shown(cell)} is not a finite float32 number"
    return None


# ---- NPZ -------------------------------------------------------------------------------------


def _read_npz(path: Path, wanted: _Wanted) -> _Raw:
    """Read the arrays `x` and `y` (or the one that the target names) of a NumPy archive."""
    target = wanted.target or "y"
    names = ["x", target] if wanted.with_target else ["x"]
    arrays = _npz_arrays(path, names)
    x = arrays["x"]
    if x.ndim < 2 or x.size == 0 or x.dtype.kind == "U":
        raise FormatError(f"{path}: x is {_kind(x)}, expected numbers of shape (n, n_in), n > 0")
    image_shape = (x.shape[1], x.shape[2]) if x.ndim == 3 else None
    x = _finite_float32(path, "x", x.reshape(len(x), -1))
    if wanted.features is not None and len(wanted.features) != x.shape[1]:
        n_in = len(wanted.features)
        raise ValueError(f"features: {path} has {x.shape[1]} columns in x, expected {n_in}")
    if not wanted.with_target:
        return _Raw(x, None, image_shape=image_shape)
    y = arrays[target]
    if y.ndim == 0 or y.ndim > 2 or y.size == 0 or len(y) != len(x):
        raise FormatError(f"{path}: {target} is {_kind(y)}, expected {len(x)} rows as x has")
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind == "U":
            raise FormatError(f"{path}: {target} is {_kind(y)}, expected one label a row")
        return _Raw(x, y, image_shape=image_shape)
    return _Raw(x, _column(path, target, y.ravel()), image_shape=image_shape)


def _kind(values: NDArray[Any]) -> str:
    return f"{values.dtype.name} of shape {values.shape}"


def _column(path: Path, name: str, y: NDArray[Any]) -> _Column | NDArray[Any]:
    """A target column from the numbers, truth values or text of an array (n,)."""
    if y.dtype.kind == "f":
        _finite_float32(path, name, y[:, np.newaxis])
    values, codes = np.unique(y, return_inverse=True)
    if len(values) > MAX_CLASSES:
        if y.dtype.kind == "U":
            raise FormatError(f"{path}: {name} has more than {MAX_CLASSES} labels")
        return y[:, np.newaxis]
    listed = values.astype(str) if values.dtype.kind == "b" else values
    return _Column(listed.tolist(), codes)


def _npz_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            with zipfile.ZipFile(stream) as archive:
                held = [name.removesuffix(".npy") for name in archive.namelist()]
                missing = [name for name in names if f"{name}.npy" not in archive.namelist()]
                if not missing:
                    return {name: _npy_member(path, archive, name, size) for name in names}
        except FormatError:
            raise
        except _ZIP_FAULTS as error:
            raise FormatError(f"{path}: not a whole NPZ file ({one_line(error)})") from error
    listed = _listed(held) or "none"
    if missing[0] == "x":
        raise FormatError(f"{path}: no array 'x', it has {listed}")
    raise ValueError(f"target: {path} has no array {missing[0]!r}, it has {listed}")


def _npy_member(path: Path, archive: zipfile.ZipFile, name: str, size: int) -> NDArray[Any]:
    """One array; its header is believed only as far as the bytes of the file can bear it out."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"{path}: {name} is packed in a way that NumPy does not write")
    if info.compress_size > size or info.file_size > MAX_EXPANSION * size:
        raise FormatError(f"{path}: {name} claims {info.file_size} bytes in a file of {size}")
    with archive.open(info) as stream:
        shape, fortran, dtype = _npy_header(path, name, stream)
        if dtype.kind not in "biufU":
            raise FormatError(f"{path}: {name} is of type {dtype.name}, expected numbers or text")
        expected = n_bytes(path, shape, dtype)
        if expected > info.file_size:
            raise FormatError(f"{path}: {name} claims {expected} bytes, {info.file_size} are there")
        data = read_exactly(stream, expected)
    if len(data) != expected:
        raise FormatError(f"{path}: {name} has {len(data)} bytes of data, expected {expected}")
    values = np.frombuffer(data, dtype)
    if dtype.kind == "U":
        _check_characters(path, name, values)
    return values.reshape(shape, order="F" if fortran else "C")


def _check_characters(path: Path, name: str, text: NDArray[np.str_]) -> None:
    """Refuse text with numbers that are no characters, from which no str can be made."""
    codes = text.view(np.dtype(np.uint32).newbyteorder(text.dtype.byteorder))
    if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise FormatError(f"{path}: {name} has text with numbers that are no characters")


def _npy_header(
    path: Path, name: str, stream: IO[bytes]
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        return np.lib.format.read_array_header_2_0(stream)
    except (zipfile.BadZipFile, zlib.error):
        raise
    # The header is a Python literal, and parsing a damaged one can end in almost any error.
    except Exception as error:
        raise FormatError(f"{path}: {name} has no readable NumPy header") from error


# ---- Parquet ---------------------------------------------------------------------------------


def _read_parquet(path: Path, wanted: _Wanted) -> _Raw:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install cmlp[data]") from error
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            file = pq.ParquetFile(stream)
            names = file.schema_arrow.names
            _check_unique(path, names)
            features, target = _choose(path, names, wanted)
            chosen = features if target is None else [*features, target]
            n = file.metadata.num_rows
            if n < 1 or 4 * n * len(chosen) > MAX_EXPANSION * size:
                raise FormatError(
                    f"{path}: claims {n} rows of {len(chosen)} columns in {size} bytes"
                )
            table = file.read(columns=[names[i] for i in chosen])
            if table.num_rows != n:
                raise FormatError(f"{path}: claims {n} rows, {table.num_rows} are there")
            columns = [_arrow_column(path, names[i], table.column(names[i])) for i in chosen]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: not a whole Parquet file ({one_line(error)})") from error
    x = np.empty((n, len(features)), dtype=np.float32)
    for place, i in enumerate(features):
        values = columns[place]
        if isinstance(values, _Column):
            raise FormatError(f"{path}: column {_shown(names[i])} is text, expected numbers")
        name = f"column {_shown(names[i])}"
        x[:, place] = _finite_float32(path, name, values[:, np.newaxis])[:, 0]
    y = None if target is None else columns[-1]
    if isinstance(y, np.ndarray):
        y = _column(path, "target", y)
    return _Raw(x, y, tuple(names[i] for i in features))


def _arrow_column(path: Path, name: str, values: Any) -> NDArray[Any] | _Column:
    """A Parquet column as an array of numbers or truth values, or as text."""
    import pyarrow as pa

    if values.null_count:
        raise FormatError(f"{path}: column {_shown(name)} has {values.null_count} empty cells")
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers: NDArray[Any] = values.to_numpy()
        return numbers
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise FormatError(
            f"{path}: column {_shown(name)} is of type {_shown(str(kind))}, "
            "expected numbers or text"
        )
    words = values.combine_chunks().dictionary_encode()
    if len(words.dictionary) > MAX_CLASSES:
        raise FormatError(f"{path}: column {_shown(name)} has more than {MAX_CLASSES} labels")
    return _Column(words.dictionary.to_pylist(), words.indices.to_numpy().astype(np.int64))
