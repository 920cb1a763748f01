"""Sets that ship with the package or are drawn."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dataset import Dataset, check_seed, held_out_size


def digits() -> Dataset:
    """Handwritten digits, 1,797 images of 8x8 pixels, 10 classes.

    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak,
    UCI Machine Learning Repository, licence CC BY 4.0. It ships with the package.

    Returns
    -------
    Dataset
        x is (1797, 64), pixels from 0 (paper) to 1 (ink) in steps of 1/16, row by row.
    """
    file = resources.files(__package__) / "data" / "digits.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        x = arrays["x"].astype(np.float32) / np.float32(16)
        y = arrays["y"].astype(np.int64)
    return Dataset("digits", x, y, classes=tuple(range(10)), image_shape=(8, 8))


def points_2d(
    name: str,
    n: int | None = None,
    *,
    noise: float = 0.0,
    seed: int = 0,
    test_share: float = 0.5,
) -> Dataset:
    """Points of the plane, with the distributions of "TensorFlow Playground".

    Parameters
    ----------
    name : str
        Classification, where class 1 is the playground's +1 and class 0 its -1:

        - ``"circle"``: half of the points within 2.5 of the origin (class 1 where the noisy
          point is), half between 3.5 and 5 (class 0), even in radius and angle.
        - ``"xor"``: even over the square of -5 to 5, moved 0.3 away from both axes; class 1
          where the noisy x1 x2 is not negative.
        - ``"gauss"``: two normal clouds around (2, 2) (class 1) and (-2, -2) (class 0), their
          variance 0.5 + 7 noise.
        - ``"spiral"``: two arms of 1.75 turns out to radius 5, class 0 half a turn behind.

        Regression, even over the square of -6 to 6:

        - ``"plane"``: y = (x1 + x2) / 10 at the noisy point.
        - ``"multi_gaussian"``: six cones of radius 2 and height 1 or -1 in two rows of three;
          y is the highest of them, in absolute value, at the noisy point.
    n : int, optional
        Number of points, 2 or more; by default 500, for regression 1,200.
    noise : float from 0 to 0.5, default 0
        Share of the square's half width (5 or 6) by which each coordinate is moved, evenly,
        before the target is read off; the returned points stay. The arms of the spiral are
        moved themselves, by up to `noise`.
    seed : int, default 0
        Same seed, same points (with the same version of NumPy).
    test_share : float between 0 and 1, default 0.5
        Share of the points that is the set's own test part.

    Returns
    -------
    Dataset
        x is (n, 2), its columns "x1" and "x2", in random order.

    Raises
    ------
    ValueError
        An unknown name or a number out of its range.
    """
    if name not in _POINTS_2D:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(POINTS_2D)}")
    draw, default_n, classes = _POINTS_2D[name]
    n = default_n if n is None else operator.index(n)
    if n < 2:
        raise ValueError(f"n: got {n}, expected 2 or more")
    if not 0 <= noise <= 0.5:
        raise ValueError(f"noise: got {noise!r}, expected a number from 0 to 0.5")
    n_test = held_out_size(n, test_share)
    rng = np.random.default_rng(check_seed(seed))
    x, y = draw(rng, n, noise)
    order = rng.permutation(n)
    return Dataset(
        name,
        x[order].astype(np.float32),
        y[order].astype(np.int64) if classes else y[order, np.newaxis].astype(np.float32),
        classes=classes,
        feature_names=("x1", "x2"),
        n_test=n_test,
    )


_Points = tuple[NDArray[np.float64], NDArray[Any]]


def _moved(
    rng: np.random.Generator, x: NDArray[np.float64], half_width: float, noise: float
) -> NDArray[np.float64]:
    """The points (n, 2) where their targets are read off."""
    return x + noise * rng.uniform(-half_width, half_width, x.shape)


def _circle(rng: np.random.Generator, n: int, noise: float) -> _Points:
    n_inside = n // 2
    radius = np.concatenate([rng.uniform(0, 2.5, n_inside), rng.uniform(3.5, 5, n - n_inside)])
    angle = rng.uniform(0, 2 * np.pi, n)
    x = radius[:, np.newaxis] * np.column_stack([np.sin(angle), np.cos(angle)])
    return x, np.hypot(*_moved(rng, x, 5, noise).T) < 2.5


def _xor(rng: np.random.Generator, n: int, noise: float) -> _Points:
    x = rng.uniform(-5, 5, (n, 2))
    x += np.where(x > 0, 0.3, -0.3)
    return x, _moved(rng, x, 5, noise).prod(axis=1) >= 0


def _gauss(rng: np.random.Generator, n: int, noise: float) -> _Points:
    y = np.arange(n) < n // 2
    centre = np.where(y, 2.0, -2.0)[:, np.newaxis]
    return rng.normal(centre, np.sqrt(0.5 + 7 * noise), (n, 2)), y


def _spiral(rng: np.random.Generator, n: int, noise: float) -> _Points:
    n_first = n // 2
    along = np.concatenate([np.arange(n_first) / n_first, np.arange(n - n_first) / (n - n_first)])
    y = np.arange(n) < n_first
    angle = 1.75 * 2 * np.pi * along + np.where(y, 0, np.pi)
    x = 5 * along[:, np.newaxis] * np.column_stack([np.sin(angle), np.cos(angle)])
    return _moved(rng, x, 1, noise), y


def _plane(rng: np.random.Generator, n: int, noise: float) -> _Points:
    x = rng.uniform(-6, 6, (n, 2))
    return x, _moved(rng, x, 6, noise).sum(axis=1) / 10


def _multi_gaussian(rng: np.random.Generator, n: int, noise: float) -> _Points:
    centre = np.array([[-4, 2.5], [0, 2.5], [4, 2.5], [-4, -2.5], [0, -2.5], [4, -2.5]])
    sign = np.array([1, -1, 1, -1, 1, -1])
    x = rng.uniform(-6, 6, (n, 2))
    away = np.linalg.norm(_moved(rng, x, 6, noise)[:, np.newaxis] - centre, axis=2)
    height = sign * np.clip(1 - away / 2, 0, 1)
    return x, height[np.arange(n), np.abs(height).argmax(axis=1)]


_Sampler = Callable[[np.random.Generator, int, float], _Points]

# How each set is drawn, its usual number of points, its classes.
_POINTS_2D: dict[str, tuple[_Sampler, int, tuple[int, ...] | None]] = {
    "circle": (_circle, 500, (0, 1)),
    "xor": (_xor, 500, (0, 1)),
    "gauss": (_gauss, 500, (0, 1)),
    "spiral": (_spiral, 500, (0, 1)),
    "plane": (_plane, 1200, None),
    "multi_gaussian": (_multi_gaussian, 1200, None),
}

POINTS_2D = tuple(_POINTS_2D)
"""The names that `points_2d` knows."""

_FEATURES_2D: dict[str, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    "x1": lambda x1, x2: x1,
    "x2": lambda x1, x2: x2,
    "x1^2": lambda x1, x2: x1 * x1,
    "x2^2": lambda x1, x2: x2 * x2,
    "x1x2": lambda x1, x2: x1 * x2,
    "sin x1": lambda x1, x2: np.sin(x1),
    "sin x2": lambda x1, x2: np.sin(x2),
}

FEATURES_2D = tuple(_FEATURES_2D)
"""The names that `features_2d` knows."""


def features_2d(x: ArrayLike, names: Sequence[str] = FEATURES_2D) -> NDArray[Any]:
    """Inputs for a network from points of the plane.

    Parameters
    ----------
    x : array (n, 2)
    names : sequence of str
        Which features, in this order, of ``x1``, ``x2``, ``x1^2``, ``x2^2``, ``x1x2``,
        ``sin x1``, ``sin x2``; all of them by default.

    Returns
    -------
    ndarray (n, len(names))
        float64 for float64 points, float32 for all others.

    Raises
    ------
    ValueError
        Another shape of x, an unknown name, or none.
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x: got shape {x.shape}, expected (n, 2)")
    unknown = [name for name in names if name not in _FEATURES_2D]
    if unknown or not names:
        got = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"names: got {got}, expected some of {', '.join(FEATURES_2D)}")
    x1, x2 = x.T if x.dtype == np.float64 else x.T.astype(np.float32)
    return np.column_stack([_FEATURES_2D[name](x1, x2) for name in names])


