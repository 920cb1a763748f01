"""Activation layers: one function applied to each row.

Derivatives are taken from the output where the function allows.  At a kink the derivative is that
of the negative side, so that of ReLU at 0 is 0; learnt and drawn slopes have 1 there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import _checks, _core
from ._checks import Array
from ._layer import Layer

if TYPE_CHECKING:
    from numpy.random import Generator


class Activation(Layer):
    """Base of the layers that apply one function to each row, without parameters."""

    activation = "identity"

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("activation", n_in, n_in, dtype, self.activation, self.param)]

    @property
    def param(self) -> float | None:
        """The function's one setting, where it has one."""
        return None


class Identity(Activation):
    """f(u) = u."""


class Sigmoid(Activation):
    """f(u) = 1 / (1 + exp(-u)); f' = y (1 - y)."""

    activation = "sigmoid"


class Tanh(Activation):
    """f(u) = tanh(u); f' = 1 - y^2."""

    activation = "tanh"


class ReLU(Activation):
    """f(u) = max(u, 0)."""

    activation = "relu"


class LeakyReLU(Activation):
    """f(u) = u for u > 0, else slope * u.

    Parameters
    ----------
    slope : float >= 0, default 0.01
    """

    activation = "leaky_relu"

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = _checks.number(slope, "slope", 0.0)

    @property
    def param(self) -> float:
        return self.slope

    def config(self) -> dict[str, Any]:
        return {"slope": self.slope}


class ELU(Activation):
    """f(u) = u for u > 0, else alpha * (exp(u) - 1).

    From Clevert, Unterthiner and Hochreiter, *Fast and accurate deep network learning by
    exponential linear units* (2016).

    Parameters
    ----------
    alpha : float > 0, default 1
    """

    activation = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = _checks.number(alpha, "alpha", 0.0, open_low=True)

    @property
    def param(self) -> float:
        return self.alpha

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class GELU(Activation):
    """f(u) = u Phi(u), Phi the normal distribution function.

    From Hendrycks and Gimpel, *Gaussian error linear units* (2016).
    """

    activation = "gelu"


class SiLU(Activation):
    """f(u) = u / (1 + exp(-u)), also called swish."""

    activation = "silu"


class Softplus(Activation):
    """f(u) = ln(1 + exp(u)); f' = 1 - exp(-y)."""

    activation = "softplus"


class Softsign(Activation):
    """f(u) = u / (1 + |u|); f' = (1 - |y|)^2."""

    activation = "softsign"


class Step(Activation):
    """f(u) = 1 for u >= 0, else 0.  For prediction: training through it is an error."""

    activation = "step"


class Softmax(Activation):
    """f_i(u) = exp(u_i) / sum_k exp(u_k) over each row."""

    activation = "softmax"


class PReLU(Layer):
    """f(u) = u for u >= 0, else slope_i * u with a slope for each unit, which is learnt.

    From He, Zhang, Ren and Sun, *Delving deep into rectifiers* (2015).  The slopes are not
    decayed.

    Parameters
    ----------
    init : float, default 0.25
        Slope before training.

    Attributes
    ----------
    slope, grad_slope : ndarray of shape (n_in,)
        Read-only copies; assign a whole array to ``slope`` to change it.
    """

    activation = "prelu"

    def __init__(self, init: float = 0.25) -> None:
        super().__init__()
        self.init = _checks.number(init, "init")

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (n_in,)}

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("prelu", n_in, n_in, dtype, param=self.init)]

    def _initial(self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str) -> Array:
        return np.full(shape, self.init, dtype)

    def config(self) -> dict[str, Any]:
        return {"init": self.init}

    @property
    def slope(self) -> Array:
        return self._get("slope")

    @slope.setter
    def slope(self, value: ArrayLike) -> None:
        self._set("slope", value)

    @property
    def grad_slope(self) -> Array:
        return self._get_grad("slope")


class RReLU(Layer):
    """Leaky ReLU whose slope is drawn anew in training, and is the mean in prediction.

    From Xu, Wang, Chen and Li, *Empirical evaluation of rectified activations in convolutional
    network* (2015).

    Parameters
    ----------
    lower, upper : float, default 1/8 and 1/3
        The slope of each element and step is uniform between them.
    """

    activation = "rrelu"

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        super().__init__()
        self.lower = _checks.number(lower, "lower", 0.0)
        self.upper = _checks.number(upper, "upper", self.lower)

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("rrelu", n_in, n_in, dtype, param=(self.lower, self.upper))]

    def config(self) -> dict[str, Any]:
        return {"lower": self.lower, "upper": self.upper}
