"""`MLPClassifier`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from .. import checks
from ..checks import Array
from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ..training.data import Data
from .compat import StrOptions, check_partial_fit_first_call, fit_context
from .inputs import is_plain_target, is_stochastic
from .online import Features
from .parameters import CONSTRAINTS, ClassWeight, WeightInit
from .tables import TableMLP
from .training import LossScale, Task

_NOT_BALANCED = (
    "class_weight is 'balanced', which needs all the data; expected a dict in partial_fit and "
    "learn_one"
)


class MLPClassifier(ClassifierMixin, TableMLP):  # type: ignore[misc]
    """Multilayer perceptron that tells classes apart, with scikit-learn's contract.

    Labels may be of any kind that scikit-learn takes: two classes, several, or the indicators of
    a multilabel target.  The loss is the logarithmic one, plus alpha / (2 n) times the squared
    weights, n the rows of a minibatch.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of the hidden layers.
    activation : str or sequence of str, default "relu"
        Of the hidden layers, one for all or one for each: "identity", "logistic" or "sigmoid",
        "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign",
        "scaled_tanh", "softmax".
    solver : {"adam", "sgd", "lbfgs", "adamw", "rmsprop", "adagrad", "adadelta"} or Optimizer, \
            default "adam"
        An optimizer of `cmlp.optimizers` is used as it is: ``alpha``, ``learning_rate_init`` and
        the like then do nothing.
    alpha : float, default 1e-4
        Of the squared weights in the loss.  For "adamw" it is the decay of the weights itself:
        w <- w - lr * alpha * w, not divided by n.
    batch_size : int or "auto", default "auto"
        "auto" is the smaller of 200 and the number of samples.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For "sgd": lr, lr / (t + 1) ** power_t after each epoch with t the samples seen, or lr
        divided by 5 whenever there is no progress.
    learning_rate_init : float, default 0.001
        lr.  "adadelta", which finds the size of its steps itself, wants 1.
    power_t : float, default 0.5
    max_iter : int, default 200
        Most epochs; iterations of "lbfgs".
    shuffle : bool, default True
        Take the samples in a new order in each epoch.
    random_state : int, RandomState or None, default None
        Of the first weights, the set aside data and the order of samples: with the same number
        they are those of scikit-learn.
    tol : float, default 1e-4
        An epoch that does not better the best loss (or validation score) by it has brought
        nothing.
    verbose : bool, default False
        Print the loss of each epoch.
    warm_start : bool, default False
        Let ``fit`` go on from the weights that there are.
    momentum : float in [0, 1], default 0.9
    nesterovs_momentum : bool, default True
        For "sgd".
    early_stopping : bool, default False
        Stop by the score of data set aside (or of ``X_val``), and put the best weights back.
    validation_fraction : float in [0, 1), default 0.1
        Share of the data set aside.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
        For "adam" and "adamw".
    epsilon : float, default 1e-8
        For these, "rmsprop", "adagrad" and "adadelta".
    n_iter_no_change : int, default 10
        Epochs in a row that may bring nothing.
    max_fun : int, default 15000
        For "lbfgs": most evaluations of the loss.
    class_weight : dict {label: weight} or "balanced", optional
        Multiplies the weights of the samples; "balanced", for ``fit`` alone, is n / (n_classes *
        samples of the class).
    label_smoothing : float in [0, 1), default 0
        Share of each target that is spread evenly over the classes.
    dropout : float in [0, 1) or sequence of float, default 0
        Rate of dropout behind the hidden layers, one for all or one for each.
    schedule : Schedule or function of the step, optional
        The learning rate of each step (`cmlp.schedules`), in place of ``learning_rate``.
    clip_value, clip_norm : float, optional
        Limits of the gradient: of each element, of its Euclidean norm.
    weight_init : Initializer, optional
        First weights (`cmlp.initializers`), with biases of 0; scikit-learn's if None.
    dtype : {"float32", "float64"}, optional
        Of all computing; if None that of X, float64 where X is of neither.
    n_threads : int, optional
        Most threads.  All that the process may use if None, one in a worker thread of joblib.  The
        numbers are the same for any.
    callbacks : sequence of Callback, optional
        Of `cmlp.callbacks`; those of scikit-learn go into ``set_callbacks``.
    restore_best : bool, default False
        Put back the weights of the epoch with the best validation score, or else the lowest loss.
    n_restarts : int, default 1
        Train that often, each time from other weights, and keep the best by the same measure.
    progress : bool, default False
        Show a line of progress.
    preprocess : "auto" or TablePreprocessor, optional
        Take data frames and Arrow tables with columns of any kind, missing values included, by a
        `cmlp.TablePreprocessor` (``preprocessor_``) that is fitted on the part that is trained on;
        a regressor's targets are standardised as well, but for counts. By default X is numbers.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coefs_ : list of ndarray of shape (n_in, n_out)
    intercepts_ : list of ndarray of shape (n_out,)
        Copies of weights and biases that cannot be written into.  Assign arrays, or lists of
        them, to change the net.
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The loss of each epoch: the mean over its minibatches, while the weights changed.
    validation_scores_, validation_loss_curve_ : list of float or None
        With ``early_stopping`` or ``X_val``.
    best_validation_score_ : float or None
    n_iter_, t_ : int
        Epochs of the last call of ``fit``; samples seen in all.
    n_layers_, n_outputs_ : int
    out_activation_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had names that are strings.
    net_ : Sequential
        The net itself, to be saved (``net_.save``), exported or looked into.

    Examples
    --------
    >>> from cmlp import MLPClassifier
    >>> x = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> net = MLPClassifier(8, activation="tanh", solver="lbfgs", random_state=0)
    >>> net.fit(x, ["no", "yes", "yes", "no"]).predict(x)
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "label_smoothing": [CONSTRAINTS["beta_1"][0]],
    }
    # scikit-learn's name of the loss, which is no parameter there either
    loss = "log_loss"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: ClassWeight = None,
        label_smoothing: float = 0.0,
        dropout: Any = 0.0,
        schedule: Any = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        weight_init: WeightInit = None,
        dtype: str | None = None,
        n_threads: int | None = None,
        callbacks: Any = None,
        restore_best: bool = False,
        n_restarts: int = 1,
        progress: bool = False,
        preprocess: Any = None,
    ) -> None:
        self._set(locals())

    def predict(self, X: Any) -> Array:
        """Predicted labels.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        p = self._outputs(X)
        if self.out_activation_ == "softmax":
            return self._labels(p.argmax(axis=1))
        if self._is_multilabel():
            indicators: Array = self._label_binarizer.inverse_transform(p)
            return indicators
        return self._labels((p[:, 0] > 0.5) & (len(self.classes_) == 2))

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        p = self._outputs(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the probabilities, with the smallest number in place of 0.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        p = self.predict_proba(X)
        return np.asarray(np.log(np.maximum(p, np.finfo(p.dtype).tiny)))

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]
    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on some samples, from where the last call ended.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
        y : array_like of shape (n_samples,) or (n_samples, n_classes)
        sample_weight : array_like of shape (n_samples,), optional
            Factors of the samples' losses as they are.
        classes : array_like of shape (n_classes,), optional
            All labels that there will be; needed in the first call.

        Returns
        -------
        self
        """
        if self.class_weight == "balanced":
            raise ValueError(_NOT_BALANCED)
        if classes is not None:
            classes = checks.label_values(classes, "classes")
        known = classes is None and hasattr(self, "classes_")
        if not known and check_partial_fit_first_call(self, classes):
            several = type_of_target(_plain_labels(y)).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        return self._partial_fit(X, y, sample_weight)

    def declare(self, classes: Any, features: Features = None) -> Self:
        """Begin anew with a net that has seen nothing, for ``learn_one``.

        Parameters
        ----------
        classes : array_like of shape (n_classes,)
            All labels that there will be.
        features : int or sequence of str, optional
            Number of features, or their names for samples that are dicts; taken from the first
            sample if None.

        Returns
        -------
        self
        """
        self._validate_params()
        labels = checks.label_values(classes, "classes")
        self._label_binarizer = LabelBinarizer().fit(labels)
        self.classes_ = self._label_binarizer.classes_
        self._open(features)
        return self

    def predict_proba_one(self, x: Any) -> Any:
        """Probabilities of the classes for one sample.

        Parameters
        ----------
        x : array_like of shape (n_features,), or dict {feature: number}

        Returns
        -------
        ndarray of shape (n_classes,), or dict {label: probability} for a dict
        """
        p = self._single(x).outputs(x)
        if len(p) == 1:
            p = np.array([1 - p[0], p[0]])
        return dict(zip(self.classes_.tolist(), p.tolist(), strict=True)) if type(x) is dict else p

    # ---- what `BaseMLP` asks for ----

    def _validated(self, X: Any, y: Any, reset: bool, dtypes: list[Any]) -> tuple[Any, Any]:
        return super()._validated(X, _plain_labels(y), reset, dtypes)

    def _settle_outputs(self, y: Any, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = _binarizer_of(_one_column(y))
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and set(found := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {found}"
            )

    def _net_classes(self) -> Array | None:
        return None if self._is_multilabel() else getattr(self, "classes_", None)

    def _encode(self, y: Any, dtype: str) -> Array:
        y = _one_column(y)
        if self._is_multilabel():
            return np.ascontiguousarray(self._label_binarizer.transform(y), dtype)
        labels = self._positions(y)
        if self._label_binarizer.y_type_ == "multiclass":
            return labels
        s = self.label_smoothing
        rows: Array = ((1 - s) * labels[:, np.newaxis] + 0.5 * s).astype(dtype)
        return rows

    def _is_multilabel(self) -> bool:
        return bool(self._label_binarizer.y_type_.startswith("multilabel"))

    def _labels(self, positions: Array) -> Array:
        labels: Array = self.classes_[positions.astype(np.intp)]
        return labels

    def _positions(self, y: Array) -> Array:
        """Positions in ``classes_`` of labels; ValueError if one is not there."""
        try:
            found: Array = np.minimum(self.classes_.searchsorted(y), len(self.classes_) - 1)
            strange = y[self.classes_[found] != y]
        except TypeError:  # numbers and strings do not compare
            strange = y
        if len(strange):
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {strange[0]!r}; expected some of "
                f"{self.classes_}"
            )
        return found

    def _task(self, target: Array | None = None) -> Task:
        kind = self._label_binarizer.y_type_
        if kind == "multiclass":
            loss = SoftmaxCrossEntropy(label_smoothing=self.label_smoothing)
            return Task(len(self.classes_), "softmax", loss, LossScale(), "accuracy")
        n_out = len(self.classes_) if self._is_multilabel() else 1
        return Task(n_out, "logistic", BinaryCrossEntropy(), LossScale(), "accuracy")

    def _stratify(self, data: Data) -> Array | None:
        return data.y > 0.5 if self.n_outputs_ == 1 else None

    def _with_class_weight(self, y: Any, weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, str):
            of_samples: Array = compute_sample_weight(self.class_weight, y)
        else:
            of_classes = self._class_weights(self.class_weight)
            if self._is_multilabel():
                of_samples = np.where(self._encode(y, "float64"), of_classes, 1).prod(axis=1)
            else:
                of_samples = of_classes[self._positions(_one_column(y))]
        return of_samples if weight is None else weight * of_samples

    def _class_weights(self, given: dict[Any, float]) -> Array:
        """The weight of each class, 1 for those that are not named."""
        known = self.classes_.tolist()
        for label, weight in given.items():
            if label not in known:
                raise ValueError(f"class_weight has the label {label!r}; expected some of {known}")
            checks.number(weight, f"class_weight[{label!r}]", 0.0)
        return np.array([given.get(label, 1.0) for label in known])

    def _plain_data(self, X: Any, y: Any) -> Data | None:
        if not self._goes_on(X) or not is_plain_target(y, len(X)):
            return None
        if self.class_weight is not None or self.warm_start:
            return None
        return Data(X, self._encode(y, X.dtype.name), None)

    def _decode_one(self, y: Array) -> Any:
        if self.out_activation_ == "softmax":
            return self.classes_.item(y.argmax())
        if len(y) == 1 and len(self.classes_) == 2:
            return self.classes_.item(int(y[0] > 0.5))
        return y > 0.5 if self._is_multilabel() else self.classes_.item(0)

    def _blank_target(self) -> Array:
        if not hasattr(self, "classes_"):
            raise ValueError(
                "the classes are not known; expected declare, fit or partial_fit before"
            )
        return self._encode(self.classes_[:1], "float64")

    def _single_targets(self) -> dict[Any, Any] | None:
        if self._is_multilabel():
            return None
        labels = self._encode(self.classes_, "float64").reshape(-1).tolist()
        return dict(zip(self.classes_.tolist(), labels, strict=True))

    def _single_weight(self) -> Callable[[Any], float] | None:
        if not isinstance(self.class_weight, dict):
            return None
        weights = self._class_weights(self.class_weight)
        if self._is_multilabel():
            return lambda y: float(np.where(np.asarray(y) > 0, weights, 1.0).prod())
        return dict(zip(self.classes_.tolist(), weights.tolist(), strict=True)).__getitem__

    def _why_not_single(self) -> str:
        return _NOT_BALANCED if self.class_weight == "balanced" else super()._why_not_single()


def _binarizer_of(y: Any) -> LabelBinarizer:
    """``LabelBinarizer().fit(y)``, without its looks at whole numbers that are labels."""
    binarizer = LabelBinarizer()
    if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "iub":
        return binarizer.fit(y)
    binarizer.classes_, binarizer.sparse_input_ = np.unique(y), False
    binarizer.y_type_ = "multiclass" if len(binarizer.classes_) > 2 else "binary"
    return binarizer


def _plain_labels(y: Any) -> Any:
    """Labels of a kind that scikit-learn and the net's classes know; ValueError for others."""
    kind = getattr(getattr(y, "dtype", None), "kind", "")
    if y is None or issparse(y) or kind == "c":  # scikit-learn has its own words for these
        return y
    labels = checks.label_values(y, "y")
    # text in objects stays in objects, as scikit-learn has it
    return y if labels.dtype.kind == "U" and kind == "O" else labels


def _one_column(y: Any) -> Any:
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
