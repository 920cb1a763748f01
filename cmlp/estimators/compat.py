"""scikit-learn's private and new names, in this file alone.

Nothing else in the package imports a name of scikit-learn that begins with an underscore, or one
that only some of the versions have that are tested.  Those are `TESTED`; ``pyproject.toml`` asks
for the first of them.
"""

from __future__ import annotations

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9 there are no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to be set."""


TESTED = ("1.6", "1.9.1")
"""The first and the last version of scikit-learn with which the tests passed."""

__all__ = [
    "TESTED",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "Options",
    "StrOptions",
    "check_partial_fit_first_call",
    "check_sample_weight",
    "fit_context",
    "validate_parameter_constraints",
]
