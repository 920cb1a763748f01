"""One call of `Trainer.fit`: epochs, schedules, callbacks, history."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import _core
from ..checks import Array
from ..data import Source
from ..errors import DivergenceError, FormatError, one_line
from ..schedules import EpochSchedule
from .callbacks import Callback, ModelCheckpoint
from .contract import Call
from .data import Data
from .history import History, Row
from .loops import Rate, begin_epoch
from .state import TrainState
from .stream import Samples, Stream

# Seconds of training handed to the core at once where nothing is to be done between epochs.
_AT_ONCE = 0.2
# Most rates of a schedule computed at once.
_MOST_RATES = 1 << 20


class Fit:
    """What one call of ``fit`` works on.

    Parameters
    ----------
    trainer : TrainState
        What is trained, and what callbacks are told.
    data : Data or Stream
        What is trained on.
    held_out : Data, optional
        What is validated on.
    epochs, batch_size, shuffle, callbacks
        See `Trainer.fit`.
    call : Call, optional
        The trainer's last call.
    goes_on : bool
        Whether this one goes on with it.
    source : Source, optional
        Where the data are read from.

    Attributes
    ----------
    first_epoch, last_epoch : int
        Epochs of the trainer before and after this call.
    stopped : bool
        Whether a callback has asked to stop.
    """

    def __init__(
        self,
        trainer: TrainState,
        data: Samples,
        held_out: Data | None,
        epochs: int,
        batch_size: int,
        shuffle: bool,
        callbacks: Iterable[Any],
        call: Call | None = None,
        goes_on: bool = False,
        source: Source | None = None,
    ) -> None:
        self.trainer, self.data, self.held_out = trainer, data, held_out
        self.batch_size, self.shuffle = min(batch_size, len(data)), shuffle
        self.callbacks = _sorted(callbacks)
        self.steps_per_epoch = -(-len(data) // self.batch_size)
        self.first_epoch, self.last_epoch, self.stopped = 0, epochs, False
        self._source = source
        self._earlier, self._resumed = call, call if goes_on else None
        if self._resumed is not None:
            self._check_same(self._resumed)
        self._seconds = 0.0  # of the epoch under way
        self._rate = 0.0  # steps per second, as last seen
        self._started = 0.0
        self._called: dict[int, float] = {}
        self._event: str | None = None
        self._told: set[int] = set()  # callbacks that know of the event
        self._begun = False  # whether all know of the epoch that begins
        self._weights: Array | None = None  # where training has ended
        self._lasting: list[dict[str, Any]] = []

    def _check_same(self, saved: Call) -> None:
        """Raise ValueError unless data and settings are those of the call that goes on."""
        for name, now, before in (
            ("n_samples", len(self.data), saved.n_samples),
            ("batch_size", self.batch_size, saved.batch_size),
            ("shuffle", self.shuffle, saved.shuffle),
            ("the source's order", self._order(), saved.order),
        ):
            if now != before:
                raise ValueError(f"{name} is {now}; expected {before}, as in the checkpoint")

    def _order(self) -> str | None:
        """What decides on the order of samples, where that is not the one of arrays in memory."""
        return None if self._source is None else self._source.description(self.shuffle)

    # ---- for callbacks ----

    def samples_wanted(self) -> int:
        """Samples that the epochs of this call hold in all."""
        return (self.last_epoch - self.first_epoch) * len(self.data)

    def samples_done(self) -> int:
        """Samples trained on so far in this call."""
        cursor = self.trainer.cursor
        within = min(cursor.step_in_epoch * self.batch_size, len(self.data))
        return (cursor.epoch - self.first_epoch) * len(self.data) + within

    def record(self) -> Call:
        """The call as it stands, for copies and checkpoints."""
        weights = self._weights
        if weights is not None and np.array_equal(weights, self.trainer.net.get_flat()):
            weights = None
        return Call(
            self.first_epoch,
            self.batch_size,
            len(self.data),
            self.shuffle,
            self.stopped,
            event=self._event,
            callbacks=[
                {"told": self._event is None or i in self._told, **_state_of(callback)}
                for i, callback in enumerate(self.callbacks)
                if hasattr(callback, "state")
            ],
            weights=weights,
            order=self._order(),
        )

    # ---- the call itself ----

    def run(self) -> History:
        """Train until the epochs are done, a callback stops it, or the loss diverges."""
        trainer = self.trainer
        trainer.begin_call(self, trainer.history if self._resumed else History())
        call: Call | None = None
        try:
            call = self._run()
        except DivergenceError:
            call = self._finished()
            raise
        except KeyboardInterrupt:  # also within the callbacks of the beginning and the end
            trainer.history.mark_interrupted()
            raise
        finally:
            if isinstance(self.data, Stream):
                self.data.close()
            trainer.end_call(self.record() if call is None else call)
        return trainer.history

    def _run(self) -> Call:
        self._started = time.perf_counter()
        self.take_place()
        self.tell("on_train_begin")
        self._restore_callbacks()
        try:
            self._end_event()
            self.work()
        except KeyboardInterrupt:
            self.note_interruption()
            raise
        finally:
            if any(_listens(callback, "on_train_end") for callback in self.callbacks):
                self._weights = self.trainer.net.get_flat()
            self.tell("on_train_end")
        return self._finished()

    def work(self) -> None:
        """The epochs of this call."""
        cursor = self.trainer.cursor
        while not self.stopped and cursor.epoch < self.last_epoch:
            if cursor.step_in_epoch == 0 and not self._begun:
                self._announce("on_epoch_begin")
            self._begun = False
            self.advance()

    def _finished(self) -> Call:
        """The record of a call that nothing is left of but what lasts."""
        lasting = [_state_of(c) for c in self.callbacks if getattr(c, "lasting", False)]
        return Call(
            self.first_epoch, self.batch_size, len(self.data), self.shuffle, self.stopped,
            finished=True, callbacks=lasting + self._lasting,
        )  # fmt: skip

    # ---- going on ----

    def take_place(self) -> None:
        """Stand where the call that goes on was, or at the beginning of an epoch."""
        trainer, saved = self.trainer, self._resumed
        self.first_epoch = trainer.epoch if saved is None else saved.first_epoch
        self.last_epoch += self.first_epoch
        if isinstance(self.data, Stream):
            self.data.last_epoch = self.last_epoch
        if saved is None:
            begin_epoch(trainer.cursor, trainer.epoch)
        else:
            self.stopped = saved.stopped
            if saved.weights is not None:
                trainer.net.set_flat(saved.weights)

    def _restore_callbacks(self) -> None:
        """Give the callbacks their states: those that last, or all where a call goes on."""
        left = [] if self._earlier is None else list(self._earlier.callbacks)
        for i, callback in enumerate(self.callbacks):
            name = type(callback).__name__
            places = [j for j, state in enumerate(left) if state.get("class") == name]
            lasting = getattr(callback, "lasting", False)
            if not places or not (self._resumed or lasting) or not hasattr(callback, "set_state"):
                self._told.add(i)
                continue
            state = left.pop(places[0])
            if state.get("told", True):
                self._told.add(i)
            _set_state(callback, state)
        self._lasting = [state for state in left if state.get("lasting")]

    def _end_event(self) -> None:
        """Tell of an event those callbacks that did not know of it when the call was saved."""
        event = self._resumed.event if self._resumed else None
        if event == "on_epoch_begin":
            self._announce(event, told=self._told)
            self._begun = True
        elif event == "on_epoch_end":
            self._announce(event, self.trainer.history.last(), told=self._told)
            self._announce("on_steps")
        elif event == "on_steps":
            self._announce(event, told=self._told)

    # ---- epochs ----

    def advance(self, most: int | None = None, pause: _core.Pause | None = None) -> None:
        """Train up to the next event: the end of epochs, or what callbacks want within them.

        ``most`` steps at most; ``pause`` ends it after the step under way.
        """
        trainer, cursor = self.trainer, self.trainer.cursor
        epoch, step = cursor.epoch, cursor.step_in_epoch
        epochs, max_steps = self.stretch(self.last_epoch - epoch)
        n_steps = epochs * self.steps_per_epoch - step
        if most is not None:
            max_steps = most if max_steps is None else min(most, max_steps)
        if max_steps is not None:
            n_steps = min(n_steps, max_steps)
        lr, momentum = trainer.rates(n_steps), trainer.momenta(n_steps)
        loop = trainer.loop_for(self.batch_size)
        if self._source is not None:
            self._source.blocks.check_unchanged()
        start = time.perf_counter()
        losses, status = loop.run(self.data, epochs, self.shuffle, lr, momentum, max_steps, pause)
        elapsed = time.perf_counter() - start
        done = (cursor.epoch - epoch) * self.steps_per_epoch + cursor.step_in_epoch - step
        self._rate = done / max(elapsed, 1e-9)
        self._seconds += elapsed
        if losses:
            rates = self._last_rates(lr, len(losses), step)
            self.end_epochs(epoch + 1, losses, self._seconds / len(losses), rates)
            self._seconds = 0.0
        if status == "diverged":
            self._diverged(lr)
        self._announce("on_steps")

    def stretch(self, left: int) -> tuple[int, int | None]:
        """How many of the epochs left to hand over, and after how many steps to pause."""
        trainer = self.trainer
        limits = [self._pace(callback) for callback in self.callbacks]
        if self._source is not None:  # looked at again now and then
            limits.append(max(1, int(self._rate)))
        scheduled = trainer.schedule is not None or trainer.momenta(1) is not None
        limits.append(_MOST_RATES if scheduled else None)
        max_steps = min((n for n in limits if n is not None), default=None)
        if (
            self.held_out is not None
            or isinstance(self.data, Stream)
            or isinstance(trainer.schedule, EpochSchedule)
            or any(_listens(c, "on_epoch_begin", "on_epoch_end") for c in self.callbacks)
        ):
            return 1, max_steps
        at_once = int(self._rate * _AT_ONCE / self.steps_per_epoch)
        return max(1, min(left, at_once)), max_steps

    def _pace(self, callback: Any) -> int | None:
        """Steps until this callback wants to be called within an epoch."""
        every = getattr(callback, "every_steps", None)
        if every is not None:
            return int(every - self.trainer.step_count % every)
        seconds = getattr(callback, "every_seconds", None)
        if seconds is None:
            return None
        return max(1, int(self._rate * min(seconds, 1.0)))

    def _last_rates(self, lr: Rate, n: int, step: int) -> list[float]:
        """Rates of the last steps of the n epochs of a stretch from a step of the first on."""
        if isinstance(lr, float):
            return [lr] * n
        first = self.steps_per_epoch - step - 1
        found: list[float] = lr[first :: self.steps_per_epoch][:n].tolist()
        return found

    def end_epochs(
        self, first: int, losses: list[float], seconds: float, rates: list[float]
    ) -> None:
        """Add epochs to the history; let schedule and callbacks see the last.

        There is one epoch at a time where any of them, or validation data, looks at each.
        """
        trainer, n = self.trainer, len(losses)
        columns: dict[str, list[float]] = {"epoch": [*range(first, first + n)], "loss": losses}
        if self.held_out is not None:
            scores = trainer.scores(self.held_out)
            columns.update({f"validation_{name}": [value] for name, value in scores.items()})
        columns.update(lr=rates, seconds=[seconds] * n)
        trainer.history.extend(columns)
        if isinstance(trainer.schedule, EpochSchedule):
            trainer.schedule.observe(columns[trainer.schedule.monitor][-1])
        row: Row = {name: column[-1] for name, column in columns.items()}
        self._announce("on_epoch_end", row)

    def note_interruption(self) -> None:
        """Mark the history; epochs that Ctrl-C found finished get rows, without their losses."""
        history = self.trainer.history
        history.mark_interrupted()
        n = len(history)
        seen = int(history["epoch"][n - 1]) if n else self.first_epoch
        for epoch in range(seen, self.trainer.epoch):
            history.add({"epoch": epoch + 1, "loss": float("nan")})

    def _diverged(self, lr: Rate) -> None:
        """Go back to the start of the epoch; the loop has put back the last good weights.

        At the first step of an epoch those are of the start of the epoch before.
        """
        trainer, cursor = self.trainer, self.trainer.cursor
        after = cursor.epoch - (cursor.step_in_epoch == 0 and cursor.good is not None)
        cursor.step_count -= cursor.step_in_epoch
        begin_epoch(cursor, cursor.epoch)
        if trainer.running is not None:
            trainer.running.reset()
        rate = lr if isinstance(lr, float) else float(lr.max())
        raise DivergenceError(
            f"the loss became NaN or infinite in epoch {cursor.epoch + 1} (learning rate "
            f"{rate:g}); the weights are those after epoch {after}"
        )

    # ---- telling callbacks ----

    def tell(self, event: str) -> None:
        """Call a method of every callback that has it."""
        for callback in self.callbacks:
            if hasattr(callback, event):
                getattr(callback, event)(self.trainer)

    def _announce(self, event: str, *arguments: Any, told: Iterable[int] = ()) -> None:
        """Tell the callbacks that don't know yet; copies made meanwhile know who has been told."""
        self._event, self._told = event, set(told)
        for i, callback in enumerate(self.callbacks):
            if i in self._told:
                continue
            self._told.add(i)
            if not hasattr(callback, event) or (event == "on_steps" and not self._due(i)):
                continue
            if getattr(callback, event)(self.trainer, *arguments) and event != "on_epoch_begin":
                self.stopped = True
        self._event = None

    def _due(self, i: int) -> bool:
        """Whether a callback wants to be called now, within an epoch."""
        every = getattr(self.callbacks[i], "every_steps", None)
        seconds = getattr(self.callbacks[i], "every_seconds", None)
        now = time.perf_counter()
        due = every is not None and self.trainer.step_count % every == 0
        due = due or (seconds is not None and now - self._called.get(i, self._started) >= seconds)
        if due:
            self._called[i] = now
        return due


