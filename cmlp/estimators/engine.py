"""`Engine`: what an estimator is made of behind scikit-learn's contract."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from ..checks import Array
from ..errors import DivergenceError
from ..layers import Dropout
from ..layers.segment import Segment
from ..network import Sequential
from ..training.data import Data
from . import parameters
from .fit import EstimatorFit, EstimatorLbfgs
from .online import Single
from .record import Record
from .sources import Samples
from .threads import allowed_threads
from .training import EstimatorTrainer, Task, outputs_of
from .weights import Weights

# Rows from which on the threads of a prediction are counted anew.
_MANY = 1024


class NotFiniteError(DivergenceError, ValueError):
    """The loss became NaN or infinite; a ValueError too, as scikit-learn's users expect."""

    def __init__(self) -> None:
        super().__init__(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            "and need to be preprocessed. The weights are those of the last good epoch."
        )


class Engine:
    """A net, what trains it, and what has been written down of that.

    It knows nothing of scikit-learn's contract.  Where a method takes ``settings``, that is an
    object with the estimators' parameters as attributes.

    Attributes
    ----------
    net : Sequential or None
    trainer : EstimatorTrainer or None
    record : Record
    weights : Weights
    single : Single or None
        The net ready for samples of one row.
    stale : bool
        Whether a parameter has been assigned since the trainer was made.
    made_by : dict
        The parameters that the net was made by.
    """

    def __init__(self) -> None:
        self.net: Sequential | None = None
        self.trainer: EstimatorTrainer | None = None
        self.record, self.weights = Record(), Weights()
        self.single: Single | None = None
        self.stale = False
        self.made_by: dict[str, Any] = {}
        self._rate_settings: tuple[Any, ...] = ()

    def has_weights(self) -> bool:
        """Whether there is a net, or weights to make one of."""
        return self.net is not None or self.weights.lists is not None

    def built(self) -> Sequential:
        """The net."""
        assert self.net is not None
        return self.net

    def set_net(self, net: Sequential, settings: Any) -> None:
        """Take a net that was made by these settings."""
        self.net, self.made_by = net, parameters.net_settings(settings)
        self.trainer = self.single = None
        self.weights.forget()

    # ---- training ----

    def make_trainer(self, settings: Any, task: Task, rng: RandomState) -> None:
        """A trainer that begins anew."""
        draws = any(isinstance(layer, Dropout) for layer in self.built().layers)
        self.trainer = self._trainer(settings, task, _seed_of(rng) if draws else 0)
        self._rate_settings = _rate_settings(settings)
        self.single, self.stale = None, False

    def _trainer(self, settings: Any, task: Task, seed: int) -> EstimatorTrainer:
        falls = settings.solver == "sgd" and settings.learning_rate == "invscaling"
        return EstimatorTrainer(
            self.built(),
            task,
            parameters.make_optimizer(settings),
            settings.schedule,
            allowed_threads(settings.n_threads),
            seed,
            settings.power_t if falls else None,
        )

    def refresh(self, settings: Any, task: Task) -> None:
        """Let parameters that have been assigned take effect on a training that goes on."""
        old = self.trainer
        if old is not None:
            if old.task.activation != task.activation or old.task.n_out != task.n_out:
                raise ValueError(
                    f"the net has {old.task.n_out} outputs for {old.task.activation}; expected "
                    f"{task.n_out} for {task.activation}: fit begins anew"
                )
            self.trainer = self._trainer(settings, task, old.seed)
            rates = _rate_settings(settings)
            self.trainer.go_on_from(old, keep_rate=rates == self._rate_settings)
            self.trainer.lower_rate(self.record.t)
            self._rate_settings = rates
        self.single, self.stale = None, False

    def teach(
        self,
        single: Single,
        targets: dict[Any, Any] | None,
        weigh: Callable[[Any], float] | None,
        refusal: str,
    ) -> None:
        """Let single samples be learned from, unless there is a reason against it."""
        if refusal:
            single.refuse(refusal)
        else:
            trainer = self._ready_trainer()
            single.take_trainer(trainer, self.record, self.weights, targets, weigh)

    def train(
        self,
        settings: Any,
        data: Samples,
        held_out: Data | None,
        callbacks: Sequence[Any],
        rng: RandomState,
    ) -> None:
        """Train for ``max_iter`` epochs or until a rule says stop."""
        trainer, record = self._ready_trainer(), self.record
        try:
            if settings.solver == "lbfgs":
                assert isinstance(data, Data)
                with trainer.hold():
                    EstimatorLbfgs(settings, trainer, record, data, callbacks).run()
            elif not self.run_epochs(settings, data, held_out, settings.max_iter, callbacks, rng):
                _warn(
                    f"max_iter={settings.max_iter} epochs are done and training has not converged "
                    "yet",
                    ConvergenceWarning,
                )
        except KeyboardInterrupt:
            _warn("Training interrupted by user.", UserWarning)
        except DivergenceError as error:
            if held_out is None or not settings.early_stopping:
                raise NotFiniteError from error
            record.loss = nan
            record.note_score(settings, nan, nan, trainer.net)
        finally:
            if record.best_weights is not None:
                trainer.net.set_flat(record.best_weights)
            self.weights.forget()

    def run_epochs(
        self,
        settings: Any,
        data: Samples,
        held_out: Data | None,
        epochs: int,
        callbacks: Sequence[Any],
        random_state: Any,
    ) -> bool:
        """Train for some epochs; whether a rule or a callback has stopped it."""
        trainer = self._ready_trainer()
        if settings.batch_size != "auto" and settings.batch_size > len(data):
            _warn(
                f"batch_size is {settings.batch_size} and there are {len(data)} samples; each "
                "epoch is one minibatch of all of them",
                UserWarning,
            )
        self.record.n_iter = 0
        with trainer.hold():
            fit = EstimatorFit(
                settings, trainer, self.record, self.weights, data, held_out, epochs, callbacks,
                random_state,
            )  # fmt: skip
            fit.run()
        return fit.stopped

    def _ready_trainer(self) -> EstimatorTrainer:
        assert self.trainer is not None
        return self.trainer

    # ---- predicting ----

    def outputs(self, x: Any, n_threads: int | None) -> Array:
        """Outputs of the net for checked samples, dense or sparse."""
        net = self.built()
        if isinstance(x, np.ndarray) and (len(x) < _MANY or net.preprocessing.scales):
            return net.predict(x)
        segment = Segment(net.layers, allowed_threads(n_threads))
        return outputs_of(segment.predictor.predict, x)

    # ---- copies ----

    def snapshot(self) -> Engine:
        """What predicts as this does now, whatever becomes of it."""
        made = Engine()
        made.net, made.record = self.built().copy(), self.record
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "single"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, single=None)


def _rate_settings(settings: Any) -> tuple[Any, ...]:
    """What the learning rate begins with."""
    solver = settings.solver if isinstance(settings.solver, str) else id(settings.solver)
    return solver, settings.learning_rate, settings.learning_rate_init


def _seed_of(rng: RandomState) -> int:
    """A word of the generator's state: what is drawn next stays what scikit-learn draws next."""
    state = rng.get_state(legacy=False)["state"]
    return int(state["key"][state["pos"] % len(state["key"])])


def _warn(text: str, category: type[Warning]) -> None:
    warnings.warn(text, category, stacklevel=7)
