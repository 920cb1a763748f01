"""Reading delimited text: `read_text`.

pyarrow reads what is plainly well-formed.  All else goes to the strict reader of `rows`, which
takes it or tells the place of the fault.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..table import MISSING, Column, Table, arrow
from .dialect import Format, Layout, decoded
from .rows import MAX_LINE, rows

__all__ = ["read_text"]

_BYTES_A_COLUMN = 64
_NAMES = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "space"}


def read_text(path: Path, stem: str, data: bytes, given: Format) -> Table:
    """The columns of a CSV or TSV file, all cells as they are written but for spaces around.

    Raises
    ------
    FormatError
        No rows, rows of different lengths, quotes that do not fit, another encoding, limits of
        `rows`: the line.
    """
    text = decoded(path, data, given.encoding)
    layout = Layout.of(path, text, given)
    if layout.header and layout.alone:
        raise FormatError(f"{path}: no rows below the header")
    width = len(layout.first)
    columns = _quickly(text, layout)
    if columns is None:
        columns = _strictly(path, text, layout)
    if len(columns[0]) == layout.header:
        raise FormatError(f"{path}: no rows below the header")
    if layout.header:
        columns = [column.slice(1) for column in columns]
    names = _names(layout.first if layout.header else [""] * width)
    missing = (*MISSING, *given.na_values)
    where = _places(path, text, layout)
    about = {"separator": _NAMES.get(layout.delimiter, repr(layout.delimiter))}
    about["header"] = "the first row" if layout.header else "none"
    if layout.decimal != ".":
        about["decimal"] = "comma"
    if given.encoding is not None:
        about["encoding"] = given.encoding
    made = [
        Column(name, cells, where, decimal=layout.decimal, missing=missing)
        for name, cells in zip(names, columns, strict=True)
    ]
    if layout.header and not layout.first[0] and _counts(made[0]):
        about["index"] = made[0].name
    return Table(stem, made, about, path)


def _counts(column: Column) -> bool:
    """Whether a column numbers the rows."""
    if column.kind != "number" or not column.whole or column.n_missing:
        return False
    return bool((np.diff(column.numbers()) == 1).all())


def _names(first: Sequence[str]) -> list[str]:
    """The header's names; a column without one is called by its number, or as no other is."""
    taken = {name for name in first if name}
    found = []
    for i, name in enumerate(first, 1):
        candidates = itertools.chain([name or str(i)], (f"column {k}" for k in itertools.count(i)))
        new = name or next(made for made in candidates if made not in taken)
        taken.add(new)
        found.append(new)
    return found


def _places(path: Path, text: bytes, layout: Layout) -> Callable[[int], str]:
    """From the number of a row to the line where it stands."""

    def place(i: int) -> str:
        below = rows(path, text, layout.delimiter, layout.skip)
        line, _ = next(itertools.islice(below, i + layout.header, None))
        return f"{path}: line {line}"

    return place


# ---- text in which quotes stand around cells alone, and rows are of one length ----


def _quickly(text: bytes, layout: Layout) -> list[Any] | None:
    """All cells by pyarrow, the header's too; None where only the strict reader knows."""
    pa = arrow()
    import pyarrow.csv

    width = len(layout.first)
    if len(text) < _BYTES_A_COLUMN * width:  # then columns cost more than their cells
        return None
    if width < 2 or not _plain(text, layout.delimiter) or len(layout.delimiter.encode()) > 1:
        return None
    names = list(map(str, range(width)))
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=layout.skip, block_size=MAX_LINE
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=b'"' in text
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    trim = pa.compute.utf8_trim_whitespace
    return [_one(pa, trim(column)) for column in table.columns]


def _plain(text: bytes, delimiter: str) -> bool:
    """Whether every quote stands around a cell or is doubled within one."""
    if b'"' not in text:
        return True
    mark = re.escape(delimiter.encode())
    cell = rb'(?:[^"\r\n' + mark + rb']*+|"(?:[^"]++|"")*+")'
    pattern = re.compile(rb"(?:" + cell + rb"(?:" + mark + rb"|[\r\n]++|\Z))*+")
    found = pattern.match(text)
    return found is not None and found.end() == len(text)


def _one(pa: Any, column: Any) -> Any:
    """A chunked array as one array, if one can hold it."""
    return column.chunk(0) if column.num_chunks == 1 else column


# ---- all other text ----


def _strictly(path: Path, text: bytes, layout: Layout) -> list[Any]:
    """All cells by Python's reader, the header's too."""
    pa = arrow()
    width = len(layout.first)
    blocks: list[list[Any]] = [[] for _ in range(width)]
    found = rows(path, text, layout.delimiter, layout.skip)
    while block := list(itertools.islice(found, 4096)):
        for line, row in block:
            if len(row) != width:
                raise FormatError(f"{path}: line {line} has {len(row)} cells, expected {width}")
        for place, cells in enumerate(zip(*(row for _, row in block), strict=True)):
            blocks[place].append(pa.array([cell.strip() for cell in cells], pa.string()))
    return [pa.chunked_array(chunks, pa.string()) for chunks in blocks]
