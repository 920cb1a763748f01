"""The epochs of an estimator: `Trainer`'s, with scikit-learn's losses and rules for stopping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .. import _core
from ..checks import Array
from ..training.data import Data
from ..training.fit import Fit
from ..training.loops import CompiledLoop, Loop, PythonLoop, Rate
from ..training.parts import compiled
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
        return Data(self.x[rows].toarray(), self.y[rows], weight)

    def slice(self, start: int, stop: int) -> Data:
        return self.take(slice(start, stop))


def make_data(x: Any, y: Array, weight: Array | None) -> Data:
    """Samples with a dense or sparse x."""
    if isinstance(x, np.ndarray):
        return Data(np.require(x, None, ("C", "A")), y, weight)
    return SparseData(x, y, weight)


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
        The term alpha/(2n) ||w||^2 belongs to the loss, n the weight of a minibatch.
    poisson : bool
        scikit-learn adds t ln t - t, which does not depend on the net.
    """

    factor: float = 1.0
    alpha: float = 0.0
    poisson: bool = False

    def constant(self, data: Data) -> float:
        """What does not depend on the net."""
        if not self.poisson:
            return 0.0
        terms = (data.y * np.log(np.where(data.y > 0, data.y, 1.0)) - data.y).sum(axis=1)
        return float(np.average(terms, weights=data.weight))

    def penalty(self, squares: Any, data: Data, n_steps: int) -> Any:
        """The term of the weights in the mean loss of an epoch of ``n_steps``."""
        return 0.5 * self.alpha * n_steps * squares / data.mass()


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
        data: Data,
        epochs: int,
        shuffle: bool,
        lr: Rate,
        momentum: Array | None,
        max_steps: int | None,
    ) -> tuple[list[float], str]:
        n_steps = -(-len(data) // self.batch_size)
        order = None
        if shuffle and n_steps > 1:  # else the order makes no difference
            order = self.order.of_epochs(self.plan.cursor.epoch, epochs)
        losses, status = self.plan.fit(
            data.x, data.y, data.weight, epochs, False, lr, momentum, max_steps, order
        )
        losses = self.scale.factor * losses
        if self.plan.keep_norms:
            losses += self.scale.penalty(self.plan.last_norms, data, n_steps)
        return losses.tolist(), status


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
        losses, _ = self._dense.run(data, 1, False, lr, momenta, None)
        self.cursor.step_count += len(losses)
        return losses[0] if losses else float("nan")


class EstimatorTrainer(Trainer):
    """A trainer whose losses are scikit-learn's and that scores as the estimator does.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    loss, optimizer, n_threads, seed
        As in `Trainer`.
    scale : LossScale
    """

    def __init__(
        self,
        estimator: Any,
        loss: Any,
        optimizer: Any,
        scale: LossScale,
        n_threads: int | None,
        seed: int,
    ) -> None:
        super().__init__(estimator.net_, loss, optimizer, estimator.schedule, n_threads, seed)
        self.scale = scale
        self.score_of = estimator._score_outputs
        falls = estimator.solver == "sgd" and estimator.learning_rate == "invscaling"
        self.power = estimator.power_t if falls else None
        self.order = SampleOrder()
        self._first_rate = getattr(optimizer, "lr", 0.0)
        self._sparse = False

    def take_kind(self, data: Data) -> None:
        """Have loops for data of this kind, dense or sparse."""
        if self._sparse != isinstance(data, SparseData):
            self._sparse = not self._sparse
            self.forget_plans()

    def new_loop(self, batch_size: int) -> Loop:
        if not compiled(self.net, self.loss):
            return StepLoop(self, batch_size)
        return (SparseLoop if self._sparse else EstimatorLoop)(self, batch_size)

    def single_step(self) -> Any:
        """What trains on one row: (x, y, lr) -> loss."""
        if not compiled(self.net, self.loss):
            raise ValueError(f"learn_one needs a loss of cmlp.losses; loss is {self.loss!r}")
        return EstimatorLoop(self, 1).plan.step_one

    def rate(self) -> float:
        """The learning rate of the next step."""
        lr: float = self.optimizer.lr
        return lr if self.schedule is None else float(np.ravel(self.rates(1))[0])

    def lower_rate(self, t: int) -> None:
        """Let an inversely scaled rate fall, after t samples."""
        if self.power is not None:
            self.optimizer.lr = self._first_rate / (t + 1) ** self.power

    def scores(self, data: Data) -> dict[str, float]:
        y = outputs_of(self.evaluator.outputs, data.x)
        loss = self.scale.factor * self.evaluator.value(y, data) + self.scale.constant(data)
        return {"loss": loss, "score": self.score_of(y, data.y, data.weight)}


class EstimatorFit(Fit):
    """Epochs that end by scikit-learn's rules; they are written down in the estimator."""

    def __init__(
        self,
        estimator: Any,
        trainer: EstimatorTrainer,
        data: Data,
        held_out: Data | None,
        epochs: int,
        random_state: Any,
    ) -> None:
        size = 200 if estimator.batch_size == "auto" else estimator.batch_size
        super().__init__(
            trainer, data, held_out, epochs, size, estimator.shuffle, estimator._observers()
        )
        self.trainer: EstimatorTrainer = trainer
        trainer.take_kind(data)
        trainer.order.begin(random_state, len(data))
        self.estimator = estimator
        self._constant = trainer.scale.constant(data)

    def stretch(self, left: int) -> tuple[int, int | None]:
        epochs, max_steps = super().stretch(left)
        return int(min(epochs, self._epochs_to_rule())), max_steps

    def _epochs_to_rule(self) -> float:
        """Epochs before the end of which no rule can ask for anything."""
        e = self.estimator
        if e.verbose or e.restore_best or self.trainer.power is not None:
            return 1
        left: float = e.n_iter_no_change + 1 - e._no_improvement_count
        return max(1.0, left)

    def end_epochs(
        self, first: int, losses: list[float], seconds: float, rates: list[float]
    ) -> None:
        if self._constant:
            losses = [loss + self._constant for loss in losses]
        super().end_epochs(first, losses, seconds, rates)
        e, n = self.estimator, len(losses)
        e.n_iter_ += n
        e.t_ += n * len(self.data)
        e._net_changed()
        e._note(losses, self.trainer.history.last())
        self.trainer.lower_rate(e.t_)
        if e._no_improvement_count > e.n_iter_no_change:
            self._settled()

    def _settled(self) -> None:
        """Stop, or go on at a lower rate."""
        e, optimizer = self.estimator, self.trainer.optimizer
        if e.solver == "sgd" and e.learning_rate == "adaptive" and optimizer.lr > 1e-6:
            optimizer.lr /= 5.0
            e._no_improvement_count = 0
            then = f"Setting learning rate to {optimizer.lr:f}"
        else:
            self.stopped = True
            then = "Stopping."
        if e.verbose:
            what = "Validation score" if e.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} epochs. "
                f"{then}"
            )
