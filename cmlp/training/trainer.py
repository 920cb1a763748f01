"""`Trainer`: a net, a loss and an optimizer, and the loop that joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from math import isfinite
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import checks, losses
from ..checks import Array
from ..data import Source
from ..errors import DivergenceError
from ..layers import Layer
from ..optimizers import LBFGS
from ..preprocessing import names_of
from ..schedules import ScheduleLike
from . import data
from .callbacks import ProgressBar
from .data import Data, Validation
from .fit import Fit
from .history import History
from .lbfgs import LbfgsFit
from .loops import CompiledLoop, Gradients
from .parallel import description
from .ranks import is_first
from .state import TrainState, check_monitor
from .stream import Stream, samples_for

if TYPE_CHECKING:
    from os import PathLike

    from .checkpoint import Saved

__all__ = ["Trainer"]


class Trainer(TrainState):
    """Trains a net.

    Parameters
    ----------
    net : Sequential
    loss : Loss, object with forward and backward, or str
        A name stands for a loss with its usual settings: "squared_error", "absolute_error",
        "huber", "poisson", "softmax_cross_entropy", "binary_cross_entropy".
    optimizer : Optimizer, LBFGS, object with step, or str, optional
        ``SGD(lr=0.1)`` if None.  A name stands for an optimizer with its usual settings: "sgd",
        "adam", "adamw", "rmsprop", "adadelta", "adagrad", "lbfgs".
    schedule : Schedule or function of the step, optional
        The learning rate of each iteration (`cmlp.schedules`); the optimizer's if None.
    n_threads : int, optional
        Most threads; all that the process may use if None.  The numbers are the same for any.
    seed : int, optional
        Of the order of samples, of dropout and of views; the net's if None.
    comm : mpi4py.MPI.Comm or cmlp.training.Ranks, optional
        Processes that train the net together: all of them make the same trainer and call ``fit``
        with the same data, and each works on its share of each minibatch.  The numbers are the
        same for any number of ranks; see `Ranks`.
    augment : Augment, optional
        Train on random views of images, which x then holds; what is only looked at (``evaluate``,
        ``validation``, callbacks) is their middle.

    Attributes
    ----------
    history : History
        Of the last call of ``fit``.
    fitting : Progress or None
        The call of ``fit`` under way, for callbacks.
    epoch, step_count : int
        Epochs and iterations with this net so far.

    Notes
    -----
    Where net, loss and optimizer are built in, whole epochs run in compiled code.  A part written
    in Python is worked through step by step, with the same samples in the same order.

    What the parameters set may be assigned later; it takes effect with the next step.  A schedule
    goes on from ``step_count``, another net begins at epoch 0.  Within a call of ``fit`` net, loss,
    seed and augment stay as they are.

    One thread at a time trains a net.  Any other that tries gets RuntimeError, and nothing is
    changed.
    """

    __slots__ = ()

    # ---- training ----

    def fit(
        self,
        x: ArrayLike | Source,
        y: ArrayLike | None = None,
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
        x : array_like of shape (n, n_in), or Source
            Not copied if it is a C-contiguous array of the net's dtype.  With ``augment`` images,
            as arrays (n, channels, height, width) or as rows.  A `cmlp.data.Source` stands for y
            and ``sample_weight`` too, and need not fit into memory.
        y : array_like of shape (n,) or (n, n_out)
            Labels or numbers, as the loss wants them.  Strings and booleans become the net's
            ``classes``.
        epochs : int, default 10
        batch_size : int, default 128
            Samples in a minibatch; the last of an epoch may be smaller.  None: all of them.
        shuffle : bool, default True
            Take the samples in a new order in each epoch; a function of seed and epoch.
        validation : (x, y), (x, y, sample_weight) or float, optional
            Data on which loss and metrics are computed after each epoch.  A number between 0 and 1
            is the share of the samples that is held out for it: drawn by ``seed``, and copied, as
            are those that remain.
        sample_weight : array_like of shape (n,), optional
            None negative, not all 0.  Divided by their mean over the data; see `cmlp.losses`.
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
        RuntimeError
            If the net is being trained by another call; nothing is changed.
        DivergenceError
            If the loss becomes NaN or infinite; the weights are those of the last good epoch.
        """
        from . import checkpoint

        with self.hold():
            fit = self._agreed(
                lambda: self._checked_fit(
                    x, y, epochs, batch_size, shuffle, validation, sample_weight, callbacks,
                    progress, None if resume is None else checkpoint.read(resume),
                )
            )  # fmt: skip
            self._fast = None
            with nullcontext() if self.ranks is None else self.ranks.together():
                return fit.run()

    def _agreed(self, make: Callable[[], Fit]) -> Fit:
        """A call of ``fit`` that all ranks want to make; an error on one is one on all."""
        ranks = self.ranks
        if ranks is None:
            return make()
        try:
            fit = make()
        except BaseException as error:
            ranks.greet(None, error)
            raise
        settings = {
            "batch_size": fit.batch_size,
            "shuffle": fit.shuffle,
            "epochs": fit.last_epoch,
            "ranks": ranks.settings(),
        }
        ranks.greet(description(self, self.running, fit.data, settings))
        return fit

    def _checked_fit(
        self,
        x: ArrayLike | Source,
        y: ArrayLike | None,
        epochs: int,
        batch_size: int | None,
        shuffle: bool,
        validation: Validation,
        sample_weight: ArrayLike | None,
        callbacks: Iterable[Any],
        progress: bool,
        saved: Saved | None,
    ) -> Fit:
        """The call of ``fit`` for these arguments; changes the net only when all are good."""
        from . import checkpoint

        epochs = checks.positive_int(epochs, "epochs")
        checks.flag(shuffle, "shuffle")
        if saved is not None:
            checkpoint.check_same(saved, self)
        known = self.net.classes if saved is None else saved.net.classes
        trained, held_out, classes = samples_for(
            self.net, self.loss, known, x, y, sample_weight, validation, self.seed, self.augment
        )
        source = x if isinstance(x, Source) else None
        if batch_size is None and isinstance(trained, Stream):
            raise TypeError("batch_size is None; expected a number, as x is a source")
        size = len(trained) if batch_size is None else checks.positive_int(batch_size, "batch_size")
        check_monitor(self.schedule, held_out)
        observers = list(callbacks)
        if checks.flag(progress, "progress") and is_first(self.ranks):
            observers.append(ProgressBar(force=True))
        call, goes_on = (self.call, self.goes_on) if saved is None else (saved.call, saved.goes_on)
        settings = trained, held_out, epochs, size, shuffle, observers, call
        if isinstance(self.optimizer, LBFGS) and self.augment is not None:
            raise ValueError(f"augment is {self.augment!r}; expected None for LBFGS")
        if not isinstance(self.optimizer, LBFGS):
            fit = Fit(self, *settings, goes_on, source)
        elif isinstance(trained, Stream):
            raise ValueError("x is a source that is read by windows; expected arrays, for LBFGS")
        elif self.ranks is not None:
            raise ValueError("comm is given; expected None, for LBFGS")
        elif saved is None:
            fit = LbfgsFit(self, *settings)
        else:
            raise ValueError("resume is a checkpoint; expected None, as LBFGS begins anew")
        if saved is not None:
            checkpoint.restore(saved, self)
        self.take_classes(classes, None if self.augment else names_of(x))
        return fit

    def train_step(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Train on one minibatch.

        Parameters
        ----------
        x : array_like of shape (batch, n_in)
        y : array_like of shape (batch,) or (batch, n_out)
        sample_weight : array_like of shape (batch,), optional
            None negative, not all 0.  Factors of the samples' losses as they are: a single row of
            weight 2 has twice the gradient.

        Returns
        -------
        float
            The mean loss before the update.

        Raises
        ------
        RuntimeError
            If the net is being trained by another call; nothing is changed.
        DivergenceError
            If that loss is NaN or infinite; the weights are not changed.
        """
        loss = self._fast_step(x, y, sample_weight)
        if loss is None:
            with self.hold():
                loss = self._step(x, y, sample_weight)
        return finite(loss)

    def _fast_step(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> float | None:
        """A step straight in the core, where the last one showed that nothing else is needed.

        None where these are not arrays as the core wants them: to be converted, or refused with a
        reason.
        """
        net = self.net
        if self._fast is None:
            return None
        step, limits, link = self._fast
        if net.classes is not None or net.preprocessing.scales or net.link is not link:
            return None
        try:
            return step(x, y, sample_weight, self.optimizer.lr, limits)
        except (TypeError, ValueError):
            return None

    def _step(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> float:
        if isinstance(self.optimizer, LBFGS):
            raise TypeError("the optimizer is LBFGS, which has no single steps; use fit")
        if self.ranks is not None:
            raise TypeError("comm is given; expected None, as single steps are for one process")
        classes = data.classes_for(self.net, self.loss, self.net.classes, y)
        net, loss, augment = self.net, self.loss, self.augment
        batch = data.check(net, loss, classes, x, y, sample_weight, relative=False, augment=augment)
        rates, momenta = self.rates(1), self.momenta(1)
        loop = self.loop_for(len(batch))
        self.take_classes(classes, None if self.augment else names_of(x))
        self._fast = None
        loss = loop.step(
            batch,
            rates if isinstance(rates, float) else float(rates[0]),
            None if momenta is None else float(momenta[0]),
        )
        if isinstance(loop, CompiledLoop) and self._nothing_to_prepare(batch):
            self._fast = loop.plan.check_and_step, self.loss.target_range, self.loss.link
        return loss

    def _nothing_to_prepare(self, batch: Data) -> bool:
        """Tell whether the core's own checks are enough for minibatches such as this one."""
        return (
            losses.to_config(self.loss) is not None
            and self.schedule is None
            and self.momenta(1) is None
            and self.loss.class_weight is None
            and (self.loss.target_range is not None or batch.y.ndim == 1)
        )

    @contextmanager
    def on_threads(self, n_threads: int) -> Iterator[None]:
        """Use another number of threads for a while."""
        before, self.n_threads = self.n_threads, n_threads
        try:
            yield
        finally:
            self.n_threads = before

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
            For the loss, divided by their mean; the metrics are not weighted.

        Returns
        -------
        dict
            "loss" and the metrics of the loss: "accuracy" for labels, "mean_squared_error" and
            "mean_absolute_error" for numbers.
        """
        return self.scores(self._looked_at(x, y, sample_weight))

    def _looked_at(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Data:
        """Samples that are not trained on: of images the middle."""
        net, augment = self.net, self.augment
        found = data.check(net, self.loss, net.classes, x, y, sample_weight, augment=augment)
        return data.centered(found, augment)

    # ---- diagnostics ----

    def weighted_layers(self) -> Iterator[tuple[int, Any]]:
        """(position, layer) of the layers that have parameters."""
        for i, layer in enumerate(self.net.layers):
            n = layer.n_parameters if isinstance(layer, Layer) else hasattr(layer, "parameters")
            if n:
                yield i, layer

    def first_samples(self, n: int) -> tuple[Array, Array]:
        """The first samples of the data being trained on, and their targets, standardised."""
        trained = self._first_data(n)
        return trained.x, trained.y

    def _first_data(self, n: int) -> Data:
        if self.fitting is None:
            raise RuntimeError("no call of fit is under way; expected to be asked by a callback")
        return data.centered(self.fitting.data.slice(0, n), self.augment)

    def gradient_norms(
        self, x: ArrayLike | None = None, y: ArrayLike | None = None, n: int = 256
    ) -> tuple[list[float], list[float]]:
        """Sizes of delta = dE/du and of dE/dW in each layer with parameters.

        Nothing is changed but the layers' gradients.

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
        batch = self._first_data(n) if x is None or y is None else self._looked_at(x, y, None)
        gradients = Gradients(self, len(batch))
        gradients.compute(batch)
        deltas = gradients.deltas()
        found = list(self.weighted_layers())
        weights = [_norm(next(iter(layer.gradients().values()))) for _, layer in found]
        return [deltas[i] for i, _ in found], weights

    # ---- checkpoints ----

    def save_checkpoint(self, path: str | PathLike[str]) -> None:
        """Save net, optimizer, schedule, history and the place in the epoch, to go on exactly.

        The file is replaced whole or not at all; of several ranks the first writes it.  Losses,
        optimizers, layers and schedules written by users are not saved; they are given again when
        it is loaded.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        RuntimeError
            If another thread is training the net.
        """
        from . import checkpoint

        if is_first(self.ranks):
            checkpoint.save(path, self)

    @classmethod
    def load_checkpoint(
        cls,
        path: str | PathLike[str],
        loss: Any = None,
        optimizer: Any = None,
        schedule: ScheduleLike = None,
        n_threads: int | None = None,
        comm: Any = None,
    ) -> Self:
        """The trainer that was saved; its next ``fit`` goes on where it was.

        Parameters
        ----------
        path : str or path
        loss, optimizer, schedule : optional
            Needed where the saved one was written by a user.
        n_threads : int, optional
        comm : mpi4py.MPI.Comm or Ranks, optional
            Any number of ranks may go on with what any other has saved.

        Raises
        ------
        FormatError
            If the file is damaged or is no checkpoint, or the optimizer is of another class.
        ValueError
            If a part that was written by a user is not given.
        OSError
            If it cannot be read.
        """
        from . import checkpoint

        return checkpoint.load(cls, path, loss, optimizer, schedule, n_threads, comm)

    def __repr__(self) -> str:
        schedule = "" if self.schedule is None else f", schedule={self.schedule!r}"
        return f"Trainer({self.net!r}, loss={self.loss!r}, optimizer={self.optimizer!r}{schedule})"


def finite(loss: float) -> float:
    """The loss of a step, which was not made where it is no number."""
    if not isfinite(loss):
        raise DivergenceError(f"the loss of the minibatch is {loss}; the weights are as before it")
    return loss


def _norm(a: Array) -> float:
    return float(np.linalg.norm(a.astype(np.float64)))
