"""What every set of data is, and how it is split."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset", "Labels", "PathLike", "Split", "check_seed", "held_out_size"]

PathLike = str | os.PathLike[str]
Labels = tuple[int, ...] | tuple[str, ...]

_TEST_SHARE = 0.2


class Split(NamedTuple):
    """A training part and a held-out part; unpacks in this order."""

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Inputs and targets with what is known of them.

    Attributes
    ----------
    name : str
    x : ndarray (n, n_in), float32 or float64
        Inputs, all finite. float64 from tables, so that nothing is rounded before it is scaled.
    y : ndarray
        Class numbers (n,), int64, that index `classes`; or targets (n, n_out) of such floats.
    classes : tuple of int or of str, or None
        The label of each class number; None for regression.
    feature_names : tuple of str, or None
        What the columns of `x` are called.
    image_shape : (rows, columns), or None
        The picture that each row of `x` unrolls.
    n_test : int
        The last `n_test` samples are the set's own test part; 0 where it has none.

    Raises
    ------
    ValueError
        The shapes do not fit together.
    """

    name: str
    x: NDArray[Any]
    y: NDArray[Any]
    classes: Labels | None = None
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None
    n_test: int = 0

    def __post_init__(self) -> None:
        if self.x.ndim != 2:
            raise ValueError(f"x: got shape {self.x.shape}, expected (n, n_in)")
        ndim = 2 if self.classes is None else 1
        if self.y.ndim != ndim or len(self.y) != len(self.x):
            expected = f"({len(self.x)}, n_out)" if ndim == 2 else f"({len(self.x)},)"
            raise ValueError(f"y: got shape {self.y.shape}, expected {expected}")
        if not 0 <= self.n_test < max(1, len(self.x)):
            raise ValueError(f"n_test: got {self.n_test}, expected 0 to {len(self.x) - 1}")

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        kind = f"{self.n_out} targets" if self.classes is None else f"{self.n_out} classes"
        return f"<Dataset {self.name}: {len(self):,} samples, {self.n_in} inputs, {kind}>"

    @property
    def n_in(self) -> int:
        """Inputs of a sample."""
        return int(self.x.shape[1])

    @property
    def n_out(self) -> int:
        """Outputs that a network for this set needs: classes, or targets of a sample."""
        return int(self.y.shape[1]) if self.classes is None else len(self.classes)

    def split(self, test_share: float | None = None, seed: int = 0) -> Split:
        """Part the set for training and testing.

        Parameters
        ----------
        test_share : float between 0 and 1, optional
            Share of the samples to hold out, drawn at random. By default the set's own test
            part, or a fifth where it has none.
        seed : int, default 0
            The same seed holds out the same samples on every machine and with every version of
            NumPy. Not used for the set's own test part.

        Returns
        -------
        Split
            `x_train, y_train, x_test, y_test`, with a sample or more in each part. The set's
            own parts are views of its arrays, drawn parts are copies.

        Raises
        ------
        ValueError
            A share outside 0 to 1, a negative seed, or fewer than two samples.
        """
        n = len(self)
        if test_share is None and self.n_test:
            cut = n - self.n_test
            return Split(self.x[:cut], self.y[:cut], self.x[cut:], self.y[cut:])
        if n < 2:
            raise ValueError(f"{self.name} has {n} samples, expected 2 or more to split")
        n_test = held_out_size(n, _TEST_SHARE if test_share is None else test_share)
        # The raw stream of a bit generator is the one thing that NumPy promises never to change.
        order = np.argsort(np.random.PCG64(check_seed(seed)).random_raw(n), kind="stable")
        train, test = np.sort(order[n_test:]), np.sort(order[:n_test])
        return Split(self.x[train], self.y[train], self.x[test], self.y[test])


def held_out_size(n: int, test_share: float) -> int:
    """How many of n samples (2 or more) a share of them is, leaving one or more on both sides."""
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: got {test_share!r}, expected a number between 0 and 1")
    return min(n - 1, max(1, round(n * test_share)))


def check_seed(seed: int) -> int:
    """The seed as an int, refused if it is negative or none."""
    seed = operator.index(seed)
    if seed < 0:
        raise ValueError(f"seed: got {seed}, expected 0 or more")
    return seed
