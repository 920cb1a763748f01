"""Samples to train on, checked against the net and the loss that they are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks, losses
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
        weight, unit = factors(weight, self.weight.dtype.name, True)
        return replace(self, weight=weight, unit=self.unit * unit)


def factors(weight: Array, dtype: str, relative: bool) -> tuple[Array, float]:
    """Weights (n,) of float64 as factors of the samples' losses, in the type of the net.

    Relative ones are divided by their mean, which comes second, so that only their ratios count.
    """
    unit = 1.0
    if relative:
        highest = weight.max()
        if highest == 0.0:
            raise ValueError("sample_weight and class_weight are 0 for every sample; expected > 0")
        weight = weight / highest
        mean = weight.mean()
        weight, unit = weight / mean, float(mean * highest)
    with np.errstate(over="ignore"):
        found: Array = weight.astype(dtype)
    checks.check_finite(found, "sample_weight times class_weight")
    return found, unit


def classes_for(net: Sequential, loss: Any, known: Array | None, y: ArrayLike) -> Array | None:
    """The classes that are known, or those that the net gets by being trained on such labels."""
    if known is not None or not isinstance(loss, _CLASSIFIES):
        return known
    classes = checks.find_classes(y, "y")
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
) -> Data:
    """Samples as the core takes them.

    ``prefix`` stands before the arguments' names in errors.  ``relative`` weights are divided by
    their mean, as wherever all the data are at hand.
    """
    rows = net.preprocessing.rows(x, prefix + "x", net.dtype, net.n_in)
    weight = None
    if sample_weight is not None:
        name = prefix + "sample_weight"
        weight = checks.as_weights(sample_weight, name, len(rows), "float64")
    built_in = isinstance(loss, Loss)
    if net.preprocessing.targets is not None:
        _check_regression(loss)
        y = net.preprocessing.standardised(y, prefix + "y")
    if built_in:
        target = loss.targets(y, _n_out(net), net.dtype, classes, prefix + "y")
    else:
        target = _plain_targets(y, prefix + "y", net.dtype)
    if len(target) != len(rows):
        raise ValueError(
            f"{prefix}y has {len(target)} rows; expected {len(rows)}, as {prefix}x has"
        )
    if built_in:
        if not relative:
            _check_class_weight(loss)
        weight = loss.weights(target, weight, "float64", classes)
    if weight is None:
        return Data(rows, target, None)
    return Data(rows, target, *factors(weight, net.dtype, relative))


def check_validation(
    net: Sequential, loss: Any, classes: Array | None, validation: Validation
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
    return check(net, loss, classes, x, y, weight[0] if weight else None, "validation ")


def divide(
    net: Sequential, loss: Any, classes: Array | None, data: Data, validation: Validation, seed: int
) -> tuple[Data, Data | None]:
    """Samples to train on and those to look at, by the argument ``validation`` of ``fit``."""
    if isinstance(validation, float):
        return _hold_out(data, validation, seed)
    return data, check_validation(net, loss, classes, validation)


def _hold_out(data: Data, share: float, seed: int) -> tuple[Data, Data]:
    """What remains, and a share that the seed draws; both in the order of the data."""
    share = checks.number(share, "validation", 0.0, 1.0, open_low=True, open_high=True)
    n = round(share * len(data))
    if not 0 < n < len(data):
        raise ValueError(
            f"validation is {share}, {n} of {len(data)} samples; expected a share that leaves "
            "some on both sides"
        )
    held = np.zeros(len(data), bool)
    held[np.random.default_rng(seed).permutation(len(data))[:n]] = True
    return data.take(~held), data.take(held)


def _check_regression(loss: Any) -> None:
    """Standardised targets make sense for numbers alone."""
    if isinstance(loss, Loss) and loss.link is not None:
        raise ValueError(f"the net standardises its targets; {loss!r} takes classes or counts")


def _check_class_weight(loss: Loss) -> None:
    """A minibatch alone does not say how many samples the classes have."""
    if isinstance(loss.class_weight, str):
        raise ValueError(
            f"class_weight is {loss.class_weight!r}, which needs all the data; expected a dict or "
            "an array in train_step"
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
