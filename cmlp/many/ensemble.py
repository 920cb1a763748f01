"""`Ensemble`: nets that predict together, with the spread of what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from ..network import Sequential
from ..training import Runs, Trainer, fit_many
from .predict import Predictions, checked_nets, predict_many

__all__ = ["Ensemble"]


class Ensemble:
    """Nets that predict together: the mean of what they say, and its spread.

    Nets from different starts are a deep ensemble, as in Lakshminarayanan, Pritzel and Blundell,
    *Simple and scalable predictive uncertainty estimation using deep ensembles* (2017); nets
    trained on samples drawn with replacement are bagged, as in Breiman, *Bagging predictors*
    (1996).

    Parameters
    ----------
    nets : iterable of Sequential
        Of the same widths of input and output.

    Attributes
    ----------
    nets : tuple of Sequential
    """

    def __init__(self, nets: Iterable[Sequential]) -> None:
        self.nets = tuple(checked_nets(nets))

    @classmethod
    def trained(
        cls,
        build: Callable[[int], Trainer],
        x: ArrayLike,
        y: ArrayLike,
        n: int = 10,
        bootstrap: bool = False,
        seed: int = 0,
        **fit: Any,
    ) -> Ensemble:
        """Train the nets of an ensemble in one call.

        Parameters
        ----------
        build : callable
            ``build(seed) -> Trainer``: a new net and trainer for a seed.
        x : array_like of shape (n_samples, n_in)
        y : array_like of shape (n_samples,) or (n_samples, n_out)
        n : int, default 10
            How many nets.
        bootstrap : bool, default False
            Train each on as many samples as there are, drawn with replacement.
        seed : int, default 0
            The nets' seeds are seed, seed + 1, ...; the samples are drawn by it.
        **fit
            Further arguments of `fit_many`.

        Returns
        -------
        Ensemble
            Without the nets that diverged.

        Raises
        ------
        DivergenceError
            If all nets diverge.
        """
        from ..errors import DivergenceError

        count, first = checks.positive_int(n, "n"), checks.seed(seed)
        rows = None
        if checks.flag(bootstrap, "bootstrap"):
            rng = np.random.default_rng(first)
            samples = len(checks.as_array(x, "x"))
            rows = [rng.integers(0, samples, samples) for _ in range(count)]
        runs: Runs = fit_many([build(first + i) for i in range(count)], x, y, rows=rows, **fit)
        good = [t.net for t, loss in zip(runs.trainers, runs.losses, strict=True) if loss < np.inf]
        if not good:
            raise DivergenceError(f"all {count} nets diverged")
        return cls(good)

    def __len__(self) -> int:
        return len(self.nets)

    def predict(self, x: ArrayLike) -> Array:
        """Mean of the nets' outputs.

        Parameters
        ----------
        x : array_like of shape (batch, n_in)

        Returns
        -------
        ndarray of shape (batch, n_out)
        """
        return predict_many(self.nets, x, keep=False).mean

    def predict_proba(self, x: ArrayLike) -> Array:
        """Mean of the nets' probabilities, (batch, n_out)."""
        return predict_many(self.nets, x, probabilities=True, keep=False).mean

    def predictions(self, x: ArrayLike, probabilities: bool = False) -> Predictions:
        """What each net says, with mean and spread; see `predict_many`."""
        return predict_many(self.nets, x, probabilities)

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} nets)"
