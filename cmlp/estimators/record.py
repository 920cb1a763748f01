"""What is written down while an estimator trains, and how progress is told from none."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from ..checks import Array
from ..network import Sequential
from ..training.history import Row


@dataclass
class Record:
    """What changes with every epoch; the estimator shows it as attributes of these names and "_".

    ``best_loss`` is followed without, ``best_validation_score`` with ``early_stopping``, as
    scikit-learn does it; the latter also where there are validation data of the user's.

    Attributes
    ----------
    idle : int
        Epochs in a row that have brought nothing.
    best_weights : ndarray or None
        Of the best epoch so far, where they are to be put back at the end.
    begun : bool
        Whether there is anything but ``loss`` yet.
    by_steps : bool
        Whether there is what "lbfgs" does not have.
    """

    n_iter: int = 0
    t: int = 0
    loss: float | None = None
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = None
    best_validation_score: float | None = None
    validation_scores: list[float] | None = None
    validation_loss_curve: list[float] | None = None
    idle: int = 0
    best_weights: Array | None = None
    begun: bool = False
    by_steps: bool = False

    def clear(self, settings: Any) -> None:
        """Nothing has been seen yet by an estimator of these parameters."""
        self.n_iter = self.t = self.idle = 0
        self.best_weights = None
        self.begun, self.by_steps = True, settings.solver != "lbfgs"
        self.loss_curve = []
        self.best_loss = None if settings.early_stopping else inf
        self.best_validation_score = None
        self.validation_scores = self.validation_loss_curve = None

    def has(self, name: str) -> bool:
        """Tell whether there is such a value by now."""
        if name == "loss":
            return self.loss is not None
        return self.begun and (self.by_steps or name in ("n_iter", "t"))

    def note(self, settings: Any, losses: list[float], row: Row, net: Sequential) -> None:
        """Write down some epochs; ``row`` is the history's of the last of them.

        There is only one where ``verbose``, ``restore_best`` or validation data look at each.
        """
        self.loss, self.by_steps = losses[-1], True
        self.loss_curve += losses
        if settings.verbose:
            print(f"Iteration {self.n_iter}, loss = {self.loss:.8f}")
        validated = "validation_score" in row
        if validated:
            self.note_score(settings, row["validation_score"], row["validation_loss"], net)
        if validated and settings.early_stopping:
            return
        best = before = inf if self.best_loss is None else self.best_loss
        for loss in losses:
            self._count(loss > best - settings.tol)
            if loss < best:
                best = loss
        self.best_loss = best
        if best < before and settings.restore_best and not validated:
            self.best_weights = net.get_flat()

    def note_score(self, settings: Any, score: float, loss: float, net: Sequential) -> None:
        """Write down how the validation data fare."""
        if self.validation_scores is None or self.validation_loss_curve is None:
            self.validation_scores, self.validation_loss_curve = [], []
        self.validation_scores.append(score)
        self.validation_loss_curve.append(loss)
        if settings.verbose:
            print(f"Validation score: {score:f}")
        best = -inf if self.best_validation_score is None else self.best_validation_score
        if settings.early_stopping:
            self._count(score < best + settings.tol)
        if score > best:
            self.best_validation_score = score
            if settings.early_stopping or settings.restore_best:
                self.best_weights = net.get_flat()

    def _count(self, idle: bool) -> None:
        self.idle = self.idle + 1 if idle else 0
