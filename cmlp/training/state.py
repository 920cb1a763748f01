"""`TrainState`: what training is made of and where it stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, checks
from ..augment import Augment
from ..checks import Array
from ..layers import Layer
from ..losses import Loss
from ..network import Sequential
from ..optimizer_state import NetState
from ..optimizers import LBFGS, SGD
from ..schedules import Schedule, ScheduleLike, as_schedule
from .contract import Call, Progress
from .data import Data
from .history import History
from .loops import Gradients, Loop, Rate, begin_epoch, make_loop, settings_of
from .parallel import ParallelLoop
from .parts import check_loss, check_net, check_optimizer, check_pair, check_views, in_core
from .ranks import Ranks, as_ranks

# Loops kept, each for a size of minibatches.
_MOST_LOOPS = 4
# What a call of fit has made something of that can't be made anew in its middle.
_FIXED_IN_FIT = ("net", "loss", "seed", "augment")


class TrainState:
    """What training is made of and where it stands: all that decides how it goes on.

    ``fit``, single steps, L-BFGS, checkpoints, copies and the estimators share it.  Each part may
    be assigned at any time, is checked, and takes effect with the next step.

    Parameters
    ----------
    net : Sequential
    loss : Loss, object with forward and backward, or name of a loss
    optimizer : Optimizer, LBFGS, object with step, or name of an optimizer, optional
        ``SGD(lr=0.1)`` if None.
    schedule : Schedule or function of the step, optional
    n_threads : int, optional
    seed : int, optional
        The net's if None.
    comm : mpi4py.MPI.Comm or Ranks, optional
    augment : Augment, optional

    Attributes
    ----------
    cursor : _core.Cursor
        The place in the training, which loops move.
    history : History
        Of the last call of ``fit``.
    fitting : Progress or None
        The call of ``fit`` under way.
    """

    __slots__ = (
        "__weakref__",
        "_call",
        "_cursor",
        "_evaluator",
        "_fast",
        "_fitting",
        "_given_schedule",
        "_goes_on",
        "_history",
        "_loops",
        "_ranks",
        "_thread",
        "augment",
        "loss",
        "n_threads",
        "net",
        "optimizer",
        "schedule",
        "seed",
    )

    net: Sequential
    loss: Any
    optimizer: Any
    schedule: Any
    n_threads: int | None
    seed: int
    augment: Augment | None

    def __init__(
        self,
        net: Sequential,
        loss: Any,
        optimizer: Any = None,
        schedule: ScheduleLike = None,
        n_threads: int | None = None,
        seed: int | None = None,
        comm: Any = None,
        augment: Augment | None = None,
    ) -> None:
        self._start(as_ranks(comm))
        self.net, self.loss = net, loss
        self.optimizer = SGD() if optimizer is None else optimizer
        self.schedule = schedule
        self.n_threads = n_threads
        self.seed = net.seed if seed is None else seed
        self.augment = augment

    def _start(self, ranks: Ranks | None = None) -> None:
        """Stand at the beginning of everything."""
        self._cursor, self._history = _core.Cursor(), History()
        self._call: Call | None = None
        self._goes_on = False
        self._fitting: Progress | None = None
        self._thread: int | None = None
        self._given_schedule: ScheduleLike = None
        self._ranks = ranks
        self._loops: dict[Any, Loop] = {}
        self.forget_plans()

    # ---- the parts ----

    def __setattr__(self, name: str, value: Any) -> None:
        check = _CHECKS.get(name)
        if check is None:
            super().__setattr__(name, value)
            return
        if self._fitting is not None and name in _FIXED_IN_FIT:
            raise RuntimeError(f"{name} cannot be changed while the net is being trained")
        super().__setattr__(name, check(self, value))
        self.forget_plans()

    def _check_net(self, net: Any) -> Sequential:
        check_pair(check_net(net), getattr(self, "loss", None))
        check_views(net, getattr(self, "augment", None))
        if getattr(self, "net", net) is not net:
            self._begin_anew()
        found: Sequential = net
        return found

    def _check_loss(self, loss: Any) -> Any:
        loss = check_loss(loss)
        check_pair(self.net, loss)
        if getattr(self, "loss", loss) is not loss:
            self._call, self._goes_on = None, False  # scores are of another kind now
        return loss

    def _check_optimizer(self, optimizer: Any) -> Any:
        optimizer = check_optimizer(optimizer)
        if self._fitting is not None and isinstance(optimizer, LBFGS) != isinstance(
            self.optimizer, LBFGS
        ):
            raise RuntimeError("optimizer cannot become or cease to be LBFGS within a fit")
        return optimizer

    def _check_schedule(self, schedule: ScheduleLike) -> Schedule | None:
        found = as_schedule(schedule)
        if self._fitting is not None:
            check_monitor(found, self._fitting.held_out)
        self._given_schedule = schedule
        return found

    def _check_augment(self, augment: Any) -> Augment | None:
        check_views(self.net, augment)
        found: Augment | None = augment
        return found

    def _begin_anew(self) -> None:
        """Stand at the beginning of the training of another net."""
        begin_epoch(self._cursor, 0)
        self._cursor.step_count = 0
        self._history, self._call, self._goes_on = History(), None, False
        if hasattr(self, "schedule"):
            self.schedule = self._given_schedule

    def forget_plans(self) -> None:
        """Make all that was compiled anew at its next use."""
        self._loops.clear()
        self._evaluator: Gradients | None = None
        # a step of the last loop, in the core; the loss's range of targets; its link
        self._fast: tuple[Callable[..., float], tuple[float, float] | None, str | None] | None = (
            None
        )

    # ---- where it stands ----

    @property
    def cursor(self) -> _core.Cursor:
        """The place in the training."""
        return self._cursor

    @property
    def history(self) -> History:
        """What happened in each epoch of the last call of ``fit``."""
        return self._history

    @property
    def fitting(self) -> Progress | None:
        """The call of ``fit`` under way."""
        return self._fitting

    @property
    def epoch(self) -> int:
        """Epochs of this net done so far, over all calls of ``fit``."""
        return self._cursor.epoch

    @property
    def step_count(self) -> int:
        """Iterations with this net so far, over all calls of ``fit`` and ``train_step``."""
        return self._cursor.step_count

    @property
    def call(self) -> Call | None:
        """The call of ``fit`` under way, or the last one."""
        return self._call if self._fitting is None else self._fitting.record()

    @property
    def goes_on(self) -> bool:
        """Whether the next call of ``fit`` goes on with ``call``."""
        return self._goes_on

    def hold(self) -> _core.Hold:
        """Keep everybody else from training the net while a ``with`` statement runs."""
        layers = self.net.layers
        cores = [core for layer in layers if isinstance(layer, Layer) for core in layer.cores]
        return _core.Hold([*cores, *(la for la in layers if not isinstance(la, Layer))])

    def begin_call(self, fitting: Progress, history: History, rests: bool = False) -> None:
        """Be in a call of ``fit`` from now on; ``rests``: between two steps, in no thread yet."""
        self._history, self._thread = history, None if rests else threading.get_ident()
        self._fitting, self._goes_on = fitting, False

    @contextmanager
    def in_this_thread(self) -> Iterator[None]:
        """Let this thread alone make copies and checkpoints while a ``with`` statement runs."""
        before, self._thread = self._thread, threading.get_ident()
        try:
            yield
        finally:
            self._thread = before

    def end_call(self, call: Call) -> None:
        """Be in no call of ``fit`` any more; ``call`` is the one that has ended."""
        self._call, self._fitting = call, None
        if call.finished:
            self._cursor.good = None

    def place(self, cursor: _core.Cursor, history: History, call: Call | None) -> None:
        """Stand where a checkpoint was saved: the next ``fit`` goes on with ``call``."""
        to, self._history, self._call = self._cursor, history, call
        self._goes_on = call is not None and not call.finished
        to.epoch, to.step_in_epoch, to.step_count = (
            cursor.epoch, cursor.step_in_epoch, cursor.step_count,
        )  # fmt: skip
        to.loss_sum, to.good = cursor.loss_sum, cursor.good

    def take_classes(self, classes: Array | None, names: tuple[str, ...] | None) -> None:
        """Give the net what it gets by being trained: its classes, names of features, its link."""
        if classes is not self.net.classes:
            self.net.classes = classes
        self.net.preprocessing = self.net.preprocessing.named(names)
        if isinstance(self.loss, Loss):
            self.net.link = self.loss.link

    def check_same_thread(self) -> None:
        """Refuse to look at a training that another thread is in the middle of."""
        if self._fitting is not None and self._thread not in (None, threading.get_ident()):
            raise RuntimeError(
                "the net is being trained by another thread; copies and checkpoints are made "
                "between two steps, by a callback"
            )

    @property
    def ranks(self) -> Ranks | None:
        """The processes that train the net together."""
        return self._ranks

    # ---- what follows from the parts ----

    def loop_for(self, batch_size: int) -> Loop:
        """The loop for minibatches of this size; a few are kept.

        The order of sums in a minibatch depends on the size that a loop is made for, so it is
        never used for smaller ones but at the end of an epoch.
        """
        key = batch_size, *settings_of(self)
        loop = self._loops.pop(key, None) or self.new_loop(batch_size)
        while len(self._loops) >= _MOST_LOOPS:
            del self._loops[next(iter(self._loops))]
        self._loops[key] = loop
        return loop

    def new_loop(self, batch_size: int) -> Loop:
        """A loop for minibatches of this size."""
        if self._ranks is not None:
            return ParallelLoop(self, batch_size, self._ranks)
        return make_loop(self, batch_size)

    def rates(self, n: int) -> Rate:
        """Learning rates of the next ``n`` steps: one for all without a schedule."""
        lr = float(getattr(self.optimizer, "lr", float("nan")))
        if self.schedule is None:
            return lr
        found = self.schedule.values(self.step_count, n, lr)
        rates: NDArray[np.float64] = np.ascontiguousarray(found, dtype=np.float64)
        if rates.shape != (n,) or not np.isfinite(rates).all() or rates.min(initial=0.0) < 0.0:
            raise ValueError(f"{self.schedule!r} gave {rates}; expected {n} numbers >= 0")
        return rates

    def momenta(self, n: int) -> Array | None:
        """Momentum of the next ``n`` steps, where it has a schedule."""
        if not in_core(self.optimizer):
            return None
        found: Array | None = self.optimizer.momentum_values(self.step_count, n)
        return found

    @property
    def running(self) -> NetState | None:
        """The state of a built-in optimizer for the net."""
        if not in_core(self.optimizer):
            return None
        found: NetState = self.optimizer.state_for(self.net)
        return found

    @property
    def evaluator(self) -> Gradients:
        """What computes outputs and losses without training."""
        if self._evaluator is None:
            self._evaluator = Gradients(self, 1)
        return self._evaluator

    def scores(self, data: Data) -> dict[str, float]:
        """Loss and metrics on some data."""
        y = self.evaluator.outputs(data.x)
        loss = self.evaluator.value(y, data)
        values = self.net.preprocessing.values
        metrics = (
            self.loss.metrics(values(y), values(data.y)) if hasattr(self.loss, "metrics") else {}
        )
        return {"loss": float(loss), **{k: float(v) for k, v in metrics.items()}}

    # ---- copies ----

    def __getstate__(self) -> dict[str, Any]:
        self.check_same_thread()
        running = self.running
        return {
            "parts": {name: getattr(self, name) for name in _CHECKS},
            "given_schedule": self._given_schedule,
            "running": running and (running.get_slots(), running.step_count),
            "cursor": self._cursor,
            "history": self._history,
            "call": self.call,
            "goes_on": self._goes_on or self._fitting is not None,
            "own": getattr(self, "__dict__", {}),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start()
        for name, value in state["parts"].items():
            super().__setattr__(name, value)
        if state["own"]:
            vars(self).update(state["own"])
        self._given_schedule = state["given_schedule"]
        running = self.running
        if running is not None:
            slots, running.step_count = state["running"]
            running.set_slots(slots)
        self.place(state["cursor"], state["history"], state["call"])
        self._goes_on = self._goes_on and state["goes_on"]


_CHECKS: dict[str, Callable[[TrainState, Any], Any]] = {
    "net": TrainState._check_net,
    "loss": TrainState._check_loss,
    "optimizer": TrainState._check_optimizer,
    "schedule": TrainState._check_schedule,
    "n_threads": lambda state, value: checks.threads(value),
    "seed": lambda state, value: checks.seed(value),
    "augment": TrainState._check_augment,
}


def check_monitor(schedule: Schedule | None, held_out: Data | None) -> None:
    """Raise ValueError for a schedule that looks at validation data that there are not."""
    if held_out is None and getattr(schedule, "monitor", None) == "validation_loss":
        raise ValueError(f"validation is None; expected data, {schedule!r} needs it")
