"""What a net or another model says about each point of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..checks import Array
from ..network import Sequential
from .axes import COLOURS, class_colours, new_axes, positions_among
from .plane import Box, Features, around, box_of, grid, inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def decision_regions(
    net: Any,
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
    net : Sequential, model of `cmlp.models`, or estimator with scikit-learn's contract
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
        A classifier's background is the colour of the predicted class, paler where it is less
        sure, if it gives probabilities; between two classes there is a line.
    """
    points, target = np.asarray(x), np.asarray(y)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"x has shape {points.shape}; expected (n, 2)")
    if target.size != len(points):
        raise ValueError(f"y has shape {target.shape}; expected ({len(points)},), as x has rows")
    target = target.reshape(-1)
    box = around(points) if extent is None else box_of(extent)
    ground = inputs(grid(box, resolution), features)
    ax = new_axes(ax)
    said, labels = _of_net(net, ground) if isinstance(net, Sequential) else _of_model(net, ground)
    if labels is None:
        if said.size != len(ground):
            raise ValueError(f"net has {said.shape[1]} outputs; expected 1 for a regression")
        _draw_values(ax, said.reshape(resolution, resolution), points, target, box)
    else:
        if not np.isin(target, labels).all():
            odd = target[~np.isin(target, labels)][0]
            raise ValueError(f"y holds the label {odd!r}; expected one of {labels.tolist()}")
        p = said.reshape(resolution, resolution, -1)
        _draw_classes(ax, p, points, target, labels, box)
    ax.set(xlabel="x1", ylabel="x2", title="What the net says", xlim=box[:2], ylim=box[2:])
    return ax


def _of_net(net: Sequential, x: Array) -> tuple[Array, Array | None]:
    """Probabilities (n, n_classes) and labels in their order; or outputs (n, n_out) and None."""
    probable = {net.link, net.output_activation} & {"softmax", "sigmoid"}
    if net.classes is None and not probable:
        return net.predict(x), None
    if probable or net.n_out == 1:
        p = net.predict_proba(x)
        p = np.hstack([1 - p, p]) if p.shape[1] == 1 else p
    else:  # trained on rows of 0 and 1: the largest output tells the class
        y = net.predict(x)
        p = _one_hot(y.argmax(axis=1), np.arange(y.shape[1]))
    return p, np.arange(p.shape[1]) if net.classes is None else net.classes


def _of_model(model: Any, x: Array) -> tuple[Array, Array | None]:
    """The same of a model or an estimator, whose ``predict`` gives labels or numbers."""
    labels = getattr(model, "classes_", None)
    labels = getattr(model, "classes", None) if labels is None else labels
    if labels is None:
        return np.asarray(model.predict(x)), None
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(x)), labels
    return _one_hot(np.asarray(model.predict(x)), np.asarray(labels)), labels


def _one_hot(y: Array, labels: Array) -> Array:
    """1 in the column of each row's label (n,), 0 in the others."""
    return np.asarray(y[:, np.newaxis] == labels, dtype=np.float64)


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

    colours = np.array([to_rgb(colour) for colour in class_colours(len(labels))])
    likeliest = p.argmax(axis=2)
    chance = 1 / len(labels)
    sure = 0.1 + 0.5 * ((p.max(axis=2) - chance) / (1 - chance)).clip(0, 1)
    ground = 1 - sure[:, :, np.newaxis] * (1 - colours[likeliest])
    ax.imshow(ground, extent=box, origin="lower", aspect="auto", interpolation="nearest")
    if len(labels) == 2 and likeliest.min() < likeliest.max():
        x1, x2 = np.linspace(*box[:2], p.shape[1]), np.linspace(*box[2:], p.shape[0])
        ax.contour(x1, x2, p[:, :, 1], levels=[0.5], colors="black", linewidths=1)
    which = positions_among(y, labels, "y")
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
