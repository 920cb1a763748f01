"""Initial values of weights: what each layer's parameters are before training.

An initializer is anything that can be called as ``f(shape, rng) -> array`` with ``shape`` as
(n_out, n_in) for weights and (n_out,) for biases, and ``rng`` a `numpy.random.Generator`.
So a function of the user's own will do.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .attributes import Declared
from .checks import Array

if TYPE_CHECKING:
    from numpy.random import Generator

    InitializerLike = "Initializer | Callable[[tuple[int, ...], Generator], ArrayLike]"

__all__ = ["Constant", "He", "Initializer", "Normal", "Xavier", "Zeros"]


class Initializer(Declared):
    """Base of the initializers: ``init(shape, rng)`` gives an array of that shape in float64.

    Their settings are fixed.
    """

    def __call__(self, shape: tuple[int, ...], rng: Generator) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"{type(self).__name__}({settings})"


class Normal(Initializer):
    """Gaussian of mean zero and a fixed deviation.

    Parameters
    ----------
    std : float, default 0.01
        The value in *Deep Learning, topic 3: Multi-layer Perceptron*, "Weight initialization".
    """

    std: float

    def __init__(self, std: float = 0.01) -> None:
        self.std = checks.number(std, "std", 0.0, open_low=True)

    def __call__(self, shape: tuple[int, ...], rng: Generator) -> Array:
        return rng.normal(0.0, self.std, shape)


class Xavier(Initializer):
    """Deviation that keeps the size of signals through tanh-like layers.

    Parameters
    ----------
    distribution : {"normal", "uniform"}, default "normal"
        The uniform one is U(-a, a) with a = std * sqrt(3), so that both have the same deviation.
    fan : {"in", "average"}, default "in"
        "in": std = 1 / sqrt(n_in), as in *Deep Learning, topic 3: Multi-layer Perceptron*.
        "average": std = sqrt(2 / (n_in + n_out)), as in Glorot and Bengio, *Understanding the
        difficulty of training deep feedforward neural networks* (2010).
    """

    distribution: str
    fan: str

    def __init__(self, distribution: str = "normal", fan: str = "in") -> None:
        self.distribution = checks.choice(distribution, "distribution", ("normal", "uniform"))
        self.fan = checks.choice(fan, "fan", ("in", "average"))

    def __call__(self, shape: tuple[int, ...], rng: Generator) -> Array:
        n_out, n_in = _fans(shape)
        std = 1.0 / sqrt(n_in) if self.fan == "in" else sqrt(2.0 / (n_in + n_out))
        return _draw(self.distribution, std, shape, rng)


class He(Initializer):
    """Deviation sqrt(2 / n_in), which keeps the size of signals through rectified layers.

    Also called MSRA.  The formula is that of He, Zhang, Ren and Sun, *Delving deep into
    rectifiers* (2015); *Deep Learning, topic 3* prints 2 / sqrt(n_in), which is sqrt(2) larger.

    Parameters
    ----------
    distribution : {"normal", "uniform"}, default "normal"
    """

    distribution: str

    def __init__(self, distribution: str = "normal") -> None:
        self.distribution = checks.choice(distribution, "distribution", ("normal", "uniform"))

    def __call__(self, shape: tuple[int, ...], rng: Generator) -> Array:
        return _draw(self.distribution, sqrt(2.0 / _fans(shape)[1]), shape, rng)


class Constant(Initializer):
    """The same value everywhere.

    As weights of a hidden layer it keeps the layer's units alike for ever; `Sequential` warns.

    Parameters
    ----------
    value : float
    """

    value: float

    def __init__(self, value: float) -> None:
        self.value = checks.number(value, "value")

    def __call__(self, shape: tuple[int, ...], rng: Generator) -> Array:
        return np.full(shape, self.value)


class Zeros(Constant):
    """Zero everywhere: right for biases and for a net of one layer, not for hidden layers."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def __repr__(self) -> str:
        return "Zeros()"


def default_weight(rectified: bool) -> Initializer:
    """He before rectifiers and their smooth forms, Xavier before everything else."""
    return He() if rectified else Xavier()


def draw(
    init: Callable[[tuple[int, ...], Generator], ArrayLike],
    shape: tuple[int, ...],
    rng: Generator,
    name: str,
    dtype: str,
) -> Array:
    """Call an initializer and check what it gave: that shape, finite numbers."""
    values: Any = init(shape, rng)
    result = checks.as_float(values, f"{name} from {init!r}", dtype)
    if result.shape != shape:
        raise ValueError(f"{name} from {init!r} has shape {result.shape}; expected {shape}")
    return result


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(n_out, n_in) of a weight; a vector counts as (n, 1).

    A unit of a convolution (channels_out, channels_in, rows, columns) sees a window of each input
    plane, and each input is seen from as many places of an output plane.
    """
    window = prod(shape[2:])
    return (shape[0] * window, shape[1] * window) if len(shape) > 1 else (shape[0], 1)


def _draw(distribution: str, std: float, shape: tuple[int, ...], rng: Generator) -> Array:
    if distribution == "normal":
        return rng.normal(0.0, std, shape)
    limit = std * sqrt(3.0)
    return rng.uniform(-limit, limit, shape)
