"""Reading NPZ files, NumPy's archives of arrays, not trusted: `read_npz`."""

from __future__ import annotations

import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, one_line
from ..table import Labels, listed
from .columns import MAX_CLASSES, Raw, finite
from .idx import MAX_EXPANSION, n_bytes, read_exactly

__all__ = ["read_npz"]

# What the zip reader raises on damaged archives besides its own error.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
)


def read_npz(
    path: Path, target: str | None, n_features: int | None, with_target: bool = True
) -> Raw:
    """Read the arrays `x` and `y` (or the one that the target names) of a NumPy archive."""
    target = target or "y"
    names = ["x", target] if with_target else ["x"]
    arrays = _npz_arrays(path, names)
    x = arrays["x"]
    if x.ndim < 2 or x.size == 0 or x.dtype.kind == "U":
        raise FormatError(f"{path}: x is {_kind(x)}, expected numbers of shape (n, n_in), n > 0")
    image_shape = (x.shape[1], x.shape[2]) if x.ndim == 3 else None
    x = finite(path, "x", x.reshape(len(x), -1))
    if n_features is not None and n_features != x.shape[1]:
        raise ValueError(f"features: {path} has {x.shape[1]} columns in x, expected {n_features}")
    if not with_target:
        return Raw(x, None, image_shape=image_shape)
    y = arrays[target]
    if y.ndim == 0 or y.ndim > 2 or y.size == 0 or len(y) != len(x):
        raise FormatError(f"{path}: {target} is {_kind(y)}, expected {len(x)} rows as x has")
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind == "U":
            raise FormatError(f"{path}: {target} is {_kind(y)}, expected one label a row")
        return Raw(x, y, image_shape=image_shape)
    return Raw(x, _column(path, target, y.ravel()), image_shape=image_shape)


def _kind(values: NDArray[Any]) -> str:
    return f"{values.dtype.name} of shape {values.shape}"


def _column(path: Path, name: str, y: NDArray[Any]) -> Labels | NDArray[Any]:
    """A target column from the numbers, truth values or text of an array (n,)."""
    if y.dtype.kind == "f":
        finite(path, name, y[:, np.newaxis])
    values, codes = np.unique(y, return_inverse=True)
    if len(values) > MAX_CLASSES:
        if y.dtype.kind == "U":
            raise FormatError(f"{path}: {name} has more than {MAX_CLASSES} labels")
        return y[:, np.newaxis]
    plain = values.astype(str) if values.dtype.kind == "b" else values
    return Labels(plain.tolist(), codes)


def _npz_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            with zipfile.ZipFile(stream) as archive:
                held = [name.removesuffix(".npy") for name in archive.namelist()]
                missing = [name for name in names if f"{name}.npy" not in archive.namelist()]
                if not missing:
                    return {name: _npy_member(path, archive, name, size) for name in names}
        except FormatError:
            raise
        except _ZIP_FAULTS as error:
            raise FormatError(f"{path}: not a whole NPZ file ({one_line(error)})") from error
    names_held = listed(held) or "none"
    if missing[0] == "x":
        raise FormatError(f"{path}: no array 'x', it has {names_held}")
    raise ValueError(f"target: {path} has no array {missing[0]!r}, it has {names_held}")


def _npy_member(path: Path, archive: zipfile.ZipFile, name: str, size: int) -> NDArray[Any]:
    """One array; its header is believed only as far as the bytes of the file can bear it out."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"{path}: {name} is packed in a way that NumPy does not write")
    if info.compress_size > size or info.file_size > MAX_EXPANSION * size:
        raise FormatError(f"{path}: {name} claims {info.file_size} bytes in a file of {size}")
    with archive.open(info) as stream:
        shape, fortran, dtype = _npy_header(path, name, stream)
        if dtype.kind not in "biufU":
            raise FormatError(f"{path}: {name} is of type {dtype.name}, expected numbers or text")
        expected = n_bytes(path, shape, dtype)
        if expected > info.file_size:
            raise FormatError(f"{path}: {name} claims {expected} bytes, {info.file_size} are there")
        data = read_exactly(stream, expected)
    if len(data) != expected:
        raise FormatError(f"{path}: {name} has {len(data)} bytes of data, expected {expected}")
    values = np.frombuffer(data, dtype)
    if dtype.kind == "U":
        _check_characters(path, name, values)
    return values.reshape(shape, order="F" if fortran else "C")


def _check_characters(path: Path, name: str, text: NDArray[np.str_]) -> None:
    """Refuse text with numbers that are no characters, from which no str can be made."""
    codes = text.view(np.dtype(np.uint32).newbyteorder(text.dtype.byteorder))
    if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise FormatError(f"{path}: {name} has text with numbers that are no characters")


def _npy_header(
    path: Path, name: str, stream: IO[bytes]
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        return np.lib.format.read_array_header_2_0(stream)
    except (zipfile.BadZipFile, zlib.error):
        raise
    # The header is a Python literal, and parsing a damaged one can end in almost any error.
    except Exception as error:
        raise FormatError(f"{path}: {name} has no readable NumPy header") from error
