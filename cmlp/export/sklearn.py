"""Conversion from and to the multilayer perceptrons of scikit-learn."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from .. import layers
from ..checks import Array
from ..network import Sequential
from ..preprocessing import Preprocessing, Standardizer
from .model import Dense, Function, Model, Rescaling, Step

_HIDDEN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_OUTPUTS = {"softmax": "softmax", "sigmoid": "logistic", "exp": "exp", "identity": "identity"}
_OURS = {there: here for here, there in {**_HIDDEN, **_OUTPUTS}.items()}


def from_sklearn(estimator: Any) -> Sequential:
    """The net of a fitted scikit-learn estimator.

    Its outputs are those of ``predict_proba`` or ``predict``, to rounding: a classifier's net
    ends with softmax or sigmoid and has its ``classes``; a regressor's with loss="poisson" gives
    logarithms of rates.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted; also at the end of a `Pipeline` behind a `StandardScaler`, and a regressor in a
        `TransformedTargetRegressor` with one.  The scalers become the net's preprocessing.

    Returns
    -------
    Sequential
        Of float32 if all the weights are, else of float64.  It shares nothing with the estimator.

    Raises
    ------
    ImportError
        Without scikit-learn (``pip install cmlp[sklearn]``).
    TypeError, ValueError
        If it is another estimator, or not fitted.
    """
    try:
        from sklearn import neural_network
        from sklearn.utils.validation import check_is_fitted
    except ImportError as error:
        raise ImportError("from_sklearn needs scikit-learn: pip install cmlp[sklearn]") from error
    estimator, preprocessing = _unwrapped(estimator)
    kinds = (neural_network.MLPClassifier, neural_network.MLPRegressor)
    if not isinstance(estimator, kinds):
        raise TypeError(
            f"estimator is {estimator!r}; expected scikit-learn's MLPClassifier or MLPRegressor"
        )
    check_is_fitted(estimator)
    output = _OURS[estimator.out_activation_]
    net = _net_of(estimator, "identity" if output == "exp" else output)
    if output == "exp":
        net.link = "exp"
    elif output == "softmax" or (output == "sigmoid" and net.n_out == 1):
        net.classes = estimator.classes_
    net.preprocessing = preprocessing
    return net


def _net_of(estimator: Any, output: str) -> Sequential:
    """The net with an estimator's weights, of float32 if all of them are."""
    arrays = [*estimator.coefs_, *estimator.intercepts_]
    dtype = "float32" if all(a.dtype == np.float32 for a in arrays) else "float64"
    names = [_OURS[estimator.activation]] * (len(estimator.coefs_) - 1) + [output]
    found = []
    for w, b, name in zip(estimator.coefs_, estimator.intercepts_, names, strict=True):
        layer = layers.Dense(len(w), len(b), name)
        layer.weight, layer.bias = w.T, b
        found.append(layer)
    return Sequential(*found, dtype=dtype, seed=0)


