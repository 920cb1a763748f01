"""What every reader of tables has in common: columns that are asked for, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..table import Column, Labels, Table, listed, shown

__all__ = ["MAX_CLASSES", "Raw", "choose", "finite", "index_column"]

MAX_CLASSES = 1 << 16
# What pandas calls the index that it writes as a column.
_INDEX_NAMES = ("Unnamed: 0", "__index_level_0__")


class Raw(NamedTuple):
    """A file's inputs, and its targets: labels, or (n, n_out) numbers, or none.

    Targets that are too many different ones for classes are (n, 1) numbers.
    """

    x: NDArray[Any]
    target: Labels | NDArray[Any] | None
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None


def choose(
    table: Table, targets: Sequence[str] | None, features: Sequence[str] | None
) -> tuple[list[Column], list[Column]]:
    """Find the columns of the inputs, and those of the targets: the last one by default.

    A column without a name whose numbers count the rows is an index, and no input unless named.
    """
    names = table.names
    for argument, asked in (("features", features), ("target", targets)):
        for name in asked or ():
            if name not in names:
                raise ValueError(
                    f"{argument}: {table.place} has no column {name!r}, it has {listed(names)}"
                )
    chosen = [table.columns[-1]] if targets is None else [table[name] for name in targets]
    if features is None:
        found = [column for column in table if not any(column is one for one in chosen)]
        index = index_column(table)
        found = [column for column in found if column is not index]
    else:
        found = [table[name] for name in features]
    for column in found:
        if any(column is one for one in chosen):
            raise ValueError(f"features: {shown(column.name)} is the target of {table.place}")
    if not found:
        raise FormatError(
            f"{table.place}: no column is left for the inputs, expected two columns or more"
        )
    if features is None and len(set(names)) < len(names):
        for column in found:
            table[column.name]  # refused if two columns have the name
    return found, chosen


def index_column(table: Table) -> Column | None:
    """The first column, if a tool wrote it to number the rows."""
    first = table.columns[0]
    if first.name in _INDEX_NAMES:
        return first
    if "index" in table.about and table.about["index"] == first.name:
        return first
    return None


def finite(path: Path | str, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """`values` (n, columns) as C-contiguous floats, refused if one is not finite.

    float32 for types that it holds exactly, else float64.
    """
    narrow = np.result_type(values.dtype, np.float32) == np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(values, dtype=np.float32 if narrow else np.float64)
    good = np.isfinite(result)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        value = values[row, column]
        raise FormatError(f"{path}: {name}, row {row + 1}: {value} is no finite number")
    return result
