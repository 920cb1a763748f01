"""The options that `train` and `playground-run` share, and the texts that they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ..encoding import KINDS, NUMBERS
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


def feature_texts(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    """What was given for columns; @FILE is its lines, a name each."""
    found: list[str] = []
    for text in value:
        if text.startswith("@"):
            try:
                lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise click.BadParameter(f"{text[1:]}: {error}") from error
            found += [line.strip() for line in lines if line.strip()]
        elif not all(part.strip() for part in text.split(",")):
            raise click.BadParameter(f"{text!r} is not a list of names joined by commas")
        else:
            found.append(text)
    return tuple(found) or None


def features_option(command: F) -> F:
    """Add ``--features``."""
    return click.option(
        "--features", callback=feature_texts, multiple=True, metavar="NAME,... or @FILE",
        help="Columns to predict from, given once or often; a name with commas alone, or a "
        "name a line in a file.  [default: all others]",
    )(command)  # fmt: skip


def kinds_of_columns(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> dict[str, str]:
    """Pairs NAME=KIND."""
    found = {}
    for text in value:
        name, _, kind = text.rpartition("=")
        if not name or kind not in KINDS:
            raise click.BadParameter(f"{text!r} is not NAME=KIND with one of {', '.join(KINDS)}")
        found[name] = kind
    return found


def columns(command: F) -> F:
    """Add what tables with more than numbers become."""
    kind = click.option(
        "--kind", "kinds", multiple=True, callback=kinds_of_columns, metavar="NAME=KIND",
        help=f"What a column is: {', '.join(KINDS)}; may be given often.  [default: seen from "
        "its values]",
    )  # fmt: skip
    numbers = click.option(
        "--numbers", type=click.Choice(NUMBERS), help="How numbers are scaled.  [default: robust, "
        "which clips smoothly; standard where a table has nothing but numbers]",
    )  # fmt: skip
    return kind(numbers(command))


READING = ("header", "delimiter", "decimal", "encoding", "na_values")
"""The options that say how delimited text is read."""


def reading(command: F) -> F:
    """Add the options of `READING` to a command."""
    added = [
        click.option(
            "--header/--no-header", default=None,
            help="Whether the first row of text holds names.  [default: as in training, or "
            "seen from the rows below]",
        ),
        click.option(
            "--delimiter", metavar="CHARACTER", help="Between the cells of text; tab is a name, "
            "too.  [default: what the first rows agree on]",
        ),
        click.option(
            "--decimal", type=click.Choice([".", ","]),
            help="Before the fraction of a number.  [default: seen from the first rows]",
        ),
        click.option("--encoding", metavar="NAME", help="Of text.  [default: UTF-8]"),
        click.option(
            "--na-values", multiple=True, metavar="TEXT",
            help="A text that stands for no value, besides NA, ?, null and the like; may be "
            "given often.",
        ),
    ]  # fmt: skip
    for option in reversed(added):
        command = option(command)
    return command


def reading_given(values: dict[str, Any]) -> dict[str, Any]:
    """Those of `READING` that were given, as the readers take them; they leave ``values``."""
    found = {name: values.pop(name) for name in READING}
    if found["delimiter"] in ("tab", "\\t"):
        found["delimiter"] = "\t"
    return {name: value for name, value in found.items() if value not in (None, ())}


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
