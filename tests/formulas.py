"""The core's formulas in float64 NumPy: an entry for each activation, loss and optimizer.

They are written from the definitions, not from the C sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import erfc, sqrt
from typing import Any

import numpy as np

INF = np.inf


class Table(dict):
    """Entries by name; a name without one says where it belongs."""

    def __init__(self, what: str, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.what = what

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"{name} is not in {self.what} of tests/formulas.py: add its formulas there")


# ---- activations ----


def sigmoid(u):
    """1/(1 + e^-u), to the last digits on both sides."""
    e = np.exp(-np.abs(u))
    return np.where(u < 0, e, 1.0) / (1.0 + e)


def softplus(u):
    return np.maximum(u, 0.0) + np.log1p(np.exp(-np.abs(u)))


def softmax(u):
    e = np.exp(u - u.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normal_cdf(u):
    """The standard normal distribution's Phi, without cancellation on either side."""
    u = np.asarray(u, float)
    near = np.abs(u) < 2.0**-12
    # By Taylor's series, whose next term is below 1e-17.
    small = np.where(near, u, 0.0)
    found = 0.5 + small * (1.0 - small * small / 6.0) / sqrt(2.0 * np.pi)
    found[~near] = [0.5 * erfc(-v / sqrt(2.0)) for v in u[~near]]
    return found


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An elementwise activation with the default of its parameter.

    Attributes
    ----------
    value, slope : callable
        f(u) and f'(u), at a kink that of the negative side; None: no training through it.
    limits, slopes : (float, float)
        f and f' at minus and plus infinity.
    ulp : float
        Bound of the kernels' error in float32 with fused multiply-adds; without, it is 1 more.
    condition : callable
        By how much the formula here turns a rounding error of u into a relative error of f(u).
    piecewise : bool
        The slope is constant between kinks, also for NaN.
    """

    value: Callable[[Any], Any]
    slope: Callable[[Any], Any] | None
    limits: tuple[float, float]
    slopes: tuple[float, float] | None
    ulp: float = 2.0
    condition: Callable[[Any], Any] = np.ones_like
    piecewise: bool = False


ACTIVATIONS = Table(
    "ACTIVATIONS",
    {
        "identity": Activation(
            value=lambda u: u,
            slope=np.ones_like,
            limits=(-INF, INF),
            slopes=(1, 1),
            piecewise=True,
        ),
        "sigmoid": Activation(
            value=sigmoid,
            slope=lambda u: sigmoid(u) * sigmoid(-u),
            limits=(0, 1),
            slopes=(0, 0),
        ),
        "tanh": Activation(
            value=np.tanh,
            slope=lambda u: np.cosh(u) ** -2.0,
            limits=(-1, 1),
            slopes=(0, 0),
        ),
        "relu": Activation(
            value=lambda u: np.maximum(u, 0.0),
            slope=lambda u: (u > 0) * 1.0,
            limits=(0, INF),
            slopes=(0, 1),
            piecewise=True,
        ),
        "leaky_relu": Activation(
            value=lambda u: np.where(u > 0, u, 0.01 * u),
            slope=lambda u: np.where(u > 0, 1.0, 0.01),
            limits=(-INF, INF),
            slopes=(0.01, 1),
            piecewise=True,
        ),
        "elu": Activation(
            value=lambda u: np.where(u > 0, u, np.expm1(np.minimum(u, 0.0))),
            slope=lambda u: np.where(u > 0, 1.0, np.exp(np.minimum(u, 0.0))),
            limits=(-1, INF),
            slopes=(0, 1),
            piecewise=True,
        ),
        "gelu": Activation(
            value=lambda u: u * normal_cdf(u),
            slope=lambda u: normal_cdf(u) + u * np.exp(-0.5 * u * u) / sqrt(2.0 * np.pi),
            limits=(0, INF),
            slopes=(0, 1),
            condition=lambda u: 1 + u * u,  # in the tail an error of u^2/2 becomes a relative one
        ),
        "silu": Activation(
            value=lambda u: u * sigmoid(u),
            slope=lambda u: sigmoid(u) + u * sigmoid(u) * sigmoid(-u),
            limits=(0, INF),
            slopes=(0, 1),
        ),
        "softplus": Activation(value=softplus, slope=sigmoid, limits=(0, INF), slopes=(0, 1)),
        "softsign": Activation(
            value=lambda u: u / (1.0 + np.abs(u)),
            slope=lambda u: 1.0 / (1.0 + np.abs(u)) ** 2,
            limits=(-1, 1),
            slopes=(0, 0),
        ),
        "scaled_tanh": Activation(
            value=lambda u: 1.7159 * np.tanh(2.0 * u / 3.0),
            slope=lambda u: 1.7159 * 2.0 / 3.0 * np.cosh(2.0 * u / 3.0) ** -2.0,
            limits=(-1.7159, 1.7159),
            slopes=(0, 0),
            ulp=4.0,
        ),
        "step": Activation(
            value=lambda u: (u >= 0.0).astype(float), slope=None, limits=(0, 1), slopes=None
        ),
    },
)


def activate(name, u):
    """f(u) of any activation; of rows for softmax."""
    return softmax(u) if name == "softmax" else ACTIVATIONS[name].value(u)


def backward(name, dy, u):
    """dL/du of an activation, given dL/dy."""
    if name == "softmax":
        y = softmax(u)
        return y * (dy - (dy * y).sum(axis=1, keepdims=True))
    return dy * ACTIVATIONS[name].slope(u)


# ---- losses ----


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss of outputs or logits y against targets t, both (batch, n), with the parameter p.

    Attributes
    ----------
    value, slope : callable
        (y, t, p) -> the terms of a row's sum, and the derivative of that sum.
    targets : callable
        (rng, shape) -> targets that the loss takes.
    default : float or None
        Its parameter.
    others : tuple
        More values of the parameter for tests.
    """

    value: Callable[[Any, Any, Any], Any]
    slope: Callable[[Any, Any, Any], Any]
    targets: Callable[[np.random.Generator, tuple[int, int]], Any] = lambda rng, shape: rng.normal(
        size=shape
    )
    default: float | None = None
    others: tuple[float, ...] = ()


