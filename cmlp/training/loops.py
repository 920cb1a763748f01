"""The two ways through the minibatches of an epoch: compiled, and step by step in Python.

Both take the samples in the same order, a function of the seed and the number of the epoch, stand
at a cursor from which they go on exactly, and give the mean loss of each epoch they finish.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _core, checks
from ..checks import Array
from ..layers import Layer
from ..layers.segment import Segment
from ..losses import Loss
from ..network import Sequential, run_backward, run_forward, run_predict
from ..optimizers import Optimizer

# Seeds of steps are so far apart; 2**64 divided by the golden ratio.
_ODD = 0x9E3779B97F4A7C15

Rate = float | NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Checked samples: x (n, n_in), y labels (n,) or rows (n, n_out), weight (n,) or None."""

    x: Array
    y: Array
    weight: Array | None

    def __len__(self) -> int:
        return len(self.x)

    def slice(self, start: int, stop: int) -> Data:
        """Some of the samples, not copied."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Data(self.x[start:stop], self.y[start:stop], weight)

    def take(self, rows: Array) -> Data:
        """The samples of these numbers, copied."""
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.x[rows], self.y[rows], weight)


class Cursor(NamedTuple):
    """Where training stands: epochs done, steps done in this one, and its sums so far."""

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0


class Loop(Protocol):
    """What `Trainer` asks of either way."""

    batch_size: int
    cursor: Cursor
    step_number: int  # of the trainer's next step; set before run and step

    def run(
        self,
        data: Data,
        epochs: int,
        shuffle: bool,
        lr: Rate,
        momentum: Array | None,
        max_steps: int | None,
    ) -> tuple[list[float], str]:
        """Epochs from the cursor on; their mean losses, and "done", "paused" or "diverged"."""

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        """One minibatch; its mean loss before the update."""


def make_loop(
    net: Sequential,
    loss: Any,
    optimizer: Any,
    batch_size: int,
    n_threads: int | None,
    seed: int,
) -> Loop:
    """The compiled way where every part is built in, else the other one."""
    if compiled(net, loss) and isinstance(optimizer, Optimizer):
        return CompiledLoop(net, loss, optimizer, batch_size, n_threads, seed)
    return PythonLoop(net, loss, optimizer, batch_size, n_threads, seed)


def compiled(net: Sequential, loss: Any) -> bool:
    """Tell whether a net and a loss can be compiled into one plan."""
    return isinstance(loss, Loss) and all(isinstance(layer, Layer) for layer in net.layers)


class CompiledLoop:
    """Whole epochs in the core, which counts the steps itself."""

    step_number = 0

    def __init__(
        self,
        net: Sequential,
        loss: Loss,
        optimizer: Optimizer,
        batch_size: int,
        n_threads: int | None,
        seed: int,
    ) -> None:
        self.batch_size = batch_size
        state = optimizer.state_for(net)
        state.set_options(optimizer.options())
        self.plan = _core.Plan(
            state.cores, batch_size, loss.spec(), state.core, n_threads=n_threads, seed=seed
        )

    @property
    def cursor(self) -> Cursor:
        p = self.plan
        return Cursor(p.epoch, p.step_in_epoch, p.loss_sum, p.weight_sum)

    @cursor.setter
    def cursor(self, c: Cursor) -> None:
        p = self.plan
        p.epoch, p.step_in_epoch = c.epoch, c.step_in_epoch
        p.loss_sum, p.weight_sum = c.loss_sum, c.weight_sum

    def run(
        self,
        data: Data,
        epochs: int,
        shuffle: bool,
        lr: Rate,
        momentum: Array | None,
        max_steps: int | None,
    ) -> tuple[list[float], str]:
        losses, status = self.plan.fit(
            data.x, data.y, data.weight, epochs, shuffle, lr, momentum, max_steps
        )
        return losses.tolist(), status

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        return self.plan.step(data.x, data.y, data.weight, lr, momentum)


class PythonLoop:
    """Minibatch by minibatch through forward, loss, backward and the optimizer's step."""

    def __init__(
        self,
        net: Sequential,
        loss: Any,
        optimizer: Any,
        batch_size: int,
        n_threads: int | None,
        seed: int,
    ) -> None:
        self.net, self.loss, self.optimizer = net, loss, optimizer
        self.batch_size, self.seed = batch_size, seed
        self.cursor, self.step_number = Cursor(), 0
        self.gradients = Gradients(net, loss, batch_size, n_threads, seed)
        self._good: Array | None = None

    def run(
        self,
        data: Data,
        epochs: int,
        shuffle: bool,
        lr: Rate,
        momentum: Array | None,
        max_steps: int | None,
    ) -> tuple[list[float], str]:
        losses: list[float] = []
        done = 0
        for _ in range(epochs):
            if self.cursor.step_in_epoch == 0:
                self._good = self.net.get_flat()
            order = self._order(len(data), shuffle)
            for start in range(
                self.cursor.step_in_epoch * self.batch_size, len(data), self.batch_size
            ):
                if done == max_steps:
                    return losses, "paused"
                part = data.take(order[start : start + self.batch_size])
                loss = self.step(part, _at(lr, done), None if momentum is None else momentum[done])
                if not isfinite(loss):
                    if self._good is not None:
                        self.net._set_flat(self._good)
                    return losses, "diverged"
                self._count(part, loss)
                done += 1
            mass = self.cursor.weight_sum
            losses.append(self.cursor.loss_sum / mass if mass > 0.0 else 0.0)
            self.cursor = Cursor(self.cursor.epoch + 1)
        return losses, "done"

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        self.gradients.reseed(self.step_number)
        self.step_number += 1
        loss = self.gradients.compute(data)
        if isfinite(loss) and mass_of(data) > 0.0:
            self._update(data, lr, momentum)
        return loss

    def _update(self, data: Data, lr: float, momentum: float | None) -> None:
        if isinstance(self.optimizer, Optimizer):
            state = self.optimizer.state_for(self.net)
            self.optimizer.apply(self.net, state, lr, momentum, mass_of(data))
            return
        if hasattr(self.optimizer, "lr") and self.optimizer.lr != lr:
            self.optimizer.lr = lr
        self.optimizer.step(self.net)

    def _count(self, data: Data, loss: float) -> None:
        c, mass = self.cursor, mass_of(data)
        self.cursor = Cursor(
            c.epoch, c.step_in_epoch + 1, c.loss_sum + loss * mass, c.weight_sum + mass
        )

    def _order(self, n: int, shuffle: bool) -> Array:
        if not shuffle:
            return np.arange(n)
        return _core.permutation(n, self.seed, self.cursor.epoch)


