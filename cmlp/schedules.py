"""Learning rates that change while training.

A schedule gives the learning rate itself, built from the optimizer's ``lr`` as its base.  Those of
the iteration t = 0, 1, 2, ... (one minibatch each, counted over all epochs) run inside the
compiled loop; `Halving` and `Plateau` look at the losses between epochs.  ``schedule=None`` keeps
the rate constant, and any function of t with a float as its result is a schedule too.

No schedule comes to a rate of 0, which would train on without effect: where a rate falls for ever
it stays at ``lr_min`` in the end, lr / 10,000 unless given.  An explicit ``lr_min=0`` lifts that
limit.  To stop training there, use `cmlp.Converged` or `cmlp.EarlyStopping`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .attributes import Declared

__all__ = [
    "Cosine",
    "EpochSchedule",
    "Exponential",
    "Halving",
    "InverseSqrt",
    "InverseTime",
    "MomentumStep",
    "Plateau",
    "Schedule",
    "StepDecay",
    "Warmup",
]

Rates = NDArray[np.float64]

# The least rate, as a share of the first, where none is given: steps that much shorter are about
# what the rounding of float32 takes from a weight.
_LEAST = 1e-4


class Schedule(Declared):
    """Base of the schedules: ``values(first_step, n, lr)``.

    Their settings are fixed: a trainer works with a copy.
    """

    def values(self, first_step: int, n: int, lr: float) -> Rates:
        """Rates of the iterations first_step .. first_step + n - 1.

        Parameters
        ----------
        first_step, n : int
        lr : float
            The optimizer's learning rate.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        return self.rates(np.arange(first_step, first_step + n, dtype=np.float64), lr)

    def rates(self, t: Rates, lr: float) -> Rates:
        """Rates of the iterations ``t``, an array of any length."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Arguments that make the same schedule again."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({settings})"


class InverseTime(Schedule):
    """a / (b + t): the optimizer's ``lr`` is not used.

    The "commonly used schedule" of *Deep Learning, topic 3: Multi-layer Perceptron*: a / b is the
    first rate, and b the number of iterations after which it has halved.

    Parameters
    ----------
    a, b : float
        Both positive.
    """

    a: float
    b: float

    def __init__(self, a: float, b: float) -> None:
        self.a = checks.number(a, "a", 0.0, open_low=True)
        self.b = checks.number(b, "b", 0.0, open_low=True)

    def rates(self, t: Rates, lr: float) -> Rates:
        return self.a / (self.b + t)


class InverseSqrt(Schedule):
    """lr * sqrt(n / (n + t)).

    Parameters
    ----------
    n_steps : int, default 1
        n, after which the rate has fallen to lr / sqrt(2).
    """

    n_steps: int

    def __init__(self, n_steps: int = 1) -> None:
        self.n_steps = checks.positive_int(n_steps, "n_steps")

    def rates(self, t: Rates, lr: float) -> Rates:
        return np.asarray(lr * np.sqrt(self.n_steps / (self.n_steps + t)))


class Exponential(Schedule):
    """lr * factor ** (t / n_steps), and at least ``lr_min``.

    Parameters
    ----------
    factor : float in (0, 1]
    n_steps : int, default 1
        Iterations in which the rate falls by ``factor``.
    lr_min : float, optional
        lr / 10,000 if None.
    """

    factor: float
    n_steps: int
    lr_min: float | None

    def __init__(self, factor: float, n_steps: int = 1, lr_min: float | None = None) -> None:
        self.factor = checks.number(factor, "factor", 0.0, 1.0, open_low=True)
        self.n_steps = checks.positive_int(n_steps, "n_steps")
        self.lr_min = _lr_min(lr_min)

    def rates(self, t: Rates, lr: float) -> Rates:
        return np.maximum(lr * self.factor ** (t / self.n_steps), _least(lr, self.lr_min))


class StepDecay(Schedule):
    """lr * factor ** floor(t / n_steps): lower every ``n_steps`` iterations, at least ``lr_min``.

    Parameters
    ----------
    factor : float in (0, 1]
    n_steps : int
    lr_min : float, optional
        lr / 10,000 if None.
    """

    factor: float
    n_steps: int
    lr_min: float | None

    def __init__(self, factor: float, n_steps: int, lr_min: float | None = None) -> None:
        self.factor = checks.number(factor, "factor", 0.0, 1.0, open_low=True)
        self.n_steps = checks.positive_int(n_steps, "n_steps")
        self.lr_min = _lr_min(lr_min)

    def rates(self, t: Rates, lr: float) -> Rates:
        falling = lr * self.factor ** np.floor(t / self.n_steps)
        return np.maximum(falling, _least(lr, self.lr_min))


class Cosine(Schedule):
    """Half a cosine from lr down to ``lr_min`` in ``n_steps`` iterations, then ``lr_min``.

    lr_min + (lr - lr_min) * (1 + cos(pi * t / n_steps)) / 2, as in Loshchilov and Hutter,
    *SGDR: Stochastic gradient descent with warm restarts* (2017), without restarts.

    Parameters
    ----------
    n_steps : int
    lr_min : float, optional
        lr / 10,000 if None.
    """

    n_steps: int
    lr_min: float | None

    def __init__(self, n_steps: int, lr_min: float | None = None) -> None:
        self.n_steps = checks.positive_int(n_steps, "n_steps")
        self.lr_min = _lr_min(lr_min)

    def rates(self, t: Rates, lr: float) -> Rates:
        half = 0.5 * (1.0 + np.cos(np.pi * np.minimum(t / self.n_steps, 1.0)))
        end = lr * _LEAST if self.lr_min is None else self.lr_min
        return np.asarray(end + (lr - end) * half)


class Warmup(Schedule):
    """lr * (t + 1) / n_steps for the first ``n_steps`` iterations, then another schedule.

    The other schedule's iterations are counted from there.

    Parameters
    ----------
    n_steps : int
    then : Schedule or function, optional
        lr itself if None.
    """

    n_steps: int
    then: Schedule | None

    def __init__(self, n_steps: int, then: Schedule | Callable[[int], float] | None = None) -> None:
        self.n_steps = checks.positive_int(n_steps, "n_steps")
        self.then = as_schedule(then, "then")
        if isinstance(self.then, EpochSchedule):
            raise TypeError(f"then is {then!r}; expected a schedule of the iteration")

    def rates(self, t: Rates, lr: float) -> Rates:
        rising = lr * (t + 1.0) / self.n_steps
        if self.then is None:
            return np.asarray(np.minimum(rising, lr))
        late = t >= self.n_steps
        rising[late] = self.then.rates(t[late] - self.n_steps, lr)
        return np.asarray(rising)


class MomentumStep(Schedule):
    """A momentum that is raised once learning has settled, for ``SGD(momentum=...)``.

    The strategy of *Deep Learning, topic 3: Multi-layer Perceptron*: 0.5 at first, then 0.9.

    Parameters
    ----------
    start, end : float in [0, 1), default 0.5 and 0.9
    after : int
        Iterations with the first value.
    """

    start: float
    end: float
    after: int

    def __init__(self, start: float = 0.5, end: float = 0.9, after: int = 1000) -> None:
        self.start = checks.number(start, "start", 0.0, 1.0, open_high=True)
        self.end = checks.number(end, "end", 0.0, 1.0, open_high=True)
        self.after = checks.positive_int(after, "after", 0)

    def rates(self, t: Rates, lr: float) -> Rates:
        return np.where(t < self.after, self.start, self.end)


class FunctionSchedule(Schedule):
    """A user's function of the iteration; made by `as_schedule`."""

    function: Callable[[int], float]

    def __init__(self, function: Callable[[int], float]) -> None:
        self.function = function

    def rates(self, t: Rates, lr: float) -> Rates:
        return np.fromiter((self.function(int(step)) for step in t), np.float64, len(t))


