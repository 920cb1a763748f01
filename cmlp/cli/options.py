"""The options that `train` and `playground-run` share, and the texts that they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ..layers import activation_names
from .build import HIDDEN_LAYERS, OPTIMIZERS, SCHEDULES, WITH_MOMENTUM

F = TypeVar("F", bound=Callable[..., Any])

# Those that are no good between layers, and those that are layers with parameters of their own.
HIDDEN_ACTIVATIONS = sorted({*activation_names(), *HIDDEN_LAYERS} - {"softmax", "step"})


def widths(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Widths of hidden layers: "64,32", or "none"."""
    if value.strip().lower() == "none":
        return ()
    texts = [text.strip() for text in value.split(",")]
    if not all(text.isdecimal() and len(text) < 10 and int(text) > 0 for text in texts):
        raise click.BadParameter(f"{value!r} is not a list of widths such as 64,32, or none")
    return tuple(map(int, texts))


def names(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Names joined by commas."""
    if value is None:
        return None
    found = tuple(text.strip() for text in value.split(","))
    if not all(found):
        raise click.BadParameter(f"{value!r} is not a list of names joined by commas")
    return found


ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
NOT_NEGATIVE = click.FloatRange(min=0)
BELOW_ONE = click.FloatRange(min=0, max=1, max_open=True)
SHARE = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
COUNT = click.IntRange(min=1)


@dataclass(frozen=True)
class Defaults:
    """What differs between the commands that train."""

    layers: str
    activation: str
    optimizer: str
    epochs: int
    batch_size: int


def net_and_training(defaults: Defaults) -> Callable[[F], F]:
    """Add the options of `build.NetOptions` to a command."""
    kinds = ", ".join(SCHEDULES)
    added = [
        click.option(
            "--layers", callback=widths, default=defaults.layers, metavar="N,N,...",
            help="Widths of the hidden layers, or none.",
        ),
        click.option(
            "--activation", type=click.Choice(HIDDEN_ACTIVATIONS), default=defaults.activation,
            metavar="NAME", help=f"Of the hidden layers: {', '.join(HIDDEN_ACTIVATIONS)}.",
        ),
        click.option(
            "--dropout", type=BELOW_ONE, default=0.0,
            help="Share of each hidden layer's outputs that is dropped in training.",
        ),
        click.option(
            "--optimizer", type=click.Choice(list(OPTIMIZERS)), default=defaults.optimizer,
        ),
        click.option(
            "--lr", type=ABOVE_ZERO,
            help="Learning rate.  [default: the optimizer's]",
        ),
        click.option(
            "--momentum", type=BELOW_ONE,
            help=f"Of {' and '.join(WITH_MOMENTUM)}.  [default: 0]",
        ),
        click.option(
            "--schedule", default="constant", metavar="NAME[:NUMBER...]",
            help=f"How the learning rate changes, numbers in epochs: {kinds}.",
        ),
        click.option(
            "--weight-decay", type=NOT_NEGATIVE, help="L2 penalty on the weights.  "
            "[default: the optimizer's]",
        ),
        click.option("--l1", type=NOT_NEGATIVE, default=0.0, help="L1 penalty on the weights."),
        click.option("--epochs", type=COUNT, default=defaults.epochs),
        click.option("--batch-size", type=COUNT, default=defaults.batch_size),
        click.option(
            "--seed", type=click.IntRange(min=0), default=0,
            help="Of the initial weights, the order of samples, dropout.",
        ),
        click.option(
            "--threads", type=COUNT, help="Most threads.  [default: all processors]",
        ),
    ]  # fmt: skip

    def add(command: F) -> F:
        for option in reversed(added):
            command = option(command)
        return command

    return add
