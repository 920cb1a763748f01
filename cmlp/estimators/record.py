"""What an estimator writes down while it trains, and how it tells progress from none."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from ..checks import Array
from ..network import Sequential
from ..training.history import Row


class Record:
    """Mixin: the attributes that change with every epoch.

    ``best_loss_`` is followed without, ``best_validation_score_`` with ``early_stopping``, as
    scikit-learn does it; the latter also where there are validation data of the user's.
    """

    # Weights of the best epoch so far, where they are to be put back at the end.
    _best_weights: Array | None = None

    if TYPE_CHECKING:
        early_stopping: bool
        restore_best: bool
        solver: Any
        tol: float
        verbose: bool | int
        net_: Sequential

    def _clear_record(self) -> None:
        """Nothing has been seen yet."""
        self.n_iter_ = self.t_ = self._no_improvement_count = 0
        self._best_weights = None
        if self.solver == "lbfgs":
            return
        self.loss_curve_: list[float] = []
        self.best_loss_: float | None = None if self.early_stopping else inf
        self.best_validation_score_: float | None = None
        self.validation_scores_: list[float] | None = None
        self.validation_loss_curve_: list[float] | None = None

    def _note(self, losses: list[float], row: Row) -> None:
        """Write down some epochs; ``row`` is the history's of the last of them.

        There is only one where ``verbose``, ``restore_best`` or validation data look at each.
        """
        self.loss_ = losses[-1]
        self.loss_curve_ += losses
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        validated = "validation_score" in row
        if validated:
            self._note_score(row["validation_score"], row["validation_loss"])
        if validated and self.early_stopping:
            return
        best = before = inf if self.best_loss_ is None else self.best_loss_
        for loss in losses:
            self._count(loss > best - self.tol)
            if loss < best:
                best = loss
        self.best_loss_ = best
        if best < before and self.restore_best and not validated:
            self._best_weights = self.net_.get_flat()

    def _note_score(self, score: float, loss: float) -> None:
        """Write down how the validation data fare."""
        if self.validation_scores_ is None or self.validation_loss_curve_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
        self.validation_scores_.append(score)
        self.validation_loss_curve_.append(loss)
        if self.verbose:
            print(f"Validation score: {score:f}")
        best = -inf if self.best_validation_score_ is None else self.best_validation_score_
        if self.early_stopping:
            self._count(score < best + self.tol)
        if score > best:
            self.best_validation_score_ = score
            if self.early_stopping or self.restore_best:
                self._best_weights = self.net_.get_flat()

    def _count(self, idle: bool) -> None:
        """Count the epochs in a row that have brought nothing."""
        self._no_improvement_count = self._no_improvement_count + 1 if idle else 0
