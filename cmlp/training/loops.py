"""The two ways through the minibatches of an epoch: compiled, and step by step in Python.

Both take the samples in the same order, a function of the seed and the number of the epoch, move
the same cursor, and give the mean loss of each epoch they finish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _core, checks
from ..augment import Augment
from ..checks import Array
from ..layers import Layer
from ..layers.base import is_trainable, own_parameters
from ..layers.passes import run_backward, run_forward, run_predict
from ..layers.segment import Segment
from ..losses import Loss
from ..network import Sequential
from .data import Data
from .parts import compiled, in_core, pair
from .stream import Samples, Stream

Rate = float | NDArray[np.float64]


class Parts(Protocol):
    """What loops are made of; a `TrainState`."""

    net: Sequential
    loss: Any
    optimizer: Any
    schedule: Any
    n_threads: int | None
    seed: int
    augment: Augment | None

    @property
    def cursor(self) -> _core.Cursor: ...


class Loop(Protocol):
    """What training asks of either way."""

    batch_size: int

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
        """Epochs from the cursor on; their mean losses, and "done", "paused" or "diverged"."""

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        """One minibatch; its mean loss before the update, which is left out if that is none."""


def make_loop(parts: Parts, batch_size: int) -> Loop:
    """The compiled way where every part is built in, else the other one."""
    if compiled(parts.net, parts.loss) and in_core(parts.optimizer):
        return CompiledLoop(parts, batch_size)
    return PythonLoop(parts, batch_size)


def settings_of(parts: Parts) -> tuple[Any, ...]:
    """All that a loop depends on and that can change while the parts are the same objects."""
    running = parts.optimizer.state_for(parts.net) if in_core(parts.optimizer) else None
    layers = parts.net.layers
    return (
        parts.loss.spec() if in_core(parts.loss) else None,
        id(running),
        tuple(id(core) for la in layers if isinstance(la, Layer) for core in la.cores),
        tuple(getattr(layer, "trainable", True) for layer in layers),
    )


class CompiledLoop:
    """Whole epochs in the core."""

    def __init__(self, parts: Parts, batch_size: int) -> None:
        self.batch_size = batch_size
        self.optimizer, self.seed = parts.optimizer, parts.seed
        self.running = parts.optimizer.state_for(parts.net)
        self.plan = _core.Plan(
            self.running.cores,
            batch_size,
            parts.loss.spec(),
            self.running.core,
            n_threads=parts.n_threads,
            seed=parts.seed,
        )
        if parts.augment is not None:
            self.plan.augment(**parts.augment.options())
        self.plan.cursor = parts.cursor

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
        self.running.set_options(self.optimizer.options_for(data.unit))
        if isinstance(data, Stream):
            return self._run_epoch(data, shuffle, lr, momentum, max_steps, pause)
        losses, status = self.plan.fit(
            data.x, data.y, data.weight, epochs, shuffle, lr, momentum, max_steps, pause=pause
        )
        return losses.tolist(), status

    def _run_epoch(
        self,
        data: Stream,
        shuffle: bool,
        lr: Rate,
        momentum: Array | None,
        max_steps: int | None,
        pause: _core.Pause | None,
    ) -> tuple[list[float], str]:
        """The rest of an epoch, window after window."""
        cursor = self.plan.cursor
        begun, epoch = cursor.step_count, cursor.epoch
        while True:
            done = cursor.step_count - begun
            if done == max_steps or (done and pause is not None and pause.is_asked):
                return [], "paused"
            row = cursor.step_in_epoch * self.batch_size
            window = data.window(epoch, row, self.batch_size, shuffle, self.seed)
            part = window.data
            losses, status = self.plan.fit(
                part.x, part.y, part.weight, 1, False,
                lr if isinstance(lr, float) else lr[done:],
                None if momentum is None else momentum[done:],
                None if max_steps is None else max_steps - done,
                window.order[np.newaxis], (window.first, len(data)), pause,
            )  # fmt: skip
            if status != "paused":
                return losses.tolist(), status

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        self.running.set_options(self.optimizer.options_for(data.unit))
        return self.plan.step(data.x, data.y, data.weight, lr, momentum)


class PythonLoop:
    """Minibatch by minibatch through forward, loss, backward and the optimizer's step."""

    def __init__(self, parts: Parts, batch_size: int) -> None:
        self.net, self.optimizer, self.batch_size = parts.net, parts.optimizer, batch_size
        self.seed, self.cursor = parts.seed, parts.cursor
        self.scheduled = parts.schedule is not None
        self.gradients = Gradients(parts, batch_size, parts.augment)

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
        losses: list[float] = []
        cursor, done = self.cursor, 0
        for _ in range(epochs):
            minibatch = self._minibatches(data, shuffle)
            for start in range(cursor.step_in_epoch * self.batch_size, len(data), self.batch_size):
                if done == max_steps or (done and pause is not None and pause.is_asked):
                    return losses, "paused"
                part = minibatch(start)
                first = cursor.step_in_epoch == 0 or cursor.good is None
                before = self.net.get_flat() if first else None
                loss = self.step(part, _at(lr, done), None if momentum is None else momentum[done])
                if not isfinite(loss):
                    self._put_back()
                    return losses, "diverged"
                if first:
                    cursor.good = before
                self._count(part, loss)
                done += 1
            losses.append(self._end_epoch(len(data)))
        # No loss has judged the last update.
        if not np.isfinite(self.net.get_flat()).all():
            self._put_back()
            return losses, "diverged"
        return losses, "done"

    def _minibatches(self, data: Samples, shuffle: bool) -> Callable[[int], Data]:
        """What gives the minibatch of the epoch under way that begins with some sample."""
        if isinstance(data, Stream):
            return partial(self._from_window, data, shuffle)
        order, size = self.order_of(len(data), shuffle), self.batch_size
        return lambda start: data.take(order[start : start + size])

    def _from_window(self, data: Stream, shuffle: bool, start: int) -> Data:
        size = self.batch_size
        window = data.window(self.cursor.epoch, start, size, shuffle, self.seed)
        return window.data.take(window.order[start - window.first :][:size])

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        loss = self.gradients.compute(data, self.cursor.step_count + 1)
        if isfinite(loss):
            self._update(data, lr, momentum)
            self.cursor.step_count += 1
        return loss

    def _put_back(self) -> None:
        """Go back to the last good parameters."""
        good = self.cursor.good
        if good is not None:
            self.net.set_flat(good)

    def _update(self, data: Data, lr: float, momentum: float | None) -> None:
        optimizer = self.optimizer
        if in_core(optimizer):
            running = optimizer.state_for(self.net)
            optimizer.apply(self.net, running, lr, momentum, len(data), data.unit)
            return
        with keeping_frozen(self.net):
            if self.scheduled and hasattr(optimizer, "lr"):
                base = optimizer.lr
                optimizer.lr = lr
                try:
                    optimizer.step(self.net)
                finally:
                    optimizer.lr = base  # from which the next rates are computed
            else:
                optimizer.step(self.net)

    def _count(self, data: Data, loss: float) -> None:
        self.cursor.step_in_epoch += 1
        self.cursor.loss_sum += loss * len(data)

    def _end_epoch(self, n: int) -> float:
        """Move the cursor to the next epoch; the mean loss of the one that ends, of n samples."""
        cursor = self.cursor
        loss = cursor.loss_sum / n
        cursor.epoch, cursor.step_in_epoch, cursor.loss_sum = cursor.epoch + 1, 0, 0.0
        return loss

    def order_of(self, n: int, shuffle: bool) -> Array:
        """The order of ``n`` samples in the epoch under way."""
        if not shuffle:
            return np.arange(n)
        return _core.permutation(n, self.seed, self.cursor.epoch)


