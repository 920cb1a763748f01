"""Blocks of tables: Parquet files, and the data frames of Arrow, Polars and Dask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import Array
from ..errors import FormatError, one_line
from .blocks import PIECE_BYTES, Blocks, Chunk, Watch, cut

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what.

    Attributes
    ----------
    target : str or sequence of str
    features : sequence of str or None
        All others if None.
    weight : str or None
    """

    target: str | Sequence[str]
    features: Sequence[str] | None
    weight: str | None

    @property
    def targets(self) -> list[str]:
        """The columns of the targets."""
        return [self.target] if isinstance(self.target, str) else list(self.target)

    def among(self, names: Sequence[str]) -> Columns:
        """The same with the features named; ValueError for a column that is not there."""
        others = [*self.targets, *([] if self.weight is None else [self.weight])]
        features = self.features
        if features is None:
            features = [name for name in names if name not in others]
        for name in (*features, *others):
            if name not in names:
                raise ValueError(
                    f"there is no column {name!r}; expected some of {list(names)[:20]}"
                )
        if not features:
            raise ValueError("there is no column for the inputs; expected one or more")
        return Columns(self.target, tuple(features), self.weight)

    def wanted(self, inputs: bool = True) -> list[str]:
        """All columns that are read, or those beside the inputs."""
        assert self.features is not None
        weight = [] if self.weight is None else [self.weight]
        features = self.features if inputs else ()
        return list(dict.fromkeys([*features, *self.targets, *weight]))

    def chunk(self, batch: Any) -> Chunk:
        """A chunk of the columns of an Arrow table or record batch."""
        assert self.features is not None
        column = _column_of(batch)
        rows = TableRows(batch.select(list(self.features)), self.features)
        return Chunk(rows, self.y(column), self.weights(column))

    def y(self, column: Callable[[str], Array]) -> Array:
        """The targets alone."""
        if isinstance(self.target, str):
            return column(self.target)
        return np.column_stack([numbers(column(name), name) for name in self.targets])

    def weights(self, column: Callable[[str], Array]) -> Array | None:
        """The weights alone."""
        return None if self.weight is None else numbers(column(self.weight), self.weight)


