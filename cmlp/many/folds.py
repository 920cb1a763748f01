"""`cross_validate`: the nets of all folds trained in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from ..training import Trainer, fit_many
from ..training.many import as_row_numbers

__all__ = ["CrossValidation", "cross_validate"]

Folds = list[tuple[Array, Array]]


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` found.

    Attributes
    ----------
    scores : dict of str to list of float
        "loss" and the metrics of the loss for each fold, on the samples held out; infinity and NaN
        for a net that diverged.
    trainers : list of Trainer
        One for each fold.
    folds : list of (ndarray, ndarray)
        Rows that each was trained on, and those held out.
    """

    scores: dict[str, list[float]]
    trainers: list[Trainer] = field(repr=False)
    folds: Folds = field(repr=False)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each score over the folds."""
        return {name: float(np.mean(values)) for name, values in self.scores.items()}

    @property
    def spread(self) -> dict[str, float]:
        """Standard deviation of each score over the folds."""
        return {name: float(np.std(values)) for name, values in self.scores.items()}

    def to_dict(self) -> dict[str, list[float]]:
        """The scores by name, a number for each fold; copies."""
        return {name: list(values) for name, values in self.scores.items()}


def cross_validate(
    build: Callable[[int], Trainer],
    x: ArrayLike,
    y: ArrayLike,
    folds: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5,
    seed: int = 0,
    sample_weight: ArrayLike | None = None,
    **fit: Any,
) -> CrossValidation:
    """Train a net for each fold on the other folds, all in one call, and score it on the fold.

    Parameters
    ----------
    build : callable
        ``build(seed) -> Trainer``: a new net and trainer; the seed is the fold's number + ``seed``.
    x : array_like of shape (n, n_in)
    y : array_like of shape (n,) or (n, n_out)
        Not copied for any fold.
    folds : int or iterable of (rows, held-out rows), default 5
        A number: samples are dealt out in an order drawn by ``seed``, labels evenly.  What
        scikit-learn's splitters give will do.
    seed : int, default 0
    sample_weight : array_like of shape (n,), optional
        For training and for the loss.
    **fit
        Further arguments of `fit_many`, such as ``epochs``; with ``early_stopping`` a share for
        ``validation``, which is held out of the other folds.

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError, TypeError
        Before anything is trained.
    """
    if not callable(build):
        raise TypeError(f"build is {build!r}; expected a function seed -> Trainer")
    first = checks.seed(seed)
    pairs = _pairs(folds, x, y, first)
    trainers = [build(first + i) for i in range(len(pairs))]
    rows = [train for train, _ in pairs]
    runs = fit_many(trainers, x, y, sample_weight=sample_weight, rows=rows, **fit)
    x_all, y_all = checks.as_array(x, "x"), checks.as_array(y, "y")
    weights = None if sample_weight is None else checks.as_array(sample_weight, "sample_weight")
    each = []
    for trainer, loss, (_, held) in zip(trainers, runs.losses, pairs, strict=True):
        own = None if weights is None else weights[held]
        diverged = loss == float("inf")
        each.append({"loss": loss} if diverged else trainer.evaluate(x_all[held], y_all[held], own))
    names = dict.fromkeys(name for scores in each for name in scores)
    found = {name: [scores.get(name, float("nan")) for scores in each] for name in names}
    return CrossValidation(found, trainers, pairs)


def _pairs(
    folds: int | Iterable[tuple[ArrayLike, ArrayLike]], x: ArrayLike, y: ArrayLike, seed: int
) -> Folds:
    """Rows to train on and rows held out, for each fold."""
    n = len(checks.as_array(x, "x"))
    if isinstance(folds, Iterable):
        given = [
            (as_row_numbers(train, f"folds[{i}]"), as_row_numbers(held, f"folds[{i}]"))
            for i, (train, held) in enumerate(folds)
        ]
        if not given:
            raise ValueError("folds is empty; expected one or more")
        for i, (_, held) in enumerate(given):
            if held.min() < 0 or held.max() >= n:
                raise ValueError(
                    f"folds[{i}] has rows {held.min()} to {held.max()}; expected 0 to {n - 1}"
                )
        return given
    k = checks.positive_int(folds, "folds", 2)
    if k > n:
        raise ValueError(f"folds is {k}; expected {n} at most, the samples")
    order = np.random.default_rng(seed).permutation(n)
    labels = checks.as_array(y, "y")
    if labels.ndim == 1 and labels.dtype.kind != "f":  # as many of each class in each fold
        codes = np.unique(labels, return_inverse=True)[1]
        order = order[np.argsort(codes[order], kind="stable")]
    fold_of = np.empty(n, np.int64)
    fold_of[order] = np.arange(n) % k
    return [(np.flatnonzero(fold_of != i), np.flatnonzero(fold_of == i)) for i in range(k)]
