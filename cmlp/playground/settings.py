"""What the controls of the page of 2D points stand at, checked: `Settings`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from .. import checks

__all__ = [
    "ACTIVATIONS",
    "DATASETS",
    "FEATURES",
    "MOST_LAYERS",
    "MOST_UNITS",
    "REG_DATASETS",
    "Settings",
]

MOST_LAYERS = 10
MOST_UNITS = 16

# Names of the page's addresses, and what the package calls the same.
FEATURES = {
    "x": "x1",
    "y": "x2",
    "xSquared": "x1^2",
    "ySquared": "x2^2",
    "xTimesY": "x1x2",
    "sinX": "sin x1",
    "sinY": "sin x2",
}
ACTIVATIONS = {
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "linear": "identity",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "gelu": "gelu",
    "silu": "silu",
    "softplus": "softplus",
    "softsign": "softsign",
}
DATASETS = ("circle", "xor", "gauss", "spiral", "own", "file")
REG_DATASETS = {
    "reg-plane": "plane",
    "reg-gauss": "multi_gaussian",
    "own": "own",
    "file": "file",
}


@dataclass(frozen=True)
class Settings:
    """One experiment.  The fields have the names of the page's addresses.

    Attributes
    ----------
    mode : {"textbook", "original"}
        "original": initial weights are U(-0.5, 0.5) and biases 0.1, samples keep their order.
        "textbook": Xavier's or He's weights, biases 0, a new order in each epoch.
    problem : {"classification", "regression"}
    dataset, regDataset : str
        The set for each of the two problems; "own" points and those of a "file" come beside.
    noise, percTrainData : int
        Per cent.
    seed : str
        Of data, order and weights; text, as in the addresses of the original.
    start : int
        Which initial weights, counted from 0.
    features : tuple of str
        Some of `FEATURES`.
    networkShape : tuple of int
        Units of each hidden layer.
    activations : tuple of str
        Of each hidden layer.
    loss : {"cross-entropy", "squared"}
        For classification; squared error works on a tanh output and targets of -1 and 1.
    optimizer : {"sgd", "adam", "rmsprop"}
    learningRate, momentum, regularizationRate, dropout : float
    regularization : {"none", "L1", "L2"}
    batchSize : int
    initZero : bool
        Begin with all weights and biases zero.
    """

    mode: str
    problem: str
    dataset: str
    regDataset: str
    noise: int
    percTrainData: int
    seed: str
    start: int
    features: tuple[str, ...]
    networkShape: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    optimizer: str
    learningRate: float
    momentum: float
    regularization: str
    regularizationRate: float
    dropout: float
    batchSize: int
    initZero: bool

    @classmethod
    def read(cls, values: Any) -> Self:
        """The settings in a message.

        Raises
        ------
        ValueError, TypeError
            For anything missing, unknown or out of its range, in one line that names it.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"settings is {values!r}; expected an object")
        missing = [field.name for field in fields(cls) if field.name not in values]
        if missing:
            raise ValueError(f"settings lack {missing[0]}")
        found = cls(**{name: check(values[name], name) for name, check in _CHECKS.items()})
        if len(found.activations) != len(found.networkShape):
            raise ValueError(
                f"activations has {len(found.activations)} names; "
                f"expected {len(found.networkShape)}, one for each hidden layer"
            )
        return found

    @property
    def classifies(self) -> bool:
        """Whether the targets are two classes."""
        return self.problem == "classification"

    @property
    def set_name(self) -> str:
        """The data set in use, as the package calls it."""
        return self.dataset if self.classifies else REG_DATASETS[self.regDataset]

    @property
    def data_seed(self) -> int:
        """The seed of points and their split: the digits of "0.12345", or a sum of other text."""
        digits = self.seed.removeprefix("0.")
        known = digits.isascii() and digits.isdecimal() and len(digits) <= 9
        return int(digits) if known else zlib.crc32(self.seed.encode())

    @property
    def net_seed(self) -> int:
        """The seed of initial weights, order of samples and dropout."""
        return self.data_seed + self.start

    def same_data(self, other: Settings) -> bool:
        """Whether both are about the same points."""
        names = ("problem", "set_name", "noise", "percTrainData", "data_seed")
        return all(getattr(self, name) == getattr(other, name) for name in names)


# ---- what each may be ------------------------------------------------------------------------


_Check = Callable[[Any, str], Any]


def _choice(*options: str) -> _Check:
    return lambda value, name: checks.choice(value, name, options)


def _number(low: float, high: float) -> _Check:
    return lambda value, name: checks.number(value, name, low, high)


def _whole(low: int, high: int) -> _Check:
    def check(value: Any, name: str) -> int:
        number = checks.positive_int(value, name, low)
        if number > high:
            raise ValueError(f"{name} is {number}; expected {high} at most")
        return number

    return check


def _several(check: _Check, least: int, most: int) -> _Check:
    def checked(values: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(values, list) or not least <= len(values) <= most:
            raise ValueError(f"{name} is {values!r}; expected a list of {least} to {most}")
        return tuple(check(value, name) for value in values)

    return checked


def _features(values: Any, name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = _several(_choice(*FEATURES), 1, len(FEATURES))(values, name)
    if len(set(found)) < len(found):
        raise ValueError(f"{name} is {values!r}; expected each name once")
    return found


def _short_text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 40:
        raise ValueError(f"{name} is {value!r}; expected a text of 1 to 40 characters")
    return value


_CHECKS: dict[str, _Check] = {
    "mode": _choice("textbook", "original"),
    "problem": _choice("classification", "regression"),
    "dataset": _choice(*DATASETS),
    "regDataset": _choice(*REG_DATASETS),
    "noise": _whole(0, 50),
    "percTrainData": _whole(10, 90),
    "seed": _short_text,
    "start": _whole(0, 10**6),
    "features": _features,
    "networkShape": _several(_whole(1, MOST_UNITS), 0, MOST_LAYERS),
    "activations": _several(_choice(*ACTIVATIONS), 0, MOST_LAYERS),
    "loss": _choice("cross-entropy", "squared"),
    "optimizer": _choice("sgd", "adam", "rmsprop"),
    "learningRate": _number(0.0, 100.0),
    "momentum": _number(0.0, 0.999),
    "regularization": _choice("none", "L1", "L2"),
    "regularizationRate": _number(0.0, 100.0),
    "dropout": _number(0.0, 0.9),
    "batchSize": _whole(1, 10**6),
    "initZero": lambda value, name: checks.flag(value, name),
}
