"""Separate runs from different starts, the best kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _checks, _core
from .errors import DivergenceError
from .history import History
from .trainer import Trainer

__all__ = ["Restarts", "best_of"]

# Nets with more parameters than this are trained one after the other, each on all threads.
_SMALL = 200_000


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
    small nets go side by side, a thread each.

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
    side_by_side = max(trainer.net.n_parameters for trainer in trainers) <= _SMALL

    def run(trainer: Trainer) -> float:
        if side_by_side:
            trainer.n_threads = 1
        return _train(trainer, data, validation, fit)

    if side_by_side:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_core.default_threads()) as pool:
            losses = list(pool.map(run, trainers))
    else:
        losses = [run(trainer) for trainer in trainers]
    best = min(range(len(losses)), key=losses.__getitem__)
    if losses[best] == float("inf"):
        raise DivergenceError(f"all {len(losses)} runs diverged")
    return Restarts(trainers[best], losses, chosen, trainers)


def _seeds(n_runs: int, seeds: Sequence[int] | None) -> list[int]:
    if seeds is None:
        return list(range(_checks.positive_int(n_runs, "n_runs")))
    chosen = [_checks.seed(seed, "seeds") for seed in seeds]
    if not chosen:
        raise ValueError("seeds is empty; expected at least one")
    return chosen


def _train(trainer: Trainer, data: Any, validation: Any, fit: dict[str, Any]) -> float:
    """Train one run; its loss on the held-out data."""
    arguments = dict(fit)
    if callable(arguments.get("callbacks")):
        arguments["callbacks"] = arguments["callbacks"]()
    try:
        trainer.fit(data[0], data[1], validation=validation, **arguments)
    except DivergenceError:
        return float("inf")
    return trainer.evaluate(*(validation or data))["loss"]
