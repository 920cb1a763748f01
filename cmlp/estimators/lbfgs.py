"""The solver "lbfgs": SciPy moves all weights at once, the core gives loss and gradient."""

from __future__ import annotations

import time
import warnings
from math import isfinite
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from ..errors import DivergenceError
from ..training.fit import Fit
from ..training.lbfgs import LbfgsLoop, Objective
from ..training.loops import Cursor, Data
from .training import EstimatorTrainer

# Rows that go through the net at once.
_ROWS = 2048


class Lbfgs:
    """One minimisation.

    The objective is the one that the gradient belongs to, the sum over outputs; ``loss_`` is told
    as scikit-learn writes it.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    trainer : EstimatorTrainer
        With the optimizer `cmlp.LBFGS`.
    data : Data
    """

    def __init__(self, estimator: Any, trainer: EstimatorTrainer, data: Data) -> None:
        self.estimator, self.trainer, self.data = estimator, trainer, data
        rows = min(_ROWS, len(data))
        self.objective = Objective(trainer, data, rows)
        self.loop = LbfgsLoop(trainer, rows)
        self.fit = Fit(
            trainer, self.loop, data, None, estimator.max_iter, False, estimator._observers()
        )
        self.w = trainer.net.get_flat()
        self._clock = time.perf_counter()

    def run(self) -> None:
        """Minimise; the estimator gets ``n_iter_`` and ``loss_``."""
        self.trainer._run(self.fit, self._minimise)

    def _minimise(self) -> None:
        e, optimizer = self.estimator, self.trainer.optimizer
        limits = {"maxiter": e.max_iter, "maxfun": optimizer.max_evaluations, "gtol": optimizer.tol}
        self.fit.tell("on_epoch_begin")
        try:
            result = minimize(
                self.objective,
                self.w.astype(np.float64),
                jac=True,
                method="L-BFGS-B",
                callback=self._end_iteration,
                options=limits,
            )
        finally:
            self.trainer.net._set_flat(self.w)
        if not isfinite(result.fun):
            raise DivergenceError("the loss became NaN or infinite")
        e.n_iter_ = min(int(result.nit), e.max_iter)
        e.loss_ = self._loss(float(result.fun), result.x)
        if result.status != 0 and not self.fit.stopped:
            warnings.warn(
                f"lbfgs has not converged after {e.n_iter_} iterations ({result.message}); raise "
                "max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _end_iteration(self, intermediate_result: Any) -> None:
        w = np.asarray(intermediate_result.x)
        self.w = w.astype(self.w.dtype)
        self.trainer.net._set_flat(self.w)
        self.loop.cursor = Cursor(self.loop.cursor.epoch + 1)
        loss = self._loss(float(intermediate_result.fun), w)
        now = time.perf_counter()
        self.fit.end_epochs(self.loop.cursor.epoch, [loss], now - self._clock, [float("nan")])
        self._clock = now
        if self.estimator.verbose:
            print(f"Iteration {self.loop.cursor.epoch}, loss = {loss:.8f}")
        if self.fit.stopped:
            raise StopIteration
        if self.loop.cursor.epoch < self.fit.last_epoch:
            self.fit.tell("on_epoch_begin")

    def _loss(self, value: float, w: Any) -> float:
        """A value of the objective as scikit-learn writes it."""
        scale, penalty = self.trainer.scale, self.objective.penalty(w)
        return scale.factor * (value - penalty) + penalty + scale.constant(self.data)
