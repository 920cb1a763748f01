"""Small helpers that the estimators share: looks at arguments, parameters and records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from inspect import signature
from math import isfinite
from typing import Any

import numpy as np
from sklearn import get_config

from ..checks import Array
from . import compat


def is_stochastic(estimator: Any) -> bool:
    """Whether the solver takes steps, as ``partial_fit`` needs; AttributeError if it does not."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs a stochastic solver; solver is 'lbfgs'")
    return True


@cache
def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """The parameters of a class, in scikit-learn's order, and their defaults if they are valid."""
    parameters = signature(kind.__init__).parameters
    found = {name: parameters[name].default for name in kind._get_param_names()}
    for name, default in found.items():
        try:
            compat.validate_parameter_constraints(
                kind._parameter_constraints, {name: default}, caller_name=""
            )
        except compat.InvalidParameterError:  # a subclass's
            found[name] = object()
    return found


def is_plain(X: Any, dtypes: Sequence[Any]) -> bool:
    """Whether X is a matrix of one of these types that the core takes as it is."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in dtypes
        and X.size > 0
        and X.flags.c_contiguous
        and X.flags.aligned
        and is_finite(X)
    )


def is_plain_target(y: Any, n: int) -> bool:
    """Whether y is a column of n numbers that need no further look."""
    return (
        type(y) is np.ndarray
        and y.shape == (n,)
        and (y.dtype.kind in "iub" or (y.dtype.kind == "f" and is_finite(y)))
    )


def is_finite(a: Array) -> bool:
    """Whether there is no NaN or infinity for certain, or nobody wants to know."""
    if get_config()["assume_finite"]:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(a.sum())


def of_record(name: str) -> Any:
    """An attribute of a fitted estimator that its engine writes down."""

    def get(self: Any) -> Any:
        if self._engine is None or not self._engine.record.has(name):
            raise AttributeError(f"this {type(self).__name__} has no {name}_ yet")
        return getattr(self._engine.record, name)

    def put(self: Any, value: Any) -> None:
        record = self._with_engine().record
        record.begun = record.by_steps = True
        setattr(record, name, value)

    return property(get, put)