class TableRows:
    """Rows of inputs: an array of numbers where one is wanted, a table for nets that take tables.

    Parameters
    ----------
    table : pyarrow.Table or RecordBatch
    names : sequence of str
        Its columns.
    """

    def __init__(self, table: Any, names: Sequence[str]) -> None:
        self._table, self._names = table, names
        self.shape = int(table.num_rows), len(names)

    @property
    def table(self) -> Any:
        """The rows as an Arrow table, with text and missing values."""
        pa = _pyarrow("pyarrow")
        return pa.table(self._table) if isinstance(self._table, pa.RecordBatch) else self._table

    def __getitem__(self, rows: slice) -> TableRows:
        start, stop, _ = rows.indices(self.shape[0])
        return TableRows(self._table.slice(start, stop - start), self._names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        column = _column_of(self._table)
        found: Array = np.column_stack([numbers(column(name), name) for name in self._names])
        return found if dtype is None else found.astype(dtype)


def numbers(values: Array, name: str) -> Array:
    """A column as numbers."""
    if values.dtype.kind not in "fiub":
        raise TypeError(f"column {name!r} has {values.dtype}; expected numbers")
    return values


class TableBlocks(Blocks):
    """Blocks of a table's columns.

    Parameters
    ----------
    columns : Columns
        Its features named.
    """

    def __init__(self, columns: Columns) -> None:
        assert columns.features is not None
        self.columns = columns
        self.width, self.names = len(columns.features), tuple(columns.features)
        self.at_once = max(1, PIECE_BYTES // (8 * len(columns.wanted())))

    def batches(self, block: int, start: int, names: list[str]) -> Iterator[Any]:
        """Arrow tables or record batches of a block's rows from ``start`` on."""
        raise NotImplementedError

    def chunks(self, block: int, start: int) -> Iterator[Chunk]:
        for batch in self.batches(block, start, self.columns.wanted()):
            for at in range(0, batch.num_rows, self.at_once):
                yield self.columns.chunk(batch.slice(at, self.at_once))

    def targets(self) -> Iterator[Chunk]:
        for block in range(len(self.sizes)):
            for batch in self.batches(block, 0, self.columns.wanted(inputs=False)):
                column = _column_of(batch)
                yield Chunk(None, self.columns.y(column), self.columns.weights(column))


def _column_of(batch: Any) -> Callable[[str], Array]:
    def column(name: str) -> Array:
        found = batch.column(name)
        if found.null_count:
            raise ValueError(f"column {name!r} has missing values, {found.null_count} of them")
        if hasattr(found, "combine_chunks"):
            found = found.combine_chunks()
        if hasattr(found, "dictionary_decode"):
            found = found.dictionary_decode()
        return np.asarray(found.to_numpy(zero_copy_only=False))

    return column


# ---- Parquet ----


class ParquetBlocks(TableBlocks):
    """The row groups of Parquet files."""

    def __init__(self, paths: Sequence[Path], columns: Columns) -> None:
        self._watch = Watch(paths)
        self._groups: list[tuple[Path, int]] = []
        self.sizes, self._bytes = [], 0
        for path in paths:
            with _opened(path) as file:
                names = file.schema_arrow.names
                if path == paths[0]:
                    super().__init__(columns.among(names))
                lacking = [name for name in self.columns.wanted() if name not in names]
                if lacking:
                    raise FormatError(f"{path} has no column {lacking[0]!r}, as {paths[0]} has")
                for group in range(file.num_row_groups):
                    about = file.metadata.row_group(group)
                    if about.num_rows:
                        self._groups.append((path, group))
                        self.sizes.append(about.num_rows)
                        self._bytes = max(self._bytes, about.total_byte_size)
        if not self.sizes:
            raise FormatError(f"{paths[0]} has no rows; expected one or more")

    def batches(self, block: int, start: int, names: list[str]) -> Iterator[Any]:
        path, group = self._groups[block]
        with _opened(path) as file:
            for batch in file.iter_batches(self.at_once, row_groups=[group], columns=names):
                skipped = min(start, batch.num_rows)
                start -= skipped
                if skipped < batch.num_rows:
                    yield batch.slice(skipped)

    def most_bytes(self) -> int:
        return super().most_bytes() + self._bytes

    def check_unchanged(self) -> None:
        self._watch.check()


class _opened:
    """A Parquet file, for a ``with`` statement; what is wrong with it is a FormatError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        library = _pyarrow("pyarrow.parquet")
        try:
            self._file = library.ParquetFile(self._path)
        except OSError as error:
            self._refuse(error)
        except _faults() as error:
            self._refuse(error)
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if error is not None and isinstance(error, (OSError, *_faults())):
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            raise error
        raise FormatError(f"{self._path} is damaged: {one_line(error)}") from error


def _faults() -> tuple[type[BaseException], ...]:
    return (_pyarrow("pyarrow").ArrowException,)


def _pyarrow(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError("tables need pyarrow: pip install cmlp[data]") from error


def parquet(paths: Any, columns: Columns) -> ParquetBlocks:
    """Blocks of Parquet files."""
    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: list[Path] = []
    for path in map(Path, several):
        inside = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"paths has {path}, a folder without .parquet files; expected some")
        found += inside
    if not found:
        raise ValueError("paths is empty; expected one path or more")
    return ParquetBlocks(found, columns)


# ---- data frames ----


class FrameBlocks(TableBlocks):
    """Blocks of a data frame, each computed when it is read.

    Parameters
    ----------
    columns : Columns
    names : sequence of str
        All columns of the frame.
    sizes : sequence of int or int
        Rows of the blocks; all rows where the frame can be cut.
    table_of : function of (block, first row, rows, names)
        The Arrow table of the rows; ``first`` counts from the beginning of the frame.
    """

    def __init__(
        self,
        columns: Columns,
        names: Sequence[str],
        sizes: Sequence[int] | int,
        table_of: Callable[[int, int, int, list[str]], Any],
    ) -> None:
        super().__init__(columns.among(names))
        self._table_of, self._can_be_cut = table_of, isinstance(sizes, int)
        self.sizes = [sizes] if isinstance(sizes, int) else list(sizes)
        if sum(self.sizes) == 0:
            raise ValueError("frame has no rows; expected one or more")

    def cut(self, block_rows: int) -> None:
        if self._can_be_cut:
            self.sizes = cut(sum(self.sizes), block_rows)

    def batches(self, block: int, start: int, names: list[str]) -> Iterator[Any]:
        first = sum(self.sizes[:block])
        yield self._table_of(block, first, self.sizes[block], names).slice(start)

    def most_bytes(self) -> int:
        return super().most_bytes() + 16 * max(self.sizes) * len(self.columns.wanted())


def frame(value: Any, columns: Columns) -> FrameBlocks:
    """Blocks of a data frame of a library that is known."""
    library = type(value).__module__.partition(".")[0]
    make = _FRAMES.get(library)
    if make is None:
        raise TypeError(
            f"frame is {type(value).__name__}; expected one of Polars, Dask or Arrow, or for "
            "from_chunks a function"
        )
    return make(value, columns)


def _polars(value: Any, columns: Columns) -> FrameBlocks:
    lazy = value.lazy()
    n = int(lazy.select(_len(lazy)).collect().item())

    def table_of(block: int, first: int, rows: int, names: list[str]) -> Any:
        return lazy.select(names).slice(first, rows).collect().to_arrow()

    return FrameBlocks(columns, lazy.collect_schema().names(), n, table_of)


def _len(lazy: Any) -> Any:
    return import_module(type(lazy).__module__.partition(".")[0]).len()


def _dask(value: Any, columns: Columns) -> FrameBlocks:
    sizes = [int(n) for n in value.map_partitions(len).compute()]

    def table_of(block: int, first: int, rows: int, names: list[str]) -> Any:
        part = value[names].get_partition(block).compute()
        return _pyarrow("pyarrow").Table.from_pandas(part, preserve_index=False)

    return FrameBlocks(columns, [str(name) for name in value.columns], sizes, table_of)


def _arrow(value: Any, columns: Columns) -> FrameBlocks:
    if hasattr(value, "num_rows"):

        def rows_of(block: int, first: int, rows: int, names: list[str]) -> Any:
            return value.select(names).slice(first, rows)

        return FrameBlocks(columns, value.schema.names, value.num_rows, rows_of)
    if not hasattr(value, "get_fragments"):
        raise TypeError(f"frame is {type(value).__name__}; expected a Dataset or a Table")
    fragments = list(value.get_fragments())
    sizes = [fragment.count_rows() for fragment in fragments]

    def table_of(block: int, first: int, rows: int, names: list[str]) -> Any:
        return fragments[block].to_table(columns=names)

    return FrameBlocks(columns, value.schema.names, sizes, table_of)


_FRAMES: dict[str, Callable[[Any, Columns], FrameBlocks]] = {
    "polars": _polars,
    "dask": _dask,
    "pyarrow": _arrow,
}
