"""The order of an epoch's samples: blocks in a random order, and the rows of a window in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import _core
from ..checks import Array


@dataclass(frozen=True)
class Piece:
    """Rows of a block that lie together in a window: ``n`` from ``start`` on, put to ``at``."""

    block: int
    start: int
    n: int
    at: int


class Order:
    """The order of the samples of each epoch, a function of seed and epoch.

    Parameters
    ----------
    sizes : sequence of int
        Rows of the blocks.
    window : int
        Rows of a window, the last of an epoch may have fewer.
    how : {"full", "blocks", "none"}
        One permutation of all rows; blocks in a random order, and the rows of each window in one;
        rows as they lie.
    seed : int

    Notes
    -----
    No order knows how large minibatches are, how many threads read, or what has been read already.
    """

    def __init__(self, sizes: Sequence[int], window: int, how: str, seed: int) -> None:
        self._sizes = np.asarray(sizes, np.int64)
        self.n_rows, self.window, self.how, self._seed = int(self._sizes.sum()), window, how, seed
        self.n_windows = -(-self.n_rows // window)

    def size(self, number: int) -> int:
        """Rows of a window."""
        return min(self.window, self.n_rows - number * self.window)

    def rows(self, epoch: int, number: int) -> Array:
        """For "full": the numbers of the rows of a window, in order."""
        if epoch != getattr(self, "_epoch", None):
            self._all, self._epoch = _core.permutation(self.n_rows, self._seed, epoch), epoch
        found: Array = self._all[number * self.window :][: self.window]
        return found

    def pieces(self, epoch: int, number: int) -> Iterator[Piece]:
        """What a window is read from."""
        blocks, ends = self._blocks(epoch)
        at, first = 0, number * self.window
        stop = first + self.size(number)
        i = int(np.searchsorted(ends, first, side="right"))
        while first + at < stop:
            block = int(blocks[i])
            start = first + at - int(ends[i] - self._sizes[block])
            n = min(stop, int(ends[i])) - (first + at)
            yield Piece(block, start, n, at)
            at, i = at + n, i + 1

    def _blocks(self, epoch: int) -> tuple[Array, Array]:
        """Blocks in their order in an epoch, and where each ends."""
        n = len(self._sizes)
        if self.how == "blocks":
            blocks = _core.permutation(n, _key(self._seed, 0), epoch)
        else:
            blocks = np.arange(n)
        return blocks, np.cumsum(self._sizes[blocks])

    def within(self, epoch: int, number: int) -> Array:
        """The order of a window's rows as they were read."""
        n = self.size(number)
        if self.how == "blocks":
            return _core.permutation(n, _key(self._seed, number + 1), epoch)
        return np.arange(n)


def _key(seed: int, number: int) -> int:
    """A seed of its own for each window; the raw stream is what NumPy promises never to change."""
    return int(np.random.PCG64([seed, number]).random_raw())
