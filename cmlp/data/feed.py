"""Reading ahead: threads fill the next window of samples while the last is trained on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from .blocks import Blocks, Chunk
from .order import Order, Piece

# Windows in memory: one that is trained on, one that is filled.
WINDOWS = 2
# Rows that are looked up at once where an epoch takes them in the order of one permutation.
_ROWS_TAKEN = 1024

Prepare = Callable[[Chunk], Sequence[Array | None]]


class Window(NamedTuple):
    """Samples of an epoch: arrays of rows, and the order in which they are taken.

    Attributes
    ----------
    arrays : list of ndarray or None
        x, y and weight (None where there are none).
    order : ndarray of shape (n,)
        Rows of the arrays.
    first : int
        The number in the epoch of the sample that ``order`` begins with.
    """

    arrays: list[Any]
    order: Array
    first: int

    @property
    def end(self) -> int:
        """The number in the epoch of the sample behind the last."""
        return self.first + len(self.order)


class Readers:
    """Threads that read; they end with the process, whatever they wait for."""

    def __init__(self, n: int) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._jobs, self._n = queue.SimpleQueue(), n
        for i in range(n):
            threading.Thread(
                target=_serve, args=(self._jobs,), name=f"cmlp reader {i}", daemon=True
            ).start()

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Have some work done."""
        future: Future[Any] = Future()
        self._jobs.put((future, work))
        return future

    def close(self) -> None:
        """Let the threads end when they have done what they are at."""
        for _ in range(self._n):
            self._jobs.put(None)


