"""From a name or a file to samples, in the parts that training and testing want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..datasets.columns import choose
from ..datasets.dataset import Dataset
from ..datasets.tables import dataset_of, is_table_name, targets_of
from ..datasets.targets import encode
from ..table import Table

Array = NDArray[Any]

# The seed that parts training and validation data; the held-out part has that of `split`.
_VALIDATION_SEED = 1


class Samples(NamedTuple):
    """Inputs, and labels (n,) or numbers (n, n_out), as they are in the data.

    The inputs are an array (n, n_in), or a table if it has more than numbers.
    """

    x: Any
    y: Array


class Parts(NamedTuple):
    """The three parts of a set; no validation part if it was not asked for."""

    train: Samples
    validation: Samples | None
    test: Samples


class Loaded(NamedTuple):
    """A set, what was found out of its file, and what its user should know.

    With a table, the inputs are its columns, and ``dataset.x`` (n, 1) only numbers its rows.
    """

    dataset: Dataset
    about: dict[str, str]
    notes: list[str]
    table: Table | None = None


def is_table(source: str) -> bool:
    """Whether the source is a file, which is a table then, or is called like one."""
    if source in ("digits", *datasets.POINTS_2D) or Path(source).is_dir():
        return False
    return Path(source).is_file() or is_table_name(source)


def load(
    source: str,
    *,
    target: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    task: str | None = None,
    classes: Sequence[Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    mixed: bool | None = None,
) -> Loaded:
    """The set of that name or file; the options are for tables, ``reading`` for text.

    ``features`` are names, or names joined by commas where no column has the whole. ``mixed`` is
    whether columns may be more than numbers, by default if any is, or lacks a value.
    """
    if not is_table(source):
        given = {"target": target, "features": features, "task": task, **(reading or {})}
        names = " and ".join(f"--{name}" for name, value in given.items() if value is not None)
        dataset = datasets.load(source)
        if names:
            raise ValueError(f"{names}: for tables alone, and {source!r} is not the file of one")
        return Loaded(dataset, {}, [])
    twice = [name for name, n in Counter(target or ()).items() if n > 1]
    if twice:
        raise ValueError(f"--target: {twice[0]!r} is given twice, expected different columns")
    task = task or "auto"
    if is_arrays(source):
        dataset = datasets.load_table(
            source, target, features=features, task=task, classes=classes, **(reading or {})
        )
        return Loaded(dataset, {"format": "NPZ"}, [])
    table = datasets.read_table(source, **(reading or {}))
    chosen = None if features is None else columns_named(features, table.names)
    na_values = tuple((reading or {}).get("na_values", ()))
    task = task if classes is None else "classification"
    about = {**table.about, "target": ", ".join(target or table.names[-1:])}
    inputs, outputs = choose(table, target, chosen)
    if mixed is None:
        mixed = any(c.kind not in ("number", "truth") or c.n_missing for c in inputs)
    if not mixed:
        dataset = dataset_of(table, target, chosen, task, classes, na_values)
        return Loaded(dataset, about, list(digits_lost(table, dataset)))
    y, found = encode(table.place, targets_of(outputs, task, na_values), task, classes)
    rows = np.arange(len(table), dtype=np.float64)[:, np.newaxis]
    of_inputs = Table(table.name, inputs, table.about, table.place)
    return Loaded(Dataset(table.name, rows, y, found), about, [], of_inputs)


def digits_lost(table: Table, dataset: Dataset) -> Iterator[str]:
    """Say which columns have whole numbers that float64 cannot tell apart."""
    large = np.abs(dataset.x).max(axis=0) >= 2.0**53
    for name, is_large in zip(dataset.feature_names or (), large, strict=True):
        if is_large and table[name].loses_digits():
            yield (
                f"column {name!r} has whole numbers of more than 15 digits, which float64 cannot "
                "tell apart"
            )


def values_lost(x: Array, names: Sequence[str], scaled: Array, dtype: str) -> Iterator[str]:
    """Say which columns have fewer different values as a net of a type gets them."""
    for name, column, narrow in zip(names, x.T, scaled.astype(dtype).T, strict=True):
        before = len(np.unique(column))
        after = len(np.unique(narrow))
        if after < before:
            yield f"column {name!r} has {before} different values, of which {dtype} keeps {after}"


def is_arrays(source: str) -> bool:
    """Whether a table is an archive of NumPy arrays, which have no names."""
    return Path(source).suffix.lower() == ".npz"


def columns_named(texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns that texts name: whole names first, else names joined by commas."""
    found: list[str] = []
    for text in texts:
        found += [text] if text in names else [part.strip() for part in text.split(",")]
    return found


def part(loaded: Loaded, test_share: float | None, validation: float) -> Parts:
    """Hold out a test part, and a share of the rest for validation; always the same ones."""
    dataset = loaded.dataset
    least = 3 if validation else 2
    if len(dataset) < least:
        parts = "training, validation and test" if validation else "training and test"
        raise ValueError(
            f"{dataset.name} has {len(dataset)} rows; expected at least {least} for {parts}"
        )
    x, codes, x_test, codes_test = dataset.split(test_share)
    held_out = None
    if validation:
        rest = Dataset(dataset.name, x, codes, dataset.classes)
        x, codes, x_held_out, codes_held_out = rest.split(validation, _VALIDATION_SEED)
        held_out = _samples(loaded, x_held_out, codes_held_out)
    return Parts(_samples(loaded, x, codes), held_out, _samples(loaded, x_test, codes_test))


def _samples(loaded: Loaded, x: Array, codes: Array) -> Samples:
    classes, table = loaded.dataset.classes, loaded.table
    inputs = x if table is None else table.take(x[:, 0].astype(np.int64))
    return Samples(inputs, codes if classes is None else np.asarray(classes)[codes])


def whole(loaded: Loaded) -> Samples:
    """All samples."""
    return _samples(loaded, loaded.dataset.x, loaded.dataset.y)
