"""Settings that were tried, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..checks import Array
from .axes import colour_map, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Table(Protocol):
    """What is drawn: a `Sweep`."""

    def to_dict(self) -> dict[str, list[Any]]: ...


def parallel_coordinates(
    table: Table | Mapping[str, Sequence[Any]], loss: str = "loss", ax: Axes | None = None
) -> Axes:
    """A line for each row of a table, from column to column, coloured by its loss.

    Parameters
    ----------
    table : Sweep or mapping
        Columns of one length: numbers, drawn from their least to their greatest, or anything else,
        drawn in the order of first occurrence.  "seconds" and "epochs_done" are left out.
    loss : str, default "loss"
        The column that colours the lines: the lowest is the darkest, and drawn last.  Rows whose
        loss is not finite are left out.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    columns = table if isinstance(table, Mapping) else table.to_dict()
    if loss not in columns:
        raise ValueError(f"table has columns {list(columns)}; expected one named {loss!r}")
    losses = np.asarray(columns[loss], np.float64)
    shown: list[int] = np.flatnonzero(np.isfinite(losses)).tolist()
    if not shown:
        raise ValueError(f"table has no row with a finite {loss}; expected one or more")
    names = [name for name in columns if name not in (loss, "seconds", "epochs_done")] + [loss]
    heights = np.stack([_heights([columns[name][i] for i in shown]) for name in names])
    ax = new_axes(ax)
    colours = colour_map("cividis")
    for row in np.argsort(-losses[shown], kind="stable"):
        ax.plot(range(len(names)), heights[:, row], color=colours(0.9 * heights[-1, row]))
    for place, name in enumerate(names):
        values = [columns[name][i] for i in shown]
        for height, text in _labels(values, heights[place]):
            ax.annotate(text, (place, height), ha="center", va="center", fontsize="small")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks([])
    ax.set_xlabel("setting")
    ax.set_ylabel("from least to greatest")
    ax.set_title(f"{len(shown)} settings by their {loss}")
    return ax


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values)


def _heights(values: list[Any]) -> Array:
    """Places from 0 to 1."""
    if _is_number(values):
        places = np.asarray(values, np.float64)
    else:
        known = list(dict.fromkeys(map(repr, values)))
        places = np.array([known.index(repr(value)) for value in values], np.float64)
    low, high = places.min(), places.max()
    found: Array = (places - low) / (high - low) if high > low else np.full(len(places), 0.5)
    return found


def _labels(values: list[Any], heights: Array) -> list[tuple[float, str]]:
    """The ends of a column of numbers, and each value of any other."""
    if _is_number(values):
        ends = dict.fromkeys((int(np.argmin(heights)), int(np.argmax(heights))))
        return [(float(heights[i]), f"{values[i]:.3g}") for i in ends]
    named = {str(value): float(height) for value, height in zip(values, heights, strict=True)}
    return [(height, text) for text, height in named.items()]
