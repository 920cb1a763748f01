"""What `cmlp train` tells before it trains: what was taken for what."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..datasets.dataset import Dataset
from ..table import listed
from ..training.trainer import Trainer
from .data import Loaded, Parts

_MOST_CLASSES = 12
_MOST_COLUMNS = 40


def taken(
    source: str,
    loaded: Loaded,
    parts: Parts,
    trainer: Trainer,
) -> dict[str, str]:
    """The rows of the table before training."""
    dataset, about, rows = loaded.dataset, loaded.about, {"data": source}
    how = [f"{name} {value}" for name, value in about.items() if name != "target"]
    if how:
        rows["read with"] = ", ".join(how)
    if "target" in about:
        rows["target"] = about["target"]
    rows["task"] = task(dataset)
    encoder = trainer.net.preprocessing.table
    if encoder is not None:
        shown = list(encoder.describe().items())
        rows.update((f"column {name!r}", what) for name, what in shown[:_MOST_COLUMNS])
        if len(shown) > _MOST_COLUMNS:
            rows["more columns"] = str(len(shown) - _MOST_COLUMNS)
    elif dataset.feature_names is not None:
        rows["features"] = f"{dataset.n_in}: {listed(dataset.feature_names)}"
    counts = {"training": len(parts.train.x), "validation": 0, "test": len(parts.test.x)}
    if parts.validation is not None:
        counts["validation"] = len(parts.validation.x)
    rows["rows"] = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    rows["learning rate"] = f"{trainer.optimizer.lr:g}"
    return rows


def task(dataset: Dataset) -> str:
    """Classification with the count of each class, or regression."""
    if dataset.classes is None:
        several = f" of {dataset.n_out} targets" if dataset.n_out > 1 else ""
        return f"regression{several}"
    counts: Counter[Any] = Counter(dataset.y.tolist())
    shown = [f"{label} {counts[i]}" for i, label in enumerate(dataset.classes[:_MOST_CLASSES])]
    more = ", ..." if len(dataset.classes) > _MOST_CLASSES else ""
    return f"classification, {dataset.n_out} classes: {', '.join(shown)}{more}"