def _state_of(callback: Any) -> dict[str, Any]:
    """A callback's state with what it is known by."""
    lasting = {"lasting": True} if getattr(callback, "lasting", False) else {}
    return {"class": type(callback).__name__, **lasting, **callback.state()}


def _set_state(callback: Any, state: dict[str, Any]) -> None:
    own = {k: v for k, v in state.items() if k not in ("class", "told", "lasting")}
    try:
        callback.set_state(own)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            f"the checkpoint's state of {type(callback).__name__} is damaged: {one_line(error)}"
        ) from error


def _listens(callback: Any, *events: str) -> bool:
    """Tell whether a callback does anything at one of these events."""
    methods = [(event, getattr(callback, event, None)) for event in events]
    return any(
        getattr(method, "__func__", method) not in (None, getattr(Callback, event))
        for event, method in methods
    )


def _sorted(callbacks: Iterable[Any]) -> Sequence[Any]:
    """The callbacks in order, those that save checkpoints last: they save what the others know."""
    found = list(callbacks)
    for callback in found:
        if isinstance(callback, type):
            raise TypeError(f"callbacks holds {callback!r}; expected objects, not classes")
        if not any(hasattr(callback, name) for name in vars(Callback) if name.startswith("on_")):
            raise TypeError(
                f"callbacks holds {callback!r}; expected objects with on_epoch_end, ..."
            )
    return sorted(found, key=lambda callback: isinstance(callback, ModelCheckpoint))