def _serve(jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
    while (job := jobs.get()) is not None:
        future, work = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # also what would end the thread
                future.set_exception(error)
        del job, future, work


class BlockReader:
    """A block read from some row on, prepared, as many rows at a time as are asked for."""

    def __init__(self, blocks: Blocks, prepare: Prepare, piece: Piece) -> None:
        self._prepare = prepare
        self._chunks = blocks.chunks(piece.block, piece.start)
        self._left: Chunk | None = None
        self.at = piece.start
        self._block = piece.block

    def leads_to(self, piece: Piece) -> bool:
        """Whether a piece begins where this stands, or will when what it is at is done."""
        return (self._block, self.at) == (piece.block, piece.start)

    def read(self, n: int, to: list[Any]) -> None:
        """Put the next ``n`` rows into arrays."""
        done = 0
        while done < n:
            chunk = self._next()
            rows = min(chunk.n_rows, n - done)
            _put(self._prepare(chunk.slice(0, rows)), to, done)
            self._left = chunk.slice(rows, chunk.n_rows) if rows < chunk.n_rows else None
            done, self.at = done + rows, self.at + rows

    def _next(self) -> Chunk:
        if self._left is not None:
            return self._left
        chunk = next(self._chunks, None)
        if chunk is None:
            raise ValueError(
                f"block {self._block} of the source ends after {self.at} rows; expected more, "
                "as when the source was made"
            )
        return chunk


def _put(prepared: Sequence[Array | None], to: list[Any], at: int) -> None:
    for found, array in zip(prepared, to, strict=True):
        if array is None:
            continue
        if found is None or found.shape[1:] != array.shape[1:]:
            shape = None if found is None else found.shape
            raise ValueError(f"the source gave an array of shape {shape} among {array.shape[1:]}")
        array[at : at + len(found)] = found


@dataclass
class _Slot:
    """A window's memory, and what is being read into it."""

    memory: int
    epoch: int
    number: int
    jobs: list[Future[Any]]
    order: Future[Array]


class Feed:
    """The windows of epochs, in order, from the one that holds some sample on.

    Parameters
    ----------
    blocks : Blocks
    order : Order
    prepare : function of a Chunk
        Gives x, y and weight as they are trained on.
    example : sequence of ndarray or None
        Some prepared rows: what the arrays are like.
    batch_size : int
    n_readers : int
    epoch, row : int
        Where to begin; the row begins a minibatch.
    """

    def __init__(
        self,
        blocks: Blocks,
        order: Order,
        prepare: Prepare,
        example: Sequence[Array | None],
        batch_size: int,
        n_readers: int,
        epoch: int,
        row: int,
    ) -> None:
        self._blocks, self._order, self._prepare = blocks, order, prepare
        self._batch, self._readers = batch_size, Readers(n_readers)
        self._open: dict[int, BlockReader] = {}
        rows = order.window + batch_size
        self._memory = [
            [None if a is None else np.zeros((rows, *a.shape[1:]), a.dtype) for a in example]
            for _ in range(WINDOWS)
        ]
        self._row = row  # of the epoch, up to which windows have been handed out
        self._carried: tuple[list[Any], Array] | None = None
        self._epoch = epoch
        self._window: Window | None = None
        self._next: _Slot | None = self._start(0, epoch, row // order.window)

    def at(self, epoch: int, row: int, goes_on: bool) -> Window | None:
        """The window whose samples hold this one; None where it is neither this nor the next.

        ``goes_on``: whether another epoch follows.  Raises what reading raised.
        """
        window, last = self._window, self._row == self._order.n_rows
        if window is not None and epoch == self._epoch and window.first <= row < window.end:
            return window
        if (epoch, row) != ((self._epoch + 1, 0) if last else (self._epoch, self._row)):
            return None
        return None if self._next is None else self._advance(self._next, goes_on)

    def close(self) -> None:
        """Read no further."""
        if self._next is not None:
            for job in self._next.jobs:
                job.cancel()
        self._readers.close()
        self._open.clear()

    def _advance(self, slot: _Slot, goes_on: bool) -> Window:
        """The next window; what lies behind it is read meanwhile."""
        for job in slot.jobs:
            _result_of(job)
        self._blocks.check_unchanged()
        if slot.epoch != self._epoch:
            self._epoch, self._row, self._carried = slot.epoch, 0, None
        window = self._cut(slot)
        number = slot.number + 1
        if number < self._order.n_windows:
            self._next = self._start(1 - slot.memory, slot.epoch, number)
        else:
            self._next = self._start(1 - slot.memory, slot.epoch + 1, 0) if goes_on else None
        if not len(window.order) and self._next is not None:  # less than a minibatch so far
            return self._advance(self._next, goes_on)
        self._window, self._row = window, window.end
        return window

    def _cut(self, slot: _Slot) -> Window:
        """The whole minibatches that can be made with a window; what is left is carried on."""
        order, arrays = _result_of(slot.order), self._memory[slot.memory]
        n, start = len(order), slot.number * self._order.window
        if self._carried is None:
            order = order[max(0, self._row - start) :]
        else:
            before, rows = self._carried
            for a, b in zip(arrays, before, strict=True):
                if a is not None:
                    a[n : n + len(rows)] = b[rows]
            order = np.concatenate([np.arange(n, n + len(rows)), order])
        whole = len(order)
        if start + n < self._order.n_rows:
            whole -= whole % self._batch
        self._carried = arrays, order[whole:]
        return Window(arrays, order[:whole], self._row)

    def _start(self, memory: int, epoch: int, number: int) -> _Slot:
        """Have a window read."""
        order, arrays = self._order, self._memory[memory]
        if order.how == "full":
            rows = order.rows(epoch, number)
            works = [partial(self._take, rows, arrays)]
        else:
            pieces = list(order.pieces(epoch, number))
            before = self._open
            self._open = {p.block: self._reader(before.get(p.block), p) for p in pieces}
            works = [partial(self._read, self._open[p.block], p, arrays) for p in pieces]
        jobs = [self._readers.submit(work) for work in works]
        within = self._readers.submit(partial(order.within, epoch, number))
        return _Slot(memory, epoch, number, jobs, within)

    def _reader(self, before: BlockReader | None, piece: Piece) -> BlockReader:
        if before is not None and before.leads_to(piece):
            return before
        return BlockReader(self._blocks, self._prepare, piece)

    def _read(self, reader: BlockReader, piece: Piece, arrays: list[Any]) -> None:
        reader.read(piece.n, [None if a is None else a[piece.at :] for a in arrays])

    def _take(self, rows: Array, arrays: list[Any]) -> None:
        for at in range(0, len(rows), _ROWS_TAKEN):
            chunk = self._blocks.take(rows[at : at + _ROWS_TAKEN])
            _put(self._prepare(chunk), arrays, at)


def _result_of(job: Future[Any]) -> Any:
    """What a thread has found; what it raised, as an error of the source."""
    try:
        return job.result()
    except BaseException as error:
        ours = job.done() and not job.cancelled() and job.exception() is error
        if not ours or (isinstance(error, Exception) and not isinstance(error, StopIteration)):
            raise
        raise RuntimeError(f"reading the source ended by {error!r}") from error
