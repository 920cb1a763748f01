"""The estimators give scikit-learn's numbers, and have its parameters and attributes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from estimator_parts import difference

pytest.importorskip("sklearn")
from sklearn import neural_network as theirs

from cmlp import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("one_thread"),
]


SETTINGS = [
    {},
    {"batch_size": 16},
    {"batch_size": 16, "early_stopping": True, "tol": 1e-2},
    {"batch_size": 16, "activation": "logistic", "hidden_layer_sizes": (7, 5), "alpha": 0.3},
    {"batch_size": 16, "activation": "tanh", "hidden_layer_sizes": ()},
    {"solver": "sgd", "batch_size": 16, "learning_rate_init": 0.05, "momentum": 0.8},
    {
        "solver": "sgd",
        "batch_size": 16,
        "learning_rate": "invscaling",
        "learning_rate_init": 0.3,
        "nesterovs_momentum": False,
    },
    {
        "solver": "sgd",
        "batch_size": 16,
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 0.05,
        "n_iter_no_change": 2,
        "max_iter": 60,
    },
]


def check_same(ours, reference, x, y, settings, **fit):
    settings = {"random_state": 5, "max_iter": 25, "hidden_layer_sizes": 9} | settings
    a = ours(**settings).fit(x, y, **fit)
    b = reference(**settings).fit(x, y, **fit)
    assert a.n_iter_ == b.n_iter_
    assert a.t_ == b.t_
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-10)
    assert difference(a, b) < 1e-10
    np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-8)
    if a.early_stopping:
        np.testing.assert_allclose(a.validation_scores_, b.validation_scores_)
        assert a.best_validation_score_ == pytest.approx(b.best_validation_score_)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_classifier_gives_scikit_learns_numbers(points, settings):
    check_same(MLPClassifier, theirs.MLPClassifier, *points, settings)


@pytest.mark.parametrize("settings", SETTINGS[1:4], ids=str)
def test_two_classes_and_labels_give_scikit_learns_numbers(points, settings):
    x, y = points
    check_same(MLPClassifier, theirs.MLPClassifier, x, y > 0, settings)
    indicators = np.column_stack([y > 0, y == 1])
    check_same(MLPClassifier, theirs.MLPClassifier, x, indicators, settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_regressor_gives_scikit_learns_numbers(numbers, settings):
    x, y = numbers
    check_same(MLPRegressor, theirs.MLPRegressor, x, y, settings)
    check_same(MLPRegressor, theirs.MLPRegressor, x, y[:, 0], settings)


# Which is without "poisson" and weights of samples before 1.7.
LATER = pytest.mark.skipif(
    "loss" not in theirs.MLPRegressor().get_params(), reason="scikit-learn before 1.7"
)


@LATER
def test_poisson_gives_scikit_learns_numbers(numbers):
    x, y = numbers
    counts = abs(y).round()
    settings = {"loss": "poisson", "batch_size": 16}
    check_same(MLPRegressor, theirs.MLPRegressor, x, counts, settings)


@LATER
def test_sample_weights_give_scikit_learns_weights(points, rng):
    x, y = points
    weight = rng.uniform(0.1, 2.0, len(y))
    settings = {"random_state": 0, "batch_size": 81, "max_iter": 10, "early_stopping": True}
    a = MLPClassifier(**settings).fit(x, y, sample_weight=weight)
    b = theirs.MLPClassifier(**settings).fit(x, y, sample_weight=weight)
    assert difference(a, b) < 1e-12
    np.testing.assert_allclose(a.validation_scores_, b.validation_scores_)
    full = {**settings, "batch_size": 90, "early_stopping": False}
    check_same(MLPClassifier, theirs.MLPClassifier, x, y, full, sample_weight=weight)


@pytest.mark.parametrize("seed", [7, None])
def test_partial_fit_and_warm_start_give_scikit_learns_numbers(points, seed):
    x, y = points

    def train(kind):
        np.random.seed(11)  # what random_state=None draws from
        net = kind(6, solver="sgd", learning_rate="invscaling", random_state=seed, batch_size=8)
        for start in range(0, 90, 30):
            net.partial_fit(x[start : start + 30], y[start : start + 30], classes=[0, 1, 2])
        return net.set_params(warm_start=True, max_iter=3).fit(x, y)

    a, b = train(MLPClassifier), train(theirs.MLPClassifier)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-10)
    assert difference(a, b) < 1e-12
    assert (a.n_iter_, a.t_) == (b.n_iter_, b.t_)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_ten_epochs_from_scikit_learns_weights(points, solver, learning_rate):
    x, y = points
    settings = {"shuffle": False, "batch_size": 32, "max_iter": 10, "warm_start": True}
    settings |= {"solver": solver, "learning_rate": learning_rate, "learning_rate_init": 0.02}
    b = theirs.MLPClassifier(12, random_state=1, **settings | {"max_iter": 1}).fit(x, y)
    a = MLPClassifier(12, random_state=99, **settings | {"max_iter": 1}).fit(x, y)
    a.coefs_, a.intercepts_ = b.coefs_, b.intercepts_
    a.set_params(max_iter=10).fit(x, y)
    b.set_params(max_iter=10).fit(x, y)
    assert difference(a, b) < 1e-12


def test_lbfgs_comes_to_scikit_learns_minimum(points):
    settings = {"solver": "lbfgs", "alpha": 0.1, "random_state": 0, "max_iter": 500, "tol": 1e-6}
    a = MLPClassifier(4, **settings).fit(*points)
    b = theirs.MLPClassifier(4, **settings).fit(*points)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-5)
    np.testing.assert_allclose(a.predict_proba(points[0]), b.predict_proba(points[0]), atol=1e-3)


def test_lbfgs_minimises_the_sum_over_outputs(numbers):
    x, y = numbers
    net = MLPRegressor(
        hidden_layer_sizes=5, solver="lbfgs", random_state=0, alpha=0.0, max_iter=50
    ).fit(x, y)
    assert net.loss_ == pytest.approx(0.5 * ((net.predict(x) - y) ** 2).mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("ours", "reference"),
    [(MLPClassifier, theirs.MLPClassifier), (MLPRegressor, theirs.MLPRegressor)],
)
def test_parameters_and_attributes_are_there(ours, reference, points):
    mine = inspect.signature(ours.__init__).parameters
    for name, parameter in inspect.signature(reference.__init__).parameters.items():
        assert mine[name].default == parameter.default
        assert mine[name].kind == parameter.kind
    a, b = ours(max_iter=2).fit(*points), reference(max_iter=2).fit(*points)
    for name in dir(b):
        assert name.startswith("_") or hasattr(a, name), name
