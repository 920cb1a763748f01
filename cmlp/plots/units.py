"""What hidden units respond to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import Array
from ..layers import Dense, Dropout
from ..network import Sequential
from ..preprocessing import Preprocessing
from .axes import gaps_white, new_axes
from .plane import SQUARE, Box, Features, box_of, grid, inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def hidden_units(
    net: Any,
    layer: int = 0,
    image_shape: Sequence[int] | None = None,
    features: Features = None,
    extent: Sequence[float] = SQUARE,
    n_units: int = 64,
    n_columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What each unit of a hidden layer responds to, a tile for each.

    For images as inputs a tile holds the unit's weights, as an image.  For points of the plane it
    holds the unit's output at each point, from the least to the greatest.

    Parameters
    ----------
    net : Sequential, or estimator that has one
    layer : int, default 0
        Which hidden layer; for images always the first.
    image_shape : (rows, columns), optional
        Of the images that the inputs unroll; that of ``net.metadata`` if None, and where it has
        none either, the inputs are taken as points of the plane.
    features : sequence of str or function, optional
    extent : (from x1, to x1, from x2, to x2), default -6 to 6 in both
        As in `decision_regions`.
    n_units : int, default 64
        The most to draw.
    n_columns : int, optional
        Tiles side by side; as many as below each other if None.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    net = getattr(net, "net_", net)
    hidden = _hidden_layers(net)
    if not 0 <= layer < len(hidden):
        raise ValueError(f"layer is {layer}; expected 0..{len(hidden) - 1}, the hidden layers")
    shape = net.metadata.get("image_shape") if image_shape is None else image_shape
    if shape is None:
        tiles = _responses(net, hidden[layer], features, box_of(extent))[:n_units]
    else:
        tiles = _weight_images(net, layer, hidden[0][0], shape)[:n_units]
    columns = int(np.ceil(np.sqrt(len(tiles)))) if n_columns is None else n_columns
    ax = new_axes(ax)
    n = net.layers[hidden[layer][0]].n_out
    count = f"{len(tiles)} of {n}" if n > len(tiles) else str(n)
    ax.set_title(f"Hidden layer {layer + 1}: {count} unit{'s' if n > 1 else ''}")
    if shape is None:
        ax.imshow(_mosaic(tiles, columns), cmap=gaps_white("cividis"))
        ax.set(xlabel="x1 in each tile (bright: high output)", ylabel="x2 in each tile")
    else:
        most = float(abs(tiles).max()) or 1.0
        picture = ax.imshow(_mosaic(tiles, columns), cmap="PuOr", vmin=-most, vmax=most)
        ax.figure.colorbar(picture, ax=ax, label="weight", shrink=0.85)
        ax.set(xlabel="pixel column in each tile", ylabel="pixel row in each tile")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def _hidden_layers(net: Sequential) -> list[tuple[int, int]]:
    """(position of the dense layer, position behind its activation) of each hidden layer."""
    starts = [i for i, layer in enumerate(net.layers) if isinstance(layer, Dense)]
    if len(starts) < 2:
        raise ValueError("net has no hidden layer")
    ends = []
    for start, following in pairwise(starts):
        kept = [i for i in range(start, following) if not isinstance(net.layers[i], Dropout)]
        ends.append(kept[-1] + 1)
    return list(zip(starts, ends, strict=False))


def _responses(net: Sequential, hidden: tuple[int, int], features: Features, box: Box) -> Array:
    """Outputs of the units over the plane, (units, rows, columns), each scaled to 0 to 1."""
    x = inputs(grid(box, 60), features)
    if net.n_in is not None and x.shape[1] != net.n_in:
        raise ValueError(
            f"net has {net.n_in} inputs; expected {x.shape[1]}, points of the plane: give "
            "image_shape or features for others"
        )
    part = Sequential(*net.layers[: hidden[1]], dtype=net.dtype, seed=net.seed, n_in=net.n_in)
    part.preprocessing = Preprocessing(net.preprocessing.inputs)
    y = part.predict(x).T.astype(np.float64)
    low, high = y.min(axis=1, keepdims=True), y.max(axis=1, keepdims=True)
    scaled = np.where(high > low, (y - low) / np.where(high > low, high - low, 1), 0.5)
    return scaled.reshape(len(y), 60, 60)[:, ::-1]  # x2 grows upwards


def _weight_images(net: Sequential, layer: int, dense: int, shape: Sequence[int]) -> Array:
    if layer != 0:
        raise ValueError(f"layer is {layer}; expected 0, whose weights are images")
    w: Array = net.layers[dense].weight
    if dense != 0 or len(shape) != 2 or shape[0] * shape[1] != w.shape[1]:
        raise ValueError(f"image_shape is {shape!r}; expected (rows, columns) of {net.n_in} inputs")
    return w.reshape(len(w), shape[0], shape[1])


def _mosaic(tiles: Array, n_columns: int) -> Array:
    """Tiles (n, rows, columns) as one picture with gaps of NaN between them."""
    n, rows, columns = tiles.shape
    gap = max(1, rows // 15)
    n_rows = -(-n // n_columns)
    padded = np.full((n_rows * n_columns, rows + gap, columns + gap), np.nan)
    padded[:n, :rows, :columns] = tiles
    grid = padded.reshape(n_rows, n_columns, rows + gap, columns + gap).swapaxes(1, 2)
    return grid.reshape(n_rows * (rows + gap), n_columns * (columns + gap))[:-gap, :-gap]
