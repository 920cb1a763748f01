"""What the two estimators have in common: fitting, predicting, their state."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from inspect import signature
from math import inf, isfinite, nan
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from sklearn import get_config
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..checks import Array
from ..errors import DivergenceError
from ..layers import Dropout
from ..layers.segment import Segment
from ..losses import Loss
from ..preprocessing import Preprocessing
from ..training.callbacks import ProgressBar
from ..training.data import Data
from . import parameters
from .bridge import TaskCallbacks
from .exporting import Exporting
from .lbfgs import EstimatorLbfgs
from .online import Online
from .record import Record
from .threads import allowed_threads
from .training import EstimatorFit, EstimatorTrainer, LossScale, make_data, outputs_of
from .weights import Weights, sizes_of

# Rows from which on the threads of a prediction are counted anew.
_MANY = 1024
_NOT_KEPT = ("_single", "_tasks")


class NotFiniteError(DivergenceError, ValueError):
    """The loss became NaN or infinite; a ValueError too, as scikit-learn's users expect."""

    def __init__(self) -> None:
        super().__init__(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            "and need to be preprocessed. The weights are those of the last good epoch."
        )


def is_stochastic(estimator: Any) -> bool:
    """Whether the solver takes steps, as ``partial_fit`` needs; AttributeError if it does not."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs a stochastic solver; solver is 'lbfgs'")
    return True


class BaseMLP(Record, Weights, Online, Exporting, CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """Base of `MLPClassifier` and `MLPRegressor`."""

    _parameter_constraints: ClassVar[dict[str, Any]] = parameters.CONSTRAINTS
    # Whether the data set aside for validation has the classes in their shares.
    _stratified: ClassVar[bool] = False
    # Whether y holds numbers.
    _numeric: ClassVar[bool] = False
    _trainer: EstimatorTrainer | None = None
    _tasks: TaskCallbacks | None = None

    def _set(self, parameters: dict[str, Any]) -> None:
        """Keep the arguments of the constructor as they are."""
        self.__dict__.update({k: v for k, v in parameters.items() if k != "self"})

    # ---- what each of the two says for itself ----

    def _settle_outputs(self, y: Any, incremental: bool) -> None:
        """Take note of the classes in y, or compare them with those known."""

    def _name_classes(self) -> None:
        """Tell the net its classes, if it has any."""

    def _encode(self, y: Any, dtype: str) -> Array:
        """Targets as the core takes them: labels (n,), or rows (n, n_out) of ``dtype``."""
        raise NotImplementedError

    def _output(self, target: Array) -> tuple[int, str]:
        """How many outputs there are for these targets, and scikit-learn's name of what they do."""
        raise NotImplementedError

    def _make_loss(self) -> tuple[Any, LossScale]:
        """The loss, and how scikit-learn writes it."""
        raise NotImplementedError

    def _score_outputs(self, y: Array, t: Array, w: Array | None) -> float:
        """Score of outputs, as they are before their activation, against encoded targets."""
        raise NotImplementedError

    def _with_class_weight(self, y: Any, weight: Array | None, dtype: str) -> Array | None:
        """Weights of samples, those of their classes folded in."""
        return weight

    def _validate_params(self) -> None:
        """Check the parameters that are not the defaults."""
        kind: Any = type(self)
        given = {
            name: value
            for name, default in _defaults(kind).items()
            if (value := getattr(self, name)) is not default
        }
        validate_parameter_constraints(
            self._parameter_constraints, given, caller_name=type(self).__name__
        )

    # ---- fitting ----

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train from the start, or with ``warm_start`` from where the last call ended.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like of shape (n_samples,), optional
            None negative, not all 0.  The loss of a minibatch is the mean weighted by them.
        X_val, y_val : array_like, optional
            Validation data of one's own: loss and score on them are noted after each epoch, and
            ``early_stopping`` looks at them and not at a part of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For data or parameters that make no sense, before any weight is changed.
        DivergenceError
            If the loss becomes NaN or infinite; it is a ValueError too.  The weights are those of
            the last good epoch.
        """
        fresh = not (self.warm_start and self._has_weights())
        parameters.check_layers(self)
        data = self._checked(X, y, sample_weight, reset=fresh)
        own = self._own_validation(X_val, y_val, data)
        n_runs = self.n_restarts if fresh else 1
        if hasattr(self, "_skl_callbacks"):
            self._tasks = TaskCallbacks(self, self.max_iter * n_runs, X, y, sample_weight)
        try:
            self._train_best(data, own, n_runs, fresh)
            if self._tasks is not None:
                self._tasks.end()
        finally:
            self._tasks = None
        return self

    def _train_best(self, data: Data, own: Data | None, n_runs: int, fresh: bool) -> None:
        """Train from several starts, and be the best: by validation score, else by loss."""
        rng = check_random_state(self.random_state)
        split: tuple[Data, Data | None] | None = None
        best: dict[str, Any] = {}
        highest = -inf
        for _ in range(n_runs):
            self._prepare(data, rng, fresh)
            split = split or self._split(data, own, rng)
            self._trainer = self._make_trainer(rng)
            try:
                self._train(*split, rng)
            except NotFiniteError:
                if n_runs == 1:
                    raise
                continue
            score = getattr(self, "best_validation_score_", None)
            merit = -self.loss_ if score is None else score
            if not best or merit > highest:
                best, highest = dict(vars(self)), merit
        if not best:
            raise NotFiniteError
        self.__dict__.update(best)

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, reset: bool, incremental: bool = False
    ) -> Data:
        """Samples as the core takes them."""
        dtypes = [np.float64, np.float32] if self.dtype is None else [np.dtype(self.dtype)]
        if not reset and "net_" in vars(self):
            dtypes = [np.dtype(self.net_.dtype)]
        X, y = self._validated(X, y, reset, dtypes)
        self._settle_outputs(y, incremental)
        dtype = X.dtype.name
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=X.dtype, ensure_non_negative=True
            )
        weight = self._with_class_weight(y, sample_weight, dtype)
        return make_data(X, self._encode(y, dtype), weight)

    def _validated(self, X: Any, y: Any, reset: bool, dtypes: list[Any]) -> tuple[Any, Any]:
        """X and y through scikit-learn's checks; X of one of these types, else of the first."""
        if reset and is_plain(X, dtypes) and is_plain_target(y, len(X)):  # nothing to find there
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
            return X, y
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=self._numeric,
            dtype=dtypes,
            order="C",
            reset=reset,
        )
        own_loss = not isinstance(self.loss, (str, Loss))
        return X if isinstance(X, np.ndarray) or not own_loss else X.toarray(), y

    def _own_validation(self, X: Any, y: Any, data: Data) -> Data | None:
        """The validation data of the user, checked as those that are trained on."""
        if (X is None) != (y is None):
            raise ValueError("X_val and y_val go together; expected both or none")
        if X is None:
            return None
        if self.solver == "lbfgs":
            raise ValueError("X_val needs a stochastic solver; solver is 'lbfgs'")
        try:
            X, y = self._validated(X, y, False, [data.x.dtype])
            own = make_data(X, self._encode(y, X.dtype.name), None)
        except ValueError as error:
            raise ValueError(f"X_val and y_val: {error}") from error
        if own.y.shape[1:] != data.y.shape[1:]:
            raise ValueError(f"y_val has shape {own.y.shape}; expected {('n', *data.y.shape[1:])}")
        return own

    def _prepare(self, data: Data, rng: Any, fresh: bool) -> None:
        """Have a net for the data, and the attributes that go with it; rng draws a fresh one."""
        n_in, (n_out, activation) = data.x.shape[1], self._output(data.y)
        sizes = [n_in, *parameters.hidden_sizes(self.hidden_layer_sizes), n_out]
        if fresh or not hasattr(self, "out_activation_"):
            self.out_activation_ = activation
            self._clear_record()
        if fresh:
            arrays, seed = None, 0
            if self.weight_init is None:
                arrays = parameters.initial_coefs(self.activation, sizes, rng)
            else:
                seed = int(rng.randint(np.iinfo(np.int32).max))
            self._set_net(sizes, arrays, data.x.dtype.name, seed)
        self._sync()
        if (self.net_.n_in, self.net_.n_out) != (n_in, n_out):
            raise ValueError(
                f"X and y ask for {n_in} inputs and {n_out} outputs; the net has "
                f"{self.net_.n_in} and {self.net_.n_out}"
            )

    def _set_net(
        self, sizes: list[int], arrays: list[Array] | None, dtype: str, seed: int = 0
    ) -> None:
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]
        self.net_ = parameters.make_net(self, sizes, dtype, arrays, seed)
        names = vars(self).get("feature_names_in_")
        self.net_.preprocessing = Preprocessing(
            feature_names=None if names is None else tuple(names)
        )
        self._name_classes()
        self._trainer = self._single = None
        self._net_changed()

    def _sync(self) -> None:
        """Give the net what was assigned to ``coefs_`` or ``intercepts_``."""
        arrays = self._assigned()
        if arrays is None:
            return
        sizes = sizes_of(arrays)
        if "net_" in vars(self) and self._sizes() == sizes:
            self._take(arrays)
        else:
            self._set_net(sizes, arrays, arrays[0].dtype.name)
        if not hasattr(self, "t_"):
            self._clear_record()

    def _make_trainer(self, rng: RandomState) -> EstimatorTrainer:
        loss, scale = self._make_loss()
        optimizer = parameters.make_optimizer(self)
        if getattr(optimizer, "decay_over_batch", False):
            scale = replace(scale, alpha=optimizer.weight_decay)
        threads = allowed_threads(self.n_threads)
        draws = any(isinstance(layer, Dropout) for layer in self.net_.layers)
        seed = _seed_of(rng) if draws else 0
        return EstimatorTrainer(self, loss, optimizer, scale, threads, seed)

    def _split(self, data: Data, own: Data | None, rng: RandomState) -> tuple[Data, Data | None]:
        """What to train on, and what to validate on."""
        if own is not None or not self.early_stopping or self.solver == "lbfgs":
            return data, own
        arrays = [data.x, data.y] + ([] if data.weight is None else [data.weight])
        parts = train_test_split(
            *arrays,
            random_state=rng,
            test_size=self.validation_fraction,
            stratify=data.y > 0.5 if self._stratified and self.n_outputs_ == 1 else None,
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small: it has 1 sample; expected 2 or more. Raise "
                "validation_fraction or give X_val and y_val"
            )
        weights = parts[4:] or [None, None]
        return make_data(parts[0], parts[2], weights[0]), make_data(parts[1], parts[3], weights[1])

    def _train(self, data: Data, held_out: Data | None, rng: RandomState) -> None:
        """Train for ``max_iter`` epochs or until a rule says stop."""
        assert self._trainer is not None
        try:
            if self.solver == "lbfgs":
                with self._trainer.hold():
                    EstimatorLbfgs(self, self._trainer, data).run()
            elif not self._run_epochs(data, held_out, self.max_iter, rng):
                _warn(
                    f"max_iter={self.max_iter} epochs are done and training has not converged yet",
                    ConvergenceWarning,
                )
        except KeyboardInterrupt:
            _warn("Training interrupted by user.", UserWarning)
        except DivergenceError as error:
            if held_out is None or not self.early_stopping:
                raise NotFiniteError from error
            self.loss_ = nan
            self._note_score(nan, nan)
        finally:
            if self._best_weights is not None:
                self.net_.set_flat(self._best_weights)
            self._net_changed()

    def _run_epochs(
        self, data: Data, held_out: Data | None, epochs: int, random_state: Any
    ) -> bool:
        """Train for some epochs; whether a rule or a callback has stopped it."""
        assert self._trainer is not None
        if self.batch_size != "auto" and self.batch_size > len(data):
            _warn(
                f"batch_size is {self.batch_size} and there are {len(data)} samples; each epoch "
                "is one minibatch of all of them",
                UserWarning,
            )
        self.n_iter_ = 0
        with self._trainer.hold():
            fit = EstimatorFit(self, self._trainer, data, held_out, epochs, random_state)
            fit.run()
        return fit.stopped

    def _observers(self) -> list[Any]:
        found = list(self.callbacks or [])
        if self.progress:
            found.append(ProgressBar(force=True))
        return found if self._tasks is None else [*found, self._tasks]

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """One epoch on some samples, from where the last call ended."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        random_state = self.random_state
        data = self._plain_data(X, y) if sample_weight is None else None
        if data is None:
            fresh = not self._has_weights()
            parameters.check_layers(self)
            data = self._checked(X, y, sample_weight, reset=fresh, incremental=True)
            if fresh or self._trainer is None:
                random_state = check_random_state(random_state)
            self._start(data, random_state, fresh)
        try:
            self._run_epochs(data, None, 1, random_state)
        except DivergenceError as error:
            raise NotFiniteError from error
        return self

    def _start(self, data: Data, random_state: Any, fresh: bool) -> None:
        """Have a net and a trainer to go on with."""
        self._prepare(data, random_state, fresh)
        if self._trainer is None:
            self._trainer = self._make_trainer(check_random_state(random_state))

    # ---- predicting ----

    def _plain(self, X: Any) -> bool:
        """Whether X is what the net takes, and needs no further look."""
        return (
            "net_" in vars(self)
            and "feature_names_in_" not in vars(self)
            and is_plain(X, (self.net_.dtype,))
            and X.shape[1] == self.net_.n_in
        )

    def _plain_data(self, X: Any, y: Any) -> Data | None:
        """The samples, if they are plain arrays that need no further look."""
        raise NotImplementedError

    def _outputs(self, X: Any) -> Array:
        """Outputs of the net for samples to be checked."""
        self._sync()
        if "net_" not in vars(self):
            check_is_fitted(self)
        if not self._plain(X):
            X = validate_data(
                self,
                X,
                accept_sparse="csr",
                dtype=np.dtype(self.net_.dtype),
                order="C",
                reset=False,
            )
        if isinstance(X, np.ndarray) and len(X) < _MANY:
            return self.net_.predict(X)
        segment = Segment(self.net_.layers, allowed_threads(self.n_threads))
        return outputs_of(segment.predictor.predict, X)

    # ---- state ----

    def __sklearn_is_fitted__(self) -> bool:
        return self._has_weights() and hasattr(self, "out_activation_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in super().__getstate__().items() if k not in _NOT_KEPT}
        if self._assigned() is None:  # arrays that were read cannot be told to stay read-only
            state = {k: v for k, v in state.items() if k not in ("_lists", "_known")}
        return state


def _seed_of(rng: RandomState) -> int:
    """A word of the generator's state: what is drawn next stays what scikit-learn draws next."""
    state = rng.get_state(legacy=False)["state"]
    return int(state["key"][state["pos"] % len(state["key"])])


