"""How training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ..checks import Array
from .axes import COLOURS, colour_map, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Columns(Protocol):
    """What a curve is drawn from: a `History`."""

    def to_dict(self) -> dict[str, list[float]]: ...


class Norms(Protocol):
    """Sizes of gradients, epoch by epoch and layer by layer: a `GradientMonitor`."""

    @property
    def layers(self) -> list[str]: ...
    @property
    def epochs(self) -> list[int]: ...
    @property
    def delta_norms(self) -> Array: ...
    @property
    def weight_norms(self) -> Array: ...


def loss_curves(history: Columns | Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Loss of the training and of the validation data after each epoch.

    Parameters
    ----------
    history : History or mapping
        What `Trainer.fit` returned, or its ``to_dict()``.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
        The losses have a logarithmic scale unless one of them is zero or less.
    """
    columns = history if isinstance(history, Mapping) else history.to_dict()
    if "loss" not in columns:
        raise ValueError(f"history has columns {list(columns)}; expected one named 'loss'")
    ax = new_axes(ax)
    epochs = columns.get("epoch", range(1, len(columns["loss"]) + 1))
    curves = [("loss", "training", "-"), ("validation_loss", "validation", "--")]
    marker = "o" if len(columns["loss"]) == 1 else None
    drawn = [(name, label, style) for name, label, style in curves if name in columns]
    for colour, (name, label, style) in zip(COLOURS, drawn, strict=False):
        ax.plot(epochs, columns[name], style, color=colour, label=label, marker=marker)
    if not any((np.asarray(columns[name]) <= 0).any() for name, _, _ in drawn):
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel="mean loss", title="Loss")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def gradient_flow(
    monitor: Norms,
    of: Literal["delta", "weight"] = "delta",
    ax: Axes | None = None,
) -> Axes:
    """How large the gradients of each layer are, epoch by epoch.

    Where those near the input are orders of magnitude smaller than those near the output, the
    gradient vanishes: *Deep Learning, topic 3: Multi-layer Perceptron*.

    Parameters
    ----------
    monitor : GradientMonitor
        After training.
    of : {"delta", "weight"}
        Whether to draw the norm of delta = dE/du or that of dE/dW.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    norms = {"delta": "delta_norms", "weight": "weight_norms"}
    if of not in norms:
        raise ValueError(f"of is {of!r}; expected one of {', '.join(norms)}")
    values: Array = getattr(monitor, norms[of])
    if not values.size:
        raise ValueError("monitor has recorded nothing yet; expected it after training")
    ax = new_axes(ax)
    shades = colour_map("viridis")(np.linspace(0, 0.9, len(monitor.layers)))
    for column, name, shade in zip(values.T, monitor.layers, shades, strict=True):
        ax.plot(monitor.epochs, np.where(column > 0, column, np.nan), ".-", color=shade, label=name)
    symbol = r"\delta" if of == "delta" else r"\partial E/\partial W"
    ax.set(xlabel="epoch", ylabel=rf"norm of ${symbol}$", yscale="log")
    ax.set_title("Size of the gradient by layer")
    ax.grid(alpha=0.3)
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, fontsize="small",
        title="from input to output", title_fontsize="small",
    )  # fmt: skip
    return ax
