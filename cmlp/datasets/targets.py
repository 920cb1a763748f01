"""From a target column to labels or numbers: `found_target`, `encode`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..table import NUMBER, Column, Labels, listed, shown
from .columns import MAX_CLASSES, finite
from .dataset import Labels as Classes

__all__ = ["encode", "found_target"]

MOST_GUESSED = 20
"""So many different whole numbers are taken for classes; of more, the task must be told."""

_MOST_DIGITS = 1 << 63


def found_target(column: Column, task: str) -> Labels | NDArray[np.float64]:
    """The cells of a target as labels, or (n, 1) numbers where they are too many for labels.

    Labels are whole numbers where each reads back as it is written, numbers with a fraction, or
    text.  For classification, words and numbers together are text, otherwise refused.
    """
    try:
        found = column.labels(MAX_CLASSES)
    except FormatError:
        return _many(column)
    if (found.codes < 0).any():
        i = int((found.codes < 0).argmax())
        raise FormatError(f"{column.place(i)}: the cell is empty, expected a target")
    if not column.written:
        return _typed(column, found)
    values = [str(value) for value in found.values]
    if column.kind == "number" or all(re.search(NUMBER, value) for value in values):
        whole = [value for value in values if _reads_back(value)]
        if len(whole) == len(values):
            return Labels([int(value) for value in values], found.codes)
        if column.kind == "number" and not column.whole:
            numbers = _distinct(column.numbers(missing=False))
            if task != "classification" or any(value % 1 for value in numbers.values):
                return numbers
        return Labels(values, found.codes)
    faults = [column.fault(i) for i in _first_rows(found)]
    spelled = [re.search(NUMBER, value) is not None for value in values]
    if any(spelled) and task != "classification":
        k = spelled.index(False)
        i = _first_rows(found)[k]
        raise FormatError(f"{column.place(i)}: {faults[k]}, as other targets are")
    return Labels(values, found.codes)


def _reads_back(cell: str) -> bool:
    """Whether a whole number of 64 bits is written like this."""
    if not re.fullmatch("-?[0-9]{1,19}", cell):
        return False
    value = int(cell)
    return str(value) == cell and -_MOST_DIGITS <= value < _MOST_DIGITS


def _first_rows(found: Labels) -> list[int]:
    """The first row of each value; values are in order of appearance."""
    _, first = np.unique(found.codes, return_index=True)
    rows: list[int] = first.tolist()
    return rows


def _many(column: Column) -> NDArray[np.float64]:
    try:
        return column.numbers(missing=False)[:, np.newaxis]
    except FormatError as error:
        raise FormatError(
            f"{error}, and more than {MAX_CLASSES} different targets cannot be labels"
        ) from None


def _typed(column: Column, found: Labels) -> Labels:
    """The target of a file whose columns have types."""
    if column.kind == "truth":
        return Labels([str(value) for value in found.values], found.codes)
    if column.kind == "number" and column.whole:
        return found
    return _distinct(column.numbers(missing=False))


def _distinct(values: NDArray[np.float64]) -> Labels:
    different, codes = np.unique(values, return_inverse=True)
    return Labels(different.tolist(), codes)


def encode(
    path: Path | str, target: Labels | NDArray[Any], task: str, classes: Sequence[Any] | None
) -> tuple[NDArray[Any], Classes | None]:
    """Turn targets into class numbers and their labels, or into float64 numbers."""
    if task == "auto":
        task = _guess_task(path, target)
    if task == "classification":
        return _encode_labels(path, target, classes)
    if isinstance(target, Labels):
        first = target.values[0]
        try:
            values = np.array([float(value) for value in target.values])
        except ValueError:
            raise ValueError(
                f"task: {path} has the target {shown(first)}, expected numbers"
            ) from None
        target = values[target.codes, np.newaxis]
    return finite(path, "target", np.asarray(target, dtype=np.float64)), None


def _guess_task(path: Path | str, target: Labels | NDArray[Any]) -> str:
    """Numbers with a fraction are regression; text and whole numbers are labels."""
    n = len(target.codes if isinstance(target, Labels) else target)
    if not isinstance(target, Labels):
        if target.shape[1] > 1 or (target % 1 != 0).any():
            return "regression"
        n_values = f"more than {MAX_CLASSES}"
    elif isinstance(target.values[0], float):
        return "regression"
    elif isinstance(target.values[0], str) or len(target.values) <= MOST_GUESSED:
        return "classification"
    else:
        n_values = str(len(target.values))
    raise ValueError(
        f"task: {path} has {n_values} different whole numbers as targets of {n} rows, "
        "expected task='classification' or task='regression' to be given"
    )


def _encode_labels(
    path: Path | str, target: Labels | NDArray[Any], classes: Sequence[Any] | None
) -> tuple[NDArray[np.int64], Classes]:
    """Number the labels by `classes`, or by their sorted order."""
    if not isinstance(target, Labels):
        several = target.shape[1] > 1
        what = "several targets a row" if several else f"more than {MAX_CLASSES} different targets"
        raise ValueError(f"task: {path} has {what}, expected one label")
    labels: list[Any] = []
    for value in target.values:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(f"task: {path} has the target {value}, expected labels")
        labels.append(value if isinstance(value, str) else int(value))
    known: Classes = tuple(sorted(set(labels)) if classes is None else classes)
    if classes is None and len(known) < 2:
        raise ValueError(f"target: {path} has one class, {shown(known[0])}, expected two or more")
    # Compared as text: 3 in one kind of file is "3" in another.
    number = {str(label): i for i, label in enumerate(known)}
    for label in labels:
        if str(label) not in number:
            raise ValueError(
                f"classes: {path} has the label {shown(label)}, expected one of {listed(known)}"
            )
    return np.array([number[str(label)] for label in labels], np.int64)[target.codes], known
