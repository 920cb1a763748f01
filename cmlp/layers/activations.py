"""Activation layers: one function without parameters, applied to each row.

Derivatives are taken from the output where the function allows.  At a kink the derivative is that
of the negative side, so that of ReLU at 0 is 0.
"""

from __future__ import annotations

from typing import Any

from .. import _core, checks
from .base import Layer


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
    slope: float

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = checks.number(slope, "slope", 0.0)

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
    alpha: float

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = checks.number(alpha, "alpha", 0.0, open_low=True)

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


def activation_names() -> list[str]:
    """Names that `Dense` takes as ``activation``."""
    return list(_core.activations())
