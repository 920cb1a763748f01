"""`MLPRegressor`."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from .. import checks
from ..checks import Array
from ..training.data import Data
from .compat import HasMethods, StrOptions, fit_context
from .inputs import is_finite, is_stochastic
from .online import Features
from .parameters import CONSTRAINTS, LOSSES, WeightInit
from .tables import TableMLP
from .training import LossScale, Task


class MLPRegressor(RegressorMixin, TableMLP):  # type: ignore[misc]
    """Multilayer perceptron that predicts one number or several, with scikit-learn's contract.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error" (1/2 the square), "poisson" (half the deviance; the outputs are logarithms
        of rates and y >= 0), "absolute_error", "huber", a loss of `cmlp.losses` such as
        ``Huber(2.0)``, or an object of your own with forward and backward.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
    power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
    n_iter_no_change, max_fun, dropout, schedule, clip_value, clip_norm, weight_init, dtype, \
    n_threads, callbacks, restore_best, n_restarts, progress, preprocess
        As in `MLPClassifier`.  The validation score is the coefficient of determination.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, \
    validation_loss_curve_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, \
    out_activation_, n_features_in_, feature_names_in_, net_
        As in `MLPClassifier`.

    Notes
    -----
    With several outputs the squared error is their mean in ``loss_curve_`` and their sum in the
    gradient, as in scikit-learn; learning rates that were tuned there stay right.

    Examples
    --------
    >>> from cmlp import MLPRegressor
    >>> x = [[0.0], [1.0], [2.0], [3.0]]
    >>> net = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", alpha=0, random_state=0)
    >>> net.fit(x, [1.0, 3.0, 5.0, 7.0]).predict([[1.5]]).round(2)
    array([4.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(LOSSES)), HasMethods(["forward", "backward"])],
    }

    _numeric = True

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        schedule: Any = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        weight_init: WeightInit = None,
        dtype: str | None = None,
        n_threads: int | None = None,
        callbacks: Any = None,
        restore_best: bool = False,
        n_restarts: int = 1,
        progress: bool = False,
        preprocess: Any = None,
    ) -> None:
        self._set(locals())

    def predict(self, X: Any) -> Array:
        """Predicted numbers.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        y = self._response(self._outputs(X))
        return y[:, 0] if y.shape[1] == 1 else y

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]
    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on some samples, from where the last call ended.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like of shape (n_samples,), optional
            Factors of the samples' losses as they are.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def declare(self, n_outputs: int = 1, features: Features = None) -> Self:
        """Begin anew with a net that has seen nothing, for ``learn_one``.

        Parameters
        ----------
        n_outputs : int, default 1
        features : int or sequence of str, optional
            Number of features, or their names for samples that are dicts; taken from the first
            sample if None.

        Returns
        -------
        self
        """
        self._validate_params()
        self.n_outputs_ = checks.positive_int(n_outputs, "n_outputs")
        self._open(features)
        return self

    # ---- what `BaseMLP` asks for ----

    def _encode(self, y: Any, dtype: str) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        rows = np.require(y.reshape(len(y), -1), dtype, ("C", "A"))
        if self.loss == "poisson" and rows.min() < 0:
            raise ValueError(f"y holds {rows.min()}; expected counts >= 0 for loss='poisson'")
        return rows

    def _task(self, target: Array | None = None) -> Task:
        n_out = self.n_outputs_ if target is None else target.shape[1]
        if not isinstance(self.loss, str):
            return Task(n_out, "identity", self.loss, LossScale(), "r2")
        loss = LOSSES[self.loss]()
        if self.loss == "poisson":
            return Task(n_out, "exp", loss, LossScale(poisson=True), "r2 of rates")
        return Task(n_out, "identity", loss, LossScale(factor=1.0 / n_out), "r2")

    def _response(self, y: Array) -> Array:
        return np.exp(y) if self.out_activation_ == "exp" else y

    def _plain_data(self, X: Any, y: Any) -> Data | None:
        if not self._goes_on(X):
            return None
        plain = type(y) is np.ndarray and y.dtype.kind == "f" and y.shape[:1] == X.shape[:1]
        if not plain or y.ndim > 2 or y.size != len(X) * self.n_outputs_ or not is_finite(y):
            return None
        return Data(X, self._encode(y, X.dtype.name), None)

    def _decode_one(self, y: Array) -> Any:
        y = self._response(y)
        return float(y[0]) if len(y) == 1 else y

    def _blank_target(self) -> Array:
        return np.zeros((1, getattr(self, "n_outputs_", 1)))
