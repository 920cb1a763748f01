"""Points of the plane to train on: drawn by formula, by the mouse, or read from a table."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..checks import Array
from ..datasets.dataset import Dataset
from ..errors import FormatError
from .settings import DATASETS, REG_DATASETS, Settings

__all__ = ["HALF_WIDTH", "Points", "Table", "of_formula", "own", "read_table", "thumbnails"]

HALF_WIDTH = 6.0
"""The page shows the square of -6 to 6."""

_WITHIN = 5.0  # where a table's points are brought to
_MOST_OWN = 5000
_MOST_OF_A_TABLE = 100_000
_MOST_SHOWN = 1500
_LONGEST_NAME = 100
_IN_A_THUMBNAIL = 160


@dataclass(frozen=True, eq=False)
class Points:
    """Points in two parts, for training and testing.

    Attributes
    ----------
    x, x_test : ndarray (n, 2), float32
        Within the page's square.
    y, y_test : ndarray
        Class numbers (n,), 0 and 1; or numbers (n, 1), float32, most of them within -1 to 1.
    classifies : bool
    drawn : list of (x1, x2, target), optional
        All points, where they were drawn with the mouse.
    table : Table, optional
        Where they came from a table.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    classifies: bool
    drawn: list[tuple[float, float, float]] | None = None
    table: Table | None = None

    def about(self) -> dict[str, Any]:
        """What the page draws: as many points of each part as it can tell apart."""
        about: dict[str, Any] = {
            "train": _shown(self.x, self.y, self.classifies),
            "test": _shown(self.x_test, self.y_test, self.classifies),
            "counts": [len(self.x), len(self.x_test)],
        }
        if self.table is not None:
            about["axes"] = self.table.axes()
        return about


def targets(y: Array, classifies: bool) -> Array:
    """Targets as colours show them, (n,): classes as -1 and 1."""
    return 2.0 * y - 1.0 if classifies else y[:, 0]


def _shown(x: Array, y: Array, classifies: bool) -> list[list[float]]:
    rows = np.column_stack([x, targets(y, classifies)])[:_MOST_SHOWN].astype(np.float64)
    found: list[list[float]] = rows.round(4).tolist()
    return found


# ---- where they come from --------------------------------------------------------------------


def of_formula(settings: Settings) -> Points:
    """The set that the settings name, of those of `datasets.POINTS_2D`."""
    dataset = datasets.points_2d(
        settings.set_name,
        noise=settings.noise / 100,
        seed=settings.data_seed,
        test_share=1 - settings.percTrainData / 100,
    )
    return Points(*dataset.split(), settings.classifies)


def own(settings: Settings, drawn: Any) -> Points:
    """Points that were drawn with the mouse: [x1, x2, target], with targets of -1 and 1.

    Raises
    ------
    ValueError
        For anything else, or fewer than two points.
    """
    try:
        rows = np.array(drawn, dtype=np.float64)
    except (TypeError, ValueError):
        rows = np.empty(0)
    if rows.ndim != 2 or rows.shape[1] != 3 or not 2 <= len(rows) <= _MOST_OWN:
        raise ValueError(f"points: expected 2 to {_MOST_OWN} points [x1, x2, target]")
    if not (abs(rows[:, :2]) <= HALF_WIDTH).all() or not (abs(rows[:, 2]) == 1).all():
        raise ValueError("points: expected coordinates from -6 to 6, and targets of -1 or 1")
    x, t = rows[:, :2].astype(np.float32), rows[:, 2]
    if settings.classifies:
        dataset = Dataset("own", x, (t > 0).astype(np.int64), (0, 1))
    else:
        dataset = Dataset("own", x, t[:, np.newaxis].astype(np.float32))
    split = dataset.split(1 - settings.percTrainData / 100, settings.data_seed)
    points = [(float(a), float(b), float(c)) for a, b, c in rows]
    return Points(*split, settings.classifies, drawn=points)


