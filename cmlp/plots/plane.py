"""Points of the plane, and what a net is fed for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..checks import Array
from ..datasets import features_2d

SQUARE = (-6.0, 6.0, -6.0, 6.0)
"""The part of the plane that is drawn where nothing else is asked for: x1 from, to, x2 from, to."""


Box = tuple[float, float, float, float]


Features = Sequence[str] | Callable[[Array], ArrayLike] | None


def box_of(extent: Sequence[float]) -> Box:
    """The extent as given, checked."""
    if len(extent) != 4 or not (extent[0] < extent[1] and extent[2] < extent[3]):
        raise ValueError(f"extent is {extent!r}; expected (from x1, to x1, from x2, to x2)")
    return (extent[0], extent[1], extent[2], extent[3])


def around(points: Array) -> Box:
    """The box of the points with a margin."""
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    return (left, right, bottom, top)


def grid(box: Box, n: int) -> Array:
    """Points (n * n, 2), row by row from below."""
    x1, x2 = np.meshgrid(np.linspace(box[0], box[1], n), np.linspace(box[2], box[3], n))
    return np.column_stack([x1.ravel(), x2.ravel()])


def inputs(points: Array, features: Features) -> Array:
    """What a net is fed for points (n, 2)."""
    if features is None:
        return points
    if callable(features):
        return np.asarray(features(points))
    return features_2d(points, features)
