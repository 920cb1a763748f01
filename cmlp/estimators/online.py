"""Learning from and predicting single samples, in a few microseconds each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..checks import Array
from ..layers.segment import Segment
from ..network import Sequential
from ..training.trainer import finite
from .record import Record
from .training import EstimatorTrainer
from .weights import Weights

Features = int | Sequence[str] | None


class Single:
    """The net of an estimator, ready for samples of one row.

    Parameters
    ----------
    net : Sequential
    names : sequence of str, optional
        Features in the order of the net's inputs, for samples that are dicts.
    """

    def __init__(self, net: Sequential, names: Sequence[str] | None) -> None:
        if net.preprocessing.scales:
            raise ValueError("net_ has a preprocessing that scales; expected none for one sample")
        self.n_in, self.dtype = net.n_in, net.dtype
        self.places = None if names is None else {name: i for i, name in enumerate(names)}
        self.targets: dict[Any, Any] | None = None
        self._predict = Segment(net.layers, 1).predictor.predict_one
        self._trainer: EstimatorTrainer | None = None
        self._refusal = ""

    def refuse(self, reason: str) -> None:
        """Say why nothing can be learned."""
        self._refusal = reason

    def take_trainer(
        self,
        trainer: EstimatorTrainer,
        record: Record,
        weights: Weights,
        targets: dict[Any, Any] | None,
        weigh: Callable[[Any], float] | None,
    ) -> None:
        """Learn with a trainer, and write it down.

        Parameters
        ----------
        trainer : EstimatorTrainer
        record : Record
        weights : Weights
            Forgotten whenever something is learned.
        targets : dict or None
            Label -> target; None where y is the target itself.
        weigh : function or None
            Weight of a sample by its label or target; None where all have weight 1.
        """
        self._trainer, self._record, self._weights = trainer, record, weights
        self.targets, self._weigh = targets, weigh
        self._step, self._limits = trainer.single_step(), trainer.loss.target_range
        self._rate_is_kept = trainer.schedule is None and trainer.power is None

    def outputs(self, x: Any) -> Array:
        """Outputs (n_out,) for a row."""
        try:
            return self._predict(x)
        except TypeError:  # not an array as the core wants it
            return self._predict(self.row(x))

    def learn(self, x: Any, y: Any) -> None:
        """One step; the loss before it is written down."""
        trainer = self._trainer
        if trainer is None:
            raise ValueError(self._refusal)
        rate = trainer.optimizer.lr if self._rate_is_kept else trainer.rate()
        try:
            target = y if self.targets is None else self.targets[y]
            weight = 1.0 if self._weigh is None else self._weigh(y)
            loss: float = self._step(x, target, rate, self._limits, weight)
        except (TypeError, ValueError, KeyError):  # to be converted, or refused with a reason
            row, target = self.row(x), self.target(y)
            weight = 1.0 if self._weigh is None else self._weigh(y)
            loss = self._step(row, target, rate, self._limits, weight)
        record = self._record
        record.loss = finite(loss)
        record.t += 1
        if self._weights.lists is not None:
            self._weights.forget()
        if not self._rate_is_kept:
            trainer.lower_rate(record.t)

    def row(self, x: Any) -> Array:
        """A sample as an array (n_in,)."""
        if isinstance(x, Mapping):
            return self._from_dict(x)
        row = checks.as_float(x, "x", self.dtype)
        if row.shape != (self.n_in,):
            raise ValueError(f"x has shape {row.shape}; expected ({self.n_in},)")
        return row

    def _from_dict(self, x: Mapping[str, Any]) -> Array:
        """A sample as an array; features that it does not have are 0."""
        if self.places is None:
            raise TypeError("x is a dict; expected an array, as the features have no names")
        unknown = [name for name in x if name not in self.places]
        if unknown:
            raise ValueError(f"x has the feature {unknown[0]!r}; expected {list(self.places)}")
        row = np.zeros(len(self.places), self.dtype)
        row[[self.places[name] for name in x]] = list(x.values())
        return row

    def target(self, y: Any) -> Any:
        """A target as the core takes it."""
        if self.targets is not None:
            if not isinstance(y, Hashable) or y not in self.targets:
                raise ValueError(f"y is {y!r}; expected one of {list(self.targets)}")
            return self.targets[y]
        a = checks.as_float(y, "y", self.dtype)
        if self._limits is not None and a.size:
            low, high = self._limits
            if a.min() < low or a.max() > high:
                raise ValueError(f"y is {y!r}; expected numbers from {low:g} to {high:g}")
        return float(a) if a.ndim == 0 else a