class EpochSchedule(Schedule):
    """Base of the schedules that look at a loss after each epoch and lower the rate.

    The loss counts as settled in an epoch where it has not fallen by at least ``threshold`` of
    its value in the epoch before.  After ``patience`` + 1 such epochs in a row the rate is
    multiplied by ``factor``, until it is ``lr_min``.
    """

    monitor = "loss"
    threshold: float
    factor: float
    patience: int
    lr_min: float | None

    def __init__(
        self, threshold: float, factor: float, patience: int, lr_min: float | None
    ) -> None:
        self.threshold = checks.number(threshold, "threshold", 0.0)
        self.factor = checks.number(factor, "factor", 0.0, 1.0, open_low=True, open_high=True)
        self.patience = checks.positive_int(patience, "patience", 0)
        self.lr_min = _lr_min(lr_min)
        self._scale = 1.0
        self._last: float | None = None
        self._settled = 0

    def rates(self, t: Rates, lr: float) -> Rates:
        return np.full(len(t), max(lr * self._scale, _least(lr, self.lr_min)))

    def observe(self, loss: float) -> None:
        """Take the loss of an epoch that has just ended."""
        last, self._last = self._last, loss
        if last is None:
            return
        self._settled = self._settled + 1 if last - loss < self.threshold * abs(last) else 0
        if self._settled > self.patience:
            self._scale *= self.factor
            self._settled = 0

    def state(self) -> dict[str, Any]:
        """What it has seen, for a checkpoint."""
        return {"scale": self._scale, "last": self._last, "settled": self._settled}

    def set_state(self, state: dict[str, Any]) -> None:
        scale = checks.number(state["scale"], "scale", 0.0, 1.0)
        last = None if state["last"] is None else checks.number(state["last"], "last")
        self._settled = checks.positive_int(state["settled"], "settled", 0)
        self._scale, self._last = scale, last


