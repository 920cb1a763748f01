"""Losses: means over a minibatch, computed stably, with their gradients.

``y`` are the outputs of the net, (batch, n_out); ``t`` are the targets: integer labels (batch,) or
rows (batch, n_out).  A loss on logits takes the outputs before their softmax or sigmoid; a net may
still end with that activation, and then the trainer applies the loss before it.

The weight of a sample multiplies its loss, and the loss of a minibatch is the sum over its samples
divided by their number, sum_n w_n E_n / N: a sample of weight 2 counts as two do, alone as well.
`Trainer.fit`, ``evaluate`` and the estimators' ``fit``, which have all the data, divide the weights
by their mean first, weights of classes included, so that only their ratios count;
``train_step``, ``partial_fit`` and ``learn_one`` take them as they are.

A loss of the user's own is any object with ``forward(y, t, sample_weight=None) -> float``, that
mean, and ``backward() -> dy``, its gradient; ``metrics(y, t) -> dict`` may be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from . import _core, checks
from .attributes import Declared
from .checks import Array

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "Huber",
    "Loss",
    "Poisson",
    "PythonLoss",
    "SoftmaxCrossEntropy",
    "SquaredError",
]

ClassWeight = Mapping[Any, float] | ArrayLike | str | None


class PythonLoss(Protocol):
    """What a loss written by a user must have."""

    def forward(self, y: Array, t: Array, sample_weight: Array | None = None) -> float: ...
    def backward(self) -> Array: ...


_ANY_NUMBER = (-float("inf"), float("inf"))


class Loss(Declared):
    """Base of the built-in losses; their settings are fixed.

    Attributes
    ----------
    name : str
        Its name in the compiled core.
    param : float or None
        Its one setting, where it has one.
    link : str or None
        The activation that turns logits into what is predicted; None if there is none.
    target_range : (low, high) or None
        What the core has to check of rows of targets; None if there is more to check.
    of_numbers : bool
        Targets are numbers to be predicted, not classes.
    """

    name: ClassVar[str]
    link: ClassVar[str | None] = None
    target_range: ClassVar[tuple[float, float] | None] = None
    of_numbers: ClassVar[bool] = True
    _class_weight: ClassWeight = None

    @property
    def param(self) -> float | None:
        return None

    @property
    def class_weight(self) -> ClassWeight:
        """Weights of the classes, read-only; None in a loss without."""
        weight = self._class_weight
        if isinstance(weight, np.ndarray):
            weight = weight.view()
            weight.flags.writeable = False
        return MappingProxyType(weight) if isinstance(weight, dict) else weight

    def targets(
        self, t: ArrayLike, n_out: int, dtype: str, classes: Array | None = None, name: str = "y"
    ) -> Array:
        """Check targets and bring them into the form that the core takes.

        Parameters
        ----------
        t : array_like
            Numbers of shape (batch, n_out), or (batch,) if n_out is 1.
        n_out : int
            Outputs of the net.
        dtype : {"float32", "float64"}
        classes : ndarray, optional
            The user's labels in order, for the losses that take labels.
        name : str
            Name of the argument in errors.

        Returns
        -------
        ndarray
            int64 labels (batch,) or rows (batch, n_out) of ``dtype``.
        """
        a = checks.as_array(t, name)
        if a.ndim == 1 and n_out == 1:
            a = a[:, np.newaxis]
        return checks.as_rows(a, name, dtype, n_out)

    def weights(
        self, t: Array, sample_weight: Array | None, dtype: str, classes: Array | None = None
    ) -> Array | None:
        """Weights of the samples with the weights of their classes folded in.

        Parameters
        ----------
        t : ndarray
            What ``targets`` gave.
        sample_weight : ndarray of shape (batch,) or None
        dtype : {"float32", "float64"}
        classes : ndarray, optional
            The user's labels in order, where ``class_weight`` is a dict of them.

        Returns
        -------
        ndarray of shape (batch,) and type ``dtype``, or None
        """
        if self.class_weight is None:
            return sample_weight
        per_class = _per_class(self.class_weight, t, classes)
        folded = per_class[t] if t.ndim == 1 else t @ per_class
        if sample_weight is not None:
            folded = folded * sample_weight
        with np.errstate(over="ignore"):
            weights = np.ascontiguousarray(folded, dtype=dtype)
        checks.check_finite(weights, "class_weight times sample_weight")
        return weights

    def forward(self, y: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Mean over the rows of the losses, each times its ``sample_weight`` if given.

        Parameters
        ----------
        y : array_like of shape (batch, n_out)
        t : array_like
            Targets; see the class.
        sample_weight : array_like of shape (batch,), optional
        """
        a = checks.as_array(y, "y")
        dtype = checks.dtype_for(a)
        rows = checks.as_rows(a, "y", dtype, None, finite=False)
        target = self.targets(t, rows.shape[1], dtype, name="t")
        _same_length(rows, target)
        given = (
            None
            if sample_weight is None
            else checks.as_weights(sample_weight, "sample_weight", len(rows), dtype)
        )
        self._last = (rows, target, self.weights(target, given, dtype))
        return float(_core.loss_value(self.name, self.param, *self._last))

    def backward(self) -> Array:
        """Gradient of the mean loss of the last ``forward`` by y.

        Returns
        -------
        ndarray of shape (batch, n_out)
        """
        if not hasattr(self, "_last"):
            raise RuntimeError(f"backward of {self!r} before forward")
        return self.gradient(*self._last)[0]

    def gradient(self, y: Array, t: Array, w: Array | None) -> tuple[Array, float]:
        """Gradient of the mean loss and the loss itself, from checked arrays of one dtype."""
        return _core.loss_delta(self.name, self.param, y, t, w)

    def metrics(self, y: Array, t: Array) -> dict[str, float]:
        """What `Trainer.evaluate` gives besides the loss, from outputs and checked targets."""
        return {}

    def spec(self) -> tuple[Any, ...]:
        """The loss as the core's plans take it."""
        return (self.name, self.param)

    def config(self) -> dict[str, Any]:
        """Arguments that make the same loss again, as JSON values."""
        return {}

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({settings})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_last"}


