"""`Source`: where data are and in which order an epoch takes them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np

from .. import checks
from ..attributes import Declared
from . import arrays, tables
from .blocks import Blocks
from .chunks import IterableBlocks
from .feed import WINDOWS
from .order import Order

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]

_ORDERS = ("full", "blocks")
# Bytes of float32 inputs in a window, and blocks in it, where nothing else is asked for.
_WINDOW_BYTES = 1 << 24
_BLOCKS = 16


class Source(Declared):
    """Data that need not fit into memory, for `Trainer.fit` in place of x and y.

    Made by one of ``from_npy``, ``from_arrays``, ``from_parquet``, ``from_hdf5``, ``from_zarr``,
    ``from_frame`` and ``from_chunks``.  Rows are checked, converted and standardised while they
    are read, by threads that read ahead while the net is trained.

    Attributes
    ----------
    blocks : Blocks
        What is read.
    n_rows, n_in : int
        Samples of an epoch; inputs of one.
    shuffle : {"full", "blocks"}
        How an epoch's samples are ordered where ``fit`` shuffles them.  "full": by one
        permutation of all, the same as for arrays in memory.  "blocks": blocks in a random
        order, and the rows of each window in a random order.
    window : int
        Rows that are in memory together.
    n_readers : int
        Threads that read.  The numbers are the same for any.
    columns : tuple of str or None
        What the inputs are called.

    Notes
    -----
    The order of samples is a function of the seed, the epoch and the source alone; minibatches
    go on from one window into the next.  Training may stop and be resumed between any two
    steps, with the same bits.

    With "blocks", a window of w rows holds n = w/b blocks of b rows, of the N that there are.
    The mean of a number over a window has the variance of a cluster sample (Cochran, *Sampling
    Techniques*, chapter 9)::

        S^2 / (n b) * (1 - n/N) * (1 + (b - 1) rho)

    with S^2 the variance over all rows and rho the correlation of rows of a block.  Rows in no
    particular order have rho = 0: the variance is that of a full shuffle.  In a sorted file rho
    is near 1, and the window is worth n rows and not n b: make ``block_rows`` smaller, or shuffle
    such a file once.  An iterable is one block (n = N = 1): its rows are shuffled within windows
    alone.

    Memory is bounded by ``memory_bytes``.

    A source of one .npy file (or ``numpy.memmap``) for each array, of the net's dtype and without
    a preprocessing that scales, is not copied with "full": the training loop gathers rows where
    the files are mapped.  Such pages belong to the file cache, which the system takes back when
    it needs memory.  A mapped file must not be made shorter by somebody else while it is used:
    the system then ends the process.  "blocks" reads files in the ordinary way.

    Files are looked at again for each window; one whose size or time has changed ends training
    with `FormatError`, between two steps.
    """

    blocks: Blocks
    n_rows: int
    n_in: int
    shuffle: str
    window: int
    n_readers: int
    columns: tuple[str, ...] | None

    def __init__(
        self,
        blocks: Blocks,
        shuffle: str | None = None,
        window: int | None = None,
        block_rows: int | None = None,
        n_readers: int = 1,
    ) -> None:
        self.blocks = blocks
        self.n_in, self.columns = blocks.width, blocks.names
        self.n_readers = checks.positive_int(n_readers, "n_readers")
        default = 1 << max(0, (_WINDOW_BYTES // (4 * blocks.width)).bit_length() - 1)
        self.window = default if window is None else checks.positive_int(window, "window")
        if block_rows is not None:
            block_rows = checks.positive_int(block_rows, "block_rows")
        blocks.cut(max(1, self.window // _BLOCKS) if block_rows is None else block_rows)
        self.n_rows = sum(blocks.sizes)
        first = "full" if blocks.has_rows else "blocks"
        self.shuffle = first if shuffle is None else checks.choice(shuffle, "shuffle", _ORDERS)
        if self.shuffle == "full" and not blocks.has_rows:
            raise ValueError(
                "shuffle is 'full'; expected 'blocks', as the data have no single rows"
            )

    # ---- where data are ----

    @classmethod
    def from_npy(
        cls, x: Paths, y: Paths, sample_weight: Paths | None = None, **options: Any
    ) -> Self:
        """Arrays in .npy files.

        Parameters
        ----------
        x : path or sequence of path
            A file (n, n_in) in C order, a folder whose .npy files are read in the order of their
            names, or several files; rows of more dimensions, such as pictures, are unrolled.
        y : path or sequence of path
            (n,) or (n, n_out), as `Trainer.fit` takes it.
        sample_weight : path or sequence of path, optional
        **options
            ``shuffle``, "full" if not given, ``window``, ``block_rows`` and ``n_readers``.

        Raises
        ------
        FormatError
            A damaged file, or one that does not go with the first.
        """
        return cls(arrays.npy(x, y, sample_weight), **options)

    @classmethod
    def from_arrays(cls, x: Any, y: Any, sample_weight: Any = None, **options: Any) -> Self:
        """Whatever has ``shape``, ``dtype`` and slices: ``numpy.memmap``, Dask, h5py, Zarr.

        Parameters
        ----------
        x : array of shape (n, n_in)
        y : array of shape (n,) or (n, n_out)
        sample_weight : array of shape (n,), optional
        **options
            As of `from_npy`; "full" is for NumPy's arrays.
        """
        return cls(arrays.arrays(x, y, sample_weight), **options)

    @classmethod
    def from_hdf5(
        cls,
        path: PathLike,
        x: str = "x",
        y: str = "y",
        sample_weight: str | None = None,
        **options: Any,
    ) -> Self:
        """Arrays of an HDF5 file, by their names; needs h5py.  ``options`` as of `from_npy`."""
        return cls(arrays.hdf5(path, x, y, sample_weight), **options)

    @classmethod
    def from_zarr(
        cls,
        path: PathLike,
        x: str = "x",
        y: str = "y",
        sample_weight: str | None = None,
        **options: Any,
    ) -> Self:
        """Arrays of a Zarr group, by their names; needs zarr.  ``options`` as of `from_npy`."""
        return cls(arrays.zarr(path, x, y, sample_weight), **options)

    @classmethod
    def from_parquet(
        cls,
        paths: Paths,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        sample_weight: str | None = None,
        **options: Any,
    ) -> Self:
        """Columns of Parquet files, read row group by row group; needs pyarrow.

        Parameters
        ----------
        paths : path or sequence of path
            A file, a folder whose .parquet files are read in the order of their names, or several.
        target : str or sequence of str
            The column of labels, or those of the targets.
        features : sequence of str, optional
            The columns for the inputs, in this order; all others if None.  No other is read.
        sample_weight : str, optional
            The column of weights.
        **options
            ``window`` and ``n_readers``.  A block is a row group.  Beside the windows, memory holds
            a row group as it is stored, for each reader.

        Raises
        ------
        FormatError
            A damaged file, or one with other columns than the first.
        """
        columns = tables.Columns(target, features, sample_weight)
        return cls(tables.parquet(paths, columns), **options)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        sample_weight: str | None = None,
        **options: Any,
    ) -> Self:
        """Columns of a table that is read or computed by batches.

        Parameters
        ----------
        frame : object
            A Polars LazyFrame or DataFrame, a Dask DataFrame (a block is a partition), or a
            ``pyarrow.dataset.Dataset`` or ``pyarrow.Table``.
        target, features, sample_weight
            As of `from_parquet`.
        **options
            As of `from_parquet`.
        """
        columns = tables.Columns(target, features, sample_weight)
        return cls(tables.frame(frame, columns), **options)

    @classmethod
    def from_chunks(
        cls, chunks: Callable[[], Iterable[Any]], n_rows: int | None = None, **options: Any
    ) -> Self:
        """Whatever can be iterated over.

        Parameters
        ----------
        chunks : function
            Called for each epoch, and when training is resumed.  Gives an iterable of (x, y) or
            (x, y, sample_weight), each some rows: the same ones, in the same order, every time.
        n_rows : int, optional
            Rows of an epoch; counted, by going through the chunks once, if None.
        **options
            ``window`` and ``n_readers``.
        """
        if not callable(chunks):
            raise TypeError(
                f"chunks is {type(chunks).__name__}; expected a function that gives some"
            )
        n = None if n_rows is None else checks.positive_int(n_rows, "n_rows")
        return cls(IterableBlocks(chunks, n), **options)

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_in)."""
        return self.n_rows, self.n_in

    def memory_bytes(
        self, batch_size: int = 128, n_out: int = 1, itemsize: int = 4, n_in: int | None = None
    ) -> int:
        """Most memory that reading takes: that of the windows, and of what is read at once.

        Parameters
        ----------
        batch_size : int
        n_out : int
            Numbers of a target; labels count as two of float32.
        itemsize : int
            Bytes of a number of the net.
        n_in : int, optional
            Inputs of the net where it encodes the columns of a table; ``n_in`` if None.
        """
        rows = WINDOWS * (self.window + batch_size)
        row = itemsize * ((self.n_in if n_in is None else n_in) + n_out + 1) + 8
        return rows * row + 8 * self.window + self.n_readers * self.blocks.most_bytes()

    def description(self, shuffled: bool) -> str | None:
        """What decides on the order beside the seed; None where it is that of arrays in memory."""
        if not shuffled or self.shuffle == "full":
            return None
        sizes = np.asarray(self.blocks.sizes, np.int64)
        return f"blocks {zlib.crc32(sizes.tobytes()):08x}, window {self.window}"

    def order(self, shuffled: bool, seed: int) -> Order:
        """The order of samples under a seed."""
        return Order(self.blocks.sizes, self.window, self.shuffle if shuffled else "none", seed)

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        return (
            f"<Source of {self.n_rows:,} rows of {self.n_in}: shuffle={self.shuffle!r}, "
            f"window={self.window}, {len(self.blocks.sizes)} blocks>"
        )
