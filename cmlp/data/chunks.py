"""Blocks of whatever can be iterated over: one block, which is read from its start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .blocks import Blocks, Chunk


class IterableBlocks(Blocks):
    """The chunks of an iterable, all of them one block.

    Parameters
    ----------
    make : function
        Gives the same chunks, in the same order, each time it is called.
    n_rows : int or None
        Rows of all chunks; counted if None.
    """

    def __init__(self, make: Callable[[], Iterable[Any]], n_rows: int | None) -> None:
        self._make = make
        chunks = map(as_chunk, make())
        first = next(chunks, None)
        if first is None or first.n_rows == 0:
            raise ValueError("chunks gave no rows; expected one or more")
        shape = np.shape(first.x)
        if len(shape) != 2:
            raise ValueError(f"chunks gave x of shape {shape}; expected (n, n_in)")
        self.width = int(shape[1])
        self.n_rows = n_rows or first.n_rows + sum(chunk.n_rows for chunk in chunks)
        self.sizes = [self.n_rows]

    def chunks(self, block: int, start: int) -> Iterator[Chunk]:
        for chunk in map(as_chunk, self._make()):
            skipped = min(start, chunk.n_rows)
            start -= skipped
            if skipped < chunk.n_rows:
                yield chunk.slice(skipped, chunk.n_rows)


def as_chunk(value: Any) -> Chunk:
    """What an iterable gives as a chunk: (x, y) or (x, y, sample_weight)."""
    if not isinstance(value, tuple) or len(value) not in (2, 3):
        raise TypeError(f"chunks gave {type(value).__name__}; expected (x, y) or (x, y, weight)")
    chunk = Chunk(*value)
    n_targets = np.shape(chunk.y)[:1]
    if n_targets != (chunk.n_rows,):
        raise ValueError(f"chunks gave x of {chunk.n_rows} rows and y of {n_targets}")
    return chunk
