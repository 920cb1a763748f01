"""Where the C library lies, for programs and extension modules that use it."""

from __future__ import annotations

from pathlib import Path

from . import _core

__all__ = ["get_include", "get_library_dir"]

# Beside the compiled module: an editable install leaves this file elsewhere.
_FOLDER = Path(_core.__file__).parent


def get_include() -> str:
    """Folder of the C header ``cmlp.h``, for a compiler's include path."""
    return str(_FOLDER / "include")


def get_library_dir() -> str:
    """Folder of the static C library ``cmlp``, for a linker's library path.

    In it are the folders ``cmake/cmlp``, for CMake's ``find_package(cmlp)``, and ``pkgconfig``.
    """
    return str(_FOLDER / "lib")
