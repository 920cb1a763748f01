"""The bytes of a file, unpacked: `contents`, and what its name says of it: `Name`."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, one_line
from ..table import arrow

__all__ = ["PACKINGS", "STDIN", "Name", "contents"]

STDIN = Path("-")
"""The path that stands for standard input."""

# The most that a byte of a packed file may unpack to: more than any table does, and few enough
# that a small file cannot fill the memory.  64 MB are always allowed.
MAX_EXPANSION = 200
_ALWAYS = 1 << 26


def _gzip(stream: Any) -> Any:
    return gzip.GzipFile(fileobj=stream)


def _zstd(stream: Any) -> Any:
    return arrow().CompressedInputStream(stream, "zstd")


PACKINGS: dict[str, Callable[[Any], Any]] = {
    ".gz": _gzip,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstd,
}
"""What unpacks a file whose name ends so."""


# pyarrow's errors are subclasses of ValueError and OSError.
_FAULTS = (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)


class Name(NamedTuple):
    """The ending that tells the format, the one that tells the packing, and the name without."""

    kind: str
    packing: str
    stem: str

    @classmethod
    def of(cls, path: Path) -> Name:
        """What a path says; standard input is CSV."""
        if path == STDIN:
            return cls(".csv", "", "stdin")
        packing = path.suffix.lower()
        if packing not in PACKINGS:
            return cls(packing, "", path.stem)
        inner = Path(path.stem)
        return cls(inner.suffix.lower(), packing, inner.stem)


def contents(path: Path) -> bytes:
    """All bytes of a file, or of standard input, unpacked as the ending of its name says.

    Raises
    ------
    FormatError
        A file that is not whole, or unpacks to 200 times its size and more.
    OSError
        It cannot be opened or read.
    """
    if path == STDIN:
        return sys.stdin.buffer.read()
    packing = Name.of(path).packing
    with open(path, "rb") as stream:
        if not packing:
            return stream.read()
        most = max(_ALWAYS, MAX_EXPANSION * path.stat().st_size)
        try:
            with PACKINGS[packing](stream) as unpacked:
                data: bytes = unpacked.read(most + 1)
        except _FAULTS as error:
            raise FormatError(f"{path}: not a whole {packing} file ({one_line(error)})") from error
    if len(data) > most:
        raise FormatError(f"{path}: unpacks to more than {most} bytes")
    return data
