"""`fit_many`: many nets trained in one call of the core."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks, losses
from ..checks import Array
from ..preprocessing import names_of
from ..schedules import EpochSchedule
from . import data as samples
from .callbacks import EarlyStopping, make_line
from .contract import Call
from .data import Data, Validation
from .history import History
from .loops import Rate, begin_epoch
from .parts import compiled, in_core
from .trainer import Trainer

__all__ = ["Runs", "fit_many"]

# Most rates of schedules that are computed at once, for all nets.
_MOST_RATES = 1 << 23


@dataclass(frozen=True)
class Runs:
    """Nets trained side by side.

    Attributes
    ----------
    trainers : list of Trainer
    losses : list of float
        What the nets are compared by: the validation loss, or the training loss without validation
        data; the best one with early stopping that restores it, else the last.  Infinite for a net
        that diverged.
    seconds : list of float
        Time that each net's training took on its threads.
    """

    trainers: list[Trainer] = field(repr=False)
    losses: list[float]
    seconds: list[float]

    @property
    def best(self) -> Trainer:
        """The trainer with the lowest loss."""
        return self.trainers[int(np.argmin(self.losses))]

    @property
    def histories(self) -> list[History]:
        """What happened in each epoch of each net."""
        return [trainer.history for trainer in self.trainers]


def fit_many(
    trainers: Sequence[Trainer],
    x: ArrayLike,
    y: ArrayLike,
    epochs: int | Sequence[int] = 10,
    batch_size: int | Sequence[int | None] | None = 128,
    shuffle: bool = True,
    validation: Validation = None,
    sample_weight: ArrayLike | None = None,
    rows: Sequence[ArrayLike] | None = None,
    validation_rows: Sequence[ArrayLike] | None = None,
    early_stopping: EarlyStopping | None = None,
    rung: int | None = None,
    on_rung: Callable[[Runs], Iterable[int] | None] | None = None,
    progress: bool = False,
    n_threads: int | None = None,
) -> Runs:
    """Train many nets in one call of compiled code.

    Each thread takes a whole net, trains it and takes the next; only where fewer nets are left
    than threads, and are large, does a net use several.  Each net gets the same bits as from
    ``trainer.fit`` alone, whatever the number of threads and the others.  A net that diverges is
    one with an infinite loss, and the others go on.

    Parameters
    ----------
    trainers : sequence of Trainer
        Each with its own net, seed, loss, optimizer and schedule; of built-in parts.
    x : array_like of shape (n, n_in)
    y : array_like of shape (n,) or (n, n_out)
        Shared by all nets, not copied for any.
    epochs : int or sequence of int, default 10
        One for all nets, or one for each; likewise ``batch_size``.
    batch_size : int, None, or sequence of them, default 128
        None: all samples of a net.
    shuffle : bool, default True
    validation : (x, y), (x, y, sample_weight) or float, optional
        As in `Trainer.fit`.
    sample_weight : array_like of shape (n,), optional
    rows : sequence of array_like of int or bool, optional
        For each net the samples that it is trained on: numbers of rows, which may occur more than
        once, or a mask.
    validation_rows : sequence of array_like of int or bool, optional
        For each net the rows of x and y that it is validated on, in place of ``validation``.
    early_stopping : EarlyStopping, optional
        Its settings, for each net by itself.
    rung : int, optional
        Call ``on_rung`` whenever all nets have done so many more epochs.
    on_rung : callable, optional
        ``on_rung(runs)`` sees all nets, and returns the numbers of those to stop, or None.
    progress : bool, default False
        Show a line of progress: nets done, the best loss so far, time left.
    n_threads : int, optional
        All that the process may use if None.

    Returns
    -------
    Runs

    Raises
    ------
    ValueError, TypeError
        Before anything is changed; also for parts that the core cannot train by itself: written in
        Python, `LBFGS`, schedules that look at the losses of epochs.
    RuntimeError
        If a net is being trained by another call.
    KeyboardInterrupt
        After Ctrl-C: nets stand between two steps.
    """
    found = _checked_trainers(trainers)
    n = len(found)
    every = None if rung is None else checks.positive_int(rung, "rung")
    if (every is None) != (on_rung is None):
        raise ValueError("rung and on_rung go together; expected both or none")
    checks.flag(shuffle, "shuffle")
    call = _Shared(x, y, sample_weight, validation, shuffle, early_stopping, every)
    runs = [
        _Run(i, trainer, call, each_epochs, each_batch, own, held)
        for i, (trainer, each_epochs, each_batch, own, held) in enumerate(
            zip(
                found,
                _for_each(epochs, n, "epochs"),
                _for_each(batch_size, n, "batch_size"),
                rows_for_each(rows, n, "rows"),
                rows_for_each(validation_rows, n, "validation_rows"),
                strict=True,
            )
        )
    ]
    line = _Line(n) if checks.flag(progress, "progress") else None
    with ExitStack() as stack:
        for trainer in found:
            stack.enter_context(trainer.hold())
        try:
            for run in runs:
                run.begin()
            _run_rungs(runs, every, on_rung, checks.threads(n_threads), line)
        except KeyboardInterrupt:
            for run in runs:
                run.mark_interrupted()
            raise
        finally:
            for run in runs:
                run.finish()
            if line is not None:
                line.close()
    return _runs_of(runs)


def _checked_trainers(trainers: Sequence[Trainer]) -> list[Trainer]:
    if isinstance(trainers, Trainer) or not isinstance(trainers, Iterable):
        raise TypeError(f"trainers is {trainers!r}; expected a sequence of Trainer")
    found = list(trainers)
    if not found:
        raise ValueError("trainers is empty; expected one or more")
    for i, trainer in enumerate(found):
        if not isinstance(trainer, Trainer):
            raise TypeError(f"trainers[{i}] is {trainer!r}; expected a Trainer")
        reason = why_not(trainer)
        if reason:
            raise ValueError(f"trainers[{i}] {reason}")
    if len({id(trainer.net) for trainer in found}) < len(found):
        raise ValueError("trainers holds the same net twice; expected different ones")
    return found


def why_not(trainer: Trainer) -> str | None:
    """Why the core can't train a net by itself, in words; None where it can."""
    if not compiled(trainer.net, trainer.loss) or not in_core(trainer.optimizer):
        return "has a net, loss or optimizer that is not built in; expected parts of the core"
    if isinstance(trainer.schedule, EpochSchedule):
        return f"has {trainer.schedule!r}, which looks at each epoch; expected one of the step"
    if trainer.augment is not None:
        return "has an augment; expected None"
    if trainer.ranks is not None:
        return "is trained by several processes together; expected comm None"
    if trainer.fitting is not None or trainer.goes_on:
        return "is in the middle of a call of fit; expected one that has ended"
    return None


