"""Pictures with matplotlib (``pip install cmlp[plots]``).

Each function draws on the axes that are passed in, or on new ones, and returns them.  Nothing is
shown or saved here.  Colours can be told apart by the colour-blind: those of Okabe and Ito,
*Color universal design* (2008), and matplotlib's cividis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import datasets
from .layers import Dense, Dropout
from .network import Sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .callbacks import GradientMonitor
    from .history import History

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "gradient_flow",
    "hidden_units",
    "loss_curves",
    "predicted_values",
]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's colours, those that differ most first."""

SQUARE = (-6.0, 6.0, -6.0, 6.0)
"""The part of the plane that is drawn where nothing else is asked for: x1 from, to, x2 from, to."""

Array = NDArray[Any]
Box = tuple[float, float, float, float]
Features = Sequence[str] | Callable[[Array], ArrayLike] | None

_MOST_NUMBERS = 20  # classes up to which a confusion matrix has its numbers written in


# ---- training --------------------------------------------------------------------------------


def loss_curves(history: History | Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
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
    ax = _axes(ax)
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
    monitor: GradientMonitor,
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
    ax = _axes(ax)
    shades = _colour_map("viridis")(np.linspace(0, 0.9, len(monitor.layers)))
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


# ---- predictions -----------------------------------------------------------------------------


def confusion_matrix(
    y: ArrayLike,
    predicted: ArrayLike,
    classes: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How often each class was taken for each other.

    Parameters
    ----------
    y, predicted : array_like of shape (n,)
        Labels.
    classes : array_like of shape (n_classes,), optional
        The labels in the order of rows and columns; those that occur, sorted, if None.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
        Colours are shares of the true class, numbers are counts.
    """
    true, guess = np.asarray(y), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guess.shape or not true.size:
        raise ValueError(
            f"y and predicted have shapes {true.shape} and {guess.shape}; expected (n,) for both"
        )
    labels = np.union1d(true, guess) if classes is None else np.asarray(classes)
    counts = _count(_positions(true, labels, "y"), _positions(guess, labels, "predicted"), labels)
    ax = _axes(ax)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    picture = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if len(labels) <= _MOST_NUMBERS:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "black" if shares[i, j] > 0.5 else "white"
                ax.text(j, i, str(count), color=colour, ha="center", va="center", fontsize=8)
        names = [str(label) for label in labels]
        ax.set_yticks(range(len(names)), names)
        ax.set_xticks(range(len(names)), names)
        if max(map(len, names)) > 3:
            ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(f"{np.trace(counts)} of {len(true)} right")
    ax.figure.colorbar(picture, ax=ax, label="share of the true class", shrink=0.85)
    return ax


def predicted_values(y: ArrayLike, predicted: ArrayLike, ax: Axes | None = None) -> Axes:
    """Predicted against true values of a regression.

    Parameters
    ----------
    y, predicted : array_like of shape (n,) or (n, n_out)
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
        Right predictions lie on the line.
    """
    true, guess = np.asarray(y), np.asarray(predicted)
    if true.shape != guess.shape or true.ndim not in (1, 2) or not true.size:
        raise ValueError(
            f"y and predicted have shapes {true.shape} and {guess.shape}; "
            "expected (n,) or (n, n_out) for both"
        )
    true, guess = true.reshape(len(true), -1), guess.reshape(len(guess), -1)
    ax = _axes(ax)
    ends = [min(true.min(), guess.min()), max(true.max(), guess.max())]
    ax.plot(ends, ends, color="grey", linewidth=1)
    for i, colour in zip(range(true.shape[1]), _class_colours(true.shape[1]), strict=True):
        ax.plot(true[:, i], guess[:, i], ".", color=colour, alpha=0.5, label=f"output {i + 1}")
    if true.shape[1] > 1:
        ax.legend()
    ax.set(xlabel="true value", ylabel="predicted value", title="Predictions")
    ax.grid(alpha=0.3)
    return ax


# ---- the plane -------------------------------------------------------------------------------


def decision_regions(
    net: Sequential,
    x: ArrayLike,
    y: ArrayLike,
    features: Features = None,
    extent: Sequence[float] | None = None,
    resolution: int = 200,
    ax: Axes | None = None,
) -> Axes:
    """What a net says about each point of the plane, and the points it should fit.

    Parameters
    ----------
    net : Sequential
    x : array_like of shape (n, 2)
        Points, drawn on top.
    y : array_like of shape (n,) or (n, 1)
        Their labels, or their values where the net is for regression.
    features : sequence of str or function, optional
        What the net is fed: names for `cmlp.datasets.features_2d`, or a function from points
        (m, 2) to inputs (m, n_in), such as a `Standardizer`'s ``transform``.  The points
        themselves if None.
    extent : (from x1, to x1, from x2, to x2), optional
        The part of the plane; around the points if None.
    resolution : int, default 200
        Points of the background in each direction.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
        A classifier's background is the colour of the likeliest class, paler where it is less
        sure; between two classes there is a line.
    """
    points, target = np.asarray(x), np.asarray(y)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"x has shape {points.shape}; expected (n, 2)")
    if target.size != len(points):
        raise ValueError(f"y has shape {target.shape}; expected ({len(points)},), as x has rows")
    target = target.reshape(-1)
    box = _around(points) if extent is None else _extent(extent)
    ground = _inputs(_grid(box, resolution), features)
    ax = _axes(ax)
    if _classifies(net):
        p = _probabilities(net, ground).reshape(resolution, resolution, -1)
        _draw_classes(ax, p, points, target, _labels(net, target, p.shape[2]), box)
    else:
        values = net.predict(ground)
        if values.shape[1] != 1:
            raise ValueError(f"net has {values.shape[1]} outputs; expected 1 for a regression")
        _draw_values(ax, values.reshape(resolution, resolution), points, target, box)
    ax.set(xlabel="x1", ylabel="x2", title="What the net says", xlim=box[:2], ylim=box[2:])
    return ax


def hidden_units(
    net: Sequential,
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
    net : Sequential
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
    hidden = _hidden_layers(net)
    if not 0 <= layer < len(hidden):
        raise ValueError(f"layer is {layer}; expected 0..{len(hidden) - 1}, the hidden layers")
    shape = net.metadata.get("image_shape") if image_shape is None else image_shape
    if shape is None:
        tiles = _responses(net, hidden[layer], features, _extent(extent))[:n_units]
    else:
        tiles = _weight_images(net, layer, hidden[0][0], shape)[:n_units]
    columns = int(np.ceil(np.sqrt(len(tiles)))) if n_columns is None else n_columns
    ax = _axes(ax)
    n = net.layers[hidden[layer][0]].n_out
    count = f"{len(tiles)} of {n}" if n > len(tiles) else str(n)
    ax.set_title(f"Hidden layer {layer + 1}: {count} unit{'s' if n > 1 else ''}")
    if shape is None:
        ax.imshow(_mosaic(tiles, columns), cmap=_gaps_white("cividis"))
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


# ---- parts -----------------------------------------------------------------------------------


def _axes(ax: Axes | None) -> Axes:
    """The caller's axes, or new ones."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install cmlp[plots]") from error
    return pyplot.subplots(layout="constrained")[1]


def _colour_map(name: str) -> Any:
    import matplotlib

    return matplotlib.colormaps[name]


def _gaps_white(name: str) -> Any:
    """A colour map that leaves what is NaN as white as the paper."""
    return _colour_map(name).with_extremes(bad="white")


def _class_colours(n: int) -> list[Any]:
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    return list(_colour_map("viridis")(np.linspace(0, 1, n)))


def _positions(values: Array, labels: Array, name: str) -> Array:
    """Where each value stands among the labels."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    found = np.searchsorted(ordered, values).clip(0, len(labels) - 1)
    wrong = ordered[found] != values
    if wrong.any():
        raise ValueError(f"{name} holds {values[wrong][0]!r}, which is not among the classes")
    positions: Array = order[found]
    return positions


def _count(rows: Array, columns: Array, labels: Array) -> Array:
    n = len(labels)
    return np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)


def _extent(extent: Sequence[float]) -> Box:
    if len(extent) != 4 or not (extent[0] < extent[1] and extent[2] < extent[3]):
        raise ValueError(f"extent is {extent!r}; expected (from x1, to x1, from x2, to x2)")
    return (extent[0], extent[1], extent[2], extent[3])


def _around(points: Array) -> Box:
    """The box of the points with a margin."""
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    return (left, right, bottom, top)


def _grid(box: Box, n: int) -> Array:
    """Points (n * n, 2), row by row from below."""
    x1, x2 = np.meshgrid(np.linspace(box[0], box[1], n), np.linspace(box[2], box[3], n))
    return np.column_stack([x1.ravel(), x2.ravel()])


def _inputs(points: Array, features: Features) -> Array:
    if features is None:
        return points
    if callable(features):
        return np.asarray(features(points))
    return datasets.features_2d(points, features)


def _classifies(net: Sequential) -> bool:
    classifying = ("softmax", "sigmoid")
    return net.link in classifying or net.output_activation in classifying


def _probabilities(net: Sequential, x: Array) -> Array:
    """A column for each class, two for a net with one output."""
    p = net.predict_proba(x)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


def _labels(net: Sequential, y: Array, n_classes: int) -> Array:
    """The labels in the order of the outputs."""
    if net.classes is not None:
        return net.classes
    if not np.isin(y, np.arange(n_classes)).all():
        raise ValueError(f"y holds labels {np.unique(y)[:5]}; expected 0..{n_classes - 1}")
    return np.arange(n_classes)


def _draw_classes(
    ax: Axes,
    p: Array,
    points: Array,
    y: Array,
    labels: Array,
    box: Box,
) -> None:
    """Background of probabilities p (rows, columns, n_classes) and points of the classes."""
    from matplotlib.colors import to_rgb

    colours = np.array([to_rgb(colour) for colour in _class_colours(len(labels))])
    likeliest = p.argmax(axis=2)
    chance = 1 / len(labels)
    sure = 0.1 + 0.5 * ((p.max(axis=2) - chance) / (1 - chance)).clip(0, 1)
    ground = 1 - sure[:, :, np.newaxis] * (1 - colours[likeliest])
    ax.imshow(ground, extent=box, origin="lower", aspect="auto", interpolation="nearest")
    if len(labels) == 2 and likeliest.min() < likeliest.max():
        x1, x2 = np.linspace(*box[:2], p.shape[1]), np.linspace(*box[2:], p.shape[0])
        ax.contour(x1, x2, p[:, :, 1], levels=[0.5], colors="black", linewidths=1)
    which = _positions(y, labels, "y")
    for k, marker in zip(range(len(labels)), "os^Dv<>p" * len(labels), strict=False):
        chosen = points[which == k]
        ax.scatter(
            chosen[:, 0], chosen[:, 1], s=18, marker=marker, color=colours[k : k + 1],
            edgecolors="white", linewidths=0.5, label=str(labels[k]),
        )  # fmt: skip
    if len(labels) <= len(COLOURS):
        ax.legend(title="class", loc="upper right", fontsize="small", title_fontsize="small")


def _draw_values(ax: Axes, values: Array, points: Array, y: Array, box: Box) -> None:
    """Background of values (rows, columns) and points filled by their own."""
    low, high = min(values.min(), y.min()), max(values.max(), y.max())
    ground = ax.imshow(
        values, extent=box, origin="lower", aspect="auto", cmap="cividis", vmin=low, vmax=high
    )
    size = np.clip(5000 / len(points), 6, 24)
    ax.scatter(
        points[:, 0], points[:, 1], s=size, c=y, cmap="cividis", vmin=low, vmax=high,
        edgecolors="white", linewidths=0.3,
    )  # fmt: skip
    ax.figure.colorbar(ground, ax=ax, label="value: net behind, data in the points")


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
    x = _inputs(_grid(box, 60), features)
    if net.n_in is not None and x.shape[1] != net.n_in:
        raise ValueError(
            f"net has {net.n_in} inputs; expected {x.shape[1]}, points of the plane: give "
            "image_shape or features for others"
        )
    part = Sequential(*net.layers[: hidden[1]], dtype=net.dtype, seed=net.seed, n_in=net.n_in)
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
