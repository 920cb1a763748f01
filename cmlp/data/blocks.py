"""What sources read: blocks of rows, each from some row on, a chunk at a time."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..errors import FormatError

# Bytes of the rows that are read and prepared at once.
PIECE_BYTES = 1 << 20


class Chunk(NamedTuple):
    """Rows as they were read: x (n, ...), y (n, ...), weight (n,) or None."""

    x: Any
    y: Any
    weight: Any = None

    @property
    def n_rows(self) -> int:
        """Rows of x."""
        return int(np.shape(self.x)[0])

    def slice(self, start: int, stop: int) -> Chunk:
        """Some of the rows."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Chunk(self.x[start:stop], self.y[start:stop], weight)


class Blocks(ABC):
    """Data in blocks, which may be read in any order.

    Attributes
    ----------
    sizes : sequence of int
        Rows of each block.
    width : int
        Inputs of a row.
    names : tuple of str or None
        What they are called.
    has_rows : bool
        Whether `take` gives single rows.
    """

    sizes: Sequence[int]
    width: int
    names: tuple[str, ...] | None = None
    has_rows = False

    def cut(self, block_rows: int) -> None:  # noqa: B027
        """Have blocks of so many rows, where the data do not come in blocks."""

    @abstractmethod
    def chunks(self, block: int, start: int) -> Iterator[Chunk]:
        """The rows of a block from ``start`` on, some at a time."""

    def targets(self) -> Iterator[Chunk]:
        """Targets and weights of all rows in order, some at a time; x is None."""
        for block in range(len(self.sizes)):
            for chunk in self.chunks(block, 0):
                yield Chunk(None, chunk.y, chunk.weight)

    def take(self, rows: Array) -> Chunk:
        """The rows of these numbers, wherever they are."""
        raise NotImplementedError

    def mapped(self) -> Chunk | None:
        """All rows as arrays that are mapped to memory, where they lie in such."""
        return None

    def most_bytes(self) -> int:
        """Memory that a reader takes beside the windows: pieces as read, converted and checked."""
        return 8 * PIECE_BYTES

    def check_unchanged(self) -> None:  # noqa: B027
        """Raise FormatError if what is read is not what it was when the source was made."""


class Watch:
    """Sizes and times of files, which must stay as they are.

    Parameters
    ----------
    paths : sequence of path
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self._seen = {Path(path): _stamp(Path(path)) for path in paths}

    def check(self) -> None:
        """Raise FormatError for a file that has been changed."""
        for path, seen in self._seen.items():
            try:
                now = _stamp(path)
            except OSError as error:
                raise FormatError(f"{path} cannot be read any more: {error.strerror}") from error
            if now != seen:
                raise FormatError(
                    f"{path} has been changed since the source was made: it had {seen[0]} bytes, "
                    f"now {now[0]}; expected the same file until training ends"
                )


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def rows_at_once(width: int, itemsize: int) -> int:
    """Rows of a piece."""
    return max(1, PIECE_BYTES // max(1, width * itemsize))


def cut(n_rows: int, block_rows: int) -> list[int]:
    """Sizes of the blocks of so many rows."""
    whole, rest = divmod(n_rows, block_rows)
    return [block_rows] * whole + [rest] * bool(rest)