class _Regression(Loss):
    """Losses of numbers; the metrics are the two usual errors."""

    def metrics(self, y: Array, t: Array) -> dict[str, float]:
        d = y.astype(np.float64) - t
        return {
            "mean_squared_error": float((d * d).mean()),
            "mean_absolute_error": float(abs(d).mean()),
        }


class SquaredError(_Regression):
    """1/2 sum over outputs of (y - t)^2, mean over the batch: the Euclidean loss.

    E = 1/(2N) sum_n ||y_n - t_n||^2 as in *Deep Learning, topic 3: Multi-layer Perceptron*; its
    gradient by y is (y - t) / N.
    """

    name = "squared_error"
    target_range = _ANY_NUMBER


class AbsoluteError(_Regression):
    """Sum over outputs of |y - t|, mean over the batch; the gradient is 0 where y = t."""

    name = "absolute_error"
    target_range = _ANY_NUMBER


class Huber(_Regression):
    """1/2 d^2 for |d| <= delta, else delta (|d| - delta/2), d = y - t; summed over outputs.

    From Huber, *Robust estimation of a location parameter* (1964).

    Parameters
    ----------
    delta : float > 0, default 1
    """

    delta: float
    name = "huber"
    target_range = _ANY_NUMBER

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = checks.number(delta, "delta", 0.0, open_low=True)

    @property
    def param(self) -> float:
        return self.delta

    def config(self) -> dict[str, Any]:
        return {"delta": self.delta}


class Poisson(Loss):
    """exp(y) - t y, summed over outputs: counts t >= 0 whose logarithmic mean is y.

    The negative logarithm of the Poisson probability without the term ln t!, which does not
    depend on the net.
    """

    name = "poisson"
    link = "exp"
    target_range = (0.0, float("inf"))

    def targets(
        self, t: ArrayLike, n_out: int, dtype: str, classes: Array | None = None, name: str = "y"
    ) -> Array:
        rows = super().targets(t, n_out, dtype, classes, name)
        if rows.min() < 0:
            raise ValueError(f"{name} holds {rows.min()}; expected counts >= 0")
        return rows


