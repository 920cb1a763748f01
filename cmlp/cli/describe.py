"""`cmlp describe`: what a table or a model has in it."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from .. import datasets
from ..datasets.tables import is_table_name
from ..export.files import load
from ..network import Sequential
from ..table import Column, listed
from . import data, model, options, output

_MOST_COLUMNS = 200


@click.command()
@click.argument("source", metavar="DATA|MODEL")
@options.reading
def describe(source: str, **reading: Any) -> None:
    """Show what a table is read as, column by column, or what a model file holds."""
    given = options.reading_given(reading)
    if is_table_name(source) and not data.is_arrays(source):
        table = datasets.read_table(source, **given)
        rows = {"rows": str(len(table)), "columns": str(len(table.columns))}
        rows.update(table.about)
        columns = table.columns[:_MOST_COLUMNS]
        rows.update((f"column {column.name!r}", about_column(column)) for column in columns)
        output.show(source, rows)
    elif data.is_table(source) and not data.is_arrays(source):
        output.show(source, about_model(load(source)))
    else:
        dataset = data.load(source, reading=given).dataset
        output.show(source, {"data": repr(dataset).strip("<>").removeprefix("Dataset ")})


def about_column(column: Column) -> str:
    """Kind, range or values, and how many rows have none."""
    n = column.n_different()
    parts = [column.kind, f"{n} different"]
    if column.n_missing:
        parts.append(f"{column.n_missing} missing")
    if column.kind == "number" and n:
        values = column.numbers()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        parts.append(f"from {low:g} to {high:g}")
    elif column.kind == "time" and n:
        times = column.times()
        known = times[~np.isnat(times)]
        parts.append(f"from {known.min().astype('M8[s]')} to {known.max().astype('M8[s]')}")
    elif n <= 1 << 16:
        parts.append(listed(column.labels(1 << 16).values[:5]))
    return ", ".join(parts)


def about_model(net: Sequential) -> dict[str, str]:
    """Layers, what goes in and what comes out."""
    classes = model.classes_of(net)
    rows = {
        "layers": ", ".join(map(repr, net.layers)),
        "parameters": str(net.n_parameters),
        "type": net.dtype,
        "outputs": "numbers" if classes is None else f"{len(classes)} classes: {listed(classes)}",
    }
    before = net.preprocessing
    if before.table is not None:
        rows.update((f"column {name!r}", what) for name, what in before.table.describe().items())
    elif before.feature_names is not None:
        rows["features"] = f"{len(before.feature_names)}: {listed(before.feature_names)}"
    else:
        rows["inputs"] = str(net.n_in)
    for name, value in model.Origin.of(net).metadata().items():
        rows[name.replace("_", " ")] = str(value)
    training = net.metadata.get("training")
    if isinstance(training, dict) and isinstance(training.get("data"), str):
        rows["trained on"] = training["data"]
    return rows
