"""What every reader of tables has in common: columns that are asked for, and what is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

__all__ = [
    "MAX_CLASSES",
    "Column",
    "Raw",
    "Wanted",
    "check_unique",
    "choose",
    "finite_float32",
    "listed",
    "shown",
]

MAX_CLASSES = 1 << 16


class Wanted(NamedTuple):
    """Which columns the caller asks for."""

    target: str | None
    with_target: bool
    features: Sequence[str] | None


class Column(NamedTuple):
    """A target column of n rows: each different value once, and which of them each row has."""

    values: list[str] | list[int] | list[float]
    codes: NDArray[Any]


class Raw(NamedTuple):
    """A file's inputs, and its targets: a column, or (n, n_out) numbers, or none.

    Targets that are too many different ones for classes are (n, 1) numbers.
    """

    x: NDArray[np.float32]
    target: Column | NDArray[Any] | None
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None


def choose(path: Path, names: Sequence[str], wanted: Wanted) -> tuple[list[int], int | None]:
    """Find the columns of the inputs and of the target, which is the last one unless named."""
    place = {name: i for i, name in enumerate(names)}
    asked = [("features", name) for name in wanted.features or []]
    if wanted.target is not None:
        asked.append(("target", wanted.target))
    for argument, name in asked:
        if name not in place:
            raise ValueError(f"{argument}: {path} has no column {name!r}, it has {listed(names)}")
    y = None
    if wanted.with_target:
        y = len(names) - 1 if wanted.target is None else place[wanted.target]
    if wanted.features is None:
        x = [i for i in range(len(names)) if i != y]
    else:
        x = [place[name] for name in wanted.features]
    if y in x:
        raise ValueError(f"features: {shown(names[x[x.index(y)]])} is the target of {path}")
    if not x:
        raise FormatError(f"{path}: no column is left for the inputs, expected two columns or more")
    return x, y


def shown(value: str | float) -> str:
    """A value from a file as messages show it: printable and short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 42 else f"{text[:41]}..."


def listed(values: Sequence[str] | Sequence[int]) -> str:
    """The first ten, for a message."""
    return ", ".join(map(shown, values[:10])) + (", ..." if len(values) > 10 else "")


def check_unique(path: Path, names: Sequence[str]) -> None:
    """Raise FormatError if two columns of a file have the same name."""
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise FormatError(f"{path}: the column {shown(twice)} is named twice")


def finite_float32(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """`values` (n, columns) as C-contiguous float32, refused if one is not finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(result)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        value = values[row, column]
        raise FormatError(f"{path}: {name}, row {row + 1}: {value} is no finite float32 number")
    return result
