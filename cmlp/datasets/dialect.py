"""How a text file is laid out, guessed from its first rows where it is not told: `Layout`."""

from __future__ import annotations

import codecs
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError
from ..table import LEADING_ZEROS, MISSING, NUMBER, TIME
from .opening import Name
from .rows import rows

__all__ = ["Format", "Layout", "decoded"]

# In the order in which they are believed: a comma may stand before a fraction, too.
_DELIMITERS = ("\t", ";", "|", ",")
_SAMPLE_ROWS = 200
_SAMPLE_BYTES = 1 << 20

_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_NUMBER, _LEADING_ZEROS, _TIME = map(re.compile, (NUMBER, LEADING_ZEROS, TIME))
_WHOLE = re.compile(r"[+-]?[0-9]+")
_SEPARATOR_LINE = re.compile(rb'"?sep=(.)"?[ \t]*\r?\n', re.IGNORECASE)


@dataclass(frozen=True)
class Format:
    """How a text file is to be read; None is found out.

    Attributes
    ----------
    header : bool, optional
        Whether the first row holds names.
    delimiter : str, optional
        One character.
    decimal : {".", ","}, optional
        What stands before a fraction.
    encoding : str, optional
        As Python's codecs are called; UTF-8, or UTF-16 with its mark, by default.
    na_values : sequence of str
        Texts that stand for no value, besides the usual ones.
    """

    header: bool | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"delimiter: got {self.delimiter!r}, expected one character, no quote")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal: got {self.decimal!r}, expected '.' or ','")
        if self.decimal is not None and self.decimal == self.delimiter:
            raise ValueError(f"decimal: got {self.decimal!r}, which is the delimiter, too")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    f"encoding: got {self.encoding!r}, expected one that Python knows, "
                    "such as utf-8 or cp1252"
                ) from None


class Layout(NamedTuple):
    """How a text file is laid out, its first row, and whether there is no other."""

    delimiter: str
    decimal: str
    header: bool
    skip: int
    first: list[str]
    alone: bool

    @classmethod
    def of(cls, path: Path, text: bytes, given: Format) -> Layout:
        """Look at the first rows of UTF-8 text; FormatError where there are none."""
        skip, delimiter = 0, given.delimiter
        found = _SEPARATOR_LINE.match(text)
        if found is not None:
            skip = 1
            delimiter = delimiter or found[1].decode("latin-1")
        sample = _sample(text)
        if delimiter is None:
            kind = Name.of(path).kind
            delimiter = "\t" if kind == ".tsv" else _guess_delimiter(path, sample, skip)
        first = _first_rows(path, sample, delimiter, skip, _SAMPLE_ROWS)
        if not first:
            next(rows(path, text, delimiter, skip), None)  # it may be one very long row
            raise FormatError(f"{path}: the file is empty")
        decimal = given.decimal or _guess_decimal(first, delimiter)
        missing = frozenset((*MISSING, *given.na_values))
        header = given.header
        if header is None:
            header = _guess_header(first[0], first[1:], decimal, missing)
        alone = len(first) == 1 and b"\n" not in text.strip()
        return cls(delimiter, decimal, header, skip, first[0], alone)


def decoded(path: Path, data: bytes, encoding: str | None) -> bytes:
    """The text of a file as UTF-8 without a mark at its start."""
    if encoding is None and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    if encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        return data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode(encoding).encode("utf-8").removeprefix(codecs.BOM_UTF8)
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        raise FormatError(f"{path}: not {encoding} text ({reason})") from error


def _sample(text: bytes) -> bytes:
    """The first megabyte up to the end of a line."""
    if len(text) <= _SAMPLE_BYTES:
        return text
    cut = text.rfind(b"\n", 0, _SAMPLE_BYTES)
    return text[: cut + 1] if cut >= 0 else text[:_SAMPLE_BYTES]


def _first_rows(path: Path, sample: bytes, delimiter: str, skip: int, most: int) -> list[list[str]]:
    """The first rows, those before the first fault."""
    found: list[list[str]] = []
    try:
        for _, row in itertools.islice(rows(path, sample, delimiter, skip), most):
            found.append([cell.strip() for cell in row])
    except FormatError:
        if not found:
            raise
    return found


def _guess_delimiter(path: Path, sample: bytes, skip: int) -> str:
    """The one by which most rows have as many cells as the first one, two or more.

    A row of names has no decimal commas, so that it tells a comma from a semicolon; among those
    that fit as well, the first of the list.
    """
    best, most = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            found = _first_rows(path, sample, delimiter, skip, 50)
        except FormatError:
            continue
        counts = Counter(map(len, found))
        width = len(found[0]) if found else 0
        if width < 2:
            continue
        share = counts[width] / len(found)
        if share > most:
            best, most = delimiter, share
    return best


def _guess_decimal(found: Sequence[Sequence[str]], delimiter: str) -> str:
    """A comma if cells are numbers with one and none is a number with a point."""
    cells = [cell for row in found for cell in row]
    if delimiter == "," or any(map(_POINT.fullmatch, cells)):
        return "."
    return "," if any(map(_COMMA.fullmatch, cells)) else "."


def _kind(cell: str, decimal: str, missing: frozenset[str]) -> str:
    if cell in missing:
        return "missing"
    if _NUMBER.search(cell.replace(decimal, ".")):
        return "text" if _LEADING_ZEROS.search(cell) else "number"
    return "other" if cell.lower() in ("true", "false") or _TIME.search(cell) else "text"


def _guess_header(
    head: Sequence[str], body: Sequence[Sequence[str]], decimal: str, missing: frozenset[str]
) -> bool:
    """Compare the kinds of the first row's cells with those of the rows below it.

    A word above numbers is a name; a word that comes again below is a value.  Where neither is
    seen, a row without numbers holds names, and one with numbers only if it has gaps where no
    row has one, or if they go up evenly as years and wavelengths do, above numbers with fractions
    or beside words.
    """
    kinds = [_kind(cell, decimal, missing) for cell in head]
    below = [
        Counter(_kind(row[i], decimal, missing) for row in body if i < len(row))
        for i in range(len(head))
    ]
    for counts in below:
        del counts["missing"]
    if any(
        kind == "text" and counts and not counts["text"]
        for kind, counts in zip(kinds, below, strict=True)
    ):
        return True
    words = [i for i, kind in enumerate(kinds) if kind == "text"]
    if any(row[i] == head[i] for row in body for i in words if i < len(row)):
        return False
    numbers = [i for i, kind in enumerate(kinds) if kind == "number"]
    if not numbers:
        return bool(words) or not body
    gaps = any(
        kind == "missing" and counts.total() == len(body)
        for kind, counts in zip(kinds, below, strict=True)
    )
    if gaps and words:
        return True
    if not _even([head[i] for i in numbers]):
        return False
    fractions = all(any(i < len(row) and decimal in row[i] for row in body) for i in numbers)
    repeated = any(len({row[i] for row in body if i < len(row)}) < len(body) for i in words)
    return fractions or (bool(words) and repeated)


def _even(cells: Sequence[str]) -> bool:
    """Whether these are whole numbers that go up by the same step, by 1 where they are two."""
    if len(cells) < 2 or not all(map(_WHOLE.fullmatch, cells)):
        return False
    values = [int(cell) for cell in cells[:1000]]
    steps = {b - a for a, b in itertools.pairwise(values)}
    return len(steps) == 1 and min(steps) > 0 and (len(cells) > 2 or steps == {1})
