"""Samples to train on, checked against the net and the loss that they are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks, losses
from ..augment import Augment
from ..checks import Array
from ..losses import Loss
from ..network import Sequential

_CLASSIFIES = (losses.SoftmaxCrossEntropy, losses.BinaryCrossEntropy)

Validation = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike] | float | None


@dataclass(frozen=True)
class Data:
    """Checked samples: x (n, n_in), y labels (n,) or rows (n, n_out), weight (n,) or None.

    The weights are factors of the samples' losses; they have been divided by ``unit``.
    """

    x: Array
    y: Array
    weight: Array | None
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.x)

    def slice(self, start: int, stop: int) -> Data:
        """Some of the samples, not copied."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Data(self.x[start:stop], self.y[start:stop], weight, self.unit)

    def take(self, rows: Array) -> Data:
        """The samples of these numbers, copied."""
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.x[rows], self.y[rows], weight, self.unit)

    def relative(self) -> Data:
        """The same samples with weights whose mean is 1."""
        if self.weight is None:
            return self
        weight = self.weight.astype(np.float64)
        weight, unit = factors(weight, self.weight.dtype.name, scale_of(weight))
        return replace(self, weight=weight, unit=self.unit * unit)


Scale = tuple[float, float]


def scale_of(weight: Array) -> Scale:
    """The greatest of all weights (n,) of float64, and the mean of their shares of it."""
    highest = float(weight.max())
    if highest == 0.0:
        raise ValueError("sample_weight and class_weight are 0 for every sample; expected > 0")
    return highest, float((weight / highest).mean())


def factors(weight: Array, dtype: str, scale: Scale | None) -> tuple[Array, float]:
    """Weights (n,) of float64 as factors of the samples' losses, in the type of the net.

    With the scale of all weights they are divided by the mean of all, which comes second, so that
    only their ratios count.
    """
    unit = 1.0
    if scale is not None:
        highest, mean = scale
        weight, unit = weight / highest / mean, mean * highest
    with np.errstate(over="ignore"):
        found: Array = weight.astype(dtype)
    checks.check_finite(found, "sample_weight times class_weight")
    return found, unit


def classes_for(net: Sequential, loss: Any, known: Array | None, y: ArrayLike) -> Array | None:
    """The classes that are known, or those that the net gets by being trained on such labels."""
    if known is not None or not classifies(loss):
        return known
    return check_classes(net, loss, checks.find_classes(y, "y"))


def classifies(loss: Any) -> bool:
    """Tell whether targets of a loss are labels."""
    return isinstance(loss, _CLASSIFIES)


def check_classes(net: Sequential, loss: Any, classes: Array | None) -> Array | None:
    """Return the classes if the net has outputs for them; None for labels that are numbers."""
    if classes is not None:
        binary = net.n_out == 1 and isinstance(loss, losses.BinaryCrossEntropy)
        expected = 2 if binary else net.n_out
        if len(classes) != expected:
            raise ValueError(
                f"y has {len(classes)} different labels; expected {expected}, "
                "the outputs of the net"
            )
    return classes


def check(
    net: Sequential,
    loss: Any,
    classes: Array | None,
    x: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    prefix: str = "",
    relative: bool = True,
    scale: Scale | None = None,
    augment: Augment | None = None,
) -> Data:
    """Samples as the core takes them.

    ``prefix`` stands before the arguments' names in errors.  ``relative`` weights are divided by
    their mean, as wherever all the data are at hand.  With the ``scale`` of all weights these are
    some of the samples, and their weights are divided by the mean of all.  With ``augment``
    samples are images, of which the net takes views.
    """
    if augment is None:
        rows = net.preprocessing.rows(x, prefix + "x", net.dtype, net.in_shape)
    elif net.preprocessing.inputs is not None:
        raise ValueError("the net standardises its inputs; expected None beside an augment")
    else:
        rows = augment.rows(x, prefix + "x", net.dtype)
    if not relative or scale is not None:
        _check_class_weight(loss)
    target = check_targets(net, loss, classes, y, prefix)
    if len(target) != len(rows):
        raise ValueError(
            f"{prefix}y has {len(target)} rows; expected {len(rows)}, as {prefix}x has"
        )
    all_zero = scale is not None
    weight = check_weights(net, loss, classes, target, sample_weight, prefix, all_zero)
    if weight is None:
        return Data(rows, target, None)
    if relative and scale is None:
        scale = scale_of(weight)
    return Data(rows, target, *factors(weight, net.dtype, scale))


