"""`Trainer.fit` with L-BFGS: SciPy moves the flat vector, the core gives loss and gradient."""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DivergenceError
from ..layers.base import is_trainable
from ..network import Sequential
from .contract import Call
from .data import Data
from .fit import Fit
from .loops import Gradients
from .state import TrainState

Vector = NDArray[np.float64]


class Objective:
    """Mean loss over all data plus decay, and its gradient, as functions of the flat vector."""

    def __init__(self, state: TrainState, data: Data, batch_size: int) -> None:
        self.net, self.data, self.batch_size = state.net, data, batch_size
        self.gradients = Gradients(state, batch_size)
        optimizer = state.optimizer
        decay = optimizer.weight_decay / (
            len(data) * data.unit if optimizer.decay_over_batch else 1.0
        )
        self.decay = decay * decayed(state.net)

    def __call__(self, w: Vector) -> tuple[float, Vector]:
        if not take(self.net, w):
            return inf, np.zeros(len(w))
        loss, gradient, total = 0.0, np.zeros(len(w)), len(self.data)
        for start in range(0, len(self.data), self.batch_size):
            part = self.data.slice(start, start + self.batch_size)
            loss += len(part) * self.gradients.compute(part)
            gradient += len(part) * self.net.get_flat_grad().astype(np.float64)
        return loss / total + self.penalty(w), gradient / total + self.decay * w

    def penalty(self, w: Vector) -> float:
        """lambda/2 times the squared norm of the weights."""
        return 0.5 * float((self.decay * w * w).sum())


def take(net: Sequential, w: Vector) -> bool:
    """Give the net these parameters, unless one of them is not finite in its type."""
    with np.errstate(over="ignore"):
        values = w.astype(net.dtype)
    if not np.isfinite(values).all():
        return False
    net.set_flat(values)
    return True


def decayed(net: Sequential) -> Vector:
    """1 for each weight in the flat vector, 0 for biases, slopes and what is frozen."""
    found = [layer for layer in net.layers if hasattr(layer, "parameters")]
    vectors = [
        np.full(a.size, float(a.ndim > 1 and is_trainable(layer)))
        for layer in found
        for a in layer.parameters().values()
    ]
    return np.concatenate([np.empty(0), *vectors])


class LbfgsFit(Fit):
    """A call of ``fit`` with L-BFGS: each iteration is an epoch of one step.

    There is no going on with one that was cut short, as SciPy keeps what L-BFGS knows.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        try:
            from scipy.optimize import minimize
        except ImportError as error:
            raise ImportError("LBFGS needs SciPy: pip install cmlp[sklearn]") from error
        self._minimize: Any = minimize

    def record(self) -> Call:
        return replace(super().record(), finished=True)

    def options(self) -> dict[str, Any]:
        """Settings of SciPy's method."""
        optimizer = self.trainer.optimizer
        return {
            "maxiter": self.last_epoch - self.first_epoch,
            "maxcor": optimizer.memory,
            "gtol": optimizer.tol,
            "ftol": 0.0,
            "maxfun": optimizer.max_evaluations,
        }

    def loss_at(self, value: float, w: Vector) -> float:
        """The loss that is told, from the objective's value."""
        return value - self.objective.penalty(w)

    def work(self) -> None:
        net = self.trainer.net
        assert isinstance(self.data, Data)
        self.objective = Objective(self.trainer, self.data, self.batch_size)
        self._best = net.get_flat()
        self._clock = time.perf_counter()
        self._announce("on_epoch_begin")
        try:
            self.result = self._minimize(
                self.objective,
                self._best.astype(np.float64),
                jac=True,
                method="L-BFGS-B",
                callback=self._end_iteration,
                options=self.options(),
            )
        finally:
            net.set_flat(self._best)
        if not isfinite(self.result.fun):
            raise DivergenceError("the loss became NaN or infinite; the last good weights are kept")

    def _end_iteration(self, intermediate_result: Any) -> None:
        w, cursor = np.array(intermediate_result.x), self.trainer.cursor
        take(self.trainer.net, w)
        self._best = self.trainer.net.get_flat()
        cursor.epoch, cursor.step_count = cursor.epoch + 1, cursor.step_count + 1
        now = time.perf_counter()
        loss = self.loss_at(float(intermediate_result.fun), w)
        self.end_epochs(cursor.epoch, [loss], now - self._clock, [float("nan")])
        self._clock = now
        if self.stopped:
            raise StopIteration
        if cursor.epoch < self.last_epoch:
            self._announce("on_epoch_begin")
