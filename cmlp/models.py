"""One dense layer under a loss: the models that the multilayer perceptron grew out of.

Each is a `Sequential` of one `Dense`, trained by a `Trainer` until it settles, and has

- ``fit(x, y)``, which starts from zero weights and returns the model, ``predict(x)``, and
  ``score(x, y)``: the share of right labels, or R^2 of a regression;
- ``net``, ``weight`` (n_out, n_in), ``bias`` (n_out,), and for classifiers ``classes``;
- ``n_iter``, the number of epochs, ``history``, and ``converged``: whether it settled before
  ``max_epochs``.

x is (n, n_in).  Labels may be anything that can be sorted; in sums a class counts as its position
in ``classes``.  All arguments are given by name:

- ``lr``: the learning rate.  None is 1 / L, with L the largest curvature that the cost can have:
  the longest step that cannot overshoot.  It is for the whole data in one step.
- ``momentum`` (0.9): v <- momentum * v - lr * gradient, w <- w + v; 0 is plain descent.
- ``weight_decay`` (0): lambda in the cost E + lambda/2 ||W||^2, on weights and not on the bias.
- ``batch_size``: samples in a step; None takes them all, 1 is the online form.
- ``shuffle``: a new order of the samples in each epoch, where there are several steps in it.
- ``max_epochs``, ``tol``: it has settled when the weights change in an epoch by no more than
  ``tol`` times their size.
- ``dtype`` ("float64") and ``seed`` (0, of the order of samples).

For other optimizers, schedules, callbacks and hidden layers there are `Sequential` and `Trainer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, combinations_with_replacement
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _checks
from ._checks import Array
from .callbacks import Callback, Converged
from .history import History, Row
from .initializers import Zeros
from .layers import Dense
from .losses import BinaryCrossEntropy, SoftmaxCrossEntropy, SquaredError
from .network import Sequential
from .optimizers import SGD
from .trainer import Trainer

__all__ = [
    "Adaline",
    "LinearRegression",
    "LogisticRegression",
    "OneVsRest",
    "Perceptron",
    "SoftmaxRegression",
    "polynomial_features",
]


def polynomial_features(x: ArrayLike, degree: int) -> Array:
    """All products of up to ``degree`` columns of x: x1, x2, x1^2, x1 x2, x2^2, x1^3, ...

    Linear regression on them is the polynomial regression of *Deep Learning, topic 3:
    Multi-layer Perceptron*.

    Parameters
    ----------
    x : array_like of shape (n, n_in) or (n,)
    degree : int
        1 or more.

    Returns
    -------
    ndarray of shape (n, n_features)
        Lower degrees first; without a column of ones, which the bias makes needless.  float32 for
        float32, else float64.
    """
    a = _checks.as_array(x, "x")
    dtype = "float32" if a.dtype == np.float32 else "float64"
    rows = _checks.as_rows(a[:, np.newaxis] if a.ndim == 1 else a, "x", dtype, None)
    degrees = range(1, _checks.positive_int(degree, "degree") + 1)
    columns = range(rows.shape[1])
    terms = chain.from_iterable(combinations_with_replacement(columns, d) for d in degrees)
    return np.column_stack([rows[:, term].prod(axis=1) for term in terms])


# ---- what they have in common ----


@dataclass(eq=False, kw_only=True)
class _Model:
    """Settings of all models, and what ``fit`` leaves."""

    lr: float | None = None
    batch_size: int | None = None
    shuffle: bool = True
    max_epochs: int = 10_000
    tol: float = 1e-8
    dtype: str = "float64"
    seed: int = 0
    n_iter: int = field(default=0, init=False, repr=False)
    converged: bool = field(default=False, init=False, repr=False)
    history: History = field(default_factory=History, init=False, repr=False)
    _net: Sequential | None = field(default=None, init=False, repr=False)
    # whether lr may be None where a step takes the whole data
    _finds_rate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            self.batch_size = _checks.positive_int(self.batch_size, "batch_size")
        if self.lr is not None:
            self.lr = _checks.number(self.lr, "lr", 0.0, open_low=True)
        elif not self._finds_rate or self.batch_size is not None:
            raise ValueError(f"lr is None; expected a number, with batch_size={self.batch_size}")
        self.shuffle = _checks.flag(self.shuffle, "shuffle")
        self.max_epochs = _checks.positive_int(self.max_epochs, "max_epochs")
        self.tol = _checks.number(self.tol, "tol", 0.0)
        self.dtype = _checks.float_dtype(self.dtype)
        self.seed = _checks.seed(self.seed)

    @property
    def net(self) -> Sequential:
        """The net of one layer that ``fit`` trained."""
        if self._net is None:
            raise RuntimeError(f"{self!r} has no net yet; call fit first")
        return self._net

    @property
    def weight(self) -> Array:
        return np.asarray(self.net.layers[0].weight)

    @property
    def bias(self) -> Array:
        return np.asarray(self.net.layers[0].bias)

    def _rows(self, x: ArrayLike) -> Array:
        return _checks.as_rows(x, "x", self.dtype, self.net.n_in)

    def _new_net(self, n_in: int, n_out: int) -> Sequential:
        layer = Dense(n_in, n_out, weight_init=Zeros())
        return Sequential(layer, dtype=self.dtype, seed=self.seed)

    def _optimizer(self, x: Array) -> SGD:
        assert self.lr is not None
        return SGD(self.lr)

    def _stop(self) -> Callback:
        return Converged(self.tol)

    def _train(self, net: Sequential, loss: Any, x: Array, y: Array) -> None:
        trainer = Trainer(net, loss, self._optimizer(x))
        several = self.batch_size is not None
        trainer.fit(
            x,
            y,
            epochs=self.max_epochs,
            batch_size=self.batch_size,
            shuffle=self.shuffle and several,
            callbacks=[self._stop()],
        )
        self._keep(net, trainer.history, len(trainer.history) < self.max_epochs)

    def _keep(self, net: Sequential, history: History, converged: bool) -> None:
        self._net, self.history = net, history
        self.n_iter, self.converged = len(history), converged


@dataclass(eq=False, kw_only=True)
class _Descent(_Model):
    """Models with a convex, smooth cost, for which gradient descent knows its rate."""

    momentum: float = 0.9
    weight_decay: float = 0.0
    _finds_rate: ClassVar[bool] = True
    # d^2 E / du^2 of one sample is at most this
    _curvature: ClassVar[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.momentum = _checks.number(self.momentum, "momentum", 0.0, 1.0, open_high=True)
        self.weight_decay = _checks.number(self.weight_decay, "weight_decay", 0.0)

    def _optimizer(self, x: Array) -> SGD:
        lr = self._safe_rate(x) if self.lr is None else self.lr
        return SGD(lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def _safe_rate(self, x: Array) -> float:
        """1 / L with L the largest eigenvalue that the second derivative of the cost can have."""
        with_bias = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
        wide = with_bias.shape[0] < with_bias.shape[1]
        gram = with_bias @ with_bias.T if wide else with_bias.T @ with_bias
        largest = float(np.linalg.eigvalsh(gram)[-1]) / len(x)
        return 1.0 / (self._curvature * largest + self.weight_decay)


class _Classifier(_Model):
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
        rows = _checks.as_rows(x, "x", self.dtype, None)
        labels = _labels(y)
        classes = np.unique(labels)
        self._check_classes(classes)
        net = self._new_net(rows.shape[1], 1 if self._one_output else len(classes))
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
        labels, predicted = _labels(y), self.predict(x)
        if len(labels) != len(predicted):
            raise ValueError(f"y has {len(labels)} rows; expected {len(predicted)}, as x has")
        return float((predicted == labels).mean())


class _Probabilities(_Classifier):
    """Classifiers whose outputs are probabilities."""

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probability of each class, (n, n_classes)."""
        p = self.net.predict_proba(self._rows(x))
        return np.hstack([1 - p, p]) if self._one_output else p


