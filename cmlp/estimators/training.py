"""The epochs of an estimator: those of a `Trainer`, with scikit-learn's losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from .. import _core
from ..checks import Array
from ..network import Sequential
from ..schedules import ScheduleLike
from ..training.data import Data
from ..training.loops import CompiledLoop, Loop, PythonLoop, Rate
from ..training.parts import compiled
from ..training.stream import Samples, Stream
from ..training.trainer import Trainer

# Elements of a sparse matrix made dense at once where that is for computing outputs.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class SparseData(Data):
    """Samples whose x is a CSR matrix; parts of it become dense when they are used."""

    x: Any

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def take(self, rows: Any) -> Data:
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.x[rows].toarray(), self.y[rows], weight, self.unit)

    def slice(self, start: int, stop: int) -> Data:
        return self.take(slice(start, stop))


def make_data(x: Any, y: Array, weight: Array | None, unit: float = 1.0) -> Data:
    """Samples with a dense or sparse x."""
    if isinstance(x, np.ndarray):
        return Data(np.require(x, None, ("C", "A")), y, weight, unit)
    return SparseData(x, y, weight, unit)


def split(data: Data, share: float, stratify: Array | None, rng: Any) -> tuple[Data, Data]:
    """What to train on, and a share that the generator draws to validate on."""
    arrays = [data.x, data.y] + ([] if data.weight is None else [data.weight])
    parts = train_test_split(*arrays, random_state=rng, test_size=share, stratify=stratify)
    if parts[1].shape[0] < 2:
        raise ValueError(
            "The validation set is too small: it has 1 sample; expected 2 or more. Raise "
            "validation_fraction or give X_val and y_val"
        )
    weights = parts[4:] or [None, None]
    trained, held_out = (make_data(parts[i], parts[2 + i], weights[i], data.unit) for i in (0, 1))
    return trained.relative(), held_out.relative()


def outputs_of(compute: Any, x: Any) -> Array:
    """``compute(x)`` of a dense or, some rows at a time, of a sparse x."""
    if isinstance(x, np.ndarray):
        y: Array = compute(np.require(x, None, ("C", "A")))
        return y
    rows = max(1, _BLOCK // x.shape[1])
    parts = [compute(x[i : i + rows].toarray()) for i in range(0, x.shape[0], rows)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class LossScale:
    """How scikit-learn writes the loss that the core has.

    Attributes
    ----------
    factor : float
        scikit-learn's squared error is the mean over outputs, the core's the sum.
    alpha : float
        The term alpha/(2n) ||w||^2 belongs to the loss, n the rows of a minibatch.
    poisson : bool
        scikit-learn adds t ln t - t, which does not depend on the net.
    """

    factor: float = 1.0
    alpha: float = 0.0
    poisson: bool = False

    def constant(self, data: Any) -> float:
        """What does not depend on the net."""
        if not self.poisson:
            return 0.0
        terms = (data.y * np.log(np.where(data.y > 0, data.y, 1.0)) - data.y).sum(axis=1)
        return float((terms if data.weight is None else terms * data.weight).mean())

    def penalty(self, squares: Any, data: Samples, n_steps: int) -> Any:
        """The term of the weights in the mean loss of an epoch of ``n_steps``."""
        return 0.5 * self.alpha * n_steps * squares / (len(data) * data.unit)


class SampleOrder:
    """The order of samples in each epoch: each a shuffle of the one before, as scikit-learn's."""

    def __init__(self) -> None:
        self.begin(None, 0)

    def begin(self, random_state: Any, n: int) -> None:
        """Begin anew for ``n`` samples.

        Parameters
        ----------
        random_state : int, RandomState or None
            A generator is made when it is needed: that takes longer than a step of a small net.
        n : int
        """
        self._random_state, self._last = random_state, np.arange(n)
        self._first, self._drawn = 0, np.empty((0, n), np.int64)

    def of_epochs(self, first: int, n_epochs: int) -> Array:
        """Orders (n_epochs, n) of the epochs from ``first`` on, which never goes back."""
        known = self._drawn[first - self._first :]
        if len(known) < n_epochs:
            known = np.concatenate([known, self._draw(n_epochs - len(known))])
        self._first, self._drawn = first, known
        return known[:n_epochs]

    def _draw(self, n_epochs: int) -> Array:
        rng = self._random_state = check_random_state(self._random_state)
        n = len(self._last)
        orders = np.empty((n_epochs, n), np.int64)
        for order in orders:
            places = np.arange(n)
            rng.shuffle(places)
            order[:] = self._last[places]
            self._last = order
        return orders


