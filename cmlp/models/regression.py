"""Linear regression, and features that make it polynomial."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, combinations_with_replacement
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from ..losses import SquaredError
from ..training.history import History
from .base import Descent


def polynomial_features(x: ArrayLike, degree: int) -> Array:
    """All products of up to ``degree`` columns of x: x1, x2, x1^2, x1 x2, x2^2, x1^3, ...

    Linear regression on them is the polynomial regression of *Deep Learning, topic 3:
    Multi-layer Perceptron*.

    Parameters
    ----------
    x : array_like of shape (n, n_in) or (n,)
    degree : int
        1 or more.

    Returns
    -------
    ndarray of shape (n, n_features)
        Lower degrees first; without a column of ones, which the bias makes needless.  float32 for
        float32, else float64.
    """
    a = checks.as_array(x, "x")
    dtype = "float32" if a.dtype == np.float32 else "float64"
    rows = checks.as_rows(a[:, np.newaxis] if a.ndim == 1 else a, "x", dtype, None)
    degrees = range(1, checks.positive_int(degree, "degree") + 1)
    columns = range(rows.shape[1])
    terms = chain.from_iterable(combinations_with_replacement(columns, d) for d in degrees)
    return np.column_stack([rows[:, term].prod(axis=1) for term in terms])


@dataclass(eq=False, kw_only=True)
class LinearRegression(Descent):
    """y = W x + b with the least mean squared error, for numbers or vectors.

    E = 1/(2N) sum_n ||W x_n + b - t_n||^2 of *Deep Learning, topic 3: Multi-layer Perceptron*,
    where dE/dW = 1/N sum_n (y_n - t_n) x_n^T and dE/db = 1/N sum_n (y_n - t_n).

    Parameters
    ----------
    method : {"closed_form", "gradient"}, keyword only, default "closed_form"
        Solve dE/dW = 0, dE/db = 0 (the shortest W, where there are several), or descend.
    **settings
        See `cmlp.models`.

    Examples
    --------
    The best that a line can do for the exclusive or is to say 1/2 everywhere:

    >>> import cmlp
    >>> xor = cmlp.datasets.boolean("xor")
    >>> model = cmlp.models.LinearRegression().fit(xor.x, xor.y)
    >>> (abs(model.weight) < 1e-12).all(), round(float(model.bias[0]), 12)
    (True, 0.5)
    """

    method: str = "closed_form"
    _curvature: ClassVar[float] = 1.0
    _flat: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.method = checks.choice(self.method, "method", ("closed_form", "gradient"))

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Find W and b.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
        y : array_like of shape (n,) or (n, n_out)
        """
        rows = checks.as_rows(x, "x", self.dtype, None)
        flat, target = self._targets(y, len(rows))
        net = self._new_net(x, rows.shape[1], target.shape[1])
        if self.method == "gradient":
            self._train(net, SquaredError(), rows, target)
        else:
            layer = net.layers[0]
            layer.weight, layer.bias = _least_squares(rows, target, self.weight_decay)
            self._keep(net, History(), True)
        self._flat = flat
        return self

    def predict(self, x: ArrayLike) -> Array:
        """Numbers (n,) or (n, n_out), as y was, for samples (n, n_in)."""
        y = self.net.predict(self._rows(x))
        return y[:, 0] if self._flat else y

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """R^2 = 1 - sum (t - y)^2 / sum (t - mean t)^2, mean over the outputs."""
        rows = self._rows(x)
        _, target = self._targets(y, len(rows))
        predicted = self.net.predict(rows)
        if predicted.shape != target.shape:
            raise ValueError(f"y has {target.shape[1]} columns; expected {predicted.shape[1]}")
        missed = ((target - predicted) ** 2).sum(axis=0)
        spread = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
        constant = spread == 0
        share = np.where(constant, missed > 0, missed / np.where(constant, 1, spread))
        return float(1 - share.mean())

    def _targets(self, y: ArrayLike, n: int) -> tuple[bool, Array]:
        """Whether y is one-dimensional, and y as rows (n, n_out)."""
        a = checks.as_array(y, "y")
        flat = a.ndim == 1
        rows = checks.as_rows(a[:, np.newaxis] if flat else a, "y", self.dtype, None)
        if len(rows) != n:
            raise ValueError(f"y has {len(rows)} rows; expected {n}, as x has")
        return flat, rows


def _least_squares(x: Array, t: Array, weight_decay: float) -> tuple[Array, Array]:
    """W (n_out, n_in) and b (n_out,) that minimise E + weight_decay/2 ||W||^2."""
    x, t = x.astype(np.float64), t.astype(np.float64)
    x_mean, t_mean = x.mean(axis=0), t.mean(axis=0)
    # b is not decayed: it takes the means up, and the rest has none.
    a, target = x - x_mean, t - t_mean
    if weight_decay:
        # ||a w - t||^2 + N lambda ||w||^2 is the squared error with N lambda's root as more rows.
        a = np.vstack([a, np.sqrt(len(x) * weight_decay) * np.eye(x.shape[1])])
        target = np.vstack([target, np.zeros((x.shape[1], t.shape[1]))])
    w = np.linalg.lstsq(a, target, rcond=None)[0].T
    return w, t_mean - w @ x_mean
