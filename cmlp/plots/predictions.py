"""Predictions beside what was true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..checks import Array
from .axes import class_colours, new_axes, positions_among

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MOST_NUMBERS = 20  # classes up to which a confusion matrix has its numbers written in


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
    counts = _count(
        positions_among(true, labels, "y"), positions_among(guess, labels, "predicted"), labels
    )
    ax = new_axes(ax)
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
    ax = new_axes(ax)
    ends = [min(true.min(), guess.min()), max(true.max(), guess.max())]
    ax.plot(ends, ends, color="grey", linewidth=1)
    for i, colour in zip(range(true.shape[1]), class_colours(true.shape[1]), strict=True):
        ax.plot(true[:, i], guess[:, i], ".", color=colour, alpha=0.5, label=f"output {i + 1}")
    if true.shape[1] > 1:
        ax.legend()
    ax.set(xlabel="true value", ylabel="predicted value", title="Predictions")
    ax.grid(alpha=0.3)
    return ax


def _count(rows: Array, columns: Array, labels: Array) -> Array:
    n = len(labels)
    return np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)