def _labels(y: ArrayLike) -> Array:
    """Labels (n,) of one kind: numbers, booleans or strings."""
    a = _checks.as_array(y, "y")
    if a.ndim == 2 and a.shape[1] == 1:
        a = a[:, 0]
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"y has shape {a.shape}; expected labels of shape (n,)")
    if _checks.is_text(a):
        return a.astype(str)
    return a if a.dtype.kind in "iub" else _checks.as_float(a, "y", "float64")


# ---- regression ----


@dataclass(eq=False, kw_only=True)
class LinearRegression(_Descent):
    """y = W x + b with the least mean squared error, for numbers or vectors.

    E = 1/(2N) sum_n ||W x_n + b - t_n||^2 of *Deep Learning, topic 3: Multi-layer Perceptron*,
    where dE/dW = 1/N sum_n (y_n - t_n) x_n^T and dE/db = 1/N sum_n (y_n - t_n).

    Parameters
    ----------
    method : {"closed_form", "gradient"}, keyword only, default "closed_form"
        Solve dE/dW = 0, dE/db = 0 (the shortest W, where there are several), or descend.
    **settings
        See `cmlp.models`.

    Examples
    --------
    The best that a line can do for the exclusive or is to say 1/2 everywhere:

    >>> import cmlp
    >>> xor = cmlp.datasets.boolean("xor")
    >>> model = cmlp.models.LinearRegression().fit(xor.x, xor.y)
    >>> (abs(model.weight) < 1e-12).all(), round(float(model.bias[0]), 12)
    (True, 0.5)
    """

    method: str = "closed_form"
    _curvature: ClassVar[float] = 1.0
    _flat: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.method = _checks.choice(self.method, "method", ("closed_form", "gradient"))

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Find W and b.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
        y : array_like of shape (n,) or (n, n_out)
        """
        rows = _checks.as_rows(x, "x", self.dtype, None)
        flat, target = self._targets(y, len(rows))
        net = self._new_net(rows.shape[1], target.shape[1])
        if self.method == "gradient":
            self._train(net, SquaredError(), rows, target)
        else:
            layer = net.layers[0]
            layer.weight, layer.bias = _least_squares(rows, target, self.weight_decay)
            self._keep(net, History(), True)
        self._flat = flat
        return self

    def predict(self, x: ArrayLike) -> Array:
        """Numbers (n,) or (n, n_out), as y was, for samples (n, n_in)."""
        y = self.net.predict(self._rows(x))
        return y[:, 0] if self._flat else y

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """R^2 = 1 - sum (t - y)^2 / sum (t - mean t)^2, mean over the outputs."""
        rows = self._rows(x)
        _, target = self._targets(y, len(rows))
        predicted = self.net.predict(rows)
        if predicted.shape != target.shape:
            raise ValueError(f"y has {target.shape[1]} columns; expected {predicted.shape[1]}")
        missed = ((target - predicted) ** 2).sum(axis=0)
        spread = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
        constant = spread == 0
        share = np.where(constant, missed > 0, missed / np.where(constant, 1, spread))
        return float(1 - share.mean())

    def _targets(self, y: ArrayLike, n: int) -> tuple[bool, Array]:
        """Whether y is one-dimensional, and y as rows (n, n_out)."""
        a = _checks.as_array(y, "y")
        flat = a.ndim == 1
        rows = _checks.as_rows(a[:, np.newaxis] if flat else a, "y", self.dtype, None)
        if len(rows) != n:
            raise ValueError(f"y has {len(rows)} rows; expected {n}, as x has")
        return flat, rows


def _least_squares(x: Array, t: Array, weight_decay: float) -> tuple[Array, Array]:
    """W (n_out, n_in) and b (n_out,) that minimise E + weight_decay/2 ||W||^2."""
    x, t = x.astype(np.float64), t.astype(np.float64)
    x_mean, t_mean = x.mean(axis=0), t.mean(axis=0)
    # b is not decayed: it takes the means up, and the rest has none.
    a, target = x - x_mean, t - t_mean
    if weight_decay:
        # ||a w - t||^2 + N lambda ||w||^2 is the squared error with N lambda's root as more rows.
        a = np.vstack([a, np.sqrt(len(x) * weight_decay) * np.eye(x.shape[1])])
        target = np.vstack([target, np.zeros((x.shape[1], t.shape[1]))])
    w = np.linalg.lstsq(a, target, rcond=None)[0].T
    return w, t_mean - w @ x_mean


# ---- classification ----


@dataclass(eq=False, kw_only=True)
class LogisticRegression(_Probabilities, _Descent):
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
class SoftmaxRegression(_Probabilities, _Descent):
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
class OneVsRest(_Probabilities, _Descent):
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


class _PerceptronCriterion:
    """Mean of max(0, -t u) for t = -1 or 1, whose slope is -t for every mistake.

    A sample on the line itself, u = 0, is a mistake: all are at the start.
    """

    def forward(self, u: Array, t: Array, sample_weight: Array | None = None) -> float:
        self._du = np.where(t * u <= 0, -t, 0) / len(u)
        return float(np.maximum(-t * u, 0).mean())

    def backward(self) -> Array:
        return self._du


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
class Perceptron(_Classifier):
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
    max_epochs : int, default 1000
    tol : float, default 1e-6
    dtype, seed
        See `cmlp.models`.
    """

    lr: float | None = 1.0
    batch_size: int | None = 1
    shuffle: bool = False
    max_epochs: int = 1000
    tol: float = 1e-6
    _loss = _PerceptronCriterion
    _one_output = True

    def _targets(self, labels: Array, classes: Array) -> Array:
        return np.where(labels == classes[1], 1.0, -1.0)[:, np.newaxis]

    def _stop(self) -> Callback:
        return _UpdateVanishes(self.tol)


@dataclass(eq=False, kw_only=True)
class Adaline(_Classifier):
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
    max_epochs, tol, dtype, seed
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
