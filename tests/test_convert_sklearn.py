"""Nets from scikit-learn's estimators and back."""

from __future__ import annotations

import pickle
import sys
import warnings

import numpy as np
import pytest
from export_nets import Doubling

import cmlp

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.linear_model import LinearRegression

SETTINGS = {"hidden_layer_sizes": (7, 5), "max_iter": 5, "random_state": 0}


def fitted(kind, x, y, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge so soon
        return kind(**SETTINGS, **settings).fit(x, y)


def net_of(n_out, *layers, dtype="float64", hidden="tanh", output="identity"):
    """A net for points of the plane."""
    return cmlp.Sequential(
        cmlp.Dense(2, 6, hidden), *layers, cmlp.Dense(6, n_out, output), dtype=dtype, seed=0
    )


# ---- from scikit-learn -----------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("names", [["no", "yes"], ["a", "b", "c"], [3, 5, 9]])
def test_from_a_classifier(activation, names, points):
    x, y = points
    theirs = fitted(
        neural_network.MLPClassifier, x, np.array(names)[y % len(names)], activation=activation
    )
    net = cmlp.from_sklearn(theirs)
    p, wanted = net.predict_proba(x), theirs.predict_proba(x)
    np.testing.assert_allclose(p, wanted[:, -p.shape[1] :], rtol=1e-12)
    assert net.classes.tolist() == names
    assert net.dtype == "float64"


def test_from_a_classifier_of_several_labels(points):
    x, y = points
    t = np.stack([y == 0, y > 0, x[:, 0] > 0], axis=1).astype(int)
    theirs = fitted(neural_network.MLPClassifier, x, t)
    net = cmlp.from_sklearn(theirs)
    np.testing.assert_allclose(net.predict_proba(x), theirs.predict_proba(x), rtol=1e-12)
    assert net.classes is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_a_regressor(dtype, points):
    x, y = points
    theirs = fitted(neural_network.MLPRegressor, x.astype(dtype), np.stack([y, -y], axis=1))
    net = cmlp.from_sklearn(theirs)
    assert net.dtype == dtype
    np.testing.assert_allclose(net.predict(x), theirs.predict(x.astype(dtype)), atol=1e-6)


COUNTS = pytest.mark.skipif(
    "loss" not in neural_network.MLPRegressor().get_params(), reason="scikit-learn before 1.7"
)


@COUNTS
def test_from_a_regressor_of_counts(points):
    x, y = points
    theirs = fitted(neural_network.MLPRegressor, x, 1.0 + y, loss="poisson")
    net = cmlp.from_sklearn(theirs)
    np.testing.assert_allclose(np.exp(net.predict(x)[:, 0]), theirs.predict(x), rtol=1e-12)
    assert net.link == "exp"


def test_nothing_is_shared(points):
    x, y = points
    theirs = fitted(neural_network.MLPRegressor, x, y)
    net = cmlp.from_sklearn(theirs)
    before = net.predict(x)
    theirs.coefs_[0][:] = 0
    assert np.array_equal(net.predict(x), before)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match=r"is LinearRegression\(\); expected scikit-learn"):
        cmlp.from_sklearn(LinearRegression())
    with pytest.raises(TypeError, match="expected scikit-learn's"):
        cmlp.from_sklearn(cmlp.MLPClassifier())
    with pytest.raises(ValueError, match="not fitted"):
        cmlp.from_sklearn(neural_network.MLPClassifier())


# ---- to scikit-learn -------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["identity", "sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_to_a_regressor(hidden, dtype, points):
    x = points[0].astype(dtype)
    net = net_of(2, cmlp.Dropout(0.5), hidden=hidden, dtype=dtype)
    made = cmlp.to_sklearn(net)
    assert type(made) is neural_network.MLPRegressor
    assert made.coefs_[0].dtype == dtype
    t = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(made.predict(x), net.predict(x), rtol=0, atol=t)


