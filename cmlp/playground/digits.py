"""A training on handwritten digits as the page shows it: settings, net, pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Self

import numpy as np

from .. import checks, datasets
from ..checks import Array
from ..datasets.dataset import Dataset
from ..export.files import load
from ..losses import SoftmaxCrossEntropy
from ..network import Sequential
from ..optimizers import SGD, Adadelta, Adam, Optimizer
from ..training import Session, Snapshot, Trainer
from .nets import Plan, nets_for, read_net

__all__ = ["Digits", "DigitsSettings", "open_set"]

SETS = ("digits", "mnist")
OPTIMIZERS = ("sgd", "adam", "adadelta")

_MOST_SHOWN = 32  # planes of a layer, and units' weights
_MOST_UNITS = 1024  # numbers of a layer without planes
_SCORED = 400  # test images that each frame is scored on
_FILES = {"model": "net.safetensors", "onnx": "net.onnx", "c": "net.c"}


@dataclass(frozen=True)
class DigitsSettings:
    """What the page's controls stand at.

    Attributes
    ----------
    set : {"digits", "mnist"}
    net : str
        A text, see `nets.read_net`, or the name of one that the page offers.
    optimizer : {"sgd", "adam", "adadelta"}
    learningRate, momentum, decay : float
    batchSize, seed : int
    """

    set: str
    net: str
    optimizer: str
    learningRate: float  # as in the page
    momentum: float
    decay: float
    batchSize: int
    seed: int

    @classmethod
    def read(cls, values: Any) -> Self:
        """Settings from a message, checked."""
        if not isinstance(values, Mapping):
            raise TypeError(f"settings is {type(values).__name__}; expected an object")
        missing = [name for name in cls.__annotations__ if name not in values]
        if missing:
            raise ValueError(f"settings has no {missing[0]}")
        return cls(
            checks.choice(values["set"], "set", SETS),
            values["net"],
            checks.choice(values["optimizer"], "optimizer", OPTIMIZERS),
            checks.number(values["learningRate"], "learningRate", 0.0, 100.0),
            checks.number(values["momentum"], "momentum", 0.0, 1.0, open_high=True),
            checks.number(values["decay"], "decay", 0.0, 10.0),
            checks.positive_int(values["batchSize"], "batchSize", bits=16),
            checks.seed(values["seed"]),
        )


def open_set(name: str, folder: Path | None) -> Dataset:
    """The digits that ship with the package, or MNIST from a folder."""
    if name == "digits":
        return datasets.digits()
    if folder is None:
        raise ValueError("there is no folder with MNIST; start cmlp playground --mnist FOLDER")
    try:
        return datasets.mnist(folder)
    except OSError as error:
        raise ValueError(f"MNIST: {error}") from None


class Digits:
    """A net that is trained on handwritten digits as the settings say.

    Parameters
    ----------
    settings : DigitsSettings
    dataset : Dataset
    net : Sequential, optional
        One that was saved; a new one by the settings if None.

    Attributes
    ----------
    settings : DigitsSettings
        As they are now.
    side : int
        Of the images.
    test, labels : ndarray
        The test images, rows of pixels, and what they show.
    plan : Plan or None
        What the text of the net says; None for one that was loaded.
    session : Session
    """

    def __init__(
        self, settings: DigitsSettings, dataset: Dataset, net: Sequential | None = None
    ) -> None:
        assert dataset.image_shape is not None  # sets of images have one
        self.settings, self.side = settings, dataset.image_shape[0]
        x, y, self.test, self.labels = dataset.split()
        shape = (1, *dataset.image_shape)
        self.plan: Plan | None = None
        if net is None:
            self.settings = settings = self._with_text(settings)
            self.plan = read_net(settings.net, shape)
            net = self.plan.build(settings.seed)
        elif net.n_in != self.test.shape[1] or net.n_out != 10:
            raise ValueError(
                f"the net takes {net.n_in} numbers and gives {net.n_out}; expected "
                f"{self.test.shape[1]}, the pixels of an image, and 10"
            )
        self._planes = net.in_shape is not None and len(net.in_shape) == 3
        trainer = Trainer(net, SoftmaxCrossEntropy(), make_optimizer(settings), seed=settings.seed)
        self.session = Session(
            trainer,
            self.inputs(x),
            y,
            batch_size=settings.batchSize,
            validation=(self.inputs(self.test), self.labels),
        )
        self._n_steps = math.ceil(len(x) / settings.batchSize)
        self._n_samples = len(x)
        self._seen = (0, perf_counter())  # step and time of the last frame

    def inputs(self, pixels: Array) -> Array:
        """Images as the net takes them."""
        return pixels.reshape(-1, 1, self.side, self.side) if self._planes else pixels

    def _with_text(self, settings: DigitsSettings) -> DigitsSettings:
        """The same with the text of a net in place of its name."""
        net = settings.net
        return replace(
            settings, net=nets_for(self.side).get(net, net) if isinstance(net, str) else net
        )

    # ---- training ----

    def change(self, settings: DigitsSettings) -> bool:
        """Take over other settings from the next step on; False where they need a new start."""
        now, settings = self.settings, self._with_text(settings)
        open_ones = ("learningRate", "momentum", "decay", "batchSize")
        if replace(now, **{name: getattr(settings, name) for name in open_ones}) != settings:
            return False
        if settings.optimizer != "sgd" and settings.momentum != now.momentum:
            return False
        names = {"learningRate": "learning_rate", "batchSize": "batch_size"}
        changed = {
            names.get(name, name): getattr(settings, name)
            for name in open_ones
            if getattr(settings, name) != getattr(now, name)
        }
        self.session.set(**changed)
        self.settings = settings
        self._n_steps = math.ceil(self._n_samples / settings.batchSize)
        return True

    def close(self) -> None:
        """End the training."""
        self.session.close()

    # ---- what is shown ----

    def about(self) -> dict[str, Any]:
        """What a page has to know of it."""
        net = self.session.trainer.net
        lines = [repr(layer) for layer in net.layers] if self.plan is None else self.plan.lines
        snapshot = self.session.snapshot(self.inputs(self.test[:1]))
        assert snapshot.activations is not None  # as there were inputs
        return {
            "settings": asdict(self.settings),
            "side": self.side,
            "layers": [
                {"line": line, "shape": list(a.shape[1:]), "weights": _count(own)}
                for line, a, own in zip(
                    lines, snapshot.activations, snapshot.parameters, strict=True
                )
            ],
            "weights": net.n_parameters,
            "samples": self._n_samples,
            "tests": len(self.test),
            "nets": nets_for(self.side),
        }

    def tests(self, places: Array) -> dict[str, Array]:
        """Some test images and their labels, for a page."""
        return {
            "images": np.round(self.test[places] * 255).astype(np.uint8),
            "labels": self.labels[places].astype(np.uint8),
        }

    def picture(
        self, image: Array, label: int | None, places: Array
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """How it stands: numbers, and arrays by their names.  May be asked for while it trains.

        Parameters
        ----------
        image : ndarray of shape (side * side,)
            The one whose way through the net is shown.
        label : int or None
            What it shows, for gradients.
        places : ndarray of int
            The test images that are classified.

        Returns
        -------
        header : dict
            "step", "epoch" (with the part of the one under way), "loss", "validation" after the
            last epoch, "test" on some test images, "rate" in images per second; "layers", for each
            the shapes of what is sent of it.
        parts : dict
            Of float32: "activation0", ... and, with a label, "gradient0", ... of each layer,
            "filters", the weights of the first one, "probabilities" of the image; "classes" (uint8)
            and "shares" (float32) are the three likeliest of each test image.
        """
        one = self.inputs(image[np.newaxis])
        snapshot = self.session.snapshot(one, None if label is None else [label])
        assert snapshot.activations is not None  # as there were inputs
        parts = {"probabilities": self._shares(snapshot.activations[-1])[0]}
        shapes = []
        for i, a in enumerate(snapshot.activations):
            parts[f"activation{i}"] = _shown(a[0])
            shapes.append(list(parts[f"activation{i}"].shape))
            if snapshot.backward is not None:
                parts[f"gradient{i}"] = _shown(snapshot.backward.dy[i][0])
        filters = self._filters(snapshot)
        parts["filters"] = filters
        shares = self._shares(snapshot.predict(self.inputs(self.test[places])))
        best = np.argsort(-shares, axis=1, kind="stable")[:, :3]
        parts["classes"] = best.astype(np.uint8)
        parts["shares"] = np.take_along_axis(shares, best, axis=1).astype(np.float32)
        header = {
            "is": "frame",
            "step": snapshot.step,
            "epoch": self._epochs(snapshot),
            "loss": _finite(snapshot.loss),
            "validation": {k: _finite(v) for k, v in snapshot.validation.items()},
            "test": self._scores(snapshot),
            "rate": self._rate(snapshot.step),
            "shapes": shapes,
            "filters_shape": list(filters.shape),
            "label": label,
        }
        return header, parts

    def _epochs(self, snapshot: Snapshot) -> float:
        cursor = snapshot.state.cursor
        return float(snapshot.epoch + cursor.step_in_epoch / self._n_steps)

    def _scores(self, snapshot: Snapshot) -> dict[str, Any]:
        """Loss and accuracy on the same few test images each time."""
        found = snapshot.evaluate(self.inputs(self.test[:_SCORED]), self.labels[:_SCORED])
        return {name: _finite(value) for name, value in found.items()}

    def _shares(self, y: Array) -> Array:
        """Probabilities of the classes, from outputs of the net."""
        found = y if self.session.trainer.net.output_activation == "softmax" else _softmax(y)
        return np.ascontiguousarray(found, np.float32)

    def _rate(self, step: int) -> float:
        """Images per second since the last frame."""
        (before, then), now = self._seen, perf_counter()
        self._seen = step, now
        return max(0, step - before) * self.settings.batchSize / max(now - then, 1e-6)

    def _filters(self, snapshot: Snapshot) -> Array:
        """Weights of the first layer that has some, as images (n, height, width)."""
        weight = next(own["weight"] for own in snapshot.parameters if "weight" in own)
        if weight.ndim == 4:
            images: Array = weight[:_MOST_SHOWN, 0]
        else:
            images = weight[:_MOST_SHOWN].reshape(-1, self.side, self.side)
        return np.ascontiguousarray(images, np.float32)

    # ---- nets as files ----

    def file(self, kind: str) -> tuple[str, bytes]:
        """The net of now as a file of some kind: its name and content."""
        name, net = _FILES[kind], self.session.snapshot().to_net()
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            {"model": net.save, "onnx": net.to_onnx, "c": net.to_c}[kind](path)
            return name, path.read_bytes()


def read_model(content: bytes) -> Sequential:
    """The net of a model file that was dropped onto the page."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        path.write_bytes(content)
        found = load(path)
    if not isinstance(found, Sequential):
        raise ValueError(f"the file holds a {type(found).__name__}; expected a net")
    return found


def make_optimizer(settings: DigitsSettings) -> Optimizer:
    """The optimizer with its settings."""
    lr, decay = settings.learningRate, settings.decay
    if settings.optimizer == "adam":
        return Adam(lr, weight_decay=decay)
    if settings.optimizer == "adadelta":
        return Adadelta(lr, weight_decay=decay)
    return SGD(lr, momentum=settings.momentum, weight_decay=decay)


def _shown(a: Array) -> Array:
    """What is sent of one layer's values: some planes, or some numbers."""
    part = a[:_MOST_SHOWN] if a.ndim == 3 else a[:_MOST_UNITS]
    return np.ascontiguousarray(part, np.float32)


def _count(own: dict[str, Array]) -> int:
    return sum(a.size for a in own.values())


def _softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Array = e / e.sum(axis=1, keepdims=True)
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
