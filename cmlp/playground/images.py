"""Pictures of digits as data sets have them, from what was drawn with the mouse."""

from __future__ import annotations

import numpy as np

from ..checks import Array

__all__ = ["as_in_set"]

_BOX = {28: 20}
"""The largest side of a digit in an image of this side: as in MNIST; else the whole image."""


def as_in_set(drawn: Array, side: int) -> Array:
    """A drawing as the images of a data set are: scaled to their box, and centred.

    As LeCun, Cortes and Burges describe it for MNIST: "the images were centered in a 28x28 image by
    computing the center of mass of the pixels".

    Parameters
    ----------
    drawn : ndarray of shape (n, n)
        From 0 (paper) to 1 (ink).
    side : int
        Of the image.

    Returns
    -------
    ndarray of shape (side, side)
        float32; all paper where nothing is drawn.
    """
    rows, columns = np.nonzero(drawn > 0.1)
    image = np.zeros((side, side), np.float32)
    if not len(rows):
        return image
    found = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    box = _BOX.get(side, side)
    scale = box / max(found.shape)
    height, width = (max(1, round(scale * n)) for n in found.shape)
    small = _means(found.shape[0], height) @ found @ _means(found.shape[1], width).T
    small /= max(small.max(), 1e-6)
    at = [
        (np.arange(n) * small.sum(axis=1 - i)).sum() / small.sum()
        for i, n in enumerate(small.shape)
    ]
    top, left = (
        min(max(0, round((side - 1) / 2 - centre)), side - n)
        for centre, n in zip(at, small.shape, strict=True)
    )
    image[top : top + height, left : left + width] = small
    return image


def _means(n: int, n_out: int) -> Array:
    """The matrix (n_out, n) that takes means over n / n_out of n numbers."""
    edges = np.arange(n_out + 1) * (n / n_out)
    low, high = (
        np.maximum.outer(edges[:-1], np.arange(n)),
        np.minimum.outer(edges[1:], np.arange(1, n + 1)),
    )
    found: Array = np.clip(high - low, 0.0, None) * (n_out / n)
    return found