def _for_each(value: Any, n: int, name: str) -> list[Any]:
    """A value for each net."""
    if value is None or np.ndim(value) == 0:
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} has {len(value)} values; expected {n}, one for each net")
    return list(value)


def rows_for_each(rows: Sequence[ArrayLike] | None, n: int, name: str) -> list[Array | None]:
    """Numbers of rows for each of n nets; None where they take all."""
    if rows is None:
        return [None] * n
    if len(rows) != n:
        raise ValueError(f"{name} has {len(rows)} arrays; expected {n}, one for each net")
    known: dict[int, Array] = {}
    for i, given in enumerate(rows):
        if id(given) not in known:
            known[id(given)] = as_row_numbers(given, f"{name}[{i}]")
    return [known[id(given)] for given in rows]


def as_row_numbers(given: ArrayLike, name: str) -> Array:
    """Numbers of rows, from numbers or a mask."""
    a = np.asarray(given)
    if a.ndim != 1 or a.dtype.kind not in "iub" or not a.size:
        raise ValueError(
            f"{name} has shape {a.shape} and dtype {a.dtype}; expected whole numbers (n,) or a mask"
        )
    numbers = np.flatnonzero(a) if a.dtype.kind == "b" else a
    return np.ascontiguousarray(numbers, dtype=np.int64)