@cache
def _defaults(kind: type[Any]) -> dict[str, Any]:
    """The parameters of a class, in scikit-learn's order, and their defaults if they are valid."""
    parameters = signature(kind.__init__).parameters
    found = {name: parameters[name].default for name in kind._get_param_names()}
    for name, default in found.items():
        try:
            validate_parameter_constraints(kind._parameter_constraints, {name: default}, "")
        except InvalidParameterError:  # a subclass's
            found[name] = object()
    return found


def is_plain(X: Any, dtypes: Sequence[Any]) -> bool:
    """Whether X is a matrix of one of these types that the core takes as it is."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in dtypes
        and X.size > 0
        and X.flags.c_contiguous
        and X.flags.aligned
        and is_finite(X)
    )


def is_plain_target(y: Any, n: int) -> bool:
    """Whether y is a column of n numbers that need no further look."""
    return (
        type(y) is np.ndarray
        and y.shape == (n,)
        and (y.dtype.kind in "iub" or (y.dtype.kind == "f" and is_finite(y)))
    )


def is_finite(a: Array) -> bool:
    """Whether there is no NaN or infinity for certain, or nobody wants to know."""
    if get_config()["assume_finite"]:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(a.sum())


def _warn(text: str, category: type[Warning]) -> None:
    warnings.warn(text, category, stacklevel=5)