class SoftmaxCrossEntropy(Loss):
    """- sum_i t_i ln softmax(y)_i on logits y, mean over the batch.

    Its gradient by the logits is (softmax(y) - t) / N: *Deep Learning, topic 3*, "softmax
    cross-entropy layer".

    Parameters
    ----------
    class_weight : "balanced", dict {label: weight} or array_like of shape (n_classes,), optional
        Multiplies the weight of each sample; "balanced" is n / (n_classes * samples of the class)
        in the data of the call, and refused by ``train_step``.
    label_smoothing : float in [0, 1), default 0
        Share of each target spread evenly over all classes.

    Notes
    -----
    Targets are labels 0..n_out-1 (or any values, where the net has ``classes``), one-hot rows, or
    rows of probabilities.
    """

    label_smoothing: float
    name = "softmax_cross_entropy"
    link = "softmax"
    of_numbers = False

    def __init__(self, class_weight: ClassWeight = None, label_smoothing: float = 0.0) -> None:
        self._class_weight = _class_weight(class_weight)
        self.label_smoothing = checks.number(
            label_smoothing, "label_smoothing", 0.0, 1.0, open_high=True
        )

    @property
    def param(self) -> float | None:
        return self.label_smoothing or None

    def targets(
        self, t: ArrayLike, n_out: int, dtype: str, classes: Array | None = None, name: str = "y"
    ) -> Array:
        a = checks.as_array(t, name)
        if a.ndim != 2 or a.shape[1] == 1:
            return checks.as_labels(a, name, n_out, classes)
        rows = checks.as_rows(a, name, dtype, n_out)
        sums = rows.sum(axis=1)
        worst = int(abs(sums - 1.0).argmax())
        if rows.min() < 0 or abs(sums[worst] - 1.0) > 1e-3:
            raise ValueError(
                f"{name} has a row ({worst}) that sums to {sums[worst]:g}, smallest value "
                f"{rows.min():g}; expected one-hot rows or probabilities"
            )
        return rows

    def metrics(self, y: Array, t: Array) -> dict[str, float]:
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        return {"accuracy": float((y.argmax(axis=1) == labels).mean())}

    def config(self) -> dict[str, Any]:
        config = _class_weight_config(self.class_weight)
        if self.label_smoothing:
            config["label_smoothing"] = self.label_smoothing
        return config


class BinaryCrossEntropy(Loss):
    """-(t ln s(y) + (1 - t) ln(1 - s(y))) on logits y, s the sigmoid; summed over outputs.

    The gradient by the logits is (s(y) - t) / N.  One output is logistic regression; K outputs
    are K independent yes-no questions, or one-vs-rest with labels 0..K-1.

    Parameters
    ----------
    class_weight : "balanced", dict {label: weight} or array_like of shape (2,), optional
        For one output: weights of the classes 0 and 1.

    Notes
    -----
    Targets are labels, or rows of numbers in [0, 1].
    """

    name = "binary_cross_entropy"
    link = "sigmoid"
    of_numbers = False
    target_range = (0.0, 1.0)

    def __init__(self, class_weight: ClassWeight = None) -> None:
        self._class_weight = _class_weight(class_weight)

    def targets(
        self, t: ArrayLike, n_out: int, dtype: str, classes: Array | None = None, name: str = "y"
    ) -> Array:
        a = checks.as_array(t, name)
        if n_out == 1 and classes is not None and a.ndim <= 2:
            labels = checks.as_labels(a, name, 2, classes)
            return np.ascontiguousarray(labels[:, np.newaxis], dtype=dtype)
        if n_out > 1 and a.ndim == 1:
            labels = checks.as_labels(a, name, n_out, classes)
            return np.eye(n_out, dtype=dtype)[labels]
        rows = super().targets(a, n_out, dtype, classes, name)
        if rows.min() < 0 or rows.max() > 1:
            raise ValueError(
                f"{name} has values in [{rows.min():g}, {rows.max():g}]; expected [0, 1]"
            )
        return rows

    def weights(
        self, t: Array, sample_weight: Array | None, dtype: str, classes: Array | None = None
    ) -> Array | None:
        if self.class_weight is not None and t.shape[1] > 1:
            raise ValueError(f"class_weight needs a net with one output; it has {t.shape[1]}")
        return super().weights(np.hstack([1 - t, t]), sample_weight, dtype, classes)

    def metrics(self, y: Array, t: Array) -> dict[str, float]:
        if t.shape[1] > 1 and bool((t.sum(axis=1) == 1).all()) and bool((t.max(axis=1) == 1).all()):
            return {"accuracy": float((y.argmax(axis=1) == t.argmax(axis=1)).mean())}
        return {"accuracy": float(((y > 0) == (t > 0.5)).mean())}

    def config(self) -> dict[str, Any]:
        return _class_weight_config(self.class_weight)