@dataclass(frozen=True, eq=False)
class Table:
    """A table of two inputs and a target, as it was read.

    Attributes
    ----------
    name : str
        Of the file.
    dataset : Dataset
    """

    name: str
    dataset: Dataset

    @property
    def classifies(self) -> bool:
        """Whether the target is one of two classes."""
        return self.dataset.classes is not None

    def points(self, settings: Settings) -> Points:
        """The points, brought into the page's square.

        Raises
        ------
        ValueError
            If the settings are about the other problem.
        """
        if self.classifies != settings.classifies:
            fits = "classification" if self.classifies else "regression"
            raise ValueError(f"problem is {settings.problem}; expected {fits}, as {self.name} has")
        share, seed = 1 - settings.percTrainData / 100, settings.data_seed
        x, y, x_test, y_test = map(np.asarray, self.dataset.split(share, seed))
        middle, half = extent(self.dataset.x)
        x, x_test = (_WITHIN * ((part - middle) / half) for part in (x, x_test))
        if not self.classifies:
            middle, half = extent(self.dataset.y)
            y, y_test = ((part - middle) / half for part in (y, y_test))
        return Points(x, y, x_test, y_test, self.classifies, table=self)

    def axes(self) -> list[dict[str, Any]]:
        """The names of the two inputs and where the square begins and ends."""
        names = self.dataset.feature_names or ("x1", "x2")
        middle, half = extent(self.dataset.x)
        reach = half * np.float32(HALF_WIDTH / _WITHIN)
        return [
            {"name": name, "low": float(m - r), "high": float(m + r)}
            for name, m, r in zip(names, middle, reach, strict=True)
        ]


def extent(values: NDArray[np.float32]) -> tuple[Array, Array]:
    """Middle and half width of columns (n, k); 1 for a column that is constant."""
    low, high = values.min(axis=0), values.max(axis=0)
    return low / 2 + high / 2, np.where(low < high, high / 2 - low / 2, np.float32(1))


def read_table(name: str, content: bytes) -> Table:
    """A file that was dropped onto the page, read as strictly as any.

    Raises
    ------
    FormatError
        If it is broken, or has other than two inputs and a target, or more than two classes.
    """
    file_name = Path(name.replace("\\", "/")).name[-_LONGEST_NAME:]
    suffix = Path(file_name).suffix.lower()
    if suffix not in (".csv", ".tsv"):
        raise FormatError(f"{file_name or 'the file'}: expected a name that ends in .csv or .tsv")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data{suffix}"
        path.write_bytes(content)
        try:
            dataset = datasets.load_table(path)
        except FormatError as error:
            raise FormatError(str(error).replace(str(path), file_name)) from None
    return table_of(file_name, dataset)


def table_of(name: str, dataset: Dataset) -> Table:
    """A table of what was read, if the page can show it."""
    n_targets = 1 if dataset.classes is not None else dataset.n_out
    if dataset.n_in != 2 or n_targets != 1:
        raise FormatError(f"{name}: {dataset.n_in} inputs, expected two columns and a target")
    if dataset.classes is not None and len(dataset.classes) != 2:
        raise FormatError(f"{name}: {len(dataset.classes)} classes, expected two, or numbers")
    if not 2 <= len(dataset) <= _MOST_OF_A_TABLE:
        raise FormatError(f"{name}: {len(dataset)} rows, expected 2 to {_MOST_OF_A_TABLE}")
    return Table(name, dataset)


def thumbnails() -> dict[str, list[list[float]]]:
    """A few points of every set, by the names of the page's addresses."""
    names = {name: name for name in DATASETS} | REG_DATASETS
    found = {}
    for name, kind in names.items():
        if kind in datasets.POINTS_2D:
            dataset = datasets.points_2d(kind, _IN_A_THUMBNAIL, seed=1)
            found[name] = _shown(dataset.x, dataset.y, dataset.classes is not None)
    return found