def _smoothed(t, p):
    return (1.0 - p) * t + p / t.shape[1]


def _log_softmax(y):
    shifted = y - y.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


LOSSES = Table(
    "LOSSES",
    {
        "squared_error": Loss(
            value=lambda y, t, p: 0.5 * (y - t) ** 2, slope=lambda y, t, p: y - t
        ),
        "absolute_error": Loss(
            value=lambda y, t, p: np.abs(y - t), slope=lambda y, t, p: np.sign(y - t)
        ),
        "huber": Loss(
            value=lambda y, t, p: np.where(
                np.abs(y - t) <= p, 0.5 * (y - t) ** 2, p * (np.abs(y - t) - 0.5 * p)
            ),
            slope=lambda y, t, p: np.clip(y - t, -p, p),
            default=1.0,
            others=(0.3,),
        ),
        "poisson": Loss(
            value=lambda y, t, p: np.exp(y) - t * y,
            slope=lambda y, t, p: np.exp(np.minimum(y, 700.0)) - t,
            targets=lambda rng, shape: rng.poisson(2.0, shape),
        ),
        "perceptron": Loss(
            value=lambda y, t, p: np.maximum(-t * y, 0.0),
            slope=lambda y, t, p: np.where(t * y > 0.0, 0.0, -t),
            targets=lambda rng, shape: rng.choice([-1.0, 1.0], shape),
        ),
        "binary_cross_entropy": Loss(
            value=lambda y, t, p: np.logaddexp(0.0, y) - t * y,
            slope=lambda y, t, p: sigmoid(y) - t,
            targets=lambda rng, shape: rng.random(shape),
        ),
        "softmax_cross_entropy": Loss(
            value=lambda y, t, p: -(_smoothed(t, p) * _log_softmax(y)),
            slope=lambda y, t, p: (
                softmax(y) * _smoothed(t, p).sum(axis=1, keepdims=True) - _smoothed(t, p)
            ),
            targets=lambda rng, shape: rng.dirichlet(np.ones(shape[1]), shape[0]),
            default=0.0,
            others=(0.2,),
        ),
    },
)


