"""One call of ``fit`` or ``partial_fit``: epochs that end by scikit-learn's rules, and L-BFGS."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from ..training.data import Data
from ..training.fit import Fit
from ..training.lbfgs import LbfgsFit
from .record import Record
from .sources import Samples, SourceData
from .training import EstimatorTrainer
from .weights import Weights

# Rows that go through the net at once in L-BFGS.
_ROWS = 2048


class EstimatorFit(Fit):
    """Epochs that end by scikit-learn's rules, and are written down.

    Parameters
    ----------
    settings : MLPClassifier or MLPRegressor
        Of which the parameters are read.
    trainer : EstimatorTrainer
    record : Record
        Where it is written down.
    weights : Weights
        Forgotten whenever the net changes.
    data, held_out : Data
    epochs : int
    callbacks : sequence
    random_state : int, RandomState or None
        Of the order of samples.
    """

    def __init__(
        self,
        settings: Any,
        trainer: EstimatorTrainer,
        record: Record,
        weights: Weights,
        data: Samples,
        held_out: Data | None,
        epochs: int,
        callbacks: Sequence[Any],
        random_state: Any,
    ) -> None:
        size = 200 if settings.batch_size == "auto" else settings.batch_size
        super().__init__(trainer, data, held_out, epochs, size, settings.shuffle, callbacks)
        self.trainer: EstimatorTrainer = trainer
        trainer.take_kind(data)
        if not isinstance(data, SourceData):
            trainer.order.begin(random_state, len(data))
        self.settings, self.written, self.weights = settings, record, weights
        self._constant = trainer.scale.constant(data)

    def stretch(self, left: int) -> tuple[int, int | None]:
        epochs, max_steps = super().stretch(left)
        return int(min(epochs, self._epochs_to_rule())), max_steps

    def _epochs_to_rule(self) -> float:
        """Epochs before the end of which no rule can ask for anything."""
        settings = self.settings
        if settings.verbose or settings.restore_best or self.trainer.power is not None:
            return 1
        left: float = settings.n_iter_no_change + 1 - self.written.idle
        return max(1.0, left)

    def end_epochs(
        self, first: int, losses: list[float], seconds: float, rates: list[float]
    ) -> None:
        if self._constant:
            losses = [loss + self._constant for loss in losses]
        super().end_epochs(first, losses, seconds, rates)
        record, trainer, n = self.written, self.trainer, len(losses)
        record.n_iter += n
        record.t += n * len(self.data)
        self.weights.forget()
        record.note(self.settings, losses, trainer.history.last(), trainer.net)
        trainer.lower_rate(record.t)
        if record.idle > self.settings.n_iter_no_change:
            self._settled()

    def _settled(self) -> None:
        """Stop, or go on at a lower rate."""
        settings, optimizer = self.settings, self.trainer.optimizer
        adaptive = settings.solver == "sgd" and settings.learning_rate == "adaptive"
        if adaptive and optimizer.lr > 1e-6:
            optimizer.lr /= 5.0
            self.written.idle = 0
            then = f"Setting learning rate to {optimizer.lr:f}"
        else:
            self.stopped = True
            then = "Stopping."
        if settings.verbose:
            what = "Validation score" if settings.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={settings.tol:f} for "
                f"{settings.n_iter_no_change} epochs. {then}"
            )


class EstimatorLbfgs(LbfgsFit):
    """One minimisation by SciPy.

    The objective is the one that the gradient belongs to, the sum over outputs; ``loss`` is told
    as scikit-learn writes it.

    Parameters
    ----------
    settings, trainer, record, data, callbacks
        As in `EstimatorFit`; the optimizer is `cmlp.LBFGS`.
    """

    def __init__(
        self,
        settings: Any,
        trainer: EstimatorTrainer,
        record: Record,
        data: Data,
        callbacks: Sequence[Any],
    ) -> None:
        super().__init__(trainer, data, None, settings.max_iter, _ROWS, False, callbacks)
        self.settings, self.written, self.scale = settings, record, trainer.scale

    def options(self) -> dict[str, Any]:
        optimizer = self.trainer.optimizer
        return {
            "maxiter": self.settings.max_iter,
            "maxfun": optimizer.max_evaluations,
            "gtol": optimizer.tol,
        }

    def loss_at(self, value: float, w: Any) -> float:
        assert isinstance(self.data, Data)
        penalty = self.objective.penalty(w)
        return self.scale.factor * (value - penalty) + penalty + self.scale.constant(self.data)

    def work(self) -> None:
        super().work()
        record, result = self.written, self.result
        record.n_iter = min(int(result.nit), self.settings.max_iter)
        record.loss = self.loss_at(float(result.fun), result.x)
        if result.status != 0 and not self.stopped:
            warnings.warn(
                f"lbfgs has not converged after {record.n_iter} iterations ({result.message}); "
                "raise max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=9,
            )

    def end_epochs(
        self, first: int, losses: list[float], seconds: float, rates: list[float]
    ) -> None:
        super().end_epochs(first, losses, seconds, rates)
        if self.settings.verbose:
            print(f"Iteration {first}, loss = {losses[0]:.8f}")
