"""`Session`: a training that is led step by step, or goes on by itself while it is watched."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import nan
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import ArrayLike

from .. import _core, checks
from ..attributes import Declared
from ..checks import Array
from ..data import Source
from ..layers import Layer
from ..layers.base import own_parameters
from ..layers.shapes import shaped
from ..optimizers import LBFGS
from ..preprocessing import names_of
from ..schedules import EpochSchedule
from .changes import set_running, with_number, with_settings
from .data import Data, Validation
from .fit import Fit
from .history import History
from .pace import Goal, Turn, Until
from .parts import check_loss, check_optimizer, check_pair
from .snapshot import Probe, Snapshot, State
from .state import check_monitor
from .stream import Samples, Stream, samples_for
from .trainer import Trainer

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Session"]

_ENDLESS = 1 << 62  # epochs: a session has no last one


class Session(Declared):
    """A training that is led step by step, or goes on in a thread of its own while it is watched.

    It makes the same steps as `Trainer.fit` with the same arguments, to the last bit, however they
    are cut into portions.  In between the weights can be looked at, settings and single weights
    changed, and any step gone back to: for notebooks, live pictures, robots and games.

    Parameters
    ----------
    trainer : Trainer
        Net, loss, optimizer, schedule, seed and threads.  Not with `LBFGS`, which has no steps.
    x, y : array_like, or a Source and None
        What is trained on, as in `Trainer.fit`.
    batch_size : int or None, default 128
    shuffle : bool, default True
    validation : (x, y), (x, y, sample_weight) or float, optional
    sample_weight : array_like of shape (n,), optional
        As in `Trainer.fit`.

    Attributes
    ----------
    trainer : Trainer

    Raises
    ------
    ValueError, TypeError
        For data or settings that make no sense.
    RuntimeError
        If the net is being trained, by another session too; nothing is changed.

    Notes
    -----
    Until it is closed the net is its own: nobody else can train it.  All methods may be called by
    any thread.  What looks at the training, or changes it, waits for the step under way.

    A layer or loss written in Python has to keep all that matters in its parameters: nothing else
    is in a snapshot.

    Examples
    --------
    >>> x, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> net = Sequential(Dense(2, 8, activation="tanh"), Dense(8, 2), seed=0)
    >>> trainer = Trainer(net, SoftmaxCrossEntropy(), Adam(lr=0.05))
    >>> with Session(trainer, x, y, batch_size=4) as session:
    ...     session.advance(5)
    ...     before = session.snapshot()
    ...     session.start(until=0.01)
    ...     finished = session.wait()
    ...     session.restore(before)
    ...     session.step
    5
    """

    trainer: Trainer

    def __init__(
        self,
        trainer: Trainer,
        x: ArrayLike | Source,
        y: ArrayLike | None = None,
        *,
        batch_size: int | None = 128,
        shuffle: bool = True,
        validation: Validation = None,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        if not isinstance(trainer, Trainer):
            raise TypeError(f"trainer is {trainer!r}; expected a Trainer")
        _check_steps(trainer.optimizer)
        if trainer.ranks is not None:
            raise TypeError("the trainer has a comm; expected None: steps are for one process")
        self._shuffle = checks.flag(shuffle, "shuffle")
        self._given = x, y, sample_weight, validation
        self._names = names_of(x)
        with ExitStack() as stack:
            self._hold = stack.enter_context(trainer.hold())
            trained, held_out, classes = self._samples(trainer, trainer.loss)
            if batch_size is None and isinstance(trained, Stream):
                raise TypeError("batch_size is None; expected a number, as x is a source")
            size = (
                len(trained)
                if batch_size is None
                else checks.positive_int(batch_size, "batch_size")
            )
            check_monitor(trainer.schedule, held_out)
            trainer.take_classes(classes, self._names)
            trainer.forget_plans()
            self.trainer = trainer
            self._turn = Turn()
            self._pause = _core.Pause()
            self._idle = threading.Event()
            self._idle.set()
            self._guard = threading.Lock()
            self._stopping = False
            self._error: BaseException | None = None
            self._worker: int | None = None  # the thread that trains
            self._begin(trained, held_out, size, History())
            self._probe = Probe(trainer)
            self._hold.rest()
            stack.callback(_end_call, trainer)
            # also where it is forgotten without having been closed
            self._release = weakref.finalize(self, stack.pop_all().close)

    def _samples(self, trainer: Trainer, loss: Any) -> tuple[Samples, Data | None, Array | None]:
        """What was given, checked for a loss."""
        net, (x, y, sample_weight, validation) = trainer.net, self._given
        return samples_for(
            net, loss, net.classes, x, y, sample_weight, validation, trainer.seed, trainer.augment
        )

    def _begin(
        self, trained: Samples, held_out: Data | None, batch_size: int, history: History
    ) -> None:
        """Train from the beginning of the epoch on, as a call of ``fit`` does."""
        trainer, x = self.trainer, self._given[0]
        fit = self._fit = Fit(
            trainer, trained, held_out, _ENDLESS, batch_size, self._shuffle, (),
            source=x if isinstance(x, Source) else None,
        )  # fmt: skip
        trainer.begin_call(fit, history, rests=True)
        fit.take_place()

    # ---- training ----

    def advance(self, steps: int) -> None:
        """Make some steps, in this thread.

        Parameters
        ----------
        steps : int
            Minibatches.

        Raises
        ------
        DivergenceError
            If the loss becomes NaN or infinite; the weights are those the epoch began with.
        RuntimeError
            If the session trains already, or is closed.
        """
        goal = Goal(checks.positive_int(steps, "steps"), None, None)
        self._claim()
        try:
            self._train(goal)
        finally:
            self._idle.set()

    def start(
        self, steps: int | None = None, epochs: int | None = None, until: Until = None
    ) -> None:
        """Train in a thread of its own, until `pause` or the first of these.

        Parameters
        ----------
        steps : int, optional
            Minibatches to come.
        epochs : int, optional
            Ends of epochs to come.
        until : float or callable, optional
            A loss: that of the validation data, or without such data of the epoch, is to fall to
            it.  Or ``until(snapshot)``, which ends the training by returning True; called in the
            training's thread.  Looked at after each epoch.

        Raises
        ------
        RuntimeError
            If the session trains already, or is closed.
        """
        goal = Goal(
            None if steps is None else checks.positive_int(steps, "steps"),
            None if epochs is None else checks.positive_int(epochs, "epochs"),
            until if until is None or callable(until) else checks.number(until, "until"),
        )
        self._claim()
        atexit.register(self.pause)  # no thread may be left in compiled code as Python ends
        thread = threading.Thread(target=self._work, args=(goal,), name="cmlp.Session", daemon=True)
        try:
            thread.start()
        except BaseException:
            self._finish()
            raise

    def pause(self) -> None:
        """Stop after the step under way; returns when it is done, nothing if there is none."""
        self._stopping = True
        if self._worker == threading.get_ident():
            return
        with self._pause:
            self._idle.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of a training that was started.

        Parameters
        ----------
        timeout : float, optional
            Most seconds.

        Returns
        -------
        bool
            Whether it has ended.

        Raises
        ------
        DivergenceError, or whatever has ended it
            See `error`.
        """
        if self._worker == threading.get_ident():
            raise RuntimeError("wait is called by the training's own thread; it would never end")
        limit = None if timeout is None else checks.number(timeout, "timeout", 0.0)
        ended = self._idle.wait(limit)
        if ended and self._error is not None:
            raise self._error
        return ended

    def close(self) -> None:
        """End the training and let go of the net; a session that is closed does nothing more."""
        self.pause()
        if self._worker == threading.get_ident():
            raise RuntimeError("close is called by the training's own thread; expected pause")
        with self._turn:
            self._release()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- looking ----

    @property
    def running(self) -> bool:
        """Whether it trains now, by `start` or `advance`."""
        return not self._idle.is_set()

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return not self._release.alive

    @property
    def error(self) -> BaseException | None:
        """What ended the last training that was started, where that was an error."""
        return self._error

    @property
    def step(self) -> int:
        """Steps with this net so far."""
        with self._between_steps():
            return self.trainer.step_count

    @property
    def epoch(self) -> int:
        """Whole epochs with this net so far."""
        with self._between_steps():
            return self.trainer.epoch

    @property
    def history(self) -> History:
        """What happened in each epoch of this session; a copy."""
        with self._between_steps():
            history = self.trainer.history
            return history.head(len(history))

    @property
    def batch_size(self) -> int:
        """Samples in a minibatch."""
        return self._fit.batch_size

    def snapshot(
        self, inputs: ArrayLike | None = None, targets: ArrayLike | None = None
    ) -> Snapshot:
        """The training as it stands between two steps, while it goes on.

        It waits for the step under way, and only as long as it takes to copy the weights and the
        optimizer's state.  What is computed from them is computed in this thread.

        Parameters
        ----------
        inputs : array_like of shape (batch, n_in), optional
            Samples for which the outputs of every layer are wanted.
        targets : array_like, optional
            What is expected for them, as in `Trainer.fit`: for gradients.

        Returns
        -------
        Snapshot
        """
        if targets is not None and inputs is None:
            raise ValueError("inputs is None; expected samples for the targets")
        rows = None if inputs is None else self._probe.rows(inputs)
        with self._between_steps():
            probe, size, row = self._probe, len(self._fit.data), self.trainer.history.last()
            state = State.of(self.trainer, self, self._fit.batch_size)
        weights, cursor = state.weights, state.cursor
        n = min(cursor.step_in_epoch * state.batch_size, size)
        prefix = "validation_"
        validation = {k[len(prefix) :]: v for k, v in row.items() if k.startswith(prefix)}
        return Snapshot(
            cursor.step_count,
            cursor.epoch,
            cursor.loss_sum / n if n else row.get("loss", nan),
            validation,
            probe.parameters(weights),
            None if rows is None else shaped(rows, self.trainer.net.in_shape),
            None if rows is None else probe.activations(weights, rows),
            None if inputs is None or targets is None else probe.backward(weights, inputs, targets),
            state,
            probe,
        )

    # ---- changing ----

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot: weights, settings, the optimizer's state, the place in the epoch.

        Training goes on from there as it did then, to the last bit.

        Parameters
        ----------
        snapshot : Snapshot
            Of this session.
        """
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"snapshot is {snapshot!r}; expected a Snapshot")
        state = snapshot.state
        if state.owner is not self:
            raise ValueError("snapshot is of another session; expected one of this")
        if state.slots is None:
            raise ValueError(
                f"{state.optimizer!r} is no optimizer of cmlp; expected one, whose state is known"
            )
        with self._between_steps():
            trainer = self.trainer
            if state.loss is not trainer.loss:
                self._change_loss(state.loss, state.batch_size)
            elif state.batch_size != self._fit.batch_size:
                self._resize(state.batch_size)
            if state.optimizer is not trainer.optimizer:
                trainer.optimizer = state.optimizer
            if state.lr is not None:
                trainer.optimizer.lr = state.lr
            trainer.net.set_flat(state.weights)
            set_running(trainer, state.slots, state.optimizer_steps)
            same = state.history is trainer.history and len(trainer.history) == state.n_rows
            history = trainer.history if same else state.history.head(state.n_rows)
            trainer.place(state.cursor, history, None)
            if isinstance(trainer.schedule, EpochSchedule) and state.schedule is not None:
                trainer.schedule.set_state(state.schedule)

    def set(
        self,
        *,
        learning_rate: float | None = None,
        momentum: float | None = None,
        decay: float | None = None,
        l1: float | None = None,
        batch_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
    ) -> None:
        """Change settings, from the next step on.

        Either all are changed, or, where one makes no sense, none.

        Parameters
        ----------
        learning_rate : float, optional
            The optimizer's ``lr``, on which a schedule is based.
        momentum, decay, l1 : float, optional
            Its ``momentum``, ``weight_decay`` and ``l1``.  What it knows of the gradients so far is
            kept.
        batch_size : int, optional
            The epoch under way begins anew.
        optimizer : Optimizer, its name, or object with step, optional
            Knows of no gradients yet.
        loss : Loss, its name, or object with forward and backward, optional
            The epoch under way begins anew.
        """
        given = {"momentum": momentum, "weight_decay": decay, "l1": l1}
        changes = {name: value for name, value in given.items() if value is not None}
        rate = None if learning_rate is None else checks.number(learning_rate, "learning_rate", 0.0)
        with self._between_steps():
            trainer, before = self.trainer, self.trainer.optimizer
            chosen = before if optimizer is None else check_optimizer(optimizer)
            _check_steps(chosen)
            if changes:
                chosen = with_settings(chosen, changes)
            if rate is not None and not hasattr(chosen, "lr"):
                raise ValueError(f"learning_rate is {rate}; {chosen!r} has none")
            size = (
                self._fit.batch_size
                if batch_size is None
                else checks.positive_int(batch_size, "batch_size")
            )
            if loss is not None:
                self._change_loss(loss, size)
            elif batch_size is not None:
                self._resize(size)
            if rate is not None:
                chosen.lr = rate
            if chosen is not before:
                running = trainer.running
                trainer.optimizer = chosen
                if optimizer is None and running is not None:
                    set_running(trainer, running.get_slots(), running.step_count)

    def _resize(self, batch_size: int) -> None:
        """Train with minibatches of another size."""
        self._begin(self._fit.data, self._fit.held_out, batch_size, self.trainer.history)

    def _change_loss(self, loss: Any, batch_size: int) -> None:
        """Train by another loss, for which the data are checked again."""
        trainer = self.trainer
        loss = check_loss(loss)
        check_pair(trainer.net, loss)
        trained, held_out, classes = self._samples(trainer, loss)
        history = trainer.history
        _end_call(trainer)
        trainer.loss = loss
        trainer.take_classes(classes, self._names)
        self._begin(trained, held_out, batch_size, history)
        self._probe = Probe(trainer)

    def edit(self, layer: int, part: str, index: int | tuple[int, ...], value: float) -> None:
        """Change one parameter, from the next step on.

        Parameters
        ----------
        layer : int
            Its place in ``net.layers``.
        part : str
            "weight", "bias", or another name of its ``parameters()``.
        index : int or tuple of int
            The place in that array.
        value : float
        """
        layers = self.trainer.net.layers
        place = checks.positive_int(layer, "layer", 0)
        if place >= len(layers):
            raise ValueError(f"layer is {place}; expected 0 to {len(layers) - 1}")
        number = checks.number(value, "value")
        with self._between_steps():
            found = layers[place]
            built_in = isinstance(found, Layer)
            values = found.parameters() if built_in else own_parameters(found)
            if part not in values:
                known = ", ".join(values) or "nothing, as it has no parameters"
                raise ValueError(f"part is {part!r}; expected {known}")
            changed = with_number(values[part], index, number)
            if built_in:
                found.built().set(part, changed)
            else:
                values[part][...] = changed

    def save_checkpoint(self, path: str | PathLike[str]) -> None:
        """Save the training as it stands; see `Trainer.save_checkpoint`."""
        with self._between_steps(), self.trainer.in_this_thread():
            self.trainer.save_checkpoint(path)

    # ---- threads ----

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("the session is closed; make a new one")

    @contextmanager
    def _between_steps(self) -> Iterator[None]:
        """Keep the training between two steps while a ``with`` statement runs."""
        if self._turn.owner == threading.get_ident():
            raise RuntimeError("the session is in the middle of a step; expected it between two")
        with self._pause, self._turn:
            self._check_open()
            yield

    def _claim(self) -> None:
        """Be the one that trains."""
        with self._guard:
            self._check_open()
            if not self._idle.is_set():
                raise RuntimeError("the session trains already; pause it first")
            self._stopping, self._error = False, None
            self._idle.clear()

    def _work(self, goal: Goal) -> None:
        """What its own thread does."""
        try:
            self._train(goal)
        except BaseException as error:
            self._error = error
        finally:
            self._finish()

    def _finish(self) -> None:
        atexit.unregister(self.pause)
        self._idle.set()

    def _train(self, goal: Goal) -> None:
        """Train until the goal is reached or `pause` is called."""
        self._worker = threading.get_ident()
        try:
            with self.trainer.in_this_thread():
                while not self._stopping and not self._portion(goal):
                    pass
        finally:
            self._worker = None

    def _portion(self, goal: Goal) -> bool:
        """Train for a while; whether the goal is reached."""
        with self._turn:
            epochs = self._stretch(goal)
            reached = goal.is_reached(self.trainer.history)
        if epochs and callable(goal.until):
            return bool(goal.until(self.snapshot())) or reached
        return reached

    def _stretch(self, goal: Goal) -> int:
        """Train until somebody waits for a turn, or there is something to be seen to.

        The number of epochs that have ended.
        """
        trainer, fit = self.trainer, self._fit
        epoch, step = trainer.epoch, trainer.step_count
        self._hold.take()
        try:
            fit.advance(goal.most(trainer.cursor.step_in_epoch, fit.steps_per_epoch), self._pause)
        except KeyboardInterrupt:
            fit.note_interruption()
            raise
        finally:
            self._hold.rest()
        goal.count(trainer.step_count - step, trainer.epoch - epoch)
        return trainer.epoch - epoch


def _end_call(trainer: Trainer) -> None:
    """Be in no call any more, as where ``fit`` was cut short."""
    call = trainer.call
    if call is not None:
        if trainer.fitting is not None and isinstance(trainer.fitting.data, Stream):
            trainer.fitting.data.close()
        trainer.end_call(call)


def _check_steps(optimizer: Any) -> None:
    if isinstance(optimizer, LBFGS):
        raise TypeError("the optimizer is LBFGS, which has no single steps; use Trainer.fit")