@COUNTS
def test_to_a_regressor_of_counts(points):
    net = net_of(1)
    net.link = "exp"
    made = cmlp.to_sklearn(net)
    assert made.loss == "poisson"
    np.testing.assert_allclose(made.predict(points[0]), np.exp(net.predict(points[0])[:, 0]))


@pytest.mark.parametrize(
    ("n_out", "output", "link", "classes"),
    [
        (3, "softmax", None, ["a", "b", "c"]),
        (3, "identity", "softmax", None),
        (3, "identity", None, ["a", "b", "c"]),
        (2, "identity", "softmax", ["no", "yes"]),
        (1, "sigmoid", None, ["no", "yes"]),
        (1, "identity", "sigmoid", None),
    ],
)
def test_to_a_classifier(n_out, output, link, classes, points):
    x, _ = points
    net = net_of(n_out, output=output)
    net.link, net.classes = link, classes
    made = cmlp.to_sklearn(net)
    p = net.predict_proba(x)
    p = np.hstack([1 - p, p]) if n_out == 1 else p
    np.testing.assert_allclose(made.predict_proba(x), p, rtol=1e-12)
    names = np.arange(max(2, n_out)) if classes is None else np.array(classes)
    assert made.classes_.tolist() == names.tolist()
    assert made.predict(x).tolist() == names[p.argmax(axis=1)].tolist()


def test_to_a_classifier_of_several_labels(points):
    net = net_of(3, output="sigmoid")
    made = cmlp.to_sklearn(net)
    p = net.predict_proba(points[0])
    np.testing.assert_allclose(made.predict_proba(points[0]), p, rtol=1e-12)
    assert np.array_equal(made.predict(points[0]), p > 0.5)


def test_a_net_without_hidden_layers_and_bias(points):
    net = cmlp.Sequential(cmlp.Dense(2, 1, bias=False), dtype="float64", seed=0)
    made = cmlp.to_sklearn(net)
    np.testing.assert_allclose(made.predict(points[0]), net.predict(points[0])[:, 0])


def test_what_is_made_can_be_trained_pickled_and_brought_back(points):
    x, y = points
    net = net_of(3)
    net.classes = [0, 1, 2]
    before = net.predict(x)
    made = cmlp.to_sklearn(net)
    again = cmlp.from_sklearn(pickle.loads(pickle.dumps(made)))
    np.testing.assert_allclose(again.predict_proba(x), net.predict_proba(x), rtol=1e-12)
    for _ in range(200):
        made.partial_fit(x, y)
    assert made.score(x, y) > 0.9
    assert np.array_equal(net.predict(x), before)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([cmlp.Dense(2, 3, "gelu"), cmlp.Dense(3, 1)], "the hidden layers have the .* gelu"),
        (
            [cmlp.Dense(2, 3, "tanh"), cmlp.Dense(3, 3, "relu"), cmlp.Dense(3, 1)],
            "activations tanh, relu; scikit-learn has one for all",
        ),
        ([cmlp.Dense(2, 3, "tanh"), cmlp.ReLU(), cmlp.Dense(3, 1)], "with no Dense before it"),
        ([cmlp.ReLU(), cmlp.Dense(2, 1)], "with no Dense before it"),
        ([cmlp.Dense(2, 1, "relu")], "the net ends with relu"),
        ([cmlp.Dense(2, 1), Doubling()], "is written in Python"),
    ],
)
def test_nets_that_are_not_there(layers, message):
    with pytest.raises(ValueError, match=message):
        cmlp.to_sklearn(cmlp.Sequential(*layers, seed=0))


def test_a_net_without_dense_is_refused():
    with pytest.raises(ValueError, match="no Dense"):
        cmlp.to_sklearn(cmlp.Sequential(cmlp.Identity(), n_in=2, seed=0))


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install cmlp\[sklearn\]"):
        cmlp.to_sklearn(net_of(1))
