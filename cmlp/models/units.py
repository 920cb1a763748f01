"""The perceptron and ADALINE: one linear unit, and a rule for each sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import Array
from ..losses import Loss, SquaredError
from ..training.callbacks import Callback
from ..training.history import Row
from ..training.trainer import Trainer
from .classifiers import Classifier


class _PerceptronCriterion(Loss):
    """Mean of max(0, -t u) for t = -1 or 1, whose slope is -t for every mistake.

    A sample on the line itself, u = 0, is a mistake: all are at the start.
    """

    name = "perceptron"


class _UpdateVanishes(Callback):
    """Stop when the averaged update of an epoch is shorter than ``tol``.

    Updates of single samples may cancel out; then there must be no mistake either.
    """

    def __init__(self, tol: float) -> None:
        self.tol = tol

    def on_epoch_begin(self, trainer: Trainer) -> None:
        self._before = trainer.net.get_flat()

    def on_epoch_end(self, trainer: Trainer, row: Row) -> bool | None:
        steps = trainer.fitting.steps_per_epoch if trainer.fitting else 1
        change = float(np.linalg.norm(trainer.net.get_flat() - self._before))
        small = change < self.tol * row["lr"] * steps
        return small and (steps == 1 or row["loss"] == 0)


@dataclass(eq=False, kw_only=True)
class Perceptron(Classifier):
    """Two classes parted by a hyperplane: w <- w + lr * t * x for each mistake, t = -1 or 1.

    *Deep Learning, topic 3: Multi-layer Perceptron* writes the rule as w <- w + lr * (t - y) * x:
    the same with labels 0 and 1; with -1 and 1 its steps are twice as long, which changes no
    prediction.  Stops when it makes no mistake, which comes about only where the classes can be
    parted so.

    Parameters
    ----------
    lr : float, default 1
    batch_size : int, default 1
        1 learns online.  None is the batch perceptron of *Machine Learning CS 539*, where the
        updates of an epoch are averaged; it stops when the averaged update is shorter than
        ``tol``, even though mistakes may be left whose updates cancel out.
    shuffle : bool, default False
    epochs : int, default 1000
    tol, dtype, seed
        See `cmlp.models`.
    """

    lr: float | None = 1.0
    batch_size: int | None = 1
    shuffle: bool = False
    epochs: int = 1000
    _loss = _PerceptronCriterion
    _one_output = True

    def _targets(self, labels: Array, classes: Array) -> Array:
        return np.where(labels == classes[1], 1.0, -1.0)[:, np.newaxis]

    def _stop(self) -> Callback:
        return _UpdateVanishes(self.tol)


@dataclass(eq=False, kw_only=True)
class Adaline(Classifier):
    """Two classes by the least-mean-squares rule: w <- w + lr * (t - u) * x, u = w x + b.

    From *Deep Learning, topic 3: Multi-layer Perceptron*.  Targets t are the labels 0 and 1, and
    then u > 1/2 is the second class; any other labels count as -1 and 1, and then u > 0 is.

    Parameters
    ----------
    lr : float, default 0.01
    batch_size : int, default 1
        1 learns online, and with a constant ``lr`` comes near the least squared error; None
        descends to it.
    shuffle : bool, default False
        With it the online rule does not settle, unless to zero error.
    epochs, tol, dtype, seed
        See `cmlp.models`.
    """

    lr: float | None = 0.01
    batch_size: int | None = 1
    shuffle: bool = False
    _loss = SquaredError
    _one_output = True

    def _targets(self, labels: Array, classes: Array) -> Array:
        low = 0.0 if _are_0_and_1(classes) else -1.0
        return np.where(labels == classes[1], 1.0, low)[:, np.newaxis]

    def _is_second(self, u: Array) -> Array:
        return np.asarray(u > (0.5 if _are_0_and_1(self.classes) else 0.0))


def _are_0_and_1(classes: Array) -> bool:
    return classes.dtype.kind in "iubf" and classes.tolist() == [0, 1]
