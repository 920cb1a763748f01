"""Blocks of arrays: .npy files and folders of them, HDF5, Zarr, and whatever can be sliced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import Array
from ..errors import FormatError, one_line
from .blocks import Blocks, Chunk, Watch, cut, rows_at_once

PathLike = str | os.PathLike[str]


class NpyRows:
    """The rows of .npy files, one file after the other.

    Parameters
    ----------
    where : path or sequence of path
        A file, a folder whose .npy files are taken in the order of their names, or several.
    name : str
        What it is called in errors.
    """

    def __init__(self, where: PathLike | Sequence[PathLike], name: str) -> None:
        self.paths = _npy_files(where, name)
        self._maps = [_map(path) for path in self.paths]
        first = self._maps[0]
        for path, a in zip(self.paths, self._maps, strict=True):
            if a.shape[1:] != first.shape[1:] or a.dtype != first.dtype:
                raise FormatError(
                    f"{path} has rows of shape {a.shape[1:]} and dtype {a.dtype}; expected "
                    f"{first.shape[1:]} and {first.dtype}, as {self.paths[0]} has"
                )
        self._ends = np.cumsum([len(a) for a in self._maps])
        self.shape = (int(self._ends[-1]), *first.shape[1:])
        self.dtype = first.dtype

    def __getitem__(self, rows: slice) -> Array:
        """Consecutive rows, read from the files and not through their maps.

        A file that has become shorter is an error here, and would end the process there.
        """
        parts = []
        start, stop, _ = rows.indices(self.shape[0])
        while start < stop:
            i = int(np.searchsorted(self._ends, start, side="right"))
            a, end = self._maps[i], int(self._ends[i])
            n = min(stop, end) - start
            parts.append(self._read(i, start - (end - len(a)), n))
            start += n
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, i: int, start: int, n: int) -> Array:
        a = self._maps[i]
        width = int(np.prod(a.shape[1:], dtype=np.int64))
        found = np.fromfile(
            self.paths[i], a.dtype, n * width, offset=a.offset + start * width * a.dtype.itemsize
        )
        if found.size != n * width:
            raise FormatError(f"{self.paths[i]} ends before row {start + n}; expected {len(a)}")
        return found.reshape(n, *a.shape[1:])

    def take(self, rows: Array) -> Array:
        """Rows of these numbers."""
        if len(self._maps) == 1:
            found: Array = self._maps[0][rows]
            return found
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        of = np.searchsorted(self._ends, rows, side="right")
        for i in np.unique(of):
            here = of == i
            a = self._maps[i]
            result[here] = a[rows[here] - (self._ends[i] - len(a))]
        return result

    def whole(self) -> Array | None:
        """All rows as one mapped array, where they are in one file."""
        return self._maps[0] if len(self._maps) == 1 else None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_maps": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._maps = [_map(path) for path in self.paths]


def _npy_files(where: PathLike | Sequence[PathLike], name: str) -> list[Path]:
    several = [where] if isinstance(where, (str, os.PathLike)) else list(where)
    found = []
    for path in map(Path, several):
        inside = sorted(path.glob("*.npy")) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{name} is {path}, a folder without .npy files; expected some")
        found += inside
    if not found:
        raise ValueError(f"{name} is empty; expected one path or more")
    return found


def _map(path: Path) -> Any:
    try:
        a = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path} is damaged or no .npy file: {one_line(error)}") from error
    if not isinstance(a, np.memmap) or a.ndim == 0 or not len(a):
        raise FormatError(f"{path} is no array of one row or more; expected (n, ...)")
    if not a.flags.c_contiguous:
        raise FormatError(f"{path} is stored column by column; expected C order")
    return a


class ArrayBlocks(Blocks):
    """Blocks of arrays that can be sliced by rows.

    Parameters
    ----------
    opened : function
        Gives a context in which there are x, y and weight (or None): objects with ``shape``,
        ``dtype`` and slices, which every block is read from.
    files : sequence of path
        What must not change.
    """

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[Chunk]],
        files: Sequence[PathLike] = (),
    ) -> None:
        self._opened, self._watch = opened, Watch(files)
        with opened() as data:
            shape = tuple(data.x.shape)
            if len(shape) < 2 or shape[0] == 0:
                raise ValueError(f"x has shape {shape}; expected (n, n_in) with n of 1 or more")
            for name, a in (("y", data.y), ("sample_weight", data.weight)):
                if a is not None and (not a.shape or a.shape[0] != shape[0]):
                    raise ValueError(
                        f"{name} has shape {tuple(a.shape)}; expected ({shape[0]}, ...), as x has"
                    )
            self.n_rows, self.width = int(shape[0]), int(np.prod(shape[1:]))
            self.has_rows = all(a is None or isinstance(a, (NpyRows, np.ndarray)) for a in data)
            self._at_once = rows_at_once(self.width, np.dtype(data.x.dtype).itemsize)
        self.sizes = [self.n_rows]

    def cut(self, block_rows: int) -> None:
        """Have blocks of so many rows."""
        self.sizes = cut(self.n_rows, block_rows)
        self._block_rows = block_rows

    def chunks(self, block: int, start: int) -> Iterator[Chunk]:
        first = block * self._block_rows
        end = first + self.sizes[block]
        with self._opened() as data:
            for at in range(first + start, end, self._at_once):
                rows = slice(at, min(at + self._at_once, end))
                yield self._chunk(*(None if a is None else np.asarray(a[rows]) for a in data))

    def targets(self) -> Iterator[Chunk]:
        with self._opened() as data:
            for at in range(0, self.n_rows, 1 << 16):
                rows = slice(at, at + (1 << 16))
                weight = None if data.weight is None else np.asarray(data.weight[rows])
                yield Chunk(None, np.asarray(data.y[rows]), weight)

    def take(self, rows: Array) -> Chunk:
        with self._opened() as data:
            return self._chunk(*(None if a is None else _take(a, rows) for a in data))

    def mapped(self) -> Chunk | None:
        with self._opened() as data:
            parts = [a.whole() if isinstance(a, NpyRows) else a for a in data]
            wanted = [part for part, a in zip(parts, data, strict=True) if a is not None]
            if not all(isinstance(part, np.ndarray) for part in wanted):
                return None
            return self._chunk(*parts)

    def _chunk(self, x: Any, y: Any, weight: Any) -> Chunk:
        return Chunk(x.reshape(len(x), -1) if x.ndim > 2 else x, y, weight)

    def check_unchanged(self) -> None:
        self._watch.check()


def _take(a: Any, rows: Array) -> Array:
    found: Array = a[rows] if isinstance(a, np.ndarray) else a.take(rows)
    return found


def npy(x: Any, y: Any, sample_weight: Any) -> ArrayBlocks:
    """Blocks of .npy files."""
    weight = None if sample_weight is None else NpyRows(sample_weight, "sample_weight")
    data = Chunk(NpyRows(x, "x"), NpyRows(y, "y"), weight)
    files = [path for a in data if a is not None for path in a.paths]
    return ArrayBlocks(Held(data), files)


def arrays(x: Any, y: Any, sample_weight: Any) -> ArrayBlocks:
    """Blocks of arrays of any library."""
    parts = {"x": x, "y": y, "sample_weight": sample_weight}
    data = Chunk(*(_sliceable(a, name) for name, a in parts.items()))
    files = [a.filename for a in data if isinstance(a, np.memmap) and a.filename is not None]
    return ArrayBlocks(Held(data), files)


def _sliceable(a: Any, name: str) -> Any:
    if a is None and name == "sample_weight":
        return None
    if not all(hasattr(a, need) for need in ("shape", "dtype", "__getitem__")):
        raise TypeError(f"{name} is {type(a).__name__}; expected an array with shape and dtype")
    return a


class Held:
    """Arrays that are open all the time."""

    def __init__(self, data: Chunk) -> None:
        self._data = data

    def __call__(self) -> AbstractContextManager[Chunk]:
        return nullcontext(self._data)


class InHdf5:
    """Arrays of an HDF5 file, which is open while they are read."""

    def __init__(self, path: PathLike, names: Sequence[str | None]) -> None:
        self._path, self._names = Path(path), names

    @contextmanager
    def __call__(self) -> Iterator[Chunk]:
        try:
            import h5py
        except ImportError as error:
            raise ImportError("HDF5 files need h5py: pip install h5py") from error
        try:
            with h5py.File(self._path, "r") as file:
                yield Chunk(*(None if n is None else _dataset(file, n) for n in self._names))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FormatError(f"{self._path} is damaged: {one_line(error)}") from error


def _dataset(file: Any, name: str) -> Any:
    found = file.get(name)
    if not hasattr(found, "shape"):
        raise ValueError(f"{name!r} is no array of the file; expected one of {sorted(file)}")
    return found


def hdf5(path: PathLike, x: str, y: str, sample_weight: str | None) -> ArrayBlocks:
    """Blocks of the arrays of an HDF5 file."""
    return ArrayBlocks(InHdf5(path, (x, y, sample_weight)), [path])


def zarr(path: PathLike, x: str, y: str, sample_weight: str | None) -> ArrayBlocks:
    """Blocks of the arrays of a Zarr group."""
    try:
        import zarr as library
    except ImportError as error:
        raise ImportError("Zarr groups need zarr: pip install zarr") from error
    group = library.open_group(str(path), mode="r")
    names = (x, y, sample_weight)
    return ArrayBlocks(Held(Chunk(*(None if n is None else _dataset(group, n) for n in names))))
