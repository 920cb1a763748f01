"""`Trainer`: a net, a loss and an optimizer, and the loop that joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks, losses
from ..checks import Array
from ..errors import DivergenceError
from ..layers import Layer
from ..losses import Loss
from ..network import Sequential
from ..optimizers import LBFGS, SGD, Optimizer
from ..preprocessing import names_of
from ..schedules import ScheduleLike, as_schedule
from .callbacks import ProgressBar
from .fit import Fit
from .history import History
from .loops import CompiledLoop, Cursor, Data, Gradients, Loop, make_loop, pair

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Trainer"]

_CLASSIFIES = (losses.SoftmaxCrossEntropy, losses.BinaryCrossEntropy)
_MOST_LOOPS = 4

Validation = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike] | None


class Trainer:
    """Trains a net.

    Parameters
    ----------
    net : Sequential
    loss : Loss, or object with forward and backward
    optimizer : Optimizer, LBFGS, or object with step, optional
        ``SGD(lr=0.1)`` if None.
    schedule : Schedule or function of the step, optional
        The learning rate of each iteration (`cmlp.schedules`); the optimizer's if None.
    n_threads : int, optional
        Most threads; all that the process may use if None.  The numbers are the same for any.
    seed : int, optional
        Of the order of samples and of dropout; the net's if None.

    Attributes
    ----------
    history : History
        Of the last call of ``fit``.
    fitting : Fit or None
        The call of ``fit`` under way, for callbacks.

    Notes
    -----
    Where net, loss and optimizer are built in, whole epochs run in compiled code.  A part written
    in Python is worked through step by step, with the same samples in the same order.
    """

    def __init__(
        self,
        net: Sequential,
        loss: Any,
        optimizer: Any = None,
        schedule: ScheduleLike = None,
        n_threads: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.net, self.loss = net, loss
        self.optimizer: Any = SGD() if optimizer is None else optimizer
        _check_parts(net, loss, self.optimizer)
        self.schedule = as_schedule(schedule)
        self.n_threads = checks.threads(n_threads)
        self.seed = net.seed if seed is None else checks.seed(seed)
        self.history = History()
        self.fitting: Fit | None = None
        self._cursor, self._steps = Cursor(), 0
        self._loops: dict[int, Loop] = {}
        self._evaluator: Gradients | None = None
        self._resume: dict[str, Any] | None = None
        self._interrupted: dict[str, Any] | None = None
        self._fast: Any = None
        if isinstance(loss, Loss) and loss.link is not None:
            net.link = loss.link

    # ---- training ----

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        epochs: int = 10,
        batch_size: int | None = 128,
        shuffle: bool = True,
        validation: Validation = None,
        sample_weight: ArrayLike | None = None,
        callbacks: Iterable[Any] = (),
        progress: bool = False,
        resume: str | PathLike[str] | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
            Not copied if it is a C-contiguous array of the net's dtype.
        y : array_like of shape (n,) or (n, n_out)
            Labels or numbers, as the loss wants them.  Strings and booleans become the net's
            ``classes``.
        epochs : int, default 10
        batch_size : int, default 128
            Samples in a minibatch; the last of an epoch may be smaller.  None: all of them.
        shuffle : bool, default True
            Take the samples in a new order in each epoch; a function of seed and epoch.
        validation : (x, y) or (x, y, sample_weight), optional
            Data on which loss and metrics are computed after each epoch.
        sample_weight : array_like of shape (n,), optional
            The loss of a minibatch is the mean weighted by them.
        callbacks : iterable of Callback
        progress : bool, default False
            Show a line of progress.
        resume : path, optional
            A checkpoint of an earlier call with the same data, ``batch_size`` and ``shuffle``;
            goes on where it was, mid-epoch included, and ``epochs`` counts from that call's start.

        Returns
        -------
        History
            Also kept as ``history``.

        Raises
        ------
        ValueError, TypeError
            Before anything is changed, for data or settings that make no sense.
        DivergenceError
            If the loss becomes NaN or infinite; the weights are those of the last good epoch.
        """
        epochs = checks.positive_int(epochs, "epochs")
        checks.flag(shuffle, "shuffle")
        data = self._training_data(x, y, sample_weight)
        size = len(data) if batch_size is None else checks.positive_int(batch_size, "batch_size")
        held_out = self._validation_data(validation)
        observers = list(callbacks)
        if checks.flag(progress, "progress"):
            observers.append(ProgressBar(force=True))
        if held_out is None and getattr(self.schedule, "monitor", None) == "validation_loss":
            raise ValueError(f"validation is None; expected data, {self.schedule!r} needs it")
        if isinstance(self.optimizer, LBFGS):
            from .lbfgs import fit_lbfgs

            return fit_lbfgs(self, data, held_out, epochs, size, observers)
        if resume is not None:
            self._load(resume)
        loop = self._loop_for(min(size, len(data)))
        saved = self._take_resume(len(data), loop.batch_size, shuffle)
        loop.cursor = self._cursor if saved else Cursor(self._cursor.epoch)
        fit = Fit(self, loop, data, held_out, epochs, shuffle, observers)
        if saved:
            fit.go_on(saved)
        else:
            self.history = History()
        self._run(fit)
        return self.history

    def _run(self, fit: Fit, work: Callable[[], None] | None = None) -> None:
        self.fitting, self._interrupted = fit, None
        try:
            fit.run(work)
        except KeyboardInterrupt:  # also within the callbacks of the beginning and the end
            self.history.interrupted = True
            self._interrupted = fit.settings()
            raise
        finally:
            self._cursor, self._steps = fit.loop.cursor, fit.step_count()
            self.fitting = None

    def train_step(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Train on one minibatch.

        Parameters
        ----------
        x : array_like of shape (batch, n_in)
        y : array_like of shape (batch,) or (batch, n_out)
        sample_weight : array_like of shape (batch,), optional

        Returns
        -------
        float
            The mean loss before the update.

        Raises
        ------
        DivergenceError
            If that loss is NaN or infinite; the weights are not changed.
        """
        if self._fast is not None and self.net.classes is None and not self._scales():
            try:
                loss: float = self._fast(
                    x, y, sample_weight, self.optimizer.lr, self.loss.target_range
                )
            except (TypeError, ValueError):
                pass  # not arrays as the core wants them: convert, or say what is wrong
            else:
                return self._counted(loss)
        return self._train_step(self._training_data(x, y, sample_weight))

    def _train_step(self, data: Data) -> float:
        if isinstance(self.optimizer, LBFGS):
            raise TypeError("the optimizer is LBFGS, which has no single steps; use fit")
        loop = self._loop_for(len(data))
        loop.step_number = self.step_count
        optimizer = self.optimizer
        momentum = (
            optimizer.momentum_values(self.step_count, 1)
            if isinstance(optimizer, Optimizer)
            else None
        )
        rate = self._rates(self.step_count, 1)
        rate = rate if isinstance(rate, float) else float(rate[0])
        loss = loop.step(data, rate, None if momentum is None else float(momentum[0]))
        if isinstance(loop, CompiledLoop) and self._nothing_to_prepare(data):
            self._fast = loop.plan.check_and_step
        return self._counted(loss)

    def _nothing_to_prepare(self, data: Data) -> bool:
        """Tell whether the core's own checks are enough for minibatches such as this one."""
        return (
            self.schedule is None
            and isinstance(self.optimizer.momentum, float)
            and self.loss.class_weight is None
            and (self.loss.target_range is not None or data.y.ndim == 1)
        )

    def _scales(self) -> bool:
        return self.net.preprocessing.scales

    def _counted(self, loss: float) -> float:
        """Count a step that has been made; one with a loss that is no number has not."""
        if not isfinite(loss):
            raise DivergenceError(
                f"the loss of the minibatch is {loss}; the weights are as before it"
            )
        self._steps += 1
        return loss

    def _loop_for(self, batch_size: int) -> Loop:
        """The loop for minibatches of this size; a few are kept.

        The order of sums in a minibatch depends on the size that a loop is made for, so it is
        never used for smaller ones but at the end of an epoch.
        """
        loop = self._loops.pop(batch_size, None)
        if loop is None:
            self._fast = None
            loop = self._new_loop(batch_size)
            if len(self._loops) >= _MOST_LOOPS:
                del self._loops[next(iter(self._loops))]
        self._loops[batch_size] = loop
        return loop

    @contextmanager
    def on_threads(self, n_threads: int) -> Iterator[None]:
        """Use another number of threads for a while."""
        before, self.n_threads = self.n_threads, n_threads
        self._forget_plans()
        try:
            yield
        finally:
            self.n_threads = before
            self._forget_plans()

    def _forget_plans(self) -> None:
        """Make plans anew at their next use: with another seed or number of threads."""
        self._loops.clear()
        self._evaluator, self._fast = None, None

    def _new_loop(self, batch_size: int) -> Loop:
        return make_loop(self.net, self.loss, self.optimizer, batch_size, self.n_threads, self.seed)

    def _rates(self, first_step: int, n: int) -> float | Array:
        """Learning rates of the iterations to come."""
        lr = float(getattr(self.optimizer, "lr", float("nan")))
        if self.schedule is None:
            return lr
        rates = np.ascontiguousarray(self.schedule.values(first_step, n, lr), dtype=np.float64)
        if rates.shape != (n,) or not np.isfinite(rates).all() or rates.min(initial=0.0) < 0.0:
            raise ValueError(f"{self.schedule!r} gave {rates}; expected {n} numbers >= 0")
        return rates

    @property
    def epoch(self) -> int:
        """Epochs done so far, over all calls of ``fit``."""
        return self._now().epoch

    def _now(self) -> Cursor:
        """Where training stands."""
        return self._cursor if self.fitting is None else self.fitting.loop.cursor

    @property
    def step_count(self) -> int:
        """Iterations so far, over all calls of ``fit`` and ``train_step``."""
        return self._steps if self.fitting is None else self.fitting.step_count()

    # ---- evaluation ----

    def evaluate(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Loss and metrics of the net on some data.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
        y : array_like of shape (n,) or (n, n_out)
            As in ``fit``; labels may be the net's ``classes``.
        sample_weight : array_like of shape (n,), optional
            For the loss; the metrics are not weighted.

        Returns
        -------
        dict
            "loss" and the metrics of the loss: "accuracy" for labels, "mean_squared_error" and
            "mean_absolute_error" for numbers.
        """
        return self._scores(self._data(x, y, sample_weight))

    def _scores(self, data: Data) -> dict[str, float]:
        y = self._outputs(data.x)
        if isinstance(self.loss, Loss):
            loss = _core.loss_value(self.loss.name, self.loss.param, y, data.y, data.weight)
        else:
            loss = self.loss.forward(y, data.y, data.weight)
        values = self.net.preprocessing.values
        metrics = (
            self.loss.metrics(values(y), values(data.y)) if hasattr(self.loss, "metrics") else {}
        )
        return {"loss": float(loss), **{k: float(v) for k, v in metrics.items()}}

    def _outputs(self, x: Array) -> Array:
        """What the loss takes: outputs, or logits where the net ends with the loss's activation."""
        if self._evaluator is None:
            self._evaluator = self._gradients(1)
        return self._evaluator.outputs(x)

    # ---- diagnostics ----

    def weighted_layers(self) -> Iterator[tuple[int, Any]]:
        """(position, layer) of the layers that have parameters."""
        for i, layer in enumerate(self.net.layers):
            n = layer.n_parameters if isinstance(layer, Layer) else hasattr(layer, "parameters")
            if n:
                yield i, layer

    def first_samples(self, n: int) -> tuple[Array, Array]:
        """The first samples of the data being trained on, and their targets, standardised."""
        data = self._first_data(n)
        return data.x, data.y

    def _first_data(self, n: int) -> Data:
        if self.fitting is None:
            raise RuntimeError("no call of fit is under way; expected to be asked by a callback")
        return self.fitting.data.slice(0, n)

    def gradient_norms(
        self, x: ArrayLike | None = None, y: ArrayLike | None = None, n: int = 256
    ) -> tuple[list[float], list[float]]:
        """Sizes of delta = dE/du and of dE/dW in each layer with parameters; nothing is changed.

        Parameters
        ----------
        x : array_like of shape (batch, n_in), optional
        y : array_like of shape (batch,) or (batch, n_out), optional
            The first ``n`` samples that are being trained on, if None.
        n : int, default 256

        Returns
        -------
        deltas, weights : list of float
            Euclidean norms, from the first layer to the last; NaN for the delta of a layer
            written in Python.
        """
        data = self._first_data(n) if x is None or y is None else self._data(x, y, None)
        gradients = self._gradients(len(data))
        gradients.compute(data)
        deltas = gradients.deltas()
        found = list(self.weighted_layers())
        weights = [_norm(next(iter(layer.gradients().values()))) for _, layer in found]
        return [deltas[i] for i, _ in found], weights

    def _gradients(self, batch_size: int) -> Gradients:
        return Gradients(self.net, self.loss, batch_size, self.n_threads, self.seed)

    # ---- data ----

    def _training_data(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Data:
        """Checked samples to train on; they may settle the net's classes."""
        classes = self.net.classes
        if classes is None and isinstance(self.loss, _CLASSIFIES):
            classes = checks.find_classes(y, "y")
            _check_class_count(classes, self.net.n_out, self.loss)
        data = self._data(x, y, sample_weight, classes)
        self.net.classes = classes
        self.net.preprocessing = self.net.preprocessing.named(names_of(x))
        return data

    def _validation_data(self, validation: Validation) -> Data | None:
        if validation is None:
            return None
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise TypeError(
                f"validation is {type(validation).__name__}; expected (x, y) or "
                "(x, y, sample_weight)"
            )
        weight = validation[2] if len(validation) == 3 else None
        return self._data(validation[0], validation[1], weight, prefix="validation ")

    def _data(
        self,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        classes: Array | None = None,
        prefix: str = "",
    ) -> Data:
        net = self.net
        classes = net.classes if classes is None else classes
        rows = net.preprocessing.rows(x, prefix + "x", net.dtype, net.n_in)
        weight = None
        if sample_weight is not None:
            name = prefix + "sample_weight"
            weight = checks.as_weights(sample_weight, name, len(rows), net.dtype)
        if net.preprocessing.targets is not None:
            _check_regression(self.loss)
            y = net.preprocessing.standardised(y, prefix + "y")
        if isinstance(self.loss, Loss):
            n_out = self._n_out()
            target = self.loss.targets(y, n_out, net.dtype, classes, prefix + "y")
        else:
            target = _plain_targets(y, prefix + "y", net.dtype)
        if len(target) != len(rows):
            raise ValueError(
                f"{prefix}y has {len(target)} rows; expected {len(rows)}, as {prefix}x has"
            )
        if isinstance(self.loss, Loss):
            weight = self.loss.weights(target, weight, net.dtype, classes)
        return Data(rows, target, weight)

    def _n_out(self) -> int:
        if self.net.n_out is None:
            raise ValueError("the width of the net's output is not known; expected n_out(n_in)")
        return self.net.n_out

    # ---- checkpoints ----

    def save_checkpoint(self, path: str | PathLike[str]) -> None:
        """Save net, optimizer, schedule, history and the place in the epoch, to go on exactly.

        The file is replaced whole or not at all.  Losses, optimizers, layers and schedules
        written by users are not saved; they are given again when it is loaded.

        Parameters
        ----------
        path : str or path
        """
        from .checkpoint import save

        save(path, self)

    @classmethod
    def load_checkpoint(
        cls,
        path: str | PathLike[str],
        loss: Any = None,
        optimizer: Any = None,
        schedule: ScheduleLike = None,
        n_threads: int | None = None,
    ) -> Self:
        """The trainer that was saved; its next ``fit`` goes on where it was.

        Parameters
        ----------
        path : str or path
        loss, optimizer, schedule : optional
            Needed where the saved one was written by a user.
        n_threads : int, optional

        Raises
        ------
        FormatError
            If the file is damaged or is no checkpoint, or the optimizer is of another class.
        ValueError
            If a part that was written by a user is not given.
        OSError
            If it cannot be read.
        """
        from .checkpoint import load

        trainer: Self = load(cls, path, loss, optimizer, schedule, n_threads)
        return trainer

    def _load(self, path: str | PathLike[str]) -> None:
        from .checkpoint import restore

        restore(path, self)

    def _unfinished(self) -> dict[str, Any] | None:
        """Settings of the call of fit, under way or cut short, that a checkpoint goes on with."""
        if self.fitting is not None:
            return self.fitting.settings()
        return self._resume or self._interrupted

    def _take_resume(self, n: int, batch_size: int, shuffle: bool) -> dict[str, Any] | None:
        """Settings of the call of fit to go on with, if there is one; they must agree."""
        saved, self._resume = self._resume, None
        if saved is None:
            return None
        now = {"n_samples": n, "batch_size": batch_size, "shuffle": shuffle}
        for name, value in now.items():
            if saved[name] != value:
                self._resume = saved
                raise ValueError(f"{name} is {value}; expected {saved[name]}, as in the checkpoint")
        if self._cursor.step_in_epoch * batch_size >= n:
            raise ValueError(f"the checkpoint is at a step that epochs of {n} samples do not have")
        return saved

    def __getstate__(self) -> dict[str, Any]:
        made_anew = ("_loops", "_evaluator", "_fast", "fitting")
        state = {k: v for k, v in vars(self).items() if k not in made_anew}
        if isinstance(self.optimizer, Optimizer):
            running = self.optimizer.state_for(self.net)
            state["_running"] = (running.get_slots(), running.step_count)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        running = state.pop("_running", None)
        vars(self).update(state, _loops={}, _evaluator=None, _fast=None, fitting=None)
        if running is not None:
            of_net = self.optimizer.state_for(self.net)
            of_net.set_slots(running[0])
            of_net.step_count = running[1]

    def __repr__(self) -> str:
        schedule = "" if self.schedule is None else f", schedule={self.schedule!r}"
        return f"Trainer({self.net!r}, loss={self.loss!r}, optimizer={self.optimizer!r}{schedule})"


def _check_parts(net: Any, loss: Any, optimizer: Any) -> None:
    if not isinstance(net, Sequential):
        raise TypeError(f"net is {net!r}; expected a Sequential")
    for value, name, methods in (
        (loss, "loss", ("forward", "backward")),
        (optimizer, "optimizer", ("step",)),
    ):
        missing = [m for m in methods if not callable(getattr(value, m, None))]
        if isinstance(value, type) or (missing and not isinstance(value, LBFGS)):
            raise TypeError(f"{name} is {value!r}; expected an object with {', '.join(methods)}")
    for layer in net.layers:
        if getattr(layer, "activation", None) == "step":
            raise ValueError(f"{layer!r} has no slope; a net with a step cannot be trained")
    if isinstance(loss, Loss) and pair(net, loss) == "refused":
        raise ValueError(f"the net ends with {net.output_activation}; {loss!r} takes logits")


def _check_regression(loss: Any) -> None:
    """Standardised targets make sense for numbers alone."""
    if isinstance(loss, Loss) and loss.link is not None:
        raise ValueError(f"the net standardises its targets; {loss!r} takes classes or counts")


def _check_class_count(classes: Array | None, n_out: int | None, loss: Loss) -> None:
    """Labels that are strings must be as many as there are outputs."""
    if classes is None:
        return
    expected = 2 if n_out == 1 and isinstance(loss, losses.BinaryCrossEntropy) else n_out
    if len(classes) != expected:
        raise ValueError(
            f"y has {len(classes)} different labels; expected {expected}, the outputs of the net"
        )


def _plain_targets(y: ArrayLike, name: str, dtype: str) -> Array:
    """Targets for a user's loss: integers as they are, other numbers in the net's dtype."""
    a = checks.as_array(y, name)
    if a.ndim == 0 or a.size == 0:
        raise ValueError(f"{name} has shape {a.shape}; expected (batch, ...)")
    return np.ascontiguousarray(a) if a.dtype.kind in "iub" else checks.as_float(a, name, dtype)


def _norm(a: Array) -> float:
    return float(np.linalg.norm(a.astype(np.float64)))
