"""`Snapshot`: a training as it stood between two steps, and what its net makes of samples."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from ..checks import Array
from ..layers import Layer
from ..layers.base import own_gradients, own_parameters
from ..layers.chain import shapes_of
from ..layers.passes import InPython, Part, run_backward, run_forward
from ..layers.segment import Segment
from ..layers.shapes import shaped
from ..losses import Loss
from ..network import Sequential
from ..schedules import EpochSchedule
from . import data
from .history import History, Row
from .loops import loss_and_dy
from .parts import pair
from .trainer import Trainer

__all__ = ["Snapshot"]

Parameters = tuple[dict[str, Array], ...]


@dataclass(frozen=True)
class State:
    """All that decides how a training goes on, as `Session.restore` puts it back.

    Attributes
    ----------
    owner : object
        The session that it is of.
    weights : ndarray of shape (n_parameters,)
    slots : dict, or None for an optimizer of the user's own
    optimizer_steps : int
    cursor : _core.Cursor
    history, n_rows
        The history and how many of its rows there were; rows are only ever added to it.
    loss, optimizer, lr, batch_size
        The settings.
    schedule : dict or None
        State of a schedule that follows a loss.
    """

    owner: object
    weights: Array
    slots: dict[str, Array] | None
    optimizer_steps: int
    cursor: _core.Cursor
    history: History
    n_rows: int
    loss: Any
    optimizer: Any
    lr: float | None
    batch_size: int
    schedule: dict[str, Any] | None

    @classmethod
    def of(cls, trainer: Trainer, owner: object, batch_size: int) -> State:
        """Where a trainer stands now; what changes later is copied."""
        weights, running, schedule = trainer.net.get_flat(), trainer.running, trainer.schedule
        weights.flags.writeable = False
        cursor, history = trainer.cursor, trainer.history
        return cls(
            owner,
            weights,
            None if running is None else running.get_slots(),
            0 if running is None else running.step_count,
            copy(cursor),
            history,
            len(history),
            trainer.loss,
            trainer.optimizer,
            getattr(trainer.optimizer, "lr", None),
            batch_size,
            schedule.state() if isinstance(schedule, EpochSchedule) else None,
        )


@dataclass(frozen=True)
class Backward:
    """Gradients of the mean loss on some samples.

    Attributes
    ----------
    loss : float
        The mean loss on them.
    dx : ndarray of the shape of the inputs
        Its gradient by the inputs, standardised where the net does that.
    dy : tuple of ndarray
        By the outputs of each layer; of a last layer whose activation belongs to the loss
        (softmax under cross-entropy) by its logits.
    parameters : tuple of dict
        By the parameters of each layer, by name.
    """

    loss: float
    dx: Array
    dy: tuple[Array, ...]
    parameters: Parameters


class Probe:
    """A copy of a training's net, which works on snapshots in the threads that ask for it.

    Parameters
    ----------
    trainer : Trainer
    """

    def __init__(self, trainer: Trainer) -> None:
        net, loss = trainer.net.copy(), deepcopy(trainer.loss)
        # One thread: what is shown of a training is not to take processors from it.
        net.n_threads = 1
        self._trainer = Trainer(net, loss, n_threads=1)
        self._lock = threading.Lock()
        self._shapes = [{name: a.shape for name, a in _own(la).items()} for la in net.layers]
        fused = isinstance(loss, Loss) and pair(net, loss) == "fused"
        self._outer = shapes_of(net.layers, net.in_shape)
        self._parts = [
            Segment([layer]) if isinstance(layer, Layer) else InPython(layer, before, behind)
            for layer, (before, behind) in zip(net.layers, pairwise(self._outer), strict=True)
        ]
        # the same up to what the loss takes, which are logits where it stands for the activation
        self._to_loss = self._parts[:-1] + _last(net.layers[-1]) if fused else self._parts

    @contextmanager
    def at(self, weights: Array) -> Iterator[Trainer]:
        """A trainer whose net has these weights, for one thread at a time."""
        with self._lock:
            self._trainer.net.set_flat(weights)
            yield self._trainer

    def parameters(self, weights: Array) -> Parameters:
        """A flat vector as arrays by layer and name, not copied."""
        found, start = [], 0
        for shapes in self._shapes:
            own = {}
            for name, shape in shapes.items():
                n = 1
                for length in shape:
                    n *= length
                own[name] = weights[start : start + n].reshape(shape)
                start += n
            found.append(own)
        return tuple(found)

    def rows(self, x: ArrayLike) -> Array:
        """Samples as the layers take them."""
        net = self._trainer.net
        return net.preprocessing.rows(x, "inputs", net.dtype, net.in_shape)

    def activations(self, weights: Array, rows: Array) -> tuple[Array, ...]:
        """Outputs of each layer, as in prediction."""
        with self.at(weights):
            return self._shaped(_outputs(self._parts, rows))

    def _shaped(self, rows: Sequence[Array]) -> tuple[Array, ...]:
        """What belongs to the outputs of each layer, in their shapes."""
        return tuple(shaped(a, shape) for a, shape in zip(rows, self._outer[1:], strict=True))

    def backward(self, weights: Array, x: ArrayLike, targets: ArrayLike) -> Backward:
        """Gradients of the mean loss on some samples, nothing dropped."""
        with self.at(weights) as trainer:
            net, loss = trainer.net, trainer.loss
            samples = data.check(net, loss, net.classes, x, targets, None, "inputs and targets: ")
            y = _outputs(self._to_loss, samples.x)
            value, d = loss_and_dy(loss, y[-1] if y else samples.x, samples)
            dy = [d] * (len(self._parts) - len(self._to_loss))
            for part in reversed(self._to_loss):
                dy.append(d)
                d = run_backward([part], d, need_dx=True)
            gradients = tuple(
                {name: np.array(a) for name, a in _gradients(la).items()} for la in net.layers
            )
            dx = shaped(d, self._outer[0])
            return Backward(value, dx, self._shaped(dy[::-1]), gradients)


@dataclass(frozen=True)
class Snapshot:
    """A training as it stood between two steps; nothing in it changes any more.

    Attributes
    ----------
    step, epoch : int
        Steps and whole epochs so far.
    loss : float
        Mean loss of the minibatches in the epoch under way, before each one's update; where it has
        just begun, that of the last epoch, NaN before the first step of all.
    validation : dict
        Loss and metrics on the validation data after the last epoch; empty without such data.
    parameters : tuple of dict
        For each layer its parameters by name; read-only.
    inputs : ndarray of shape (batch, n_in) or (batch, channels, height, width), or None
        The samples asked for, as the layers take them.
    activations : tuple of ndarray, or None
        The outputs of each layer for them, as in prediction.
    backward : Backward or None
        Gradients of the mean loss on them, where targets were given.
    state : State
        What `Session.restore` needs.
    """

    step: int
    epoch: int
    loss: float
    validation: Row
    parameters: Parameters = field(repr=False)
    inputs: Array | None = field(repr=False)
    activations: tuple[Array, ...] | None = field(repr=False)
    backward: Backward | None = field(repr=False)
    state: State = field(repr=False)
    probe: Probe = field(repr=False)

    def predict(self, x: ArrayLike) -> Array:
        """Outputs of the net for some samples; see `Sequential.predict`."""
        with self.probe.at(self.state.weights) as trainer:
            return trainer.net.predict(x)

    def evaluate(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Loss and metrics of the net on some samples; see `Trainer.evaluate`."""
        with self.probe.at(self.state.weights) as trainer:
            return trainer.evaluate(x, y, sample_weight)

    def to_net(self) -> Sequential:
        """The net, as one that shares nothing with the training: to be saved, or used elsewhere."""
        with self.probe.at(self.state.weights) as trainer:
            return trainer.net.copy()


def _last(layer: Any) -> list[Any]:
    """The last layer without its activation, nothing where it is one."""
    return [Segment([layer], without_output=True)] if len(layer.cores) > 1 else []


def _own(layer: Any) -> dict[str, Array]:
    return layer.parameters() if isinstance(layer, Layer) else own_parameters(layer)


def _gradients(layer: Any) -> dict[str, Array]:
    return layer.gradients() if isinstance(layer, Layer) else own_gradients(layer)


def _outputs(parts: Sequence[Part], x: Array) -> list[Array]:
    """Outputs of one part after the other, as in prediction."""
    found: list[Array] = []
    for part in parts:
        found.append(run_forward([part], found[-1] if found else x, False))
    return found
