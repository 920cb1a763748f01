"""The estimators' short ways: plain data, defaults and epochs by the dozen lead to the same end."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("sklearn")

from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.preprocessing import LabelBinarizer

import cmlp
from cmlp import MLPClassifier, MLPRegressor
from cmlp.estimators.classifier import _binarizer_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def weights(net):
    return [a.tobytes() for a in net.coefs_ + net.intercepts_]


# ---- data ----


class Named(np.ndarray):
    """An array that is not plain: it takes the long way."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layout_of_the_data_makes_no_difference(points, dtype):
    x, y = points[0].astype(dtype), points[1]
    plain = MLPClassifier(4, max_iter=3, random_state=0).fit(x, y)
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x.view(Named)):
        net = MLPClassifier(4, max_iter=3, random_state=0).fit(other, y)
        assert weights(net) == weights(plain)
        assert net.n_features_in_ == plain.n_features_in_ == x.shape[1]


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (np.where(x == x[3], np.nan, x), y), "NaN"),
        (lambda x, y: (np.where(x == x[3], np.inf, x), y), "infinity"),
        (lambda x, y: (x, y[:-1]), "inconsistent numbers of samples"),
        (lambda x, y: (x[:0], y[:0]), "0 sample"),
        (lambda x, y: (x[:, :0], y), "0 feature"),
        (lambda x, y: (x[0], y), "Expected 2D array"),
        (lambda x, y: (x, np.where(y == y[0], np.nan, y)), "NaN"),
    ],
)
def test_plain_data_that_make_no_sense_are_refused(kind, change, words, points):
    x, y = points[0].astype(np.float64), points[1]
    net = kind(4, max_iter=2) if kind is MLPClassifier else kind(hidden_layer_sizes=4, max_iter=2)
    net.fit(x, y)
    before = weights(net)
    with pytest.raises(ValueError, match=words):
        net.fit(*change(x, y))
    assert weights(net) == before


def test_numbers_that_are_no_labels_are_refused(points):
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier(4, max_iter=2).fit(points[0], points[1] + 0.25)


def test_large_numbers_are_finite(points):
    x = points[0].astype(np.float64)
    x[:2] = 1e308  # their sum is not
    with pytest.raises(cmlp.DivergenceError):
        MLPClassifier(4, solver="sgd", learning_rate_init=1.0, max_iter=5).fit(x, points[1])


def test_names_of_features_are_forgotten(points):
    net = MLPClassifier(4, max_iter=2).fit(*points)
    net.feature_names_in_ = np.array(["a", "b"], dtype=object)
    net.fit(*points)
    assert not hasattr(net, "feature_names_in_")


@given(
    y=st.one_of(
        arrays("int64", st.integers(1, 40), elements=st.integers(-2, 3)),
        arrays("uint8", st.integers(1, 40), elements=st.integers(0, 1)),
        arrays("bool", st.integers(1, 40)),
        arrays("float64", st.integers(1, 40), elements=st.sampled_from([0.0, 1.0, 2.0])),
        arrays("U1", st.integers(1, 40), elements=st.sampled_from("abc")),
    )
)
@settings(max_examples=60, deadline=None)
def test_classes_are_found_as_scikit_learn_finds_them(y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine, reference = _binarizer_of(y), LabelBinarizer().fit(y)
    assert mine.classes_.tolist() == reference.classes_.tolist()
    assert mine.classes_.dtype == reference.classes_.dtype
    assert (mine.y_type_, mine.sparse_input_) == (reference.y_type_, reference.sparse_input_)
    assert (mine.transform(y) == reference.transform(y)).all()


# ---- parameters ----


class Narrow(MLPClassifier):
    """A subclass with a default and a parameter of its own."""

    def __init__(self, hidden_layer_sizes=(3,), *, max_iter=2, alpha=-1.0, note=None):
        super().__init__(hidden_layer_sizes, max_iter=max_iter, alpha=alpha)
        self.note = note


def test_a_parameter_that_is_set_is_checked(points):
    net = clone(Narrow(alpha=0.0, note="kept")).fit(*points)
    assert (net.note, net.n_iter_, net.coefs_[0].shape) == ("kept", 2, (2, 3))
    for net in (Narrow(), Narrow(alpha=-2.0), Narrow().set_params(alpha=-1.0)):
        with pytest.raises(ValueError, match="'alpha' parameter of Narrow"):
            net.fit(*points)
    with pytest.raises(ValueError, match="'max_iter' parameter of Narrow"):
        Narrow(alpha=0.0, max_iter=0).fit(*points)
    with pytest.raises(ValueError, match="'beta_1' parameter of MLPClassifier"):
        MLPClassifier(beta_1=1.0).fit(*points)


# ---- epochs ----


class Bystander:
    """A callback by its methods alone, found when they are asked for."""

    def __init__(self):
        self.epochs = []

    def __getattr__(self, name):
        if name != "on_epoch_end":
            raise AttributeError(name)
        return lambda trainer, row: self.epochs.append((trainer.epoch, row["epoch"]))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", [None, cmlp.schedules.Cosine(200)])
def test_epochs_one_by_one_or_many_at_once(solver, schedule, points):
    setting = {"solver": solver, "schedule": schedule, "max_iter": 25, "random_state": 0}
    setting |= {"batch_size": 16, "tol": 1e-2, "n_iter_no_change": 3}
    at_once = MLPClassifier(4, **setting).fit(*points)
    seen = Bystander()
    alone = MLPClassifier(4, **setting, callbacks=[seen]).fit(*points)
    assert seen.epochs == [(i + 1, i + 1) for i in range(alone.n_iter_)]
    assert weights(alone) == weights(at_once)
    for name in ("loss_curve_", "n_iter_", "t_", "best_loss_", "loss_"):
        assert getattr(alone, name) == getattr(at_once, name)
    columns = [net._engine.trainer.history.to_dict() for net in (alone, at_once)]
    for name in ("epoch", "loss", "lr"):
        assert columns[0][name] == columns[1][name]


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3])
@pytest.mark.parametrize("patience", [1, 4, 10])
def test_the_end_comes_where_scikit_learn_has_it(tol, patience, points):
    x, y = points[0].astype(np.float64), points[1]
    setting = {"tol": tol, "n_iter_no_change": patience, "max_iter": 60, "random_state": 0}
    mine = MLPClassifier(8, learning_rate_init=0.02, batch_size=32, **setting).fit(x, y)
    reference = theirs.MLPClassifier(8, learning_rate_init=0.02, batch_size=32, **setting).fit(x, y)
    assert mine.n_iter_ == reference.n_iter_
    assert mine.best_loss_ == pytest.approx(reference.best_loss_, rel=1e-9)
    assert mine._no_improvement_count == reference._no_improvement_count


def test_dropout_is_drawn_from_random_state(points):
    a, b, c = (
        MLPClassifier(8, dropout=0.5, max_iter=3, random_state=seed).fit(*points)
        for seed in (0, 0, 1)
    )
    assert weights(a) == weights(b) != weights(c)
    assert a.loss_curve_ != MLPClassifier(8, max_iter=3, random_state=0).fit(*points).loss_curve_
