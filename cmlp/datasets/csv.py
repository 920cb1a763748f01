"""Reading CSV and TSV files, row by row and not trusted: `read_csv`."""

from __future__ import annotations

import csv
import itertools
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .columns import MAX_CLASSES, Column, Raw, Wanted, check_unique, choose, shown

__all__ = ["MAX_COLUMNS", "read_csv"]

MAX_COLUMNS = 1 << 16
_MAX_LINE = 1 << 24
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def read_csv(path: Path, wanted: Wanted, header: bool | None, mixed_labels: bool) -> Raw:
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
    features, target = choose(path, names, wanted)
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
    return Raw(x, y, tuple(names[i] for i in features))


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

    def column(self, mixed_labels: bool) -> Column | NDArray[Any]:
        """What the cells are, once all are there."""
        if self._numbers is not None:
            return np.frombuffer(self._numbers)[:, np.newaxis]
        codes = np.frombuffer(self._codes, np.uint16)
        return Column(self._values(list(self._code_of), mixed_labels), codes)

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
        return f"{self._path}: line {line}, column {shown(self._name)}"


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
    check_unique(path, names)
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
    raise FormatError(f"{path}: line {line}, column {shown(names[bad])}: {_fault(row[bad])}")


def _fault(cell: str) -> str | None:
    """What keeps a cell from being a finite float32 number; None if nothing does."""
    if not cell.strip():
        return "the cell is empty, expected a number"
    number = _number(cell)
    if number is None:
        return f"{shown(cell)} is not a number"
    if not abs(number) <= _FLOAT32_MAX:
        return f"{shown(cell)} is not a finite float32 number"
    return None
