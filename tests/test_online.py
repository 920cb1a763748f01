"""Single samples: learning from them, predicting them, dicts, River."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn

import cmlp
from cmlp import MLPClassifier, MLPRegressor
from cmlp.estimators import as_river

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(net):
    return np.concatenate([w.ravel() for w in net.coefs_ + net.intercepts_])


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "sgd"},
        {"solver": "adam", "dtype": "float32"},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"schedule": cmlp.schedules.Exponential(0.9)},
        {"dropout": 0.3, "label_smoothing": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2]])
def test_learning_one_is_partial_fit_of_one_row(points, settings, classes):
    x, y = points
    y = np.minimum(y, len(classes) - 1)
    one = MLPClassifier((8, 6), random_state=0, **settings).declare(classes, 2)
    rows = MLPClassifier((8, 6), random_state=0, **settings)
    for i in range(0, 90, 4):
        rows.partial_fit(x[i : i + 1], y[i : i + 1], classes=classes)
        one.learn_one(x[i].astype(one.net_.dtype), y[i])
    np.testing.assert_allclose(weights(one), weights(rows), rtol=1e-6, atol=1e-7)
    assert one.t_ == rows.t_ == 23


def test_predicting_one_is_predicting_a_row(points):
    x, y = points
    for labels in (y, y > 0, np.array(["a", "b", "c"])[y]):
        net = MLPClassifier(8, random_state=0, learning_rate_init=0.01)
        for _ in range(20):
            net.partial_fit(x, labels, classes=np.unique(labels))
        assert [net.predict_one(row) for row in x] == net.predict(x).tolist()
        one = [net.predict_proba_one(row) for row in x]
        np.testing.assert_allclose(one, net.predict_proba(x), rtol=1e-12)


def test_one_label_and_several(rng):
    x = rng.normal(size=(20, 3))
    net = MLPClassifier(4).partial_fit(x, np.zeros(20), classes=[0])
    assert net.predict_one(x[0]) == 0.0
    y = rng.integers(0, 2, (20, 5))
    net = MLPClassifier(4).partial_fit(x, y, classes=range(5))
    net.learn_one(x[0], y[0])
    np.testing.assert_array_equal(net.predict_one(x[0]), net.predict(x[:1])[0])
    assert net.predict_proba_one(x[0]).shape == (5,)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "huber"])
def test_regressors_learn_numbers_and_rows(rng, loss):
    x = rng.normal(size=(50, 3))
    y = abs(x @ rng.normal(size=(3, 2)))
    for target in (y, y[:, 0]):
        rows = MLPRegressor(loss, 6, random_state=0)
        one = MLPRegressor(loss, 6, random_state=0).declare(target[0].size)
        for row, t in zip(x, target, strict=True):
            rows.partial_fit(row[None], t[None])
            one.learn_one(row, t)
        np.testing.assert_allclose(weights(one), weights(rows), rtol=1e-8)
        np.testing.assert_allclose(one.predict_one(x[0]), rows.predict(x[:1])[0])
    assert isinstance(one.predict_one(x[0]), float)
    untold = MLPRegressor(hidden_layer_sizes=6, random_state=0)
    untold.learn_one([1.0, 2.0], 3)
    assert untold.n_features_in_ == 2


def test_dicts_of_features():
    net = MLPClassifier(4, random_state=0).declare(["no", "yes"], ["age", "height", "weight"])
    array = MLPClassifier(4, random_state=0).declare(["no", "yes"], 3)
    for _ in range(5):
        net.learn_one({"height": 1.8, "age": 0.3}, "yes")
        array.learn_one([0.3, 1.8, 0.0], "yes")
    np.testing.assert_array_equal(weights(net), weights(array))
    p = net.predict_proba_one({"weight": 0.5})
    assert list(p) == ["no", "yes"]
    assert p["yes"] == array.predict_proba_one([0, 0, 0.5])[1]
    assert net.predict_one({"weight": 0.5}) == max(p, key=p.get)
    first = MLPClassifier(4).declare([False, True])
    first.learn_one({"b": 1.0, "a": 2.0}, True)
    assert first.feature_names_in_.tolist() == ["b", "a"]


def test_declaring_begins_anew(points):
    x, y = points
    net = MLPClassifier(4, random_state=0, max_iter=2).partial_fit(x, y, classes=[0, 1, 2])
    old = weights(net)
    net.declare(["x", "y"], 5)
    assert net.n_features_in_ == 5 and net.t_ == 0
    net.learn_one(np.ones(5), "x")
    assert len(weights(net)) != len(old)
    assert net.predict(np.ones((2, 5))).shape == (2,)
    net.partial_fit(np.ones((2, 5)), ["x", "y"])


def test_assigned_weights_are_learned_from(points):
    net = MLPClassifier(4, random_state=0).declare([0, 1, 2], 2)
    net.learn_one(points[0][0], 1)
    net.coefs_[1] = np.zeros((4, 3))
    net.intercepts_ = [np.zeros(4), np.array([0.0, 5.0, 0.0])]
    assert net.predict_one(points[0][0]) == 1
    net.learn_one(points[0][0], 1)
    assert abs(net.coefs_[1]).max() < 0.1 and net.intercepts_[1][1] > 4.9
    copy = pickle.loads(pickle.dumps(net))
    for a in (net, copy):
        a.learn_one(points[0][1], 2)
    np.testing.assert_array_equal(weights(copy), weights(net))


def test_weights_from_elsewhere_are_enough():
    net = MLPRegressor(hidden_layer_sizes=1, activation="identity", solver="sgd", alpha=0)
    net.coefs_, net.intercepts_ = [np.ones((2, 1)), np.ones((1, 1))], [np.zeros(1), np.zeros(1)]
    net.out_activation_, net.n_features_in_ = "identity", 2
    np.testing.assert_array_equal(net.predict([[1.0, 2.0], [3.0, 4.0]]), [3.0, 7.0])
    assert net.predict_one([1.0, 2.0]) == 3.0


def test_samples_that_make_no_sense():
    net = MLPClassifier(4, random_state=0).declare([0, 1, 2], 2)
    before = weights(net)
    x = np.ones(2)
    with pytest.raises(ValueError, match=r"y is 7; expected one of \[0, 1, 2\]"):
        net.learn_one(x, 7)
    with pytest.raises(ValueError, match=r"y is \[1\]"):
        net.learn_one(x, [1])
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        net.learn_one(np.ones(3), 1)
    with pytest.raises(ValueError, match="x holds nan"):
        net.learn_one(np.array([1.0, np.nan]), 1)
    with pytest.raises(ValueError, match="x holds inf"):
        net.learn_one([1.0, np.inf], 1)
    with pytest.raises(TypeError, match="x has dtype"):
        net.learn_one(["a", "b"], 1)
    with pytest.raises(TypeError, match="x is a dict"):
        net.predict_one({"a": 1.0})
    np.testing.assert_array_equal(weights(net), before)
    assert net.t_ == 0
    named = MLPRegressor().declare(features=["a"])
    with pytest.raises(ValueError, match="the feature 'b'"):
        named.predict_one({"b": 1.0})
    with pytest.raises(ValueError, match="y holds nan"):
        named.learn_one({"a": 1.0}, float("nan"))
    with pytest.raises(ValueError, match="y holds nan"):
        named.learn_one(np.ones(1), float("nan"))
    with pytest.raises(cmlp.DivergenceError):
        named.learn_one(np.ones(1), 1e300)
    with pytest.raises(ValueError, match="the classes are not known"):
        MLPClassifier().learn_one(x, 1)
    with pytest.raises(ValueError, match="stochastic solver"):
        MLPRegressor(solver="lbfgs").declare().learn_one(x, 1.0)
    with pytest.raises(TypeError, match="features is"):
        MLPRegressor().declare(features=[1, 2])
    with pytest.raises(ValueError, match="n_outputs is 0"):
        MLPRegressor().declare(0)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_bad_number_among_good_samples_changes_nothing(activation, loss, rng):
    settings = {"loss": loss, "activation": activation, "random_state": 0, "dtype": "float32"}
    net = MLPRegressor(hidden_layer_sizes=4, **settings).declare(features=3)
    x = rng.random((9, 3), dtype=np.float32)
    for row in x:
        net.learn_one(row, 1.0)
    before = weights(net)
    for place, odd in enumerate((np.nan, np.inf, -np.inf)):
        bad = x[0].copy()
        bad[place] = odd
        with pytest.raises(ValueError, match=rf"x holds {odd} at \[{place}\]"):
            net.learn_one(bad, 1.0)
        with pytest.raises(ValueError, match=f"y holds {odd}"):
            net.learn_one(x[0], odd)
    if loss == "poisson":
        with pytest.raises(ValueError, match=r"y is -1\.0; expected numbers from 0 to inf"):
            net.learn_one(x[0], -1.0)
    np.testing.assert_array_equal(weights(net), before)
    assert net.t_ == len(x)


def test_predicting_from_many_threads(points):
    net = MLPClassifier(32, random_state=0).partial_fit(*points, classes=[0, 1, 2])
    expected = net.predict(points[0]).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: net.predict_one(points[0][i % 90]), range(360)))
    assert found == expected * 4


def test_partial_fit_of_one_row_skips_what_is_known(points, monkeypatch):
    from cmlp.estimators import base

    x, y = points
    net = MLPClassifier(4).partial_fit(x, y, classes=[0, 1, 2])
    monkeypatch.setattr(base, "validate_data", None)
    with sklearn.config_context(assume_finite=True):
        net.partial_fit(x[:1], y[:1])
        net.predict(x[:1])
    assert net.t_ == 91


def test_river():
    river = pytest.importorskip("river")
    from river import evaluate, metrics, preprocessing

    net = MLPClassifier(8, learning_rate_init=0.01, random_state=0).declare([False, True])
    data = [({"a": float(i % 7), "b": float(i % 3)}, i % 7 > 3) for i in range(400)]
    model = preprocessing.StandardScaler() | as_river(net)
    assert evaluate.progressive_val_score(data, model, metrics.Accuracy()).get() > 0.8
    numbers = [(x, x["a"] - x["b"]) for x, _ in data]
    model = as_river(MLPRegressor(hidden_layer_sizes=8, learning_rate_init=0.01, random_state=0))
    assert evaluate.progressive_val_score(numbers, model, metrics.MAE()).get() < 1.5
    assert isinstance(as_river(net), river.base.Classifier)
    with pytest.raises(TypeError, match="knows its classes"):
        as_river(MLPClassifier())


@pytest.mark.parametrize("features", [None, ["a", "b"]])
@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_clone_in_river_has_seen_nothing(kind, in_pipeline, features):
    pytest.importorskip("river")
    from river import preprocessing

    def declared():
        net = kind(hidden_layer_sizes=4, random_state=0)
        if kind is MLPClassifier:
            return net.declare(["no", "yes"], features)
        return net.declare(features=features)

    def model_of(estimator):
        model = as_river(estimator)
        return preprocessing.StandardScaler() | model if in_pipeline else model

    def estimator_of(model):
        return (model[-1] if in_pipeline else model).estimator

    def teach(model):
        for i in range(20):
            x = {"a": i % 5 - 2.0, "b": i % 3 - 1.0}
            model.learn_one(x, "yes" if x["a"] > 0 else "no") if kind is MLPClassifier else (
                model.learn_one(x, x["a"])
            )
        return weights(estimator_of(model))

    model = model_of(declared())
    learnt = teach(model)
    copy = model.clone()
    assert estimator_of(copy) is not estimator_of(model)
    assert getattr(estimator_of(copy), "t_", 0) == 0
    if features:
        assert estimator_of(copy).feature_names_in_.tolist() == features
    else:
        assert not hasattr(estimator_of(copy), "feature_names_in_")
    np.testing.assert_array_equal(teach(copy), learnt)
    np.testing.assert_array_equal(weights(estimator_of(model)), learnt)
    if not in_pipeline:
        kept = model.clone(include_attributes=True)
        np.testing.assert_array_equal(weights(kept.estimator), learnt)
        other = declared().set_params(alpha=0.5)
        assert model.clone({"estimator": other}).estimator.alpha == 0.5
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(weights(estimator_of(again)), learnt)


def test_without_river_the_error_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "river", None)
    monkeypatch.delitem(sys.modules, "cmlp.estimators.river", raising=False)
    with pytest.raises(ImportError, match="pip install river"):
        as_river(MLPRegressor())
