"""What the estimators' parameters may be, and what they make: layers, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from itertools import pairwise
from math import sqrt
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike

from .. import _core, checks, losses, optimizers
from ..checks import Array
from ..layers import Dense, Dropout
from ..losses import Loss
from ..network import Sequential
from ..optimizers import Optimizer
from ..schedules import Schedule
from ..tabular import TablePreprocessor
from .compat import Interval, Options, StrOptions

# scikit-learn's name of the sigmoid, beside the names of `cmlp.layers`.
ACTIVATIONS = {name: name for name in _core.activations() if name != "step"}
ACTIVATIONS["logistic"] = "sigmoid"

LOSSES: dict[str, type[Loss]] = {
    name: kind for name, kind in losses.KINDS.items() if kind.of_numbers
}

# What turns outputs into probabilities or rates, by scikit-learn's name of what is done to them.
_LINKS = {"logistic": "sigmoid", "softmax": "softmax", "exp": "exp"}

_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _COUNT],
    "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
    "solver": [StrOptions({"lbfgs", *optimizers.KINDS}), Optimizer],
    "alpha": [_NOT_NEGATIVE],
    "batch_size": [StrOptions({"auto"}), _COUNT],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [_POSITIVE],
    "power_t": [_NOT_NEGATIVE],
    "max_iter": [_COUNT],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_SHARE],
    "beta_1": [_SHARE],
    "beta_2": [_SHARE],
    "epsilon": [_POSITIVE],
    "n_iter_no_change": [_COUNT, Options(Real, {np.inf})],
    "max_fun": [_COUNT],
    "dropout": [_SHARE, "array-like"],
    "schedule": [callable, Schedule, None],
    "clip_value": [_POSITIVE, None],
    "clip_norm": [_POSITIVE, None],
    "weight_init": [callable, None],
    "dtype": [StrOptions({"float32", "float64"}), None],
    "n_threads": [_COUNT, None],
    "callbacks": ["array-like", None],
    "restore_best": ["boolean"],
    "n_restarts": [_COUNT],
    "progress": ["boolean"],
    "preprocess": [StrOptions({"auto"}), TablePreprocessor, None],
}


def hidden_sizes(value: Any) -> list[int]:
    """Units of the hidden layers."""
    sizes = [value] if isinstance(value, Integral) else _listed(value, "hidden_layer_sizes")
    found = [checks.positive_int(size, f"hidden_layer_sizes[{i}]") for i, size in enumerate(sizes)]
    return found


def _listed(value: Any, name: str) -> list[Any]:
    """The entries of a list, a tuple or an array of one dimension."""
    if getattr(value, "ndim", 1) != 1:
        raise ValueError(f"{name} has shape {value.shape}; expected a number or a list of them")
    return list(value)


def per_layer(value: Any, name: str, n_hidden: int) -> list[Any]:
    """One setting for each hidden layer, from one for all or a list."""
    if isinstance(value, (str, Real)):
        return [value] * n_hidden
    found = _listed(value, name)
    if len(found) != n_hidden:
        raise ValueError(
            f"{name} has {len(found)} entries; expected {n_hidden}, one for each hidden layer"
        )
    return found


def check_layers(estimator: Any) -> None:
    """Raise ValueError or TypeError unless the settings of the layers fit together."""
    n_hidden = len(hidden_sizes(estimator.hidden_layer_sizes))
    for name in per_layer(estimator.activation, "activation", n_hidden):
        checks.choice(name, "activation", ACTIVATIONS)
    rates = per_layer(estimator.dropout, "dropout", n_hidden)
    for rate in rates:
        checks.number(rate, "dropout", 0.0, 1.0, open_high=True)
    if estimator.solver == "lbfgs" and any(rates):
        raise ValueError(f"dropout is {estimator.dropout!r}; expected 0 with solver='lbfgs'")


def net_settings(estimator: Any) -> dict[str, Any]:
    """The parameters that a net is made by, in one form each."""
    sizes = hidden_sizes(estimator.hidden_layer_sizes)
    return {
        "hidden_layer_sizes": sizes,
        "activation": per_layer(estimator.activation, "activation", len(sizes)),
        "dropout": per_layer(estimator.dropout, "dropout", len(sizes)),
        "weight_init": estimator.weight_init,
        "dtype": estimator.dtype,
    }


def check_net_settings(estimator: Any, made_by: dict[str, Any]) -> None:
    """Raise ValueError for a parameter that has changed since the net was made."""
    now = net_settings(estimator)
    for name, value in made_by.items():
        if now[name] is not value and now[name] != value:
            raise ValueError(
                f"{name} is {now[name]!r}; expected {value!r}, by which the net was made: fit "
                "without warm_start makes a new one"
            )


def make_net(
    estimator: Any,
    sizes: Sequence[int],
    output: str,
    dtype: str,
    coefs: Sequence[Array] | None,
    seed: int,
) -> Sequential:
    """The net that the parameters describe.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    sizes : sequence of int
        Units of every layer, inputs and outputs included.
    output : str
        scikit-learn's name of what is done to the outputs.
    dtype : {"float32", "float64"}
    coefs : sequence of ndarray, optional
        Weights (n_in, n_out) of the layers, then their biases; None for ``weight_init``'s.
    seed : int
        Of the initial values, the order of samples and dropout.
    """
    n_hidden = len(sizes) - 2
    names = per_layer(estimator.activation, "activation", n_hidden)
    rates = per_layer(estimator.dropout, "dropout", n_hidden)
    functions = [ACTIVATIONS[name] for name in names]
    last = {"logistic": "sigmoid", "softmax": "softmax"}.get(output, "identity")
    layers: list[Dense | Dropout] = []
    for i, ((n_in, n_out), f) in enumerate(zip(pairwise(sizes), [*functions, last], strict=True)):
        dense = Dense(n_in, n_out, f, weight_init=estimator.weight_init)
        if coefs is not None:
            dense.weight, dense.bias = coefs[i].T, coefs[i + n_hidden + 1]
        layers.append(dense)
        if i < n_hidden and rates[i]:
            layers.append(Dropout(rates[i]))
    net = Sequential(*layers, dtype=dtype, seed=seed)
    net.link = _LINKS.get(output)
    return net


def initial_coefs(activation: Any, sizes: Sequence[int], rng: RandomState) -> list[Array]:
    """Weights and biases drawn as scikit-learn draws them: the same numbers for the same seed.

    Uniform within sqrt(6 / (n_in + n_out)), or sqrt(2 / (n_in + n_out)) for the logistic sigmoid;
    after Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
    networks* (2010).
    """
    names = [activation] * (len(sizes) - 1) if isinstance(activation, str) else [*activation, ""]
    weights, biases = [], []
    for (n_in, n_out), name in zip(pairwise(sizes), names, strict=True):
        bound = sqrt((2.0 if name in ("logistic", "sigmoid") else 6.0) / (n_in + n_out))
        weights.append(rng.uniform(-bound, bound, (n_in, n_out)))
        biases.append(rng.uniform(-bound, bound, n_out))
    return weights + biases


class SklearnAdam(optimizers.Adam):
    """Adam with epsilon beside the square root of the uncorrected mean, as scikit-learn has it."""

    def options(self) -> dict[str, float]:
        return {**super().options(), "eps_inside": 1.0}


def make_optimizer(estimator: Any) -> Any:
    """The optimizer that the parameters describe."""
    if not isinstance(estimator.solver, str):
        return estimator.solver
    solver: str = estimator.solver
    kinds: dict[str, Any] = {
        **optimizers.KINDS,
        "adam": SklearnAdam,
        "lbfgs": optimizers.LBFGS,
    }
    settings = {
        "lr": estimator.learning_rate_init,
        "beta1": estimator.beta_1,
        "beta2": estimator.beta_2,
        "eps": estimator.epsilon,
        "weight_decay": estimator.alpha,
        "decay_over_batch": solver != "adamw",
        "clip_value": estimator.clip_value,
        "clip_norm": estimator.clip_norm,
        "tol": estimator.tol,
        "max_evaluations": estimator.max_fun,
    }
    if solver == "sgd":
        # 1 is allowed there, and here the number before it
        settings["momentum"] = min(estimator.momentum, 1.0 - 2.0**-53)
        settings["nesterov"] = bool(estimator.nesterovs_momentum)
    taken = signature(kinds[solver]).parameters
    return kinds[solver](**{name: v for name, v in settings.items() if name in taken})


ClassWeight = dict[Any, float] | str | None
WeightInit = Callable[..., ArrayLike] | None
