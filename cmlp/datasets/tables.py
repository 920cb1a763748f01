"""Reading tables: CSV, TSV, NPZ and Parquet files, none of them trusted.

A size that a file states is compared with the bytes that are there before memory is taken for
it. What is broken raises `FormatError` with one line that names the file and the place in it; a
wrong argument raises ValueError; a file that cannot be opened raises OSError.
"""

from __future__ import annotations

import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, one_line
from .columns import (
    MAX_CLASSES,
    Column,
    Raw,
    Wanted,
    check_unique,
    choose,
    finite_float32,
    listed,
    shown,
)
from .csv import read_csv
from .dataset import Dataset, Labels, PathLike
from .idx import MAX_EXPANSION, n_bytes, read_exactly

__all__ = ["TABLE_SUFFIXES", "load_table", "read_inputs"]

TABLE_SUFFIXES = (".csv", ".tsv", ".npz", ".parquet")

_TASKS = ("auto", "classification", "regression")
# What the zip reader raises on damaged archives besides its own error.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
)


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
    raw = _read(path, Wanted(target, True, features), header, task == "classification")
    assert raw.target is not None
    y, found = _encode(path, raw.target, task, classes)
    return Dataset(path.stem, raw.x, y, found, raw.feature_names, raw.image_shape)


def read_inputs(
    path: PathLike, *, features: Sequence[str] | None = None, header: bool | None = None
) -> NDArray[np.float32]:
    """The inputs (n, n_in) of a table file alone; the arguments are those of `load_table`."""
    return _read(Path(path), Wanted(None, False, features), header, False).x


def _read(path: Path, wanted: Wanted, header: bool | None, mixed_labels: bool) -> Raw:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return read_csv(path, wanted, header, mixed_labels)
    if suffix == ".npz":
        return _read_npz(path, wanted)
    if suffix == ".parquet":
        return _read_parquet(path, wanted)
    endings = ", ".join(TABLE_SUFFIXES)
    raise ValueError(f"path: got {path}, expected a name that ends in {endings}")


def _encode(
    path: Path,
    target: Column | NDArray[Any],
    task: str,
    classes: Sequence[int] | Sequence[str] | None,
) -> tuple[NDArray[Any], Labels | None]:
    """Turn targets into class numbers and their labels, or into float32 numbers."""
    if task == "auto":
        task = _guess_task(path, target)
    if task == "classification":
        return _encode_labels(path, target, classes)
    if isinstance(target, Column):
        first = target.values[0]
        if isinstance(first, str):
            raise ValueError(f"task: {path} has the target {shown(first)}, expected numbers")
        target = np.array(target.values, dtype=np.float64)[target.codes, np.newaxis]
    return finite_float32(path, "target", target), None


def _guess_task(path: Path, target: Column | NDArray[Any]) -> str:
    """Numbers with a fraction are regression; text and whole numbers are labels."""
    n = len(target.codes if isinstance(target, Column) else target)
    if not isinstance(target, Column):
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
    path: Path, target: Column | NDArray[Any], classes: Sequence[int] | Sequence[str] | None
) -> tuple[NDArray[np.int64], Labels]:
    """Number the labels by `classes`, or by their sorted order."""
    if not isinstance(target, Column):
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
        raise ValueError(f"target: {path} has one class, {shown(known[0])}, expected two or more")
    # Compared as text: 3 in one kind of file is "3" in another.
    number = {str(label): i for i, label in enumerate(known)}
    for label in labels:
        if str(label) not in number:
            raise ValueError(
                f"classes: {path} has the label {shown(label)}, expected one of {listed(known)}"
            )
    return np.array([number[str(label)] for label in labels], np.int64)[target.codes], known


# ---- NPZ -------------------------------------------------------------------------------------


def _read_npz(path: Path, wanted: Wanted) -> Raw:
    """Read the arrays `x` and `y` (or the one that the target names) of a NumPy archive."""
    target = wanted.target or "y"
    names = ["x", target] if wanted.with_target else ["x"]
    arrays = _npz_arrays(path, names)
    x = arrays["x"]
    if x.ndim < 2 or x.size == 0 or x.dtype.kind == "U":
        raise FormatError(f"{path}: x is {_kind(x)}, expected numbers of shape (n, n_in), n > 0")
    image_shape = (x.shape[1], x.shape[2]) if x.ndim == 3 else None
    x = finite_float32(path, "x", x.reshape(len(x), -1))
    if wanted.features is not None and len(wanted.features) != x.shape[1]:
        n_in = len(wanted.features)
        raise ValueError(f"features: {path} has {x.shape[1]} columns in x, expected {n_in}")
    if not wanted.with_target:
        return Raw(x, None, image_shape=image_shape)
    y = arrays[target]
    if y.ndim == 0 or y.ndim > 2 or y.size == 0 or len(y) != len(x):
        raise FormatError(f"{path}: {target} is {_kind(y)}, expected {len(x)} rows as x has")
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind == "U":
            raise FormatError(f"{path}: {target} is {_kind(y)}, expected one label a row")
        return Raw(x, y, image_shape=image_shape)
    return Raw(x, _column(path, target, y.ravel()), image_shape=image_shape)


def _kind(values: NDArray[Any]) -> str:
    return f"{values.dtype.name} of shape {values.shape}"


def _column(path: Path, name: str, y: NDArray[Any]) -> Column | NDArray[Any]:
    """A target column from the numbers, truth values or text of an array (n,)."""
    if y.dtype.kind == "f":
        finite_float32(path, name, y[:, np.newaxis])
    values, codes = np.unique(y, return_inverse=True)
    if len(values) > MAX_CLASSES:
        if y.dtype.kind == "U":
            raise FormatError(f"{path}: {name} has more than {MAX_CLASSES} labels")
        return y[:, np.newaxis]
    plain = values.astype(str) if values.dtype.kind == "b" else values
    return Column(plain.tolist(), codes)


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
    names_held = listed(held) or "none"
    if missing[0] == "x":
        raise FormatError(f"{path}: no array 'x', it has {names_held}")
    raise ValueError(f"target: {path} has no array {missing[0]!r}, it has {names_held}")


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


def _read_parquet(path: Path, wanted: Wanted) -> Raw:
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
            check_unique(path, names)
            features, target = choose(path, names, wanted)
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
        if isinstance(values, Column):
            raise FormatError(f"{path}: column {shown(names[i])} is text, expected numbers")
        name = f"column {shown(names[i])}"
        x[:, place] = finite_float32(path, name, values[:, np.newaxis])[:, 0]
    y = None if target is None else columns[-1]
    if isinstance(y, np.ndarray):
        y = _column(path, "target", y)
    return Raw(x, y, tuple(names[i] for i in features))


def _arrow_column(path: Path, name: str, values: Any) -> NDArray[Any] | Column:
    """A Parquet column as an array of numbers or truth values, or as text."""
    import pyarrow as pa

    if values.null_count:
        raise FormatError(f"{path}: column {shown(name)} has {values.null_count} empty cells")
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers: NDArray[Any] = values.to_numpy()
        return numbers
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise FormatError(
            f"{path}: column {shown(name)} is of type {shown(str(kind))}, expected numbers or text"
        )
    words = values.combine_chunks().dictionary_encode()
    if len(words.dictionary) > MAX_CLASSES:
        raise FormatError(f"{path}: column {shown(name)} has more than {MAX_CLASSES} labels")
    return Column(words.dictionary.to_pylist(), words.indices.to_numpy().astype(np.int64))
