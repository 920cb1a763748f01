"""Separate runs from different starts, the best kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import _core, checks
from ..data import Source
from ..errors import DivergenceError
from .callbacks import Callback
from .history import History
from .many import fit_many, why_not
from .trainer import Trainer

__all__ = ["Restarts", "best_of"]

# Nets with more parameters than this are trained one after the other, each on all threads.
_SMALL = 200_000
# Arguments of `fit` that `fit_many` has, too.
_TOGETHER = {"epochs", "batch_size", "shuffle", "sample_weight", "progress"}
_LONGEST_WAIT = 0.05  # seconds until the main thread sees Ctrl-C


@dataclass(frozen=True)
class Restarts:
    """What `best_of` found.

    Attributes
    ----------
    best : Trainer
        The run with the lowest loss on the held-out data.
    losses : list of float
        That loss for each run; infinite for one that diverged.
    seeds : list of int
    trainers : list of Trainer
    """

    best: Trainer
    losses: list[float]
    seeds: list[int]
    trainers: list[Trainer] = field(repr=False)

    @property
    def net(self) -> Any:
        """The best run's net."""
        return self.best.net

    @property
    def history(self) -> History:
        """The best run's history."""
        return self.best.history


def best_of(
    build: Callable[[int], Trainer],
    data: tuple[Any, Any],
    n_runs: int = 5,
    seeds: Sequence[int] | None = None,
    validation: Any = None,
    **fit: Any,
) -> Restarts:
    """Train several nets from different starts and keep the best.

    *Lecture 14: Backpropagation in Networks* recommends it against local minima.  The runs of
    small nets go side by side, a thread each, by `fit_many` where that can train them.

    Parameters
    ----------
    build : callable
        ``build(seed) -> Trainer``: a new net and trainer for a seed.
    data : (x, y)
    n_runs : int, default 5
        Without ``seeds``: the seeds 0 .. n_runs - 1.
    seeds : sequence of int, optional
    validation : (x, y), optional
        What the runs are compared on; ``data`` if None.
    **fit
        Further arguments of `Trainer.fit`.  Callbacks are given as a function without arguments
        that makes a list of new ones for a run.

    Returns
    -------
    Restarts

    Raises
    ------
    DivergenceError
        If all runs diverge.
    """
    if not callable(build):
        raise TypeError(f"build is {build!r}; expected a function seed -> Trainer")
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"data is {type(data).__name__}; expected (x, y)")
    chosen = _seeds(n_runs, seeds)
    trainers = [build(seed) for seed in chosen]
    for trainer in trainers:
        if not isinstance(trainer, Trainer):
            raise TypeError(f"build gave {trainer!r}; expected a Trainer")
    if (
        set(fit) <= _TOGETHER
        and not isinstance(data[0], Source)
        and not any(map(why_not, trainers))
    ):
        losses = _together(trainers, data, validation, fit)
    elif max(trainer.net.n_parameters for trainer in trainers) <= _SMALL:
        losses = _side_by_side(trainers, lambda t, more: _train(t, data, validation, fit, more))
    else:
        losses = [_train(trainer, data, validation, fit, []) for trainer in trainers]
    best = min(range(len(losses)), key=losses.__getitem__)
    if losses[best] == float("inf"):
        raise DivergenceError(f"all {len(losses)} runs diverged")
    return Restarts(trainers[best], losses, chosen, trainers)


def _seeds(n_runs: int, seeds: Sequence[int] | None) -> list[int]:
    if seeds is None:
        return list(range(checks.positive_int(n_runs, "n_runs")))
    chosen = [checks.seed(seed, "seeds") for seed in seeds]
    if not chosen:
        raise ValueError("seeds is empty; expected at least one")
    return chosen


def _together(
    trainers: list[Trainer], data: Any, validation: Any, fit: dict[str, Any]
) -> list[float]:
    """Losses of the runs, all trained in one call of the core."""
    runs = fit_many(trainers, data[0], data[1], validation=validation, **fit)
    if validation is not None:
        return runs.losses
    return [
        trainer.evaluate(*data)["loss"] if loss < float("inf") else loss
        for trainer, loss in zip(trainers, runs.losses, strict=True)
    ]


class _Stop(Callback):
    """Ends the runs of other threads once it has been told to."""

    every_seconds = 0.05

    def __init__(self) -> None:
        self.now = False

    def on_steps(self, trainer: Trainer) -> bool:
        return self.now


def _side_by_side(
    trainers: list[Trainer], train: Callable[[Trainer, list[Callback]], float]
) -> list[float]:
    """Losses of the runs, each on one thread; Ctrl-C ends them all."""
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    stop = _Stop()

    def run(trainer: Trainer) -> float:
        if stop.now:
            return float("inf")
        with trainer.on_threads(1):
            return train(trainer, [stop])

    with ThreadPoolExecutor(_core.default_threads()) as pool:
        try:
            futures = [pool.submit(run, trainer) for trainer in trainers]
            pending = set(futures)
            while pending:  # Ctrl-C may not end a wait, where another library handles the signal
                done, pending = wait(pending, _LONGEST_WAIT, FIRST_EXCEPTION)
                for future in done:
                    future.result()
            return [future.result() for future in futures]
        except BaseException:
            stop.now = True
            raise


def _train(
    trainer: Trainer, data: Any, validation: Any, fit: dict[str, Any], more: list[Callback]
) -> float:
    """Train one run; its loss on the held-out data."""
    arguments = dict(fit)
    callbacks = arguments.pop("callbacks", None)
    if callbacks is not None and not callable(callbacks):
        raise TypeError(
            f"callbacks is {callbacks!r}; expected a function that makes a list of them"
        )
    arguments["callbacks"] = [*(callbacks() if callbacks else []), *more]
    try:
        trainer.fit(data[0], data[1], validation=validation, **arguments)
    except DivergenceError:
        return float("inf")
    return trainer.evaluate(*(validation or data))["loss"]
