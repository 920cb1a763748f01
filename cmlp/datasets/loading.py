"""Sets by their names or from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..table import is_frame
from .dataset import Dataset, PathLike
from .idx import mnist
from .sets import POINTS_2D, digits, points_2d
from .tables import TABLE_SUFFIXES, is_table_name, load_table, read_inputs


def load(source: PathLike | Any, **options: Any) -> Dataset:
    """Load a set by its name or from files.

    Parameters
    ----------
    source : str or path
        ``"digits"``; a name of `POINTS_2D` (``"circle"``, ``"xor"``, ``"gauss"``, ``"spiral"``,
        ``"plane"``, ``"multi_gaussian"``); a folder of IDX files; or a table, as `load_table`
        takes it. A name goes before a file of that name, which ``"./xor"`` or a Path reaches.
    **options
        Those of `points_2d`, `mnist` or `load_table`, whichever reads the source.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        Neither a name nor a file or folder; and what the reader raises.
    TypeError
        An option that the reader does not have.
    OSError
        A name that ends as tables do, and no such file.
    """
    if is_frame(source):
        return load_table(source, **options)
    if isinstance(source, str) and source == "digits":
        return digits(**options)
    if isinstance(source, str) and source in POINTS_2D:
        return points_2d(source, **options)
    path = Path(source)
    if path.is_dir():
        return mnist(path, **options)
    if path.is_file() or is_table_name(path):
        return load_table(path, **options)
    names = ", ".join(["digits", *POINTS_2D])
    files = f"a folder of IDX files or a file that ends in {', '.join(TABLE_SUFFIXES)}"
    raise ValueError(f"source: no data at {str(source)!r}, expected one of {names}, {files}")


def load_inputs(
    source: PathLike, *, features: Sequence[str] | None = None, **layout: Any
) -> NDArray[Any]:
    """Load inputs alone, for predictions: a file needs no target, and labels are not looked at.

    Parameters
    ----------
    source : str or path
        As in `load`.
    features : sequence of str, optional
        The columns of a table that the network was trained on, in its order; by default all.
    **layout
        ``header``, ``delimiter``, ``decimal``, ``encoding`` and ``na_values`` of `load_table`.

    Returns
    -------
    ndarray (n, n_in), float32 or float64

    Raises
    ------
    ValueError, OSError, ImportError
        As `load`.
    """
    path = Path(source)
    if is_table_name(path):
        return read_inputs(path, features=features, **layout)
    return load(source).x
