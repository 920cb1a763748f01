"""From a name or a file to samples, in the parts that training and testing want."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..datasets.dataset import Dataset

Array = NDArray[Any]

# The seed that parts training and validation data; the held-out part has that of `split`.
_VALIDATION_SEED = 1


class Samples(NamedTuple):
    """Inputs (n, n_in) and labels (n,) or numbers (n, n_out), as they are in the data."""

    x: Array
    y: Array


class Parts(NamedTuple):
    """The three parts of a set; no validation part if it was not asked for."""

    train: Samples
    validation: Samples | None
    test: Samples


def is_table(source: str) -> bool:
    """Whether the source is a file, which is a table then, and no name or folder."""
    return source not in ("digits", *datasets.POINTS_2D) and Path(source).is_file()


def load(source: str, **table_options: Any) -> Dataset:
    """The set of that name or file; the options, None where not given, are for tables."""
    given = {name: value for name, value in table_options.items() if value is not None}
    if is_table(source):
        return datasets.load_table(source, **given)
    if given:
        names = " and ".join(given)
        raise ValueError(f"{names}: for tables alone, and {source!r} is not the file of one")
    return datasets.load(source)


def part(dataset: Dataset, test_share: float | None, validation: float) -> Parts:
    """Hold out a test part, and a share of the rest for validation; always the same ones."""
    x, codes, x_test, codes_test = dataset.split(test_share)
    held_out = None
    if validation:
        rest = Dataset(dataset.name, x, codes, dataset.classes)
        x, codes, x_held_out, codes_held_out = rest.split(validation, _VALIDATION_SEED)
        held_out = _samples(dataset, x_held_out, codes_held_out)
    return Parts(_samples(dataset, x, codes), held_out, _samples(dataset, x_test, codes_test))


def _samples(dataset: Dataset, x: Array, codes: Array) -> Samples:
    return Samples(x, codes if dataset.classes is None else np.asarray(dataset.classes)[codes])


def whole(dataset: Dataset) -> Samples:
    """All samples."""
    return _samples(dataset, dataset.x, dataset.y)
