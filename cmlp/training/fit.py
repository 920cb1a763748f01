"""One call of `Trainer.fit`: epochs, schedules, callbacks, history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..checks import Array
from ..errors import DivergenceError, FormatError, one_line
from ..optimizers import Optimizer
from ..schedules import EpochSchedule
from .callbacks import Callback, ModelCheckpoint
from .contract import Insides
from .history import Row
from .loops import Cursor, Data, Loop

# Seconds of training handed to the core at once where nothing is to be done between epochs.
_AT_ONCE = 0.2
# Most rates of a schedule computed at once.
_MOST_RATES = 1 << 20


class Fit:
    """What one call of ``fit`` works on.

    Attributes
    ----------
    first_epoch, last_epoch : int
        Epochs of the trainer before and after this call.
    stopped : bool
        Whether a callback has asked to stop.
    """

    def __init__(
        self,
        trainer: Insides,
        loop: Loop,
        data: Data,
        held_out: Data | None,
        epochs: int,
        shuffle: bool,
        callbacks: Iterable[Any],
    ) -> None:
        self.trainer, self.loop, self.data, self.held_out = trainer, loop, data, held_out
        self.shuffle = shuffle
        self.callbacks = _sorted(callbacks)
        self.first_epoch = trainer.epoch
        self.last_epoch = self.first_epoch + epochs
        self.stopped = False
        self.steps_per_epoch = -(-len(data) // loop.batch_size)
        self._seconds = 0.0  # of the epoch under way
        self._rate = 0.0  # steps per second, as last seen
        self._start = loop.cursor
        self._first_step = trainer.step_count
        self._started = 0.0
        self._called: dict[int, float] = {}
        self._callback_states: list[dict[str, Any]] = []

    def go_on(self, saved: dict[str, Any]) -> None:
        """Be the call of ``fit`` that a checkpoint was saved in, from where it was."""
        epochs = self.last_epoch - self.first_epoch
        self.first_epoch = saved["first_epoch"]
        self.last_epoch = self.first_epoch + epochs
        self.stopped = saved["stopped"]
        self._callback_states = saved["callbacks"]

    # ---- for callbacks ----

    def step_count(self) -> int:
        """Iterations of the trainer so far."""
        return self._steps_until(self.loop.cursor)

    def _steps_until(self, now: Cursor) -> int:
        """Iterations of the trainer when the loop stood there."""
        start = self._start
        steps = (now.epoch - start.epoch) * self.steps_per_epoch
        return self._first_step + steps + now.step_in_epoch - start.step_in_epoch

    def samples_wanted(self) -> int:
        """Samples that the epochs of this call hold in all."""
        return (self.last_epoch - self.first_epoch) * len(self.data)

    def samples_done(self) -> int:
        """Samples trained on so far in this call."""
        done = self.trainer.epoch - self.first_epoch
        within = min(self.loop.cursor.step_in_epoch * self.loop.batch_size, len(self.data))
        return done * len(self.data) + within

    # ---- the call itself ----

    def run(self, work: Callable[[], None] | None = None) -> None:
        """Train until the epochs are done, a callback stops it, or the loss diverges.

        ``work`` is what trains; the loop's epochs if None.
        """
        self._started = time.perf_counter()
        self.tell("on_train_begin")
        self._restore_callbacks()
        try:
            (work or self._run_epochs)()
        except KeyboardInterrupt:
            self.trainer.history.interrupted = True
            self._add_unseen()
            raise
        finally:
            self.tell("on_train_end")

    def _run_epochs(self) -> None:
        while not self.stopped and (now := self.loop.cursor).epoch < self.last_epoch:
            if now.step_in_epoch == 0:
                self.tell("on_epoch_begin")
            self._advance()

    def _restore_callbacks(self) -> None:
        left = list(self._callback_states)
        for callback in self.callbacks:
            name = type(callback).__name__
            state = next((s for s in left if s.get("class") == name), None)
            if state is None or not hasattr(callback, "set_state"):
                continue
            left.remove(state)
            try:
                callback.set_state(state)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise FormatError(
                    f"the checkpoint's state of {name} is damaged: {one_line(error)}"
                ) from error

    def _advance(self) -> None:
        """Train up to the next event: the end of epochs, or what callbacks want within them."""
        before = self.loop.cursor
        first_step = self._steps_until(before)
        epochs, max_steps = self._stretch(self.last_epoch - before.epoch, first_step)
        n_steps = epochs * self.steps_per_epoch - before.step_in_epoch
        if max_steps is not None:
            n_steps = min(n_steps, max_steps)
        lr, momentum = self._rates(first_step, n_steps)
        self.loop.step_number = first_step
        start = time.perf_counter()
        losses, status = self.loop.run(self.data, epochs, self.shuffle, lr, momentum, max_steps)
        elapsed = time.perf_counter() - start
        self._rate = n_steps / max(elapsed, 1e-9)
        self._seconds += elapsed
        if losses:
            rates = self._last_rates(lr, len(losses), before)
            self.end_epochs(before.epoch + 1, losses, self._seconds / len(losses), rates)
            self._seconds = 0.0
        if status == "diverged":
            self._diverged(lr)
        self._tell_steps()

    def _add_unseen(self) -> None:
        """Rows for epochs that were finished when Ctrl-C came; their losses are not known."""
        history = self.trainer.history
        n = len(history)
        seen = int(history["epoch"][n - 1]) if n else self.first_epoch
        for epoch in range(seen, self.loop.cursor.epoch):
            history.add({"epoch": epoch + 1, "loss": float("nan")})

    def _diverged(self, lr: float | Array) -> None:
        """Go back to the start of the epoch, whose weights the loop has put back."""
        epoch = self.loop.cursor.epoch
        self.loop.cursor = Cursor(epoch)
        if isinstance(self.trainer.optimizer, Optimizer):
            self.trainer.optimizer.state_for(self.trainer.net).reset()
        rate = lr if isinstance(lr, float) else float(lr.max())
        raise DivergenceError(
            f"the loss became NaN or infinite in epoch {epoch + 1} (learning rate {rate:g}); "
            f"the weights are those after epoch {epoch}"
        )

    def _stretch(self, left: int, first_step: int) -> tuple[int, int | None]:
        """How many of the epochs left to hand over, and after how many steps to pause."""
        limits = [self._pace(c, first_step) for c in self.callbacks]
        scheduled = self.trainer.schedule is not None or not self._constant_momentum()
        limits.append(_MOST_RATES if scheduled else None)
        max_steps = min((n for n in limits if n is not None), default=None)
        if (
            self.held_out is not None
            or isinstance(self.trainer.schedule, EpochSchedule)
            or any(_wants_epochs(callback) for callback in self.callbacks)
        ):
            return 1, max_steps
        at_once = int(self._rate * _AT_ONCE / self.steps_per_epoch)
        return max(1, min(left, at_once)), max_steps

    def _pace(self, callback: Any, first_step: int) -> int | None:
        """Steps until this callback wants to be called within an epoch."""
        every = getattr(callback, "every_steps", None)
        if every is not None:
            return int(every - first_step % every)
        seconds = getattr(callback, "every_seconds", None)
        if seconds is None:
            return None
        return max(1, int(self._rate * min(seconds, 1.0)))

    def _constant_momentum(self) -> bool:
        optimizer = self.trainer.optimizer
        return not isinstance(optimizer, Optimizer) or isinstance(optimizer.momentum, float)

    def _rates(self, first: int, n_steps: int) -> tuple[float | Array, Array | None]:
        optimizer = self.trainer.optimizer
        momentum = (
            optimizer.momentum_values(first, n_steps) if isinstance(optimizer, Optimizer) else None
        )
        return self.trainer._rates(first, n_steps), momentum

    def _last_rates(self, lr: float | Array, n: int, before: Cursor) -> list[float]:
        """Rates of the last steps of the n epochs of a stretch."""
        if isinstance(lr, float):
            return [lr] * n
        first = self.steps_per_epoch - before.step_in_epoch - 1
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
            scores = trainer._scores(self.held_out)
            columns.update({f"validation_{name}": [value] for name, value in scores.items()})
        columns.update(lr=rates, seconds=[seconds] * n)
        trainer.history._extend(columns, n)
        if isinstance(trainer.schedule, EpochSchedule):
            trainer.schedule.observe(columns[trainer.schedule.monitor][-1])
        for callback in self.callbacks:
            if hasattr(callback, "on_epoch_end"):
                row: Row = {name: column[-1] for name, column in columns.items()}
                if callback.on_epoch_end(trainer, row):
                    self.stopped = True

    # ---- telling callbacks ----

    def tell(self, event: str) -> None:
        """Call a method of every callback that has it."""
        for callback in self.callbacks:
            if hasattr(callback, event):
                getattr(callback, event)(self.trainer)

    def _tell_steps(self) -> None:
        now = time.perf_counter()
        for i, callback in enumerate(self.callbacks):
            every = getattr(callback, "every_steps", None)
            seconds = getattr(callback, "every_seconds", None)
            due = every is not None and self.trainer.step_count % every == 0
            if seconds is not None:
                due = due or now - self._called.get(i, self._started) >= seconds
            if due:
                self._called[i] = now
                if callback.on_steps(self.trainer):
                    self.stopped = True

    def settings(self) -> dict[str, Any]:
        """What a resumed call must have in common with this one."""
        return {
            "first_epoch": self.first_epoch,
            "batch_size": self.loop.batch_size,
            "n_samples": len(self.data),
            "shuffle": self.shuffle,
            "stopped": self.stopped,
            "callbacks": [
                {"class": type(c).__name__, **c.state()}
                for c in self.callbacks
                if hasattr(c, "state")
            ],
        }


def _wants_epochs(callback: Any) -> bool:
    """Tell whether a callback is to be called between epochs."""
    methods = [getattr(callback, name, None) for name in ("on_epoch_begin", "on_epoch_end")]
    idle = (None, Callback.on_epoch_begin, Callback.on_epoch_end)
    return any(getattr(method, "__func__", method) not in idle for method in methods)


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
