"""Reading Parquet, Feather and JSON lines by pyarrow, not trusted: `read_columnar`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import FormatError, one_line
from ..table import MISSING, Column, Table, arrow
from .idx import MAX_EXPANSION

__all__ = ["COLUMNAR", "read_columnar"]


def _parquet(path: Path, data: bytes) -> Any:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    n, width = file.metadata.num_rows, len(file.schema_arrow.names)
    if n < 1 or 4 * n * width > MAX_EXPANSION * len(data):
        raise FormatError(f"{path}: claims {n} rows of {width} columns in {len(data)} bytes")
    table = file.read()
    if table.num_rows != n:
        raise FormatError(f"{path}: claims {n} rows, {table.num_rows} are there")
    return table


def _feather(path: Path, data: bytes) -> Any:
    import pyarrow.feather

    return pyarrow.feather.read_table(io.BytesIO(data), memory_map=False)


def _json(path: Path, data: bytes) -> Any:
    import pyarrow.json

    options = pyarrow.json.ReadOptions(use_threads=False, block_size=1 << 24)
    return pyarrow.json.read_json(io.BytesIO(data), read_options=options)


COLUMNAR: dict[str, tuple[str, Callable[[Path, bytes], Any]]] = {
    ".parquet": ("Parquet", _parquet),
    ".feather": ("Feather", _feather),
    ".arrow": ("Feather", _feather),
    ".jsonl": ("JSON lines", _json),
    ".ndjson": ("JSON lines", _json),
}
"""What a file with such an ending is called, and what reads it."""


def read_columnar(path: Path, stem: str, kind: str, data: bytes, na_values: Sequence[str]) -> Table:
    """The columns of a file whose name ends in one of `COLUMNAR`."""
    pa = arrow()
    name, read = COLUMNAR[kind]
    try:
        held = read(path, data)
        held.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a whole {name} file ({one_line(error)})") from error
    if not held.num_rows or not held.num_columns:
        raise FormatError(f"{path}: no rows")
    columns = [
        Column(name, cells, lambda i: f"{path}: row {i + 1}", missing=(*MISSING, *na_values))
        for name, cells in zip(held.column_names, held.columns, strict=True)
    ]
    return Table(stem, columns, {"format": name}, path)