class Halving(EpochSchedule):
    """Halve the rate whenever the training loss converges slowly.

    The "standard method" of *Deep Learning, topic 3: Multi-layer Perceptron*.

    Parameters
    ----------
    threshold : float, default 0.01
        An epoch that lowers the loss by less than this share of it is slow.
    factor : float in (0, 1), default 0.5
    patience : int, default 0
        Slow epochs in a row that are let pass.
    lr_min : float, optional
        lr / 10,000 if None.
    """

    def __init__(
        self,
        threshold: float = 0.01,
        factor: float = 0.5,
        patience: int = 0,
        lr_min: float | None = None,
    ) -> None:
        super().__init__(threshold, factor, patience, lr_min)


class Plateau(EpochSchedule):
    """Lower the rate when the loss of the validation data stops falling.

    The "even better approach" of *Deep Learning, topic 3: Multi-layer Perceptron*; `Trainer.fit`
    must be given ``validation``.

    Parameters
    ----------
    threshold : float, default 0.001
        An epoch that lowers the loss by less than this share of it has not improved it.
    factor : float in (0, 1), default 0.5
    patience : int, default 1
        Epochs in a row without improvement that are let pass.
    lr_min : float, optional
        lr / 10,000 if None.
    """

    monitor = "validation_loss"

    def __init__(
        self,
        threshold: float = 0.001,
        factor: float = 0.5,
        patience: int = 1,
        lr_min: float | None = None,
    ) -> None:
        super().__init__(threshold, factor, patience, lr_min)


ScheduleLike = Schedule | Callable[[int], float] | None


def _lr_min(value: float | None) -> float | None:
    return None if value is None else checks.number(value, "lr_min", 0.0)


def _least(lr: float, lr_min: float | None) -> float:
    """The rate at which a falling one stays."""
    return lr * _LEAST if lr_min is None else min(lr, lr_min)


def as_schedule(value: ScheduleLike, name: str = "schedule") -> Schedule | None:
    """A schedule of the caller's own: a copy of a schedule, or a function wrapped."""
    if value is None:
        return None
    if isinstance(value, Schedule):
        from copy import copy

        return copy(value)
    if callable(value) and not isinstance(value, type):
        return FunctionSchedule(value)
    raise TypeError(f"{name} is {value!r}; expected a schedule, a function of the step, or None")


_KINDS: dict[str, type[Schedule]] = {
    kind.__name__: kind
    for kind in (
        Cosine, Exponential, Halving, InverseSqrt, InverseTime, MomentumStep, Plateau, StepDecay,
        Warmup,
    )
}  # fmt: skip


def to_config(schedule: Schedule | None) -> dict[str, Any] | None:
    """JSON form of a schedule: its class and arguments; None for none or for a user's own."""
    if type(schedule).__name__ not in _KINDS or schedule is None:
        return None
    arguments = schedule.config()
    if isinstance(schedule, Warmup):
        arguments["then"] = to_config(schedule.then)
        if schedule.then is not None and arguments["then"] is None:
            return None
    return {"class": type(schedule).__name__, **arguments}


def from_config(config: dict[str, Any]) -> Schedule:
    """The schedule that `to_config` described; ValueError or TypeError if it describes none."""
    arguments = dict(config)
    kind = _KINDS[checks.choice(arguments.pop("class", None), "schedule class", _KINDS)]
    if kind is Warmup and arguments.get("then") is not None:
        arguments["then"] = from_config(arguments["then"])
    return kind(**arguments)