@contextmanager
def keeping_frozen(net: Sequential) -> Iterator[None]:
    """Put frozen parameters back, whatever an optimizer that does not ask for them did."""
    frozen = [layer for layer in net.layers if not is_trainable(layer)]
    before = [{k: np.array(a) for k, a in own_parameters(layer).items()} for layer in frozen]
    yield
    for layer, values in zip(frozen, before, strict=True):
        if isinstance(layer, Layer):
            for name, value in values.items():
                layer.built().set(name, value)
        else:
            for name, a in own_parameters(layer).items():
                a[...] = values[name]


def begin_epoch(cursor: _core.Cursor, epoch: int) -> None:
    """Move a cursor to an epoch with which training begins anew."""
    cursor.epoch, cursor.step_in_epoch = epoch, 0
    cursor.loss_sum, cursor.good = 0.0, None


class Gradients:
    """Loss and gradients of samples, left in the layers, without an update.

    A built-in loss on logits meets them even where the net ends with the loss's activation.  With
    ``augment`` samples are images, of which the net takes random views.
    """

    def __init__(self, parts: Parts, batch_size: int, augment: Augment | None = None) -> None:
        self.augment = augment
        self.loss, self.seed, self.in_core = parts.loss, parts.seed, in_core(parts.loss)
        self.parts = parts.net.split(
            n_threads=parts.n_threads,
            seed=parts.seed,
            rows=batch_size,
            without_output=isinstance(self.loss, Loss) and pair(parts.net, self.loss) == "fused",
        )

    def outputs(self, x: Array) -> Array:
        """What the loss takes, as in prediction."""
        return run_predict(self.parts, x)

    def value(self, y: Array, data: Data) -> float:
        """The mean loss of such outputs."""
        if self.in_core:
            return _core.loss_value(self.loss.name, self.loss.param, y, data.y, data.weight)
        return float(self.loss.forward(y, data.y, data.weight))

    def compute(self, data: Data, draw: int = 0) -> float:
        """The mean loss.

        ``draw`` is the number by which dropout and views are drawn, in compiled training that of
        the step.
        """
        x = data.x if self.augment is None else self.augment.views(data.x, self.seed, draw)
        y = run_forward(self.parts, x, True, draw)
        loss, dy = loss_and_dy(self.loss, y, data)
        run_backward(self.parts, dy, need_dx=False)
        return loss

    def deltas(self) -> list[float]:
        """Norm of dL/du of each layer in the last ``compute``; NaN for layers in Python."""
        found: list[float] = []
        for part in self.parts:
            found += part.deltas() if isinstance(part, Segment) else [float("nan")]
        return found


def loss_and_dy(loss: Any, y: Array, data: Data) -> tuple[float, Array]:
    """The mean loss of outputs, logits where the loss takes them, and its gradient by them."""
    if in_core(loss):
        dy, value = loss.gradient(y, data.y, data.weight)
        return float(value), dy
    value, dy = loss.forward(y, data.y, data.weight), loss.backward()
    dy = checks.as_float(dy, f"dy of {loss!r}", y.dtype.name, finite=False)
    if dy.shape != y.shape:
        raise ValueError(f"dy of {loss!r} has shape {dy.shape}; expected {y.shape}")
    return float(value), dy


def _at(lr: Rate, i: int) -> float:
    return lr if isinstance(lr, float) else float(lr[i])