def _unwrapped(estimator: Any) -> tuple[Any, Preprocessing]:
    """The perceptron inside, and what stands around it."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    names = getattr(estimator, "feature_names_in_", None)
    inputs = targets = None
    if isinstance(estimator, TransformedTargetRegressor) and isinstance(
        getattr(estimator, "transformer_", None), StandardScaler
    ):
        targets, estimator = _standardizer(estimator.transformer_), estimator.regressor_
    behind = isinstance(estimator, Pipeline) and len(estimator) == 2
    if behind and isinstance(estimator[0], StandardScaler):
        inputs, estimator = _standardizer(estimator[0]), estimator[1]
    return estimator, Preprocessing(inputs, targets, None if names is None else tuple(names))


def _standardizer(scaler: Any) -> Standardizer:
    n = scaler.n_features_in_
    mean = scaler.mean_ if scaler.with_mean else np.zeros(n)
    return Standardizer(mean, scaler.scale_ if scaler.with_std else np.ones(n))


def to_sklearn(net: Sequential) -> Any:
    """A fitted scikit-learn estimator with the net's weights.

    A net whose outputs are or stand for probabilities becomes a classifier, with several sigmoids
    one of several labels; any other becomes a regressor.  Dropout is left out.  Softmax of two
    outputs becomes the sigmoid of their difference, as scikit-learn has it.

    Parameters
    ----------
    net : Sequential
        Of `Dense` layers that all have the same activation, one of identity, sigmoid, tanh and
        relu, but for the last, which has none, softmax or sigmoid.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        With the net's ``classes``, or 0, 1, 2, ...; ``partial_fit`` trains it further.  Where the
        net standardises, it is at the end of a `Pipeline` behind a `StandardScaler`, and in a
        `TransformedTargetRegressor` for the targets.  It shares nothing with the net.

    Raises
    ------
    ImportError
        Without scikit-learn (``pip install cmlp[sklearn]``).
    ValueError
        If scikit-learn has no such nets.
    """
    try:
        from sklearn import neural_network
        from sklearn.preprocessing import LabelBinarizer
    except ImportError as error:
        raise ImportError("to_sklearn needs scikit-learn: pip install cmlp[sklearn]") from error
    model = Model.of(net)
    dense, names = _pairs([step for step in model.steps if not isinstance(step, Rescaling)])
    output = _output(net, names.pop())
    hidden = set(names)
    if len(hidden) > 1 or not hidden <= set(_HIDDEN):
        raise ValueError(
            f"the hidden layers have the activations {', '.join(names)}; scikit-learn has one for "
            f"all of {', '.join(_HIDDEN)}"
        )
    weights = [step.weight.T.copy() for step in dense]
    biases = [_bias(step) for step in dense]
    if output == "softmax" and model.n_out == 2:
        output = "sigmoid"
        weights[-1], biases[-1] = np.diff(weights[-1]), np.diff(biases[-1])
    settings: dict[str, Any] = {"hidden_layer_sizes": tuple(len(b) for b in biases[:-1])}
    if hidden:
        settings["activation"] = _HIDDEN[hidden.pop()]
    if output in ("identity", "exp"):
        made = neural_network.MLPRegressor(**settings)
        if output == "exp":
            if "loss" not in made.get_params():
                raise ValueError("the net predicts counts; expected scikit-learn 1.7 or later")
            made.loss = "poisson"
    else:
        made = neural_network.MLPClassifier(**settings)
        made._label_binarizer = LabelBinarizer().fit(_labels(net, output, model.n_out))
        made.classes_ = made._label_binarizer.classes_
    _fill(made, weights, biases, _OUTPUTS[output])
    return _wrapped(made, net.preprocessing)


def _wrapped(made: Any, before: Preprocessing) -> Any:
    """A fitted estimator behind what standardises, with the names of features."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline

    first = made
    inputs = before.scaler("scikit-learn")
    if inputs is not None:
        first = _scaler(inputs)
        made = make_pipeline(first, made)
    if before.feature_names is not None:
        first.feature_names_in_ = np.array(before.feature_names, dtype=object)
    if before.targets is not None:
        scaler, regressor = _scaler(before.targets), made
        made = TransformedTargetRegressor(regressor, transformer=scaler)
        made.regressor_, made.transformer_ = regressor, scaler
        made._training_dim = 1 if len(before.targets.mean) == 1 else 2
        if before.feature_names is not None:
            made.feature_names_in_ = first.feature_names_in_
    return made


def _scaler(standardizer: Standardizer) -> Any:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = standardizer.mean.copy(), standardizer.scale.copy()
    scaler.var_, scaler.n_samples_seen_ = scaler.scale_**2, 0
    scaler.n_features_in_ = len(scaler.mean_)
    return scaler


def _pairs(steps: list[Step]) -> tuple[list[Dense], list[str]]:
    """The dense layers, and the name of the activation after each."""
    dense: list[Dense] = []
    names: list[str] = []
    for step in steps:
        if isinstance(step, Dense):
            dense.append(step)
            names.append("identity")
        elif isinstance(step, Function) and names and names[-1] == "identity":
            names[-1] = step.name
        else:
            raise ValueError(
                "the net has an activation with no Dense before it; scikit-learn has no such nets"
            )
    if not dense:
        raise ValueError("the net has no Dense layer; scikit-learn has no such nets")
    return dense, names


def _output(net: Sequential, activation: str) -> str:
    """The function that turns the outputs into probabilities, rates or numbers."""
    if activation not in _OUTPUTS or activation == "exp":
        raise ValueError(
            f"the net ends with {activation}; scikit-learn's end with softmax, sigmoid or nothing"
        )
    if activation != "identity":
        return activation
    if net.link is None and net.classes is not None:
        return str(net.probability_link())
    return net.link or "identity"


def _bias(step: Dense) -> Array:
    return np.zeros(len(step.weight), step.weight.dtype) if step.bias is None else step.bias.copy()


def _labels(net: Sequential, output: str, n_out: int) -> Array:
    """The labels to fit a LabelBinarizer to."""
    if output == "sigmoid" and n_out > 1 and net.classes is None:
        return np.eye(n_out, dtype=np.int64)  # several labels: a row of indicators for each
    return np.arange(max(2, n_out)) if net.classes is None else net.classes


def _fill(made: Any, weights: list[Array], biases: list[Array], output: str) -> None:
    """Set the attributes that fitting would have set, with no samples seen."""
    made.coefs_, made.intercepts_, made.out_activation_ = weights, biases, output
    made.n_features_in_, made.n_outputs_ = len(weights[0]), len(biases[-1])
    made.n_layers_ = len(weights) + 1
    made.n_iter_ = made.t_ = made._no_improvement_count = 0
    made.loss_curve_, made.best_loss_ = [], inf
    made.validation_scores_ = made.best_validation_score_ = None
