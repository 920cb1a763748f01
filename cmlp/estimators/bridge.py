"""scikit-learn's callbacks, told of the epochs as if they were ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..training.callbacks import Callback
from ..training.history import Row


class TaskCallbacks(Callback):
    """Passes epochs on to the callbacks that ``set_callbacks`` was given.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    snapshot : function
        Gives the attributes that make a copy of the estimator one that was fitted so far.
    epochs : int
    X, y, sample_weight
        What ``fit`` was called with, checked.
    """

    def __init__(
        self,
        estimator: Any,
        snapshot: Callable[[], dict[str, Any]],
        epochs: int,
        X: Any,
        y: Any,
        sample_weight: Any,
    ) -> None:
        self._estimator, self._now = estimator, snapshot
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._facts = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._whole = estimator._init_callback_context(max_subtasks=epochs)
        self._whole.call_on_fit_task_begin(**self._facts)
        self._task: Any = None

    def on_epoch_begin(self, trainer: Any) -> None:
        self._task = self._whole.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(**self._facts, reconstruction_attributes=self._now)

    def on_epoch_end(self, trainer: Any, row: Row) -> bool | None:
        task, self._task = self._task, None
        stop: bool = task.call_on_fit_task_end(**self._facts, reconstruction_attributes=self._now)
        return stop

    def end(self) -> None:
        """Say that ``fit`` is done, and an iteration that came to nothing before it."""
        if self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._estimator)
        self._whole.call_on_fit_task_end(**self._facts, reconstruction_attributes=self._now)