# ---- optimizers ----


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How an optimizer changes an array.

    Attributes
    ----------
    change : callable
        (g, slots, step) -> what is added to the array; changes the arrays in ``slots`` in place.
        ``step`` has lr, momentum, t (1, 2, ...) and the settings by name.
    slots : tuple of str
        Names of the arrays that the rule keeps.
    defaults : mapping
        Settings that the formula needs, with the class's defaults.
    decoupled : bool
        Weight decay shrinks the array beside the gradient.
    others : tuple of mapping
        More settings for tests.
    """

    change: Callable[[Any, Any, Any], Any]
    slots: tuple[str, ...]
    defaults: Mapping[str, float] = field(default_factory=dict)
    decoupled: bool = False
    others: tuple[Mapping[str, float], ...] = ()


def _sgd(g, slots, s):
    (v,) = slots
    v[...] = s["momentum"] * v - s["lr"] * g
    return s["momentum"] * v - s["lr"] * g if s["nesterov"] else v


def _adam(g, slots, s):
    m, v = slots
    m[...] = s["beta1"] * m + (1 - s["beta1"]) * g
    v[...] = s["beta2"] * v + (1 - s["beta2"]) * g * g
    m_hat, v_hat = m / (1 - s["beta1"] ** s["t"]), v / (1 - s["beta2"] ** s["t"])
    return -s["lr"] * m_hat / (np.sqrt(v_hat) + s["eps"])


def _rmsprop(g, slots, s):
    v, velocity = slots
    v[...] = s["rho"] * v + (1 - s["rho"]) * g * g
    velocity[...] = s["momentum"] * velocity - s["lr"] * g / (np.sqrt(v) + s["eps"])
    return velocity


def _adagrad(g, slots, s):
    (v,) = slots
    v[...] = v + g * g
    return -s["lr"] * g / (np.sqrt(v) + s["eps"])


def _adadelta(g, slots, s):
    v, u = slots
    v[...] = s["rho"] * v + (1 - s["rho"]) * g * g
    d = np.sqrt(u + s["eps"]) / np.sqrt(v + s["eps"]) * g
    u[...] = s["rho"] * u + (1 - s["rho"]) * d * d
    return -s["lr"] * d


_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}

RULES = Table(
    "RULES",
    {
        "sgd": Rule(
            change=_sgd,
            slots=("velocity",),
            defaults={"nesterov": False},
            others=({"momentum": 0.9}, {"momentum": 0.8, "nesterov": True}),
        ),
        "adam": Rule(change=_adam, slots=("m", "v"), defaults=_ADAM),
        "adamw": Rule(change=_adam, slots=("m", "v"), defaults=_ADAM, decoupled=True),
        "rmsprop": Rule(
            change=_rmsprop,
            slots=("v", "velocity"),
            defaults={"rho": 0.9, "eps": 1e-8},
            others=({"momentum": 0.5, "rho": 0.8},),
        ),
        "adagrad": Rule(change=_adagrad, slots=("v",), defaults={"eps": 1e-10}),
        "adadelta": Rule(
            change=_adadelta,
            slots=("v", "u"),
            defaults={"rho": 0.95, "eps": 1e-8},
            others=({"rho": 0.9, "eps": 1e-3},),
        ),
    },
)


def options_for(kind, **settings):
    """Settings as the core takes them: no decay and the class's defaults where none are given."""
    chosen = {"weight_decay": 0.0, **RULES[kind].defaults, **settings}
    return {name: float(v) for name, v in chosen.items()}


# ---- whole arrays ----


def as_rows(t, n):
    """One row a label; rows stay."""
    return np.eye(n)[t] if np.ndim(t) == 1 else np.asarray(t, float)


def loss_value(name, y, t, w=None, param=None):
    """Mean of weight times loss of outputs or logits y against labels or rows t."""
    loss = LOSSES[name]
    p = loss.default if param is None else param
    values = loss.value(y, as_rows(t, y.shape[1]), p).sum(axis=1)
    return float((values if w is None else values * w).mean())


def loss_delta(name, y, t, w=None, param=None):
    """Gradient of `loss_value` with respect to y."""
    loss = LOSSES[name]
    p = loss.default if param is None else param
    w = np.ones(len(y)) if w is None else np.asarray(w, float)
    return loss.slope(y, as_rows(t, y.shape[1]), p) * (w / len(w))[:, None]


def targets_for(name, rng, n, n_out, dtype="float64"):
    """Target rows that the loss takes."""
    return LOSSES[name].targets(rng, (n, n_out)).astype(dtype)
