"""One training as the page shows it: settings, net, pictures, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import datasets, losses
from ..checks import Array
from ..errors import DivergenceError
from ..initializers import Constant
from ..layers import Dense, Dropout
from ..network import Sequential
from ..optimizers import SGD, Adam, Optimizer, RMSprop
from ..training import Session, Snapshot, Trainer
from .points import HALF_WIDTH, Points, targets
from .settings import ACTIVATIONS, FEATURES, Settings

__all__ = ["CHANGEABLE", "DENSITY", "THINNED", "Change", "Experiment", "make_optimizer"]

DENSITY = 100
"""Points along a side of the large map."""

THINNED = 4
"""Every so many of them are in the small maps of the units."""

CHANGEABLE = ("learningRate", "momentum", "regularizationRate", "batchSize")
"""Settings that take effect without a new start."""

_MOST_KEPT = 400
_FILES = {"model": "net.safetensors", "onnx": "net.onnx", "c": "net.c"}


@dataclass(frozen=True)
class Change:
    """What was changed by hand during the training, after some epochs: a call of the session."""

    epoch: int
    call: str
    steps: int  # of an epoch from then on


@dataclass(frozen=True)
class _Kept:
    """A place to go back to."""

    epoch: int
    snapshot: Snapshot
    settings: Settings
    steps: int  # of an epoch
    after_change: bool


def uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """The initial weights of the original, U(-0.5, 0.5)."""
    return rng.uniform(-0.5, 0.5, shape)


class Experiment:
    """A net that is trained on points as the settings say.

    Parameters
    ----------
    settings : Settings
    points : Points

    Attributes
    ----------
    settings : Settings
        As they are now.
    begun_with : Settings
        As they were at the beginning.
    points : Points
    changes : list of Change
    first_steps : int
        Steps of an epoch, at the beginning.
    look : (layer, unit) or None
        The unit in the large map, of layer 0, 1, ...; None is the output.
    """

    def __init__(self, settings: Settings, points: Points) -> None:
        self.settings = self.begun_with = settings
        self.points = points
        self.changes: list[Change] = []
        self.look: tuple[int, int] | None = None
        self._names = [FEATURES[name] for name in settings.features]
        self._trainer = make_trainer(settings)
        net = self._trainer.net
        self._dense = [i for i, layer in enumerate(net.layers) if isinstance(layer, Dense)]
        self._loss = make_loss(settings)  # of its own: the trainer's is the training's
        self._y = [self._targets(y) for y in (points.y, points.y_test)]
        self._x = [datasets.features_2d(x, self._names) for x in (points.x, points.x_test)]
        self._inputs = np.concatenate([datasets.features_2d(_grid(), self._names), *self._x])
        textbook = settings.mode == "textbook"
        x, y, weights, size = self._x[0], self._y[0], None, settings.batchSize
        if not textbook:
            x, y, weights, size = carried(x, y, size)
        self._steps = math.ceil(len(x) / size)
        self.first_steps = self._steps
        self._session = Session(
            self._trainer, x, y, batch_size=size, shuffle=textbook, sample_weight=weights
        )
        self._kept: list[_Kept] = []
        self._keep()

    def _targets(self, y: Array) -> Array:
        """Targets as the loss wants them."""
        if not has_tanh_output(self.settings):
            return y
        return targets(y, True).astype(np.float32)

    @property
    def epoch(self) -> int:
        """Epochs so far."""
        return int(self._session.epoch)

    # ---- training ----

    def advance(self, epochs: int, stop_loss: float | None = None) -> str | None:
        """Train on for some epochs.

        Parameters
        ----------
        epochs : int
        stop_loss : float, optional
            Stop after the first epoch with a test loss of this or less.

        Returns
        -------
        str or None
            Why it stopped before: "loss", or what is to be said of a loss that diverged.
        """
        stopped = None
        try:
            if stop_loss is None:
                self._session.advance(epochs * self._steps)
            else:
                stopped = self._advance_to_loss(epochs, stop_loss)
        except DivergenceError as error:
            stopped = str(error)
        self._keep()
        return stopped

    def _advance_to_loss(self, epochs: int, stop_loss: float) -> str | None:
        for _ in range(epochs):
            self._session.advance(self._steps)
            if self._trainer.evaluate(self._x[1], self._y[1])["loss"] <= stop_loss:
                return "loss"
        return None

    def change(self, settings: Settings) -> bool:
        """Take over other settings, from the next step on.

        Returns
        -------
        bool
            False, and nothing is done, where they need a new start.
        """
        new = {name: getattr(settings, name) for name in CHANGEABLE}
        if settings.mode == "original":
            del new["batchSize"]  # on which the order of its samples depends
        if replace(self.settings, **new) != settings:
            return False
        changed = {k: v for k, v in new.items() if v != getattr(self.settings, k)}
        self.settings = settings
        if settings.mode == "textbook":
            self._steps = math.ceil(len(self._x[0]) / settings.batchSize)
        names = _names_in_session(settings)
        values = {names[k]: value for k, value in changed.items() if k in names}
        if values:
            self._session.set(**values)
            given = ", ".join(f"{name}={value!r}" for name, value in values.items())
            self._note(f"set({given})")
        return True

    def edit(self, layer: int, part: str, index: tuple[int, ...], value: float) -> None:
        """Change one weight or bias.

        Parameters
        ----------
        layer : int
            Of the hidden layers and the output, from 0.
        part : {"weight", "bias"}
        index : tuple of int
            (unit, input) of a weight, (unit,) of a bias.
        value : float
        """
        if not 0 <= layer < len(self._dense):
            raise ValueError(f"layer is {layer}; expected 0 to {len(self._dense) - 1}")
        place = self._dense[layer]
        self._session.edit(place, part, index, value)
        self._note(f"edit({place}, {part!r}, {index}, {value!r})")

    def _note(self, call: str) -> None:
        """Note a change that was made by hand."""
        self.changes.append(Change(self.epoch, call, self._steps))
        self._keep(after_change=True)

    def close(self) -> None:
        """End the training."""
        self._session.close()

    # ---- the way back ----

    def _keep(self, after_change: bool = False) -> None:
        """Keep this place; of many, every second one goes, but for those behind a change."""
        here = _Kept(self.epoch, self._session.snapshot(), self.settings, self._steps, after_change)
        while self._kept and self._kept[-1].epoch >= here.epoch:
            here = replace(here, after_change=here.after_change or self._kept[-1].after_change)
            self._kept.pop()
        self._kept.append(here)
        if len(self._kept) > _MOST_KEPT:
            first, *others, last = self._kept
            thinned = [kept for i, kept in enumerate(others) if i % 2 or kept.after_change]
            self._kept = [first, *thinned[-_MOST_KEPT:], last]

    def back(self) -> None:
        """Go back to the place before this one."""
        earlier = [kept.epoch for kept in self._kept if kept.epoch < self.epoch]
        if earlier:
            self.go_to(earlier[-1])

    def go_to(self, epoch: int) -> None:
        """Go back to how it was after an epoch; what was changed by hand later is forgotten."""
        if not 0 <= epoch <= self.epoch:
            raise ValueError(f"epoch is {epoch}; expected 0 to {self.epoch}")
        while self._kept[-1].epoch > epoch:
            self._kept.pop()
        kept = self._kept[-1]
        self._session.restore(kept.snapshot)
        self.changes = [change for change in self.changes if change.epoch <= kept.epoch]
        self.settings, self._steps = kept.settings, kept.steps
        if epoch > kept.epoch:
            self.advance(epoch - kept.epoch)

    # ---- what is shown ----

    def picture(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """How it stands: numbers, and arrays by their names.  May be asked for while it trains.

        Returns
        -------
        header : dict
            "epoch"; "train" and "test" with loss, accuracy and counts [[class 0 taken for 0,
            for 1], [class 1 taken for 0, for 1]]; "look".
        parts : dict
            "map" (float32) is the large one, of the output or the unit looked at, row by row from
            the top; "units" (int8) the small ones of all hidden units, -1 to 1 in 127 steps;
            "output" (int8) that of the output; "parameters" (float32) weight and bias of each
            layer, row by row.
        """
        snapshot = self._session.snapshot(self._inputs)
        assert snapshot.activations is not None  # as there were inputs
        shown = [snapshot.activations[i] for i in self._dense]
        n_map = DENSITY * DENSITY
        output, n_train = shown[-1][n_map:], len(self._x[0])
        train, test = output[:n_train], output[n_train:]
        values = self._colours(shown[-1][:n_map])
        looked_at = values if self.look is None else shown[self.look[0]][:n_map, self.look[1]]
        hidden = [layer[:n_map] for layer in shown[:-1]]
        units = [_small(layer).T for layer in hidden] or [np.empty((0, 0), np.int8)]
        header = {
            "is": "frame",
            "epoch": snapshot.epoch,
            "train": self._scores(train, self._y[0]),
            "test": self._scores(test, self._y[1]),
            "look": self.look,
        }
        parts = {
            "map": np.ascontiguousarray(looked_at, np.float32),
            "units": np.concatenate([part.reshape(-1) for part in units]),
            "output": _small(values[:, np.newaxis]),
            "parameters": _flat([snapshot.parameters[i] for i in self._dense]),
        }
        return header, parts

    def _colours(self, output: Array) -> Array:
        """The output (n, 1) from -1 to 1: of logits 2 p - 1 = tanh(u / 2)."""
        column: Array = output[:, 0]
        cross_entropy = self.settings.classifies and not has_tanh_output(self.settings)
        return np.tanh(column / 2) if cross_entropy else column

    def _scores(self, output: Array, y: Array) -> dict[str, Any]:
        """Loss, accuracy and counts of outputs and targets."""
        loss = self._loss.forward(output, y)
        found: dict[str, Any] = {"loss": loss if math.isfinite(loss) else None}
        if self.settings.classifies:
            right, given = y > 0, output[:, 0] > 0
            rows = [[int((given[right == t] == g).sum()) for g in (0, 1)] for t in (0, 1)]
            found["counts"] = rows
            found["accuracy"] = (rows[0][0] + rows[1][1]) / len(y)
        return found

    def look_at(self, unit: list[int] | None) -> None:
        """Put a unit into the large map: (layer, unit), or None for the output."""
        shape = self.settings.networkShape
        if unit is not None:
            layer, place = unit
            if not (0 <= layer < len(shape) and 0 <= place < shape[layer]):
                raise ValueError(f"unit is {unit}; expected one of the hidden layers {list(shape)}")
        self.look = None if unit is None else (unit[0], unit[1])

    def file(self, kind: str) -> tuple[str, bytes]:
        """The net as a file of some kind: its name and content."""
        name = _FILES[kind]
        net = self._trainer.net
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            {"model": net.save, "onnx": net.to_onnx, "c": net.to_c}[kind](path)
            return name, path.read_bytes()


# ---- what it is made of ----------------------------------------------------------------------


def has_tanh_output(settings: Settings) -> bool:
    """Whether the net ends in tanh, for targets of -1 and 1."""
    return settings.classifies and settings.loss == "squared"


def carried(x: Array, y: Array, batch_size: int) -> tuple[Array, Array, Array | None, int]:
    """Samples as the original takes them: those left over go into the next minibatch.

    Its minibatches end at every ``batch_size``-th sample of an epoch, so that the first of an epoch
    has the rest of the one before, too.  Here that is so in the first epoch already.

    Parameters
    ----------
    x, y : ndarray
        Samples in their order.
    batch_size : int

    Returns
    -------
    x, y : ndarray
        As many rows in each minibatch: some are there again, with the weight 0.
    weights : ndarray, or None where nothing is left over
    batch_size : int
    """
    n = len(x)
    size = min(batch_size, n)
    rest = n % size
    if not rest:
        return x, y, None, size
    rows = np.arange(n - rest).reshape(-1, size)
    more = np.tile(np.arange(n - rest, n), (len(rows), 1))
    order = np.concatenate([rows, more], axis=1).ravel()
    # The losses of a minibatch are divided by all its rows.
    weights = np.zeros((len(rows), size + rest), np.float32)
    weights[:, :size] = (size + rest) / size
    weights[0] = 1
    return x[order], y[order], weights.ravel(), size + rest


def make_layers(settings: Settings) -> list[Any]:
    """The layers of the net."""
    original = settings.mode == "original"
    start: dict[str, Any] = {"weight_init": uniform, "bias_init": Constant(0.1)} if original else {}
    n_in, made = len(settings.features), list[Any]()
    for width, name in zip(settings.networkShape, settings.activations, strict=True):
        made.append(Dense(n_in, width, ACTIVATIONS[name], **start))
        if settings.dropout:
            made.append(Dropout(settings.dropout))
        n_in = width
    made.append(Dense(n_in, 1, "tanh" if has_tanh_output(settings) else "identity", **start))
    return made


def make_loss(settings: Settings) -> losses.Loss:
    """The loss that is made small."""
    if settings.classifies and settings.loss == "cross-entropy":
        return losses.BinaryCrossEntropy()
    return losses.SquaredError()


def make_optimizer(settings: Settings) -> Optimizer:
    """The optimizer with its settings."""
    rate = settings.regularizationRate
    decay: dict[str, Any] = {"L1": {"l1": rate}, "L2": {"weight_decay": rate}}.get(
        settings.regularization, {}
    )
    lr, momentum = settings.learningRate, settings.momentum
    if settings.optimizer == "adam":
        return Adam(lr, **decay)
    if settings.optimizer == "rmsprop":
        return RMSprop(lr, momentum=momentum, **decay)
    return SGD(lr, momentum, **decay)


def _names_in_session(settings: Settings) -> dict[str, str]:
    """What `Session.set` calls the settings that have an effect."""
    names = {"learningRate": "learning_rate", "batchSize": "batch_size"}
    if settings.optimizer != "adam":
        names["momentum"] = "momentum"
    if settings.regularization != "none":
        names["regularizationRate"] = "l1" if settings.regularization == "L1" else "decay"
    return names


def make_trainer(settings: Settings) -> Trainer:
    """A new net and what trains it."""
    net = Sequential(*make_layers(settings), seed=settings.net_seed, n_threads=1)
    if settings.initZero:
        net.set_flat(np.zeros(net.n_parameters))
    return Trainer(net, make_loss(settings), make_optimizer(settings), n_threads=1)


# ---- maps ------------------------------------------------------------------------------------


def _grid() -> Array:
    """Points of the large map, row by row from the top: the middles of its pixels."""
    line = (np.arange(DENSITY, dtype=np.float32) + 0.5) * (2 * HALF_WIDTH / DENSITY) - HALF_WIDTH
    x1, x2 = np.meshgrid(line, line[::-1])
    return np.column_stack([x1.ravel(), x2.ravel()]).astype(np.float32)


def _small(values: Array) -> Array:
    """Columns over the large map (n, k) as those over the small one, in 127 steps to -1 and 1."""
    maps = values.reshape(DENSITY, DENSITY, -1)[THINNED // 2 :: THINNED, THINNED // 2 :: THINNED]
    steps: Array = np.clip(maps * 127, -127, 127).astype(np.int8)
    return steps.reshape(-1, steps.shape[-1])


def _flat(layers: list[dict[str, Array]]) -> Array:
    """Parameters of layers one after the other."""
    parts = [layer[name].ravel() for layer in layers for name in ("weight", "bias")]
    return np.concatenate(parts)
