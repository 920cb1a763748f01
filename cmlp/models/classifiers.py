"""Models that predict labels, and those whose outputs are probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from .base import Descent, Model


class Classifier(Model):
    """Models that predict labels."""

    _loss: ClassVar[type[Any]]
    # one output that tells two classes apart, or an output for each class
    _one_output: ClassVar[bool]

    @property
    def classes(self) -> Array:
        """The labels, sorted, in the order of the outputs: (n_classes,)."""
        return np.asarray(self.net.classes)

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Train from zero weights until settled.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
        y : array_like of shape (n,)
            Labels.
        """
        rows = checks.as_rows(x, "x", self.dtype, None)
        labels = labels_of(y)
        classes = np.unique(labels)
        self._check_classes(classes)
        net = self._new_net(x, rows.shape[1], 1 if self._one_output else len(classes))
        net.classes = classes
        self._train(net, self._loss(), rows, self._targets(labels, classes))
        return self

    def _check_classes(self, classes: Array) -> None:
        n = len(classes)
        if n < 2 or (self._one_output and n > 2):
            expected = "2" if self._one_output else "2 or more"
            raise ValueError(f"y has {n} different labels; expected {expected}")

    def _targets(self, labels: Array, classes: Array) -> Array:
        """What the loss compares outputs with; labels as they are."""
        return labels

    def predict(self, x: ArrayLike) -> Array:
        """Labels (n,) of samples (n, n_in)."""
        u = self.net.predict(self._rows(x))
        found = self._is_second(u[:, 0]).astype(int) if self._one_output else u.argmax(axis=1)
        return np.asarray(self.classes[found])

    def _is_second(self, u: Array) -> Array:
        """Which outputs (n,) say the second class."""
        return np.asarray(u >= 0)

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Share of the samples whose label is predicted."""
        labels, predicted = labels_of(y), self.predict(x)
        if len(labels) != len(predicted):
            raise ValueError(f"y has {len(labels)} rows; expected {len(predicted)}, as x has")
        return float((predicted == labels).mean())


class Probabilities(Classifier):
    """Classifiers whose outputs are probabilities."""

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probability of each class, (n, n_classes)."""
        p = self.net.predict_proba(self._rows(x))
        return np.hstack([1 - p, p]) if self._one_output else p


@dataclass(eq=False, kw_only=True)
class LogisticRegression(Probabilities, Descent):
    """Two classes: P(second class | x) = s(w x + b), s(u) = 1 / (1 + exp(-u)).

    Minimises the binary cross-entropy of *Deep Learning, topic 3: Multi-layer Perceptron*, whose
    gradient is 1/N sum_n (y_n - t_n) x_n.  ``predict`` says the second class where its
    probability is at least 1/2.  Where a line parts the classes without a mistake the weights
    grow for ever, unless there is a ``weight_decay``.

    Parameters
    ----------
    **settings
        See `cmlp.models`.
    """

    _curvature: ClassVar[float] = 0.25
    _loss = BinaryCrossEntropy
    _one_output = True


@dataclass(eq=False, kw_only=True)
class SoftmaxRegression(Probabilities, Descent):
    """K classes: P(k | x) = exp(u_k) / sum_j exp(u_j), u = W x + b.

    Also called multinomial logistic regression.  Minimises the cross-entropy of *Deep Learning,
    topic 3: Multi-layer Perceptron* and of *Machine Learning CS 539*, whose gradient is
    1/N sum_n (y_n - t_n) x_n^T.  The same vector added to all rows of W changes nothing; the W
    found here has rows that sum to zero, because it starts from zero.

    Parameters
    ----------
    **settings
        See `cmlp.models`.
    """

    _curvature: ClassVar[float] = 0.5
    _loss = SoftmaxCrossEntropy
    _one_output = False


@dataclass(eq=False, kw_only=True)
class OneVsRest(Probabilities, Descent):
    """K classes by K sigmoid units, each for its class against all others.

    The 1-of-K targets of *Machine Learning CS 539*, "Multiple output units".  ``predict_proba``
    has the K answers, which need not sum to 1; ``predict`` takes the largest.  A net with hidden
    layers does the same with K outputs and `cmlp.BinaryCrossEntropy`.

    Parameters
    ----------
    **settings
        See `cmlp.models`.
    """

    _curvature: ClassVar[float] = 0.25
    _loss = BinaryCrossEntropy
    _one_output = False


def labels_of(y: ArrayLike) -> Array:
    """Labels (n,) of one kind: numbers, booleans or strings."""
    a = checks.label_values(y, "y")
    if a.ndim == 2 and a.shape[1] == 1:
        a = a[:, 0]
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"y has shape {a.shape}; expected labels of shape (n,)")
    return checks.as_float(a, "y", "float64") if a.dtype.kind == "f" else a