def check_targets(
    net: Sequential, loss: Any, classes: Array | None, y: ArrayLike, prefix: str
) -> Array:
    """Targets as the core takes them: labels, or rows of numbers."""
    if net.out_shape is not None and len(net.out_shape) == 3 and np.ndim(y) == 4:
        y = checks.as_rows(y, prefix + "y", net.dtype, net.out_shape)
    if net.preprocessing.targets is not None:
        _check_regression(loss)
        y = net.preprocessing.standardised(y, prefix + "y")
    if isinstance(loss, Loss):
        return loss.targets(y, _n_out(net), net.dtype, classes, prefix + "y")
    return _plain_targets(y, prefix + "y", net.dtype)


def check_weights(
    net: Sequential,
    loss: Any,
    classes: Array | None,
    target: Array,
    sample_weight: ArrayLike | None,
    prefix: str,
    all_zero: bool,
) -> Array | None:
    """Weights of float64 with those of the classes of checked targets; maybe ``all_zero``."""
    weight = None
    if sample_weight is not None:
        name = prefix + "sample_weight"
        weight = checks.as_weights(sample_weight, name, len(target), "float64", all_zero)
    if isinstance(loss, Loss):
        return loss.weights(target, weight, "float64", classes)
    return weight


def centered(data: Data, augment: Augment | None) -> Data:
    """What the net takes of samples that are only looked at: the middle of images."""
    return data if augment is None else replace(data, x=augment.center(data.x))


def check_validation(
    net: Sequential,
    loss: Any,
    classes: Array | None,
    validation: Validation,
    augment: Augment | None,
) -> Data | None:
    """The argument ``validation`` of ``fit`` as `check` gives it."""
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise TypeError(
            f"validation is {type(validation).__name__}; expected (x, y), (x, y, sample_weight) "
            "or a share such as 0.1"
        )
    x, y, *weight = validation
    given = weight[0] if weight else None
    found = check(net, loss, classes, x, y, given, "validation ", augment=augment)
    return centered(found, augment)


def divide(
    net: Sequential,
    loss: Any,
    classes: Array | None,
    data: Data,
    validation: Validation,
    seed: int,
    augment: Augment | None = None,
) -> tuple[Data, Data | None]:
    """Samples to train on and those to look at, by the argument ``validation`` of ``fit``."""
    if isinstance(validation, float):
        data, held_out = _hold_out(data, validation, seed)
        return data, centered(held_out, augment)
    return data, check_validation(net, loss, classes, validation, augment)


def _hold_out(data: Data, share: float, seed: int) -> tuple[Data, Data]:
    """What remains, and a share that the seed draws; both in the order of the data."""
    held = held_out(len(data), share, seed)
    return data.take(~held).relative(), data.take(held).relative()


def held_out(n: int, share: float, seed: int) -> Array:
    """Which of n samples the argument ``validation`` of ``fit`` holds out, as a mask."""
    share = checks.number(share, "validation", 0.0, 1.0, open_low=True, open_high=True)
    some = round(share * n)
    if not 0 < some < n:
        raise ValueError(
            f"validation is {share}, {some} of {n} samples; expected a share that leaves "
            "some on both sides"
        )
    held = np.zeros(n, bool)
    held[np.random.default_rng(seed).permutation(n)[:some]] = True
    return held


def _check_regression(loss: Any) -> None:
    """Standardised targets make sense for numbers alone."""
    if isinstance(loss, Loss) and loss.link is not None:
        raise ValueError(f"the net standardises its targets; {loss!r} takes classes or counts")


def _check_class_weight(loss: Any) -> None:
    """A minibatch alone does not say how many samples the classes have."""
    if isinstance(loss, Loss) and isinstance(loss.class_weight, str):
        raise ValueError(
            f"class_weight is {loss.class_weight!r}, which needs all the data; expected a dict or "
            "an array in train_step and with a source"
        )


def _n_out(net: Sequential) -> int:
    if net.n_out is None:
        raise ValueError("the width of the net's output is not known; expected n_out(n_in)")
    return net.n_out


def _plain_targets(y: ArrayLike, name: str, dtype: str) -> Array:
    """Targets for a user's loss: integers as they are, other numbers in the net's dtype."""
    a = checks.as_array(y, name)
    if a.ndim == 0 or a.size == 0:
        raise ValueError(f"{name} has shape {a.shape}; expected (batch, ...)")
    return np.ascontiguousarray(a) if a.dtype.kind in "iub" else checks.as_float(a, name, dtype)
