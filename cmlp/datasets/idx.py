"""MNIST's files: the IDX format, and the four files of a set in it.

The files are not trusted: see `read_idx`.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, one_line
from .dataset import Dataset, PathLike

__all__ = ["MAX_EXPANSION", "mnist", "n_bytes", "read_exactly", "read_idx"]

MAX_EXPANSION = 1032
"""The best that deflate can do: the most bytes that a byte of a stream can unpack to."""

# NumPy 1 has no array of more dimensions.
_MAX_DIMENSIONS = 32
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
# The SHA-256 sums of the original gzip files.
_MNIST_FILES = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def read_idx(path: PathLike) -> NDArray[Any]:
    """Read an array in the IDX format of the MNIST files, gzipped or not.

    The format: two zero bytes, a byte for the type, a byte for the number of dimensions, each
    dimension as 4 bytes, then the elements row by row, all big-endian. The types are uint8,
    int8, int16, int32, float32 and float64. Source: "The MNIST database of handwritten digits",
    Y. LeCun, C. Cortes, C. Burges.

    Parameters
    ----------
    path : path of the file
        A gzip file is known by its first bytes, whatever its name.

    Returns
    -------
    ndarray
        A new array in the machine's byte order.

    Raises
    ------
    FormatError
        Not an IDX file, an unknown type, no dimension or one of size zero, fewer or more bytes
        than the header states, a damaged gzip stream. The stated size is compared with the size
        of the file before anything is read (for gzip: with the most that it could unpack to).
    OSError
        The file cannot be opened or read.
    """
    path = Path(path)
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        zipped = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if not zipped:
            return _idx_array(path, stream, size, zipped=False)
        try:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return _idx_array(path, unpacked, size * MAX_EXPANSION, zipped=True)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise FormatError(f"{path}: not a whole gzip file ({one_line(error)})") from error


def _idx_array(
    path: Path, stream: IO[bytes] | gzip.GzipFile, limit: int, zipped: bool
) -> NDArray[Any]:
    """Header and elements from `stream`, which holds `limit` bytes (if `zipped`: at most)."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES:
        raise FormatError(f"{path}: starts with {start.hex(' ')}, which no IDX file does")
    ndim = start[3]
    lengths = stream.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise FormatError(f"{path}: ends within its header of {ndim} dimensions")
    shape = struct.unpack(f">{ndim}I", lengths)
    dtype = np.dtype(_IDX_TYPES[start[2]])
    expected = n_bytes(path, shape, dtype)
    there = limit - 4 - 4 * ndim
    if expected > there or (expected < there and not zipped):
        raise FormatError(f"{path}: the header states {expected} bytes of data, {there} are there")
    data = read_exactly(stream, expected)
    if len(data) != expected:
        found = "more" if len(data) > expected else len(data)
        raise FormatError(f"{path}: the header states {expected} bytes of data, {found} are there")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_exactly(stream: IO[bytes] | gzip.GzipFile, n: int) -> bytearray:
    """The next n bytes if the stream ends there: fewer, or one more, if it ends elsewhere.

    Memory grows with what comes, so that a stream which promised too much costs nothing; asking
    for one byte more makes a packed stream compare its checksum.
    """
    data = bytearray()
    while len(data) <= n:
        piece = stream.read(min(n + 1 - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return data


def n_bytes(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Bytes of an array with these dimensions, all of which must be there and positive."""
    n = dtype.itemsize
    for length in shape:
        n *= length
    if not shape or len(shape) > _MAX_DIMENSIONS or min(shape) < 1 or n < 1:
        raise FormatError(f"{path}: an array of shape {tuple(shape)[:8]}, expected 1 or more rows")
    return n


def mnist(folder: PathLike, *, download: bool = False) -> Dataset:
    """MNIST's handwritten digits, or another set in the same four files.

    Parameters
    ----------
    folder : path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each as it is or as ``.gz``;
        ``.idx`` in place of ``-idx`` is taken too.
    download : bool, default False
        Fetch the files that are missing, from the first of three mirrors that gives each with
        the SHA-256 sum of the original. Needs pooch: ``pip install cmlp[data]``.

    Returns
    -------
    Dataset
        x is (70000, 784), pixels from 0 (paper) to 1 (ink) in steps of 1/255, row by row; the
        last 10,000 samples are the set's own test part. Classes are the labels that the
        training part has. Other sets have other numbers.

    Raises
    ------
    FormatError
        A broken file (see `read_idx`), images or labels that are not unsigned bytes, numbers of
        images and labels that differ, pictures of two sizes, a test label not seen in training.
    FileNotFoundError
        A file is not there.
    OSError
        A file cannot be read, or no mirror gave it.
    ImportError
        `download` without pooch.
    """
    folder = Path(folder)
    if download:
        _download_mnist(folder)
    images, labels = _images_and_labels(folder, "train")
    test_images, test_labels = _images_and_labels(folder, "t10k")
    if images.shape[1:] != test_images.shape[1:]:
        sizes = f"{images.shape[1:]} and {test_images.shape[1:]}"
        raise FormatError(f"{folder}: pictures of {sizes} pixels, expected one size")
    classes, codes = np.unique(labels, return_inverse=True)
    test_codes = np.searchsorted(classes, test_labels)
    unknown = classes.take(test_codes, mode="clip") != test_labels
    if unknown.any():
        label = test_labels[unknown][0]
        raise FormatError(f"{folder}: the test label {label} is not among the training labels")
    n, n_test = len(images), len(test_images)
    x = np.empty((n + n_test, images[0].size), dtype=np.float32)
    np.divide(images.reshape(n, -1), np.float32(255), out=x[:n])
    np.divide(test_images.reshape(n_test, -1), np.float32(255), out=x[n:])
    return Dataset(
        folder.resolve().name,
        x,
        np.concatenate([codes, test_codes]).astype(np.int64, copy=False),
        classes=tuple(classes.tolist()),
        image_shape=(images.shape[1], images.shape[2]),
        n_test=n_test,
    )


def _find_idx(folder: Path, name: str) -> Path | None:
    for stem in (name, name.replace("-idx", ".idx")):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    return None


def _images_and_labels(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images (n, rows, columns) and labels (n,) of "train" or "t10k"."""
    arrays = []
    for name, ndim in ((f"{part}-images-idx3-ubyte", 3), (f"{part}-labels-idx1-ubyte", 1)):
        path = _find_idx(folder, name)
        if path is None:
            raise FileNotFoundError(f"{folder} has no file {name} or {name}.gz")
        values = read_idx(path)
        if values.ndim != ndim or values.dtype != np.uint8:
            got = f"{values.dtype} of {values.ndim} dimensions"
            raise FormatError(f"{path}: {got}, expected unsigned bytes of {ndim}")
        arrays.append(values)
    images, labels = arrays
    if len(images) != len(labels):
        raise FormatError(f"{folder}: {len(images)} {part} images and {len(labels)} labels")
    return images, labels


def _download_mnist(folder: Path) -> None:
    try:
        import pooch
    except ImportError as error:
        raise ImportError("download needs pooch: pip install cmlp[data]") from error
    for name, sha256 in _MNIST_FILES.items():
        if _find_idx(folder, name):
            continue
        failures = []
        for mirror in _MNIST_MIRRORS:
            try:
                pooch.retrieve(f"{mirror}{name}.gz", f"sha256:{sha256}", f"{name}.gz", folder)
                break
            # An unreachable mirror is an OSError, a wrong sum a ValueError.
            except (OSError, ValueError) as error:
                failures.append(f"{mirror}: {one_line(error)}")
        else:
            raise OSError(f"no mirror gave {name}.gz: {'; '.join(failures)}")
