"""`Trainer.fit` with L-BFGS: SciPy moves the flat vector, the core gives loss and gradient."""

from __future__ import annotations

import time
from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import Array
from ..errors import DivergenceError
from ..layers import Layer
from ..network import Sequential
from .contract import Insides
from .fit import Fit
from .history import History
from .loops import Cursor, Data, Gradients, mass_of

Vector = NDArray[np.float64]


class LbfgsLoop:
    """What a `Fit` asks of a loop, but for running: each iteration is an epoch of one step."""

    def __init__(self, trainer: Insides, batch_size: int) -> None:
        self.batch_size, self.step_number = batch_size, 0
        self.cursor = Cursor(trainer.epoch)

    def run(self, *_: Any) -> tuple[list[float], str]:
        raise NotImplementedError  # SciPy runs it

    def step(self, *_: Any) -> float:
        raise NotImplementedError


class Objective:
    """Mean loss over all data plus decay, and its gradient, as functions of the flat vector."""

    def __init__(self, trainer: Insides, data: Data, batch_size: int) -> None:
        optimizer: Any = trainer.optimizer
        self.net, self.data, self.batch_size = trainer.net, data, batch_size
        self.gradients: Gradients = trainer._gradients(batch_size)
        total = mass_of(data)
        decay = optimizer.weight_decay / (total if optimizer.decay_over_batch else 1.0)
        self.decay = decay * decayed(trainer.net)

    def __call__(self, w: Vector) -> tuple[float, Vector]:
        self.net._set_flat(w.astype(self.net.dtype))
        loss, gradient, total = 0.0, np.zeros(len(w)), 0.0
        for start in range(0, len(self.data), self.batch_size):
            part = self.data.slice(start, start + self.batch_size)
            mass = mass_of(part)
            value = self.gradients.compute(part)
            if mass > 0.0:
                loss += mass * value
                gradient += mass * self.net.get_flat_grad().astype(np.float64)
                total += mass
        return loss / total + self.penalty(w), gradient / total + self.decay * w

    def penalty(self, w: Vector) -> float:
        """lambda/2 times the squared norm of the weights."""
        return 0.5 * float((self.decay * w * w).sum())


def decayed(net: Sequential) -> Vector:
    """1 for each weight in the flat vector, 0 for biases and slopes."""
    found = [
        layer for layer in net.layers if isinstance(layer, Layer) or hasattr(layer, "parameters")
    ]
    vectors = [np.full(a.size, float(a.ndim > 1)) for la in found for a in la.parameters().values()]
    return np.concatenate([np.empty(0), *vectors])


def fit_lbfgs(
    trainer: Insides,
    data: Data,
    held_out: Data | None,
    epochs: int,
    batch_size: int,
    callbacks: Iterable[Any],
) -> History:
    """Train by L-BFGS; see `cmlp.LBFGS`."""
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ImportError("LBFGS needs SciPy: pip install cmlp[sklearn]") from error
    optimizer: Any = trainer.optimizer
    loop = LbfgsLoop(trainer, min(batch_size, len(data)))
    fit = Fit(trainer, loop, data, held_out, epochs, False, callbacks)
    objective = Objective(trainer, data, loop.batch_size)
    best: Array = trainer.net.get_flat()
    clock = time.perf_counter()

    def end_iteration(intermediate_result: Any) -> None:
        nonlocal best, clock
        w = np.array(intermediate_result.x)
        trainer.net._set_flat(w.astype(trainer.net.dtype))
        best = trainer.net.get_flat()
        loop.cursor = Cursor(loop.cursor.epoch + 1)
        now = time.perf_counter()
        loss = float(intermediate_result.fun) - objective.penalty(w)
        fit.end_epochs(loop.cursor.epoch, [loss], now - clock, [float("nan")])
        clock = now
        if fit.stopped:
            raise StopIteration
        if loop.cursor.epoch < fit.last_epoch:
            fit.tell("on_epoch_begin")

    def minimise() -> None:
        fit.tell("on_epoch_begin")
        options = {
            "maxiter": epochs,
            "maxcor": optimizer.memory,
            "gtol": optimizer.tol,
            "ftol": 0.0,
            "maxfun": optimizer.max_evaluations,
        }
        start = trainer.net.get_flat().astype(np.float64)
        try:
            result = minimize(
                objective,
                start,
                jac=True,
                method="L-BFGS-B",
                callback=end_iteration,
                options=options,
            )
        finally:
            trainer.net._set_flat(best)
        if not isfinite(result.fun):
            raise DivergenceError("the loss became NaN or infinite; the last good weights are kept")

    trainer.history = History()
    trainer._run(fit, minimise)
    return trainer.history
