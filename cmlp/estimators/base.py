"""scikit-learn's contract, as far as the two estimators have it in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import checks
from ..checks import Array
from ..data import Source
from ..errors import DivergenceError
from ..export.c import write_c
from ..export.model import Function, Model
from ..export.onnx import write_onnx
from ..losses import Loss
from ..network import Sequential
from ..preprocessing import Preprocessing
from ..training.callbacks import ProgressBar
from ..training.data import Data, factors, scale_of
from . import compat, parameters
from .bridge import TaskCallbacks
from .engine import Engine, NotFiniteError
from .inputs import defaults_of, is_plain, is_plain_target, of_record
from .online import Features, Single
from .sources import Samples, TakesSources
from .training import Task, make_data, split
from .weights import sizes_of, widths_of


class BaseMLP(TakesSources, compat.CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """Base of `MLPClassifier` and `MLPRegressor`: parameters, data and classes.

    The work is the engine's, which knows nothing of scikit-learn's contract.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = parameters.CONSTRAINTS
    # Whether y holds numbers.
    _numeric: ClassVar[bool] = False
    _engine: Engine | None = None

    n_iter_ = of_record("n_iter")
    t_ = of_record("t")
    loss_ = of_record("loss")
    loss_curve_ = of_record("loss_curve")
    best_loss_ = of_record("best_loss")
    best_validation_score_ = of_record("best_validation_score")
    validation_scores_ = of_record("validation_scores")
    validation_loss_curve_ = of_record("validation_loss_curve")
    _no_improvement_count = of_record("idle")  # which scikit-learn's own tests look at

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if self._engine is not None and name[0] != "_" and name[-1] != "_":  # a parameter
            self._engine.stale = True

    def _set(self, parameters: dict[str, Any]) -> None:
        """Keep the arguments of the constructor as they are."""
        self.__dict__.update({k: v for k, v in parameters.items() if k != "self"})

    # ---- what each of the two says for itself ----

    def _settle_outputs(self, y: Any, incremental: bool) -> None:
        """Take note of the classes in y, or compare them with those known."""

    def _encode(self, y: Any, dtype: str) -> Array:
        """Targets as the core takes them: labels (n,), or rows (n, n_out) of ``dtype``."""
        raise NotImplementedError

    def _task(self, target: Array | None = None) -> Task:
        """What the net is to learn, from encoded targets or going on with the same."""
        raise NotImplementedError

    def _with_class_weight(self, y: Any, weight: Array | None) -> Array | None:
        """Weights of samples, those of their classes folded in."""
        return weight

    def _stratify(self, data: Data) -> Array | None:
        """Classes whose shares the data set aside should have."""
        return None

    def _plain_data(self, X: Any, y: Any) -> Data | None:
        """The samples, if they are plain arrays that need no further look."""
        raise NotImplementedError

    def _decode_one(self, y: Array) -> Any:
        """What outputs (n_out,) say."""
        raise NotImplementedError

    def _blank_target(self) -> Array:
        """A target to make a net for."""
        raise NotImplementedError

    def _single_targets(self) -> dict[Any, Any] | None:
        """Label -> target of one sample; None where y is the target itself."""
        return None

    def _single_weight(self) -> Callable[[Any], float] | None:
        """Weight of one sample by its target; None where all have weight 1."""
        return None

    def _validate_params(self) -> None:
        """Check the parameters that are not the defaults."""
        kind: Any = type(self)
        given = {
            name: value
            for name, default in defaults_of(kind).items()
            if (value := getattr(self, name)) is not default
        }
        compat.validate_parameter_constraints(
            self._parameter_constraints, given, caller_name=type(self).__name__
        )

    # ---- fitting ----

    @compat.fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train from the start, or with ``warm_start`` from where the last call ended.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features), or cmlp.data.Source
            A source stands for y and ``sample_weight`` too; its targets are kept in memory, its
            inputs are not.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like of shape (n_samples,), optional
            None negative, not all 0.  Divided by their mean over the samples trained on; the loss
            of a minibatch is the sum of weights times losses divided by its rows.  ``alpha`` is
            divided by that mean too, so that a sample of weight 2 is as two.
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
        if isinstance(X, Source):
            data = self._of_source(X, y, sample_weight, fresh, X_val is not None)
        else:
            data = self._checked(X, y, sample_weight, reset=fresh)
        own = self._own_validation(X_val, y_val, data)
        n_runs = self.n_restarts if fresh else 1
        tasks = None
        if hasattr(self, "_skl_callbacks"):
            tasks = TaskCallbacks(self, self._snapshot, self.max_iter * n_runs, X, y, sample_weight)
        self._train_best(data, own, n_runs, fresh, self._observers(tasks))
        if tasks is not None:
            tasks.end()
        return self

    def _train_best(
        self, data: Samples, own: Data | None, n_runs: int, fresh: bool, callbacks: Sequence[Any]
    ) -> None:
        """Train from several starts, and be the best: by validation score, else by loss."""
        rng = check_random_state(self.random_state)
        parts: tuple[Samples, Data | None] | None = None
        best: Engine | None = None
        highest = -inf
        for _ in range(n_runs):
            engine = self._prepare(data, rng, fresh)
            parts = parts or self._split(data, own, rng)
            engine.make_trainer(self, self._task(data.y), rng)
            try:
                engine.train(self, *parts, callbacks, rng)
            except NotFiniteError:
                if n_runs == 1:
                    raise
                continue
            score, loss = engine.record.best_validation_score, engine.record.loss
            merit = score if score is not None else -inf if loss is None else -loss
            if best is None or merit > highest:
                best, highest = engine, merit
        if best is None:
            raise NotFiniteError
        self._engine = best

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
            if fresh or self._with_engine().trainer is None:
                random_state = check_random_state(random_state)
            self._start(data, random_state, fresh)
        engine = self._with_engine()
        try:
            engine.run_epochs(self, data, None, 1, self._observers(None), random_state)
        except DivergenceError as error:
            raise NotFiniteError from error
        return self

    def _start(self, data: Data, random_state: Any, fresh: bool) -> None:
        """Have a net and a trainer to go on with."""
        if not fresh and self._with_engine().stale:
            self._validate_params()  # which scikit-learn does for a first call alone
        engine = self._prepare(data, random_state, fresh)
        task = self._task(data.y)
        if engine.trainer is None:
            engine.make_trainer(self, task, check_random_state(random_state))
        elif engine.stale:
            engine.refresh(self, task)

    def _observers(self, tasks: TaskCallbacks | None) -> list[Any]:
        found = list(self.callbacks or [])
        if self.progress:
            found.append(ProgressBar(force=True))
        return found if tasks is None else [*found, tasks]

    # ---- data ----

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, reset: bool, incremental: bool = False
    ) -> Data:
        """Samples as the core takes them."""
        if isinstance(X, Source):
            raise TypeError("X is a source; expected arrays in partial_fit")
        dtypes = [np.float64, np.float32] if self.dtype is None else [np.dtype(self.dtype)]
        net = None if self._engine is None else self._engine.net
        if not reset and net is not None:
            dtypes = [np.dtype(net.dtype)]
        X, y = self._validated(X, y, reset, dtypes)
        self._settle_outputs(y, incremental)
        dtype = X.dtype.name
        if sample_weight is not None:
            sample_weight = compat.check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        weight = self._with_class_weight(y, sample_weight)
        if weight is None:
            return make_data(X, self._encode(y, dtype), None)
        scale = None if incremental else scale_of(weight)
        return make_data(X, self._encode(y, dtype), *factors(weight, dtype, scale))

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

    def _own_validation(self, X: Any, y: Any, data: Samples) -> Data | None:
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

    def _split(
        self, data: Samples, own: Data | None, rng: RandomState
    ) -> tuple[Samples, Data | None]:
        """What to train on, and what to validate on."""
        if own is not None or not self.early_stopping or self.solver == "lbfgs":
            return data, own
        assert isinstance(data, Data)
        return split(data, self.validation_fraction, self._stratify(data), rng)

    # ---- the net ----

    def _with_engine(self) -> Engine:
        if self._engine is None:
            self._engine = Engine()
        return self._engine

    def _has_weights(self) -> bool:
        return self._engine is not None and self._engine.has_weights()

    def _prepare(self, data: Samples, rng: Any, fresh: bool) -> Engine:
        """Have a net for the data, and the attributes that go with it; rng draws a fresh one."""
        task = self._task(data.y)
        n_in, n_out = data.x.shape[1], task.n_out
        if fresh:
            self._engine = Engine()
        engine = self._with_engine()
        if fresh or not hasattr(self, "out_activation_"):
            self.out_activation_ = task.activation
            engine.record.clear(self)
        if fresh:
            sizes = [n_in, *parameters.hidden_sizes(self.hidden_layer_sizes), n_out]
            arrays, seed = None, 0
            if self.weight_init is None:
                arrays = parameters.initial_coefs(self.activation, sizes, rng)
            else:
                seed = int(rng.randint(np.iinfo(np.int32).max))
            self._set_net(sizes, arrays, data.x.dtype.name, seed)
        self._sync()
        net = engine.built()
        if engine.stale:
            parameters.check_net_settings(self, engine.made_by)
        if net.preprocessing.scales:
            raise ValueError(
                "net_ has a preprocessing that scales; expected none in training: put a "
                "StandardScaler before the estimator"
            )
        if (net.n_in, net.n_out) != (n_in, n_out):
            raise ValueError(
                f"X and y ask for {n_in} inputs and {n_out} outputs; the net has "
                f"{net.n_in} and {net.n_out}"
            )
        return engine

    def _set_net(
        self, sizes: list[int], arrays: list[Array] | None, dtype: str, seed: int = 0
    ) -> None:
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]
        net = parameters.make_net(self, sizes, self.out_activation_, dtype, arrays, seed)
        names = vars(self).get("feature_names_in_")
        net.preprocessing = Preprocessing(feature_names=None if names is None else tuple(names))
        net.classes = self._net_classes()
        self._with_engine().set_net(net, self)

    def _net_classes(self) -> Array | None:
        """The classes that the net is told of."""
        return None

    def _sync(self) -> None:
        """Give the net what was assigned to ``coefs_`` or ``intercepts_``."""
        engine = self._with_engine()
        arrays = engine.weights.assigned()
        if arrays is None:
            return
        sizes = sizes_of(arrays)
        if engine.net is not None and widths_of(engine.net) == sizes:
            engine.weights.put(arrays, engine.net)
        else:
            self._set_net(sizes, arrays, arrays[0].dtype.name)
        if not engine.record.begun:
            engine.record.clear(self)

    @property
    def net_(self) -> Sequential:
        """The net itself, to be saved, exported or looked into."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"this {type(self).__name__} has no net_ yet")
        self._sync()
        return self._with_engine().built()

    @property
    def coefs_(self) -> list[Array]:
        """Weight matrices (n_in, n_out) of the layers."""
        return self._lists()[0]

    @coefs_.setter
    def coefs_(self, value: Sequence[Any]) -> None:
        engine = self._with_engine()
        engine.weights.assign(0, value, engine.net)

    @property
    def intercepts_(self) -> list[Array]:
        """Bias vectors (n_out,) of the layers."""
        return self._lists()[1]

    @intercepts_.setter
    def intercepts_(self, value: Sequence[Any]) -> None:
        engine = self._with_engine()
        engine.weights.assign(1, value, engine.net)

    def _lists(self) -> tuple[list[Any], list[Any]]:
        if self._engine is None or not self._engine.has_weights():
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        return self._engine.weights.read(self._engine.net)

    # ---- predicting ----

    def _plain(self, X: Any) -> bool:
        """Whether X is what the net takes, and needs no further look."""
        net = None if self._engine is None else self._engine.net
        return (
            net is not None
            and "feature_names_in_" not in vars(self)
            and is_plain(X, (net.dtype,))
            and X.shape[1] == net.n_in
        )

    def _goes_on(self, X: Any) -> bool:
        """Whether training can go on with X as it is, and nothing has been assigned."""
        engine = self._engine
        return (
            engine is not None
            and engine.trainer is not None
            and not engine.stale
            and engine.weights.assigned() is None
            and self._plain(X)
        )

    def _outputs(self, X: Any) -> Array:
        """Outputs of the net for samples to be checked."""
        if not self._has_weights():
            check_is_fitted(self)
        self._sync()
        engine = self._with_engine()
        if not self._plain(X):
            X = validate_data(
                self,
                X,
                accept_sparse="csr",
                dtype=np.dtype(engine.built().dtype),
                order="C",
                reset=False,
            )
        return engine.outputs(X, self.n_threads)

    # ---- single samples ----

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
        self._single(x).learn(x, y)

    def predict_one(self, x: Any) -> Any:
        """The label of one sample; of a regressor its number, or an array of several.

        Parameters
        ----------
        x : array_like of shape (n_features,), or dict {feature: number}
        """
        return self._decode_one(self._single(x).outputs(x))

    def _single(self, x: Any) -> Single:
        """The net for single samples; made now, if x is the first of all."""
        engine = self._engine
        if (
            engine is None
            or engine.single is None
            or engine.stale
            or engine.weights.lists is not None
        ):
            return self._new_single(x)
        return engine.single

    def _new_single(self, x: Any) -> Single:
        self._sync()
        engine = self._with_engine()
        if engine.net is None:
            self._begin(list(x) if isinstance(x, Mapping) else np.size(x))
            engine = self._with_engine()
        if engine.stale or engine.trainer is None:
            self._validate_params()
            parameters.check_layers(self)
            parameters.check_net_settings(self, engine.made_by)
            task = self._task()
            if engine.trainer is None:
                engine.make_trainer(self, task, check_random_state(self.random_state))
            else:
                engine.refresh(self, task)
        if engine.single is None:
            engine.single = single = Single(engine.built(), vars(self).get("feature_names_in_"))
            engine.teach(
                single, self._single_targets(), self._single_weight(), self._why_not_single()
            )
        return engine.single

    def _why_not_single(self) -> str:
        """Why nothing can be learned from one sample; "" where it can."""
        if self.solver == "lbfgs":
            return "learn_one needs a stochastic solver; solver is 'lbfgs'"
        if not isinstance(self.loss, (str, Loss)):
            return f"learn_one needs a loss of cmlp.losses; loss is {self.loss!r}"
        return ""

    def _open(self, features: Features) -> None:
        """Forget everything; begin at once if the features are known, or at the first sample."""
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        self._engine = None
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

    # ---- files ----

    def to_onnx(self, path: str | PathLike[str]) -> None:
        """Write an ONNX file, whole or not at all; see `Sequential.to_onnx`.

        The outputs of a classifier are ``label`` and ``probabilities``, that of a regressor is
        ``y`` (batch, n_outputs).

        Parameters
        ----------
        path : str or path
        """
        write_onnx(path, self._model())

    def to_c(self, path: str | PathLike[str], name: str = "predict") -> None:
        """Write a C99 file with a function, whole or not at all; see `Sequential.to_c`.

        Parameters
        ----------
        path : str or path
        name : str, default "predict"
        """
        write_c(path, self._model(), name)

    def _model(self) -> Model:
        """What ``predict`` and ``predict_proba`` do."""
        check_is_fitted(self)
        self._sync()
        classes: Any = getattr(self, "classes_", None)
        if classes is None:
            made = Model.of(self.net_)
            return made.then(Function("exp")) if self.out_activation_ == "exp" else made
        several = self.out_activation_ == "logistic" and self.net_.n_out != 1
        return Model.of(self.net_, "multilabel" if several else "classifier", classes)

    # ---- state ----

    def _snapshot(self) -> dict[str, Any]:
        """What makes a copy of the estimator one that was fitted so far."""
        return {"_engine": self._with_engine().snapshot()}

    def __sklearn_is_fitted__(self) -> bool:
        return self._has_weights() and hasattr(self, "out_activation_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