_BUILT_IN: dict[str, type[Loss]] = {
    kind.__name__: kind
    for kind in (
        SoftmaxCrossEntropy, BinaryCrossEntropy, SquaredError, AbsoluteError, Huber, Poisson,
    )
}  # fmt: skip

KINDS: dict[str, type[Loss]] = {kind.name: kind for kind in _BUILT_IN.values()}
"""The built-in losses by their names in the core."""


def to_config(loss: Any) -> dict[str, Any] | None:
    """JSON form of a loss: its class and arguments; None for a user's own."""
    if _BUILT_IN.get(type(loss).__name__) is not type(loss):
        return None
    return {"class": type(loss).__name__, **loss.config()}


def from_config(config: dict[str, Any]) -> Loss:
    """The loss that `to_config` described; ValueError or TypeError if it describes none."""
    arguments = dict(config)
    kind = _BUILT_IN[checks.choice(arguments.pop("class", None), "loss class", _BUILT_IN)]
    weight = arguments.get("class_weight")
    if isinstance(weight, dict):  # a dict would have turned its labels into strings
        arguments["class_weight"] = dict(zip(weight["labels"], weight["weights"], strict=True))
    return kind(**arguments)


def _class_weight_config(weight: ClassWeight) -> dict[str, Any]:
    if weight is None:
        return {}
    if isinstance(weight, Mapping):
        labels = [k.item() if isinstance(k, np.generic) else k for k in weight]
        return {"class_weight": {"labels": labels, "weights": list(weight.values())}}
    return {"class_weight": weight.tolist() if isinstance(weight, np.ndarray) else weight}


def _class_weight(value: ClassWeight) -> ClassWeight:
    """Check weights of classes as far as that is possible without data."""
    if value is None:
        return None
    if isinstance(value, str):
        return checks.choice(value, "class_weight", ("balanced",))
    if isinstance(value, Mapping):
        return {k: checks.number(v, f"class_weight[{k!r}]", 0.0) for k, v in value.items()}
    return checks.as_weights(value, "class_weight", np.size(value), "float64").copy()


def _per_class(class_weight: ClassWeight, t: Array, classes: Array | None) -> Array:
    """Weight of each class, from checked targets."""
    counts = np.bincount(t) if t.ndim == 1 else t.sum(axis=0)
    if isinstance(class_weight, str):  # balanced
        present = counts > 0
        return np.asarray(present * (len(t) / present.sum()) / np.where(present, counts, 1))
    if isinstance(class_weight, Mapping):
        weights = np.ones(len(counts))
        for label, weight in class_weight.items():
            position = _position(label, classes)
            if position < len(counts):  # other classes are not in these data
                weights[position] = weight
        return weights
    given = np.asarray(class_weight, dtype=np.float64)
    if len(given) < len(counts):
        raise ValueError(f"class_weight has {len(given)} weights; expected {len(counts)}")
    return given[: len(counts)]


def _position(label: Any, classes: Array | None) -> int:
    """Class number of a label in ``class_weight``."""
    if classes is None:
        return checks.positive_int(label, "label in class_weight", 0)
    known = classes.tolist()
    if label not in known:
        raise ValueError(f"class_weight has the label {label!r}; expected one of {known}")
    return int(known.index(label))


def _same_length(y: Array, t: Array) -> None:
    if len(y) != len(t):
        raise ValueError(f"t has {len(t)} rows; expected {len(y)}, as y has")
