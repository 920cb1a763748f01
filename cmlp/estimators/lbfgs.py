"""The solver "lbfgs": SciPy moves all weights at once, the core gives loss and gradient."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from ..training.data import Data
from ..training.lbfgs import LbfgsFit
from .training import EstimatorTrainer

# Rows that go through the net at once.
_ROWS = 2048


class EstimatorLbfgs(LbfgsFit):
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
        super().__init__(
            trainer, data, None, estimator.max_iter, _ROWS, False, estimator._observers()
        )
        self.estimator = estimator
        self.scale = trainer.scale

    def options(self) -> dict[str, Any]:
        optimizer = self.trainer.optimizer
        return {
            "maxiter": self.estimator.max_iter,
            "maxfun": optimizer.max_evaluations,
            "gtol": optimizer.tol,
        }

    def loss_at(self, value: float, w: Any) -> float:
        penalty = self.objective.penalty(w)
        return self.scale.factor * (value - penalty) + penalty + self.scale.constant(self.data)

    def work(self) -> None:
        """Minimise; the estimator gets ``n_iter_`` and ``loss_``."""
        super().work()
        e, result = self.estimator, self.result
        e.n_iter_ = min(int(result.nit), e.max_iter)
        e.loss_ = self.loss_at(float(result.fun), result.x)
        if result.status != 0 and not self.stopped:
            warnings.warn(
                f"lbfgs has not converged after {e.n_iter_} iterations ({result.message}); raise "
                "max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=6,
            )

    def end_epochs(
        self, first: int, losses: list[float], seconds: float, rates: list[float]
    ) -> None:
        super().end_epochs(first, losses, seconds, rates)
        if self.estimator.verbose:
            print(f"Iteration {first}, loss = {losses[0]:.8f}")
