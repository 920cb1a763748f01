"""Learning from and predicting single samples, in a few microseconds each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from .. import checks
from ..checks import Array
from ..layers.segment import Segment
from ..network import Sequential
from ..training.data import Data
from ..training.trainer import finite

if TYPE_CHECKING:
    from .training import EstimatorTrainer

Features = int | Sequence[str] | None


class Single:
    """The net of an estimator, ready for samples of one row.

    Parameters
    ----------
    net : Sequential
    trainer : EstimatorTrainer or None
        None where nothing can be learned.
    targets : dict or None
        Label -> target; None where y is the target itself.
    names : sequence of str, optional
        Features in the order of the net's inputs, for samples that are dicts.
    """

    def __init__(
        self,
        net: Sequential,
        trainer: EstimatorTrainer | None,
        targets: dict[Any, Any] | None,
        names: Sequence[str] | None,
    ) -> None:
        self.n_in, self.dtype = net.n_in, net.dtype
        self.targets, self.trainer = targets, trainer
        self.places = None if names is None else {name: i for i, name in enumerate(names)}
        self._predict = Segment(net.layers, 1).predictor.predict_one
        if trainer is not None:
            self._step, self._limits = trainer.single_step(), trainer.loss.target_range
            self._rate_is_kept = trainer.schedule is None and trainer.power is None

    def outputs(self, x: Any) -> Array:
        """Outputs (n_out,) for a row."""
        try:
            return self._predict(x)
        except TypeError:  # not an array as the core wants it
            return self._predict(self.row(x))

    def learn(self, x: Any, y: Any, t: int) -> float:
        """One step, after which t samples have been seen; the loss before it."""
        trainer = self.trainer
        if trainer is None:
            raise ValueError("learn_one needs a stochastic solver; solver is 'lbfgs'")
        rate = trainer.optimizer.lr if self._rate_is_kept else trainer.rate()
        try:
            target = y if self.targets is None else self.targets[y]
            loss: float = self._step(x, target, rate, self._limits)
        except (TypeError, ValueError, KeyError):  # to be converted, or refused with a reason
            row, target = self.row(x), self.target(y)
            loss = self._step(row, target, rate, self._limits)
        finite(loss)
        if not self._rate_is_kept:
            trainer.lower_rate(t)
        return loss

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


class Online:
    """Mixin: ``learn_one``, ``predict_one``."""

    _single: Single | None = None

    if TYPE_CHECKING:
        dtype: str | None
        random_state: Any
        solver: Any
        net_: Sequential
        feature_names_in_: Array
        t_: int
        _lists: Any
        _trainer: EstimatorTrainer | None

        def _blank_target(self) -> Array: ...
        def _make_trainer(self, rng: Any) -> EstimatorTrainer: ...
        def _decode_one(self, y: Array) -> Any: ...
        def _single_targets(self) -> dict[Any, Any] | None: ...
        def _start(self, data: Data, random_state: Any, fresh: bool) -> None: ...
        def _sync(self) -> None: ...
        def _net_changed(self) -> None: ...

    def learn_one(self, x: Any, y: Any) -> None:
        """Train on one sample.

        What ``partial_fit`` does with one row, but that ``loss_curve_`` does not grow.  An array
        of the net's dtype goes the shortest way.

        Parameters
        ----------
        x : array_like of shape (n_features,), or dict {feature: number}
            Features that a dict does not have are 0.
        y : label, number, or array_like of shape (n_outputs,)

        Raises
        ------
        ValueError, TypeError
            For a sample that makes no sense; nothing is changed.
        DivergenceError
            If the loss is NaN or infinite; nothing is changed.
        """
        single = self._single
        if single is None or self._lists is not None:
            single = self._ready(x)
        self.loss_ = single.learn(x, y, self.t_ + 1)
        self.t_ += 1
        if self._lists is not None:
            self._net_changed()

    def predict_one(self, x: Any) -> Any:
        """The label of one sample; of a regressor its number, or an array of several.

        Parameters
        ----------
        x : array_like of shape (n_features,), or dict {feature: number}
        """
        return self._decode_one(self._outputs_one(x))

    def _outputs_one(self, x: Any) -> Array:
        single = self._single
        if single is None or self._lists is not None:
            single = self._ready(x)
        return single.outputs(x)

    def _ready(self, x: Any) -> Single:
        """The net for single samples; made now, if x is the first of all."""
        self._sync()
        if "net_" not in vars(self):
            self._begin(list(x) if isinstance(x, Mapping) else np.size(x))
        if self._single is None:
            names = getattr(self, "feature_names_in_", None)
            if self._trainer is None:
                self._trainer = self._make_trainer(check_random_state(self.random_state))
            trainer = None if self.solver == "lbfgs" else self._trainer
            self._single = Single(self.net_, trainer, self._single_targets(), names)
        return self._single

    def _open(self, features: Features) -> None:
        """Forget everything; begin at once if the features are known, or at the first sample."""
        for name in ("net_", "n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
        self._lists = self._trainer = self._single = None
        if features is not None:
            self._begin(features)

    def _begin(self, features: int | Sequence[str]) -> None:
        """A net that has seen nothing, for these features."""
        target = self._blank_target()
        if isinstance(features, (int, np.integer)):
            n = checks.positive_int(features, "features")
        else:
            names = list(features)
            if not names or not all(isinstance(name, str) for name in names):
                raise TypeError(f"features is {features!r}; expected a number or names")
            n, self.feature_names_in_ = len(names), np.array(names, dtype=object)
        self.n_features_in_ = n
        x = np.zeros((1, n), self.dtype or "float64")
        rng = check_random_state(self.random_state)
        self._start(Data(x, target, None), rng, fresh=True)
