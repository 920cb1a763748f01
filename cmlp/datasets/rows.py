"""Rows of delimited text, one by one, each with its line: `rows`.

Python's strict reader is what decides whether text is well-formed.  Where that is plain to see,
pyarrow reads it instead (`csv`), and this tells the places of faults.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..errors import FormatError

__all__ = ["MAX_COLUMNS", "MAX_LINE", "rows"]

MAX_COLUMNS = 1 << 16
MAX_LINE = 1 << 24


def rows(path: Path, text: bytes, delimiter: str, skip: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of its last line from 1.

    Parameters
    ----------
    path : Path
        What messages call it.
    text : bytes
        UTF-8.
    delimiter : str
        One character.
    skip : int, default 0
        Lines at the start that are not the table's.

    Raises
    ------
    FormatError
        Quotes that do not fit, a row of more than 65,536 cells, a line of more than 2^24
        characters.
    """
    line = cells = 0

    def lines(stream: TextIO) -> Iterator[str]:
        """The text line by line, as long as a row of it stays small."""
        nonlocal cells
        while part := stream.readline(MAX_LINE):
            cells += part.count(delimiter)
            if cells >= MAX_COLUMNS or len(part) == MAX_LINE:
                raise FormatError(
                    f"{path}: after line {line}: a row of more than {MAX_COLUMNS} cells, "
                    f"or a line of more than {MAX_LINE} characters"
                )
            yield part

    try:
        with io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="") as stream:
            for _ in range(skip):
                stream.readline(MAX_LINE)
            reader = csv.reader(
                lines(stream), delimiter=delimiter, skipinitialspace=True, strict=True
            )
            for row in reader:
                line, cells = reader.line_num + skip, 0
                if len(row) > 1 or any(cell.strip() for cell in row):
                    yield line, row
    except csv.Error as error:
        raise FormatError(f"{path}: after line {line}: {error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: not UTF-8 text ({error.reason}); give its encoding, such as cp1252"
        ) from error