class _Shared:
    """What all nets of a call share: the data, checked once for all nets that take them alike."""

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        validation: Validation,
        shuffle: bool,
        early_stopping: EarlyStopping | None,
        rung: int | None,
    ) -> None:
        self.x, self.y, self.sample_weight = x, y, sample_weight
        self.validation, self.shuffle, self.rung = validation, shuffle, rung
        if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
            raise TypeError(f"early_stopping is {early_stopping!r}; expected an EarlyStopping")
        self.early_stopping = early_stopping
        self._checked: dict[Any, tuple[Array | None, Data, Data | None]] = {}
        self._specs: dict[Any, _core.NetSpec] = {}

    def data_for(self, trainer: Trainer) -> tuple[Array | None, Data, Data | None]:
        """Classes, samples and validation data as this trainer's net takes them."""
        net, loss = trainer.net, trainer.loss
        preparing = net.preprocessing
        plain = not preparing.scales and preparing.feature_names is None
        key = (
            net.dtype,
            net.in_shape,
            net.out_shape,
            None if plain else id(preparing),
            None if net.classes is None else tuple(net.classes.tolist()),
            repr(losses.to_config(loss) or id(loss)),
        )
        if key not in self._checked:
            classes = samples.classes_for(net, loss, net.classes, self.y)
            trained = samples.check(net, loss, classes, self.x, self.y, self.sample_weight)
            held_out = None
            if not isinstance(self.validation, float):
                held_out = samples.check_validation(net, loss, classes, self.validation, None)
            self._checked[key] = classes, trained, held_out
        return self._checked[key]

    def spec_for(self, cores: Sequence[_core.Layer], batch_size: int, loss: Any) -> _core.NetSpec:
        """The spec that all nets of these shapes share."""
        spec = _core.NetSpec(cores, batch_size, loss.spec())
        known: _core.NetSpec = self._specs.setdefault(spec.key, spec)
        return known

    def weighted(self, trainer: Trainer, whole: Data, rows: Array | None) -> Data:
        """The samples with the weights that these rows of them get by themselves."""
        if rows is None or whole.weight is None:
            return whole
        net, loss, given = trainer.net, trainer.loss, self.sample_weight
        if given is not None:
            given = checks.as_weights(given, "sample_weight", len(whole), "float64")[rows]
        weight = samples.check_weights(
            net, loss, self.data_for(trainer)[0], whole.y[rows], given, "", False
        )
        assert weight is not None  # as of the whole
        own, unit = samples.factors(weight, net.dtype, samples.scale_of(weight))
        return _with_weights(whole, rows, own, unit)


def _with_weights(whole: Data, rows: Array, own: Array, unit: float) -> Data:
    """The samples with weights (len(rows),) at some rows."""
    weight = np.zeros(len(whole), own.dtype)
    weight[rows] = own
    return replace(whole, weight=weight, unit=unit)


def _part(data: Data, rows: Array) -> Data:
    """The samples with weights whose mean is 1 over some rows of them."""
    if data.weight is None:
        return data
    part = replace(data, weight=data.weight[rows]).relative()
    assert part.weight is not None
    return _with_weights(data, rows, part.weight, part.unit)


