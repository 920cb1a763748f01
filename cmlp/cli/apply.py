"""`cmlp evaluate` and `cmlp predict`: a trained net on data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ..export.files import load, replace_file
from ..table import Column, Table
from . import data, model, options, output
from .model import Origin

Array = NDArray[Any]

_STDOUT = Path("-")


@click.command()
@click.argument("model_file", metavar="MODEL")
@click.argument("source", metavar="DATA")
@click.option(
    "--target", metavar="NAME", multiple=True, help="Column to predict.  [default: as in training]"
)
@click.option(
    "--part", "which", type=click.Choice(["test", "train", "all"]),
    help="Which part of DATA; test is what training held out.  [default: all of a file, "
    "test of a named set or IDX folder]",
)  # fmt: skip
@options.reading
def evaluate(
    model_file: str, source: str, target: tuple[str, ...], which: str | None, **reading: Any
) -> None:
    """Measure how well MODEL predicts DATA."""
    given = options.reading_given(reading)
    net = load(model_file)
    origin = Origin.of(net)
    loaded = model.load_for(net, origin, source, target or None, given)
    which = which or ("all" if data.is_table(source) else "test")
    if which == "all":
        x, y = data.whole(loaded)
    else:
        x, y = getattr(data.part(loaded, origin.test_share, 0.0), which)
    rows = model.scores(y, model.predictions(net, x))
    rows["samples"] = str(len(x))
    training = net.metadata.get("training")
    if which != "test" and isinstance(training, dict) and training.get("data") == source:
        output.note(
            "these samples include those that the model was trained on; --part test has only others"
        )
    output.show(f"{model_file} on {source}", rows)


@click.command()
@click.argument("model_file", metavar="MODEL")
@click.argument("source", metavar="DATA")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A CSV file; - is standard output.  [default: -]"
)
@click.option("--proba", is_flag=True, help="Add the probability of each class.")
@click.option(
    "--keep", multiple=True, metavar="NAME", help="Write this column of DATA before the "
    "predictions; may be given often, and * is all columns.",
)  # fmt: skip
@options.reading
def predict(
    model_file: str,
    source: str,
    out: Path | None,
    proba: bool,
    keep: tuple[str, ...],
    **reading: Any,
) -> None:
    """Predict the samples of DATA by MODEL.

    The predictions are CSV, a line for each sample.  DATA needs no target.
    """
    given = options.reading_given(reading)
    if out is not None and out != _STDOUT:
        output.check_place(out, "--out")
    net = load(model_file)
    table = model.table_of(net, source, given)
    x = model.load_inputs(net, source, given, table)
    model.check_inputs(net, x, source)
    kept = columns_kept(table, keep, source)
    y = model.predictions(net, x)
    n_values = 1 if y.ndim == 1 else y.shape[1]
    names = [column.name for column in kept]
    names += ["prediction"] if n_values == 1 else [f"prediction {i + 1}" for i in range(n_values)]
    columns = [*(np.array(column.texts(), dtype=object) for column in kept), y]
    if proba:
        columns.append(model.probabilities(net, x))
        names += [f"p({label})" for label in model.classes_of(net) or ()]
    text = as_csv(names, columns)
    if out is None or out == _STDOUT:
        click.echo(text, nl=False)
    else:
        replace_file(out, text.encode("utf-8"))


def columns_kept(table: Table | None, names: Sequence[str], source: str) -> list[Column]:
    """The columns of the data that go into the output."""
    if not names:
        return []
    if table is None:
        raise ValueError(f"--keep: for tables with names, and {source!r} is none")
    return table.columns if "*" in names else table.select(names).columns


def as_csv(names: list[str], columns: list[Array]) -> str:
    """A header, and a line for each row of the arrays side by side."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    lists = [np.atleast_2d(a.T).astype(str).tolist() for a in columns]
    writer.writerows(zip(*(column for group in lists for column in group), strict=True))
    return stream.getvalue()
