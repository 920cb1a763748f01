"""From options to a trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from .. import losses, optimizers, schedules
from ..layers import Dense, Dropout, PReLU, RReLU
from ..losses import Loss
from ..network import Sequential
from ..optimizers import Optimizer
from ..schedules import Schedule
from ..training.trainer import Trainer

OPTIMIZERS: dict[str, type[Optimizer]] = optimizers.KINDS
LOSSES: dict[str, type[Loss]] = {
    name.removesuffix("_error").removesuffix("_cross_entropy"): kind
    for name, kind in losses.KINDS.items()
}
HIDDEN_LAYERS = {"prelu": PReLU, "rrelu": RReLU}
"""Activations that a dense layer does not hold itself."""

WITH_MOMENTUM = [
    name for name, kind in OPTIMIZERS.items() if "momentum" in signature(kind).parameters
]


@dataclass(frozen=True)
class NetOptions:
    """The options that every command that trains has."""

    layers: tuple[int, ...]
    activation: str
    dropout: float
    optimizer: str
    lr: float | None
    momentum: float | None
    schedule: str
    weight_decay: float | None
    l1: float
    epochs: int
    batch_size: int
    seed: int
    threads: int | None


def make_trainer(
    options: NetOptions, loss: Loss, n_in: int, n_out: int, n_samples: int, dtype: str = "float32"
) -> Trainer:
    """A new net and what trains it."""
    optimizer = make_optimizer(options)
    steps_per_epoch = math.ceil(n_samples / options.batch_size)
    schedule = make_schedule(options.schedule, optimizer.lr, options.epochs, steps_per_epoch)
    net = Sequential(*make_layers(options, n_in, n_out), dtype=dtype, seed=options.seed)
    return Trainer(net, loss, optimizer, schedule, options.threads)


def make_layers(options: NetOptions, n_in: int, n_out: int) -> list[Any]:
    """Hidden layers with their activation and dropout, and a linear layer behind them."""
    found: list[Any] = []
    for width in options.layers:
        if options.activation in HIDDEN_LAYERS:
            found += [Dense(n_in, width), HIDDEN_LAYERS[options.activation]()]
        else:
            found.append(Dense(n_in, width, options.activation))
        if options.dropout:
            found.append(Dropout(options.dropout))
        n_in = width
    return [*found, Dense(n_in, n_out)]


def make_optimizer(options: NetOptions) -> Optimizer:
    """The optimizer with what was given, and its own defaults for the rest."""
    kind = OPTIMIZERS[options.optimizer]
    given: dict[str, Any] = {"l1": options.l1}
    for name in ("lr", "weight_decay", "momentum"):
        value = getattr(options, name)
        if value is not None:
            given[name] = value
    if "momentum" in given and options.optimizer not in WITH_MOMENTUM:
        expected = " or ".join(WITH_MOMENTUM)
        raise ValueError(f"--momentum: {options.optimizer} has none, expected {expected}")
    return kind(**given)


def _cosine(lr: float, epochs: int, steps: int) -> Schedule:
    return schedules.Cosine(epochs * steps)


def _exponential(lr: float, epochs: int, steps: int, factor: float = 0.95) -> Schedule:
    return schedules.Exponential(factor, steps)


def _step(lr: float, epochs: int, steps: int, factor: float = 0.5, every: float = 10) -> Schedule:
    return schedules.StepDecay(factor, _whole(every * steps))


def _inverse_time(lr: float, epochs: int, steps: int, halved_after: float = 10) -> Schedule:
    b = halved_after * steps
    return schedules.InverseTime(lr * b, b)


def _inverse_sqrt(lr: float, epochs: int, steps: int, first: float = 1) -> Schedule:
    return schedules.InverseSqrt(_whole(first * steps))


def _halving(lr: float, epochs: int, steps: int) -> Schedule:
    return schedules.Halving()


def _plateau(lr: float, epochs: int, steps: int) -> Schedule:
    return schedules.Plateau()


def _whole(steps: float) -> int:
    return max(1, round(steps))


_Maker = Callable[..., Schedule | None]

# How it is written, with the default numbers, and what makes it.
SCHEDULES: dict[str, _Maker] = {
    "constant": lambda lr, epochs, steps: None,
    "cosine": _cosine,
    "exponential[:0.95]": _exponential,
    "step[:0.5:10]": _step,
    "inverse-time[:10]": _inverse_time,
    "inverse-sqrt[:1]": _inverse_sqrt,
    "halving": _halving,
    "plateau": _plateau,
}


def make_schedule(text: str, lr: float, epochs: int, steps_per_epoch: int) -> Schedule | None:
    """The schedule that a text such as ``step:0.5:20`` names.

    Raises
    ------
    ValueError
        An unknown name, too many numbers, or one that the schedule cannot have.
    """
    name, *given = text.strip().split(":")
    expected = f"--schedule: got {text!r}, expected one of {', '.join(SCHEDULES)}"
    written = next((form for form in SCHEDULES if form.partition("[")[0] == name), None)
    if written is None or len(given) > written.count(":"):
        raise ValueError(expected)
    numbers = _numbers(given, expected)
    return SCHEDULES[written](lr, epochs, steps_per_epoch, *numbers)


def _numbers(texts: Sequence[str], expected: str) -> list[float]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        raise ValueError(expected) from None
    if not all(math.isfinite(number) and 0 < number < 1e9 for number in numbers):
        raise ValueError(expected)
    return numbers