class _Run:
    """One net of a call."""

    def __init__(
        self,
        number: int,
        trainer: Trainer,
        shared: _Shared,
        epochs: Any,
        batch_size: Any,
        rows: Array | None,
        held_rows: Array | None,
    ) -> None:
        self.number, self.trainer, self.shared = number, trainer, shared
        self.left = checks.positive_int(epochs, "epochs")
        self.classes, whole, held_out = shared.data_for(trainer)
        for name, numbers in (("rows", rows), ("validation_rows", held_rows)):
            if numbers is not None and (numbers.min() < 0 or numbers.max() >= len(whole)):
                raise ValueError(
                    f"{name}[{number}] has {numbers.min()} to {numbers.max()}; "
                    f"expected 0 to {len(whole) - 1}"
                )
        self.data = shared.weighted(trainer, whole, rows)
        self.held: tuple[Data, Array | None] | None = None
        if held_rows is not None:
            self.held = shared.weighted(trainer, whole, held_rows), held_rows
        elif held_out is not None:
            self.held = held_out, None
        if shared.validation is not None and held_rows is not None:
            raise ValueError("validation and validation_rows are both given; expected one of them")
        if isinstance(shared.validation, float):
            own = np.arange(len(whole)) if rows is None else rows
            held = samples.held_out(len(own), shared.validation, trainer.seed)
            rows = own[~held]
            self.held = _part(self.data, own[held]), own[held]
            self.data = _part(self.data, rows)
        self.rows = rows
        self.n = len(whole) if rows is None else len(rows)
        wanted = self.n if batch_size is None else checks.positive_int(batch_size, "batch_size")
        self.batch_size = min(wanted, self.n)
        self.steps_per_epoch = -(-self.n // self.batch_size)
        self._check_stopping()
        self.history = History()
        self.job: _core.Job | None = None
        self.first_epoch = trainer.epoch
        self.stopped = self.diverged = self.interrupted = False
        self.seconds = 0.0

    def _check_stopping(self) -> None:
        early = self.shared.early_stopping
        expected = "loss" if self.held is None else "validation_loss"
        if early is not None and early.monitor not in (None, expected):
            raise ValueError(
                f"early_stopping has the monitor {early.monitor!r}; expected {expected!r} or None"
            )

    @property
    def loss(self) -> float:
        """What nets are compared by."""
        early = self.shared.early_stopping
        if self.diverged or not len(self.history):
            return float("inf")
        column = "loss" if self.held is None else "validation_loss"
        if early is not None and early.restore_best and self.job is not None:
            return float(self.job.best)
        return self.history[column][-1]

    @property
    def cost(self) -> float:
        """Operations of the epochs to come, more or less."""
        return float(self.trainer.net.n_parameters) * self.n * self.left

    # ---- around the core ----

    def begin(self) -> None:
        """Stand at the beginning of an epoch, with all that the core needs."""
        trainer, early = self.trainer, self.shared.early_stopping
        begin_epoch(trainer.cursor, trainer.epoch)
        running = trainer.running
        assert running is not None and running.core is not None  # a net of built-in layers
        values = trainer.net.get_flat()
        held = None
        if self.held is not None:
            held = (self.held[0].x, self.held[0].y, self.held[0].weight, self.held[1])
        lr, momentum = self._rates(0)
        self.job = _core.Job(
            self.shared.spec_for(running.cores, self.batch_size, trainer.loss),
            running.kind,
            trainer.optimizer.options_for(self.data.unit),
            trainer.seed,
            values,
            list(running.core.get_slots().values()),
            (self.data.x, self.data.y, self.data.weight, self.rows),
            held,
            1,
            self.shared.shuffle,
            lr,
            momentum,
            trainer.cursor,
            running.step_count,
            0 if early is None else early.patience,
            0.0 if early is None else early.min_delta,
            values.copy() if early is not None and early.restore_best else None,
            self.shared.rung is not None or self.is_scheduled,
        )
        self._names = list(running.core.get_slots())

    def _rates(self, epochs: int) -> tuple[Rate, Array | None]:
        n = max(epochs, 1) * self.steps_per_epoch
        return self.trainer.rates(n), self.trainer.momenta(n)

    @property
    def is_scheduled(self) -> bool:
        return self.trainer.schedule is not None or self.trainer.momenta(1) is not None

    def prepare(self, epochs: int) -> _core.Job:
        """The job of the next epochs."""
        self.asked = min(epochs, self.left)
        self.lr, momentum = self._rates(self.asked)
        assert self.job is not None
        self.job.go_on(self.asked, self.lr, momentum)
        return self.job

    def collect(self) -> None:
        """Take note of what the core has done."""
        job, trainer = self.job, self.trainer
        assert job is not None
        if job.status in ("failed", "paused"):
            return
        n = job.n_epochs
        first = trainer.cursor.epoch
        job.move(trainer.cursor)
        self.left -= n
        self.seconds += job.seconds
        columns: dict[str, list[float]] = {"epoch": [*range(first + 1, first + n + 1)]}
        columns["loss"] = job.losses[:n].tolist()
        if job.scores is not None:
            columns["validation_loss"] = job.scores[:n].tolist()
        lr = self.lr
        each = slice(self.steps_per_epoch - 1, None, self.steps_per_epoch)
        columns["lr"] = [lr] * n if isinstance(lr, float) else lr[each][:n].tolist()
        columns["seconds"] = [job.seconds / max(n, 1)] * n
        if n:
            self.history.extend(columns)
        self.diverged = job.status == "diverged"
        self.interrupted = job.status == "stopped"
        early = self.shared.early_stopping
        self.stopped = self.stopped or (early is not None and job.waited >= early.patience)

    @property
    def goes_on(self) -> bool:
        return self.left > 0 and not (self.stopped or self.diverged or self.interrupted)

    def mark_interrupted(self) -> None:
        """Ctrl-C came before it was done."""
        if self.goes_on or self.interrupted:
            self.history.mark_interrupted()

    def show(self) -> None:
        """Give the trainer all that it has after a call of ``fit``."""
        job, trainer = self.job, self.trainer
        if job is None:  # it was not begun
            return
        trainer.net.set_flat(job.values)
        running = trainer.running
        assert running is not None and running.core is not None
        running.core.set_slots(dict(zip(self._names, job.slots, strict=True)))
        running.step_count = job.steps
        trainer.take_classes(self.classes, names_of(self.shared.x))
        call = Call(
            self.first_epoch, self.batch_size, self.n, self.shared.shuffle, self.stopped,
            finished=True,
        )  # fmt: skip
        trainer.place(trainer.cursor, self.history, call)

    def finish(self) -> None:
        """Leave the best weights where they are wanted, and begin anew after divergence."""
        self.show()
        job, trainer = self.job, self.trainer
        if job is None:
            return
        if job.best_values is not None and not np.isnan(job.best):
            trainer.net.set_flat(job.best_values)
        if self.diverged and trainer.running is not None:
            trainer.cursor.step_count -= trainer.cursor.step_in_epoch
            begin_epoch(trainer.cursor, trainer.cursor.epoch)
            trainer.running.reset()


def _run_rungs(
    runs: list[_Run],
    every: int | None,
    on_rung: Callable[[Runs], Iterable[int] | None] | None,
    n_threads: int | None,
    line: _Line | None,
) -> None:
    """All epochs, in as many calls of the core as rungs and the memory for rates ask for."""
    until = every  # epochs to the next rung
    while going := [run for run in runs if run.goes_on]:
        longest = max(run.left for run in going)
        steps = sum(run.steps_per_epoch for run in going if run.is_scheduled)
        at_once = min(longest, max(1, _MOST_RATES // steps) if steps else longest)
        if until is not None:
            at_once = min(at_once, until)
        going.sort(key=lambda run: -run.cost)
        told = None if line is None else line.teller(going, len(runs))
        try:
            _core.fit_many([run.prepare(at_once) for run in going], n_threads, told)
        finally:
            for run in going:
                run.collect()
        if until is None or every is None or on_rung is None:
            continue
        until -= at_once
        if until == 0:
            until = every
            for run in going:
                run.show()
            _stop_some(runs, on_rung(_runs_of(runs)))


def _stop_some(runs: list[_Run], numbers: Iterable[int] | None) -> None:
    for number in () if numbers is None else numbers:
        if not 0 <= number < len(runs):
            raise ValueError(f"on_rung returned {number}; expected 0 to {len(runs) - 1}")
        runs[number].stopped = True


def _runs_of(runs: list[_Run]) -> Runs:
    return Runs(
        [run.trainer for run in runs], [run.loss for run in runs], [run.seconds for run in runs]
    )


class _Line:
    """A line of progress, drawn while the core works."""

    def __init__(self, n: int) -> None:
        self._line, self._started = make_line(sys.stderr, True), time.perf_counter()
        self._best = float("nan")

    def teller(self, going: list[_Run], n: int) -> Callable[[int, float], None]:
        """What the core tells of the nets that are done."""
        finished = n - len(going)
        weights = [run.left for run in going]
        total = sum(weights)

        def told(done: int, best: float) -> None:
            share = sum(weights[:done]) / total
            seconds = time.perf_counter() - self._started
            left = seconds * (1 - share) / share if share else float("inf")
            self._best = best if np.isnan(self._best) else np.nanmin([best, self._best])
            self._line.show(share, f"{finished + done}/{n} nets  best {self._best:.4g}", left)

        return told

    def close(self) -> None:
        self._line.close()