class Gradients:
    """Loss and gradients of samples, left in the layers, without an update.

    A built-in loss on logits meets them even where the net ends with the loss's activation.
    """

    def __init__(
        self, net: Sequential, loss: Any, batch_size: int, n_threads: int | None, seed: int
    ) -> None:
        self.loss, self.seed = loss, seed
        self.parts = net.split(
            n_threads=n_threads,
            seed=seed,
            rows=batch_size,
            without_output=isinstance(loss, Loss) and pair(net, loss) == "fused",
        )

    def reseed(self, step_number: int) -> None:
        """Make the masks of dropout a function of the seed and this number alone."""
        for part in self.parts:
            if isinstance(part, Segment):
                part.reseed((self.seed + step_number * _ODD) % 2**64)

    def outputs(self, x: Array) -> Array:
        """What the loss takes, as in prediction."""
        return run_predict(self.parts, x)

    def compute(self, data: Data) -> float:
        """The mean loss; 0 where all samples have weight 0, and then there is no gradient."""
        if mass_of(data) == 0.0:
            return 0.0
        y = run_forward(self.parts, data.x, training=True)
        if isinstance(self.loss, Loss):
            dy, loss = self.loss.gradient(y, data.y, data.weight)
        else:
            loss, dy = self.loss.forward(y, data.y, data.weight), self.loss.backward()
            dy = checks.as_float(dy, f"dy of {self.loss!r}", y.dtype.name, finite=False)
            if dy.shape != y.shape:
                raise ValueError(f"dy of {self.loss!r} has shape {dy.shape}; expected {y.shape}")
        run_backward(self.parts, dy, need_dx=False)
        return float(loss)

    def deltas(self) -> list[float]:
        """Norm of dL/du of each layer in the last ``compute``; NaN for layers in Python."""
        found: list[float] = []
        for part in self.parts:
            found += part.deltas() if isinstance(part, Segment) else [float("nan")]
        return found


def pair(net: Sequential, loss: Loss) -> str:
    """How the net's output goes with the loss.

    "fused": the loss takes the place of the output's activation; "plain": it takes the outputs as
    they are; "refused": they do not go together.
    """
    activation = net.output_activation
    if activation == "identity":
        return "plain"
    # a learnt or drawn slope is a rectifier to the loss
    name = "relu" if activation in ("prelu", "rrelu") else activation
    mode = _core.pair_mode(name, loss.name)
    return "plain" if mode == "chain" else mode


def _at(lr: Rate, i: int) -> float:
    return lr if isinstance(lr, float) else float(lr[i])


def mass_of(data: Data) -> float:
    """The weight of a minibatch."""
    return float(len(data)) if data.weight is None else float(data.weight.sum())