BOOLEAN_FUNCTIONS: dict[str, tuple[int, ...]] = {
    "not": (1, 0),
    "and": (0, 0, 0, 1),
    "or": (0, 1, 1, 1),
    "nand": (1, 1, 1, 0),
    "nor": (1, 0, 0, 0),
    "xor": (0, 1, 1, 0),
    "xnor": (1, 0, 0, 1),
}
"""The truth tables of `boolean`: values at 0, 1, or at (0, 0), (0, 1), (1, 0), (1, 1)."""


def boolean(name: str) -> Dataset:
    """The truth table of a Boolean function as a set of two classes, 0 and 1.

    Parameters
    ----------
    name : str
        One of `BOOLEAN_FUNCTIONS`; capitals are taken too.

    Returns
    -------
    Dataset
        x is (4, 2), or (2, 1) for ``not``, counting up in binary.

    Raises
    ------
    ValueError
        An unknown name.
    """
    values = BOOLEAN_FUNCTIONS.get(name.lower())
    if values is None:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(BOOLEAN_FUNCTIONS)}")
    n_in = 2 if len(values) == 4 else 1
    x = np.indices((2,) * n_in).reshape(n_in, -1).T.astype(np.float32)
    names = ("x1", "x2")[:n_in]
    return Dataset(name.lower(), np.ascontiguousarray(x), np.array(values), (0, 1), names)
