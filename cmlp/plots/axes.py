"""What every picture is drawn on and with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's colours, those that differ most first."""


def new_axes(ax: Axes | None) -> Axes:
    """The caller's axes, or new ones."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install cmlp[plots]") from error
    return pyplot.subplots(layout="constrained")[1]


def colour_map(name: str) -> Any:
    """One of matplotlib's colour maps."""
    import matplotlib

    return matplotlib.colormaps[name]


def gaps_white(name: str) -> Any:
    """A colour map that leaves what is NaN as white as the paper."""
    return colour_map(name).with_extremes(bad="white")


def class_colours(n: int) -> list[Any]:
    """Colours for n classes."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    return list(colour_map("viridis")(np.linspace(0, 1, n)))


def positions_among(values: Array, labels: Array, name: str) -> Array:
    """Where each value stands among the labels."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    found = np.searchsorted(ordered, values).clip(0, len(labels) - 1)
    wrong = ordered[found] != values
    if wrong.any():
        raise ValueError(f"{name} holds {values[wrong][0]!r}, which is not among the classes")
    positions: Array = order[found]
    return positions
