"""What a net of images looks for, sees, and takes for something else."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from ..layers import Conv2D
from ..network import Sequential
from .axes import gaps_white, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 0.92  # of a tile, 1 apart from the next
_MOST_MAPS = 16


def filters(net: Sequential, layer: int = 0, ax: Axes | None = None) -> Axes:
    """The weights of a convolution, a tile for each window: a row for each input plane.

    Parameters
    ----------
    net : Sequential
    layer : int, default 0
        Which of the net's convolutions.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    found = [la for la in net.layers if isinstance(la, Conv2D)]
    if not 0 <= layer < len(found):
        raise ValueError(f"layer is {layer}; expected one of the net's {len(found)} convolutions")
    w = found[layer].weight
    most = float(abs(w).max()) or 1.0
    ax = new_axes(ax)
    for o, planes in enumerate(w):
        for q, window in enumerate(planes):
            picture = _draw(ax, window, o, q, cmap="PuOr", vmin=-most, vmax=most)
    ax.figure.colorbar(picture, ax=ax, label="weight", shrink=0.85)
    _frame(ax, len(w), w.shape[1])
    ax.set_title(f"Convolution {layer + 1}: {len(w)} x {w.shape[1]} windows")
    ax.set(xlabel="output plane", ylabel="input plane")
    return ax


def feature_maps(net: Sequential, image: ArrayLike, ax: Axes | None = None) -> Axes:
    """An image on its way through a net: the planes behind each layer, a row for each.

    Planes of a row have one scale, dark for its least number and bright for its greatest.

    Parameters
    ----------
    net : Sequential
        That takes (channels, height, width).
    image : array_like of shape (channels, height, width)
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    x = checks.as_array(image, "image")
    if net.in_shape is None or len(net.in_shape) != 3 or x.shape != net.in_shape:
        raise ValueError(f"image has shape {x.shape}; expected that of the net, {net.in_shape}")
    rows = [("image", x)]
    for end in range(1, len(net) + 1):
        part = Sequential(*net.layers[:end], dtype=net.dtype, seed=net.seed, n_in=net.in_shape)
        if part.out_shape is None or len(part.out_shape) != 3:
            break
        rows.append((type(net.layers[end - 1]).__name__, part.predict(x[np.newaxis])[0]))
    ax = new_axes(ax)
    for row, (_, planes) in enumerate(rows):
        low, high = float(planes.min()), float(planes.max())
        for column, plane in enumerate(planes[:_MOST_MAPS]):
            limits = {"vmin": low, "vmax": max(high, low + 1e-12)}
            _draw(ax, plane, column, row, cmap=gaps_white("cividis"), **limits)
    widest = max(min(len(planes), _MOST_MAPS) for _, planes in rows)
    _frame(ax, widest, len(rows))
    ax.set_yticks(
        [row + _SIDE / 2 for row in range(len(rows))],
        [f"{name}\n{' x '.join(map(str, planes.shape))}" for name, planes in rows],
    )
    ax.set(xlabel=f"plane (at most {_MOST_MAPS} of a layer)", title="Feature maps of an image")
    return ax


def misclassified(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    n: int = 25,
    ax: Axes | None = None,
) -> Axes:
    """Images that were taken for another class, the most certain mistakes first.

    Over each image stand its label, what it was taken for, and the probabilities of both.

    Parameters
    ----------
    images : array_like of shape (n, height, width) or (n, 1, height, width)
    labels : array_like of shape (n,)
        Numbers of the classes.
    probabilities : array_like of shape (n, classes)
        What `Sequential.predict_proba` or `Augment.predict_proba` gave.
    n : int, default 25
        The most to draw.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    p = checks.as_float(probabilities, "probabilities", "float64")
    if p.ndim != 2:
        raise ValueError(f"probabilities has shape {p.shape}; expected (n, classes)")
    y = checks.as_labels(labels, "labels", p.shape[1])
    pictures = checks.as_array(images, "images")
    if pictures.ndim == 4 and pictures.shape[1] == 1:
        pictures = pictures[:, 0]
    if pictures.ndim != 3 or not len(pictures) == len(y) == len(p):
        raise ValueError(
            f"images has shape {pictures.shape}, {len(y)} labels and {len(p)} rows of "
            "probabilities; expected as many, of (height, width)"
        )
    taken = p.argmax(axis=1)
    wrong = np.flatnonzero(taken != y)
    wrong = wrong[np.argsort(-p[wrong, taken[wrong]], kind="stable")]
    shown = wrong[: checks.positive_int(n, "n")]
    columns = max(1, ceil(sqrt(len(shown))))
    ax = new_axes(ax)
    for place, i in enumerate(shown):
        column, row = place % columns, place // columns
        _draw(ax, pictures[i], column, 1.4 * row, cmap=gaps_white("gray_r"))
        text = f"{y[i]} → {taken[i]}\n{p[i, y[i]]:.2f} → {p[i, taken[i]]:.2f}"
        ax.text(column + _SIDE / 2, 1.4 * row - 0.03, text, ha="center", va="bottom", fontsize=7)
    _frame(ax, columns, 1.4 * max(1, -(-len(shown) // columns)), top=-0.4)
    ax.set_title(f"{len(wrong)} of {len(y)} images taken for another class")
    ax.set(xlabel="label → what it was taken for, with their probabilities")
    return ax


def _draw(ax: Axes, tile: Array, column: float, row: float, **settings: Any) -> Any:
    """A picture at a place of a grid of unit squares whose rows go down."""
    extent = (column, column + _SIDE, row + _SIDE, row)
    return ax.imshow(tile, extent=extent, interpolation="nearest", **settings)


def _frame(ax: Axes, columns: float, rows: float, top: float = -0.1) -> None:
    """Limits around the grid, and nothing else."""
    ax.set_xlim(-0.1, columns)
    ax.set_ylim(rows, top)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