class EstimatorLoop(CompiledLoop):
    """Whole epochs in the core; the losses are scikit-learn's but for their constant."""

    def __init__(self, trainer: EstimatorTrainer, batch_size: int) -> None:
        super().__init__(trainer, batch_size)
        self.scale, self.order = trainer.scale, trainer.order
        self.plan.keep_norms = self.scale.alpha > 0.0

    def run(
        self,
        data: Samples,
        epochs: int,
        shuffle: bool,
        lr: Rate,
        momentum: Array | None,
        max_steps: int | None,
        pause: _core.Pause | None = None,
    ) -> tuple[list[float], str]:
        n_steps = -(-len(data) // self.batch_size)
        self.running.set_options(self.optimizer.options_for(data.unit))
        if isinstance(data, Stream):
            found, status = self._run_epoch(data, shuffle, lr, momentum, max_steps, pause)
            return self._told(np.array(found), data, n_steps), status
        order = None
        if shuffle and n_steps > 1:  # else the order makes no difference
            order = self.order.of_epochs(self.plan.cursor.epoch, epochs)
        losses, status = self.plan.fit(
            data.x,
            data.y,
            data.weight,
            epochs,
            False,
            lr,
            momentum,
            max_steps,
            order,
            pause=pause,
        )
        return self._told(losses, data, n_steps), status

    def _told(self, losses: Array, data: Samples, n_steps: int) -> list[float]:
        """Mean losses of epochs as scikit-learn writes them."""
        told = self.scale.factor * losses
        if self.plan.keep_norms and len(losses):
            told += self.scale.penalty(self.plan.last_norms, data, n_steps)
        found: list[float] = told.tolist()
        return found


class StepLoop(PythonLoop):
    """Minibatch by minibatch, for a loss of the user's own."""

    def __init__(self, trainer: EstimatorTrainer, batch_size: int) -> None:
        super().__init__(trainer, batch_size)
        self.order = trainer.order

    def order_of(self, n: int, shuffle: bool) -> Array:
        return self.order.of_epochs(self.cursor.epoch, 1)[0] if shuffle else np.arange(n)


class SparseLoop(StepLoop):
    """Minibatch by minibatch, each made dense for the core."""

    def __init__(self, trainer: EstimatorTrainer, batch_size: int) -> None:
        super().__init__(trainer, batch_size)
        self._dense = EstimatorLoop(trainer, batch_size)
        self._dense.plan.cursor = _core.Cursor()  # an epoch there is a step here

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        momenta = None if momentum is None else np.array([momentum])
        losses, status = self._dense.run(data, 1, False, lr, momenta, None)
        if status == "diverged":
            return float("nan")
        self.cursor.step_count += 1
        return losses[0]


@dataclass(frozen=True)
class Task:
    """What an estimator's net is to learn; plain values, which can be pickled.

    Attributes
    ----------
    n_out : int
        Outputs of the net.
    activation : {"identity", "logistic", "softmax", "exp"}
        scikit-learn's name of what is done to them.
    loss : Loss, or a user's own
    scale : LossScale
    score : str
        The measure of validation data, by its name in `SCORES`.
    """

    n_out: int
    activation: str
    loss: Any
    scale: LossScale
    score: str


def accuracy(y: Array, t: Array, w: Array | None) -> float:
    """Share of the samples whose labels, all of them, are what the logits y say."""
    if not np.isfinite(y).all():
        return float("nan")
    right = y.argmax(axis=1) == t if t.ndim == 1 else ((y > 0) == (t > 0.5)).all(axis=1)
    return float(np.average(right, weights=w))


def r_squared(y: Array, t: Array, w: Array | None) -> float:
    """Coefficient of determination, the mean over outputs; NaN if a prediction is.

    1 - sum w (y - t)^2 / sum w (t - mean)^2; of an output that is constant 1 where every
    prediction is right, else 0.

    Parameters
    ----------
    y, t : ndarray of shape (n, n_out)
        Predictions, and what they should be.
    w : ndarray of shape (n,) or None
    """
    if not np.isfinite(y).all():
        return float("nan")
    y, t = y.astype(np.float64), t.astype(np.float64)
    left = np.average((y - t) ** 2, axis=0, weights=w)
    spread = np.average((t - np.average(t, axis=0, weights=w)) ** 2, axis=0, weights=w)
    constant = spread == 0.0
    scores = 1.0 - left / np.where(constant, 1.0, spread)
    return float(np.where(constant, left == 0.0, scores).mean())


SCORES: dict[str, Callable[[Array, Array, Array | None], float]] = {
    "accuracy": accuracy,
    "r2": r_squared,
    "r2 of rates": lambda y, t, w: r_squared(np.exp(y), t, w),
}


class EstimatorTrainer(Trainer):
    """A trainer whose losses are scikit-learn's and that scores as the estimator does.

    Parameters
    ----------
    net, optimizer, schedule, n_threads, seed
        As in `Trainer`.
    task : Task
    power : float or None
        The rate is the first one divided by (t + 1) ** power after each epoch.
    """

    def __init__(
        self,
        net: Sequential,
        task: Task,
        optimizer: Any,
        schedule: ScheduleLike,
        n_threads: int | None,
        seed: int,
        power: float | None = None,
    ) -> None:
        super().__init__(net, task.loss, optimizer, schedule, n_threads, seed)
        self.task, self.power = task, power
        self.scale = task.scale
        if getattr(optimizer, "decay_over_batch", False):
            self.scale = replace(task.scale, alpha=optimizer.weight_decay)
        self.order = SampleOrder()
        self.first_rate = getattr(optimizer, "lr", 0.0)
        self._sparse = False

    def go_on_from(self, other: EstimatorTrainer, keep_rate: bool) -> None:
        """Stand where another trainer of the net does, with the running values of its optimizer.

        Parameters
        ----------
        other : EstimatorTrainer
        keep_rate : bool
            Whether the rate stays what it has become.
        """
        self.cursor.epoch, self.cursor.step_count = other.epoch, other.step_count
        mine, theirs = self.running, other.running
        same = type(self.optimizer) is type(other.optimizer) and mine is not theirs
        if same and mine is not None and theirs is not None:
            mine.set_slots(theirs.get_slots())
            mine.step_count = theirs.step_count
        if keep_rate and hasattr(self.optimizer, "lr"):
            self.optimizer.lr = other.optimizer.lr

    def take_kind(self, data: Samples) -> None:
        """Have loops for data of this kind, dense or sparse."""
        if self._sparse != isinstance(data, SparseData):
            self._sparse = not self._sparse
            self.forget_plans()

    def new_loop(self, batch_size: int) -> Loop:
        if not compiled(self.net, self.loss):
            return StepLoop(self, batch_size)
        return (SparseLoop if self._sparse else EstimatorLoop)(self, batch_size)

    def single_step(self) -> Any:
        """What trains on one row: (x, y, lr, limits of y, weight) -> loss."""
        loop = EstimatorLoop(self, 1)
        loop.running.set_options(self.optimizer.options())
        return loop.plan.step_one

    def rate(self) -> float:
        """The learning rate of the next step."""
        lr: float = self.optimizer.lr
        return lr if self.schedule is None else float(np.ravel(self.rates(1))[0])

    def lower_rate(self, t: int) -> None:
        """Let an inversely scaled rate fall, after t samples."""
        if self.power is not None:
            self.optimizer.lr = self.first_rate / (t + 1) ** self.power

    def scores(self, data: Data) -> dict[str, float]:
        y = outputs_of(self.evaluator.outputs, data.x)
        loss = self.scale.factor * self.evaluator.value(y, data) + self.scale.constant(data)
        return {"loss": loss, "score": SCORES[self.task.score](y, data.y, data.weight)}

    def __getstate__(self) -> dict[str, Any]:
        """What the constructor takes, and where training stands, as plain values."""
        self.check_same_thread()
        running = self.running
        return {
            "net": self.net,
            "task": self.task,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "n_threads": self.n_threads,
            "seed": self.seed,
            "power": self.power,
            "first_rate": self.first_rate,
            "slots": running and running.get_slots(),
            "optimizer_steps": running and running.step_count,
            "epoch": self.epoch,
            "step_count": self.step_count,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        names = ("net", "task", "optimizer", "schedule", "n_threads", "seed", "power")
        EstimatorTrainer.__init__(self, *(state[name] for name in names))
        self.first_rate = state["first_rate"]
        self.cursor.epoch, self.cursor.step_count = state["epoch"], state["step_count"]
        running = self.running
        if running is not None:
            running.set_slots(state["slots"])
            running.step_count = state["optimizer_steps"]
