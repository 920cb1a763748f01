"""Copies of estimators: every way of them, before and after each kind of training, goes on with
the same bits."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone

import cmlp
from cmlp import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("one_thread"),
]

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, 0] - X[:, 1] ** 2
LABELS = np.array(["a", "b", "c"])[np.digitize(Y, [-1.0, 0.0])]


# ---- ways --------------------------------------------------------------------------------------


def by_skops(estimator, folder):
    io = pytest.importorskip("skops.io")
    data = io.dumps(estimator)
    return io.loads(data, trusted=io.get_untrusted_types(data=data))


def by_joblib(estimator, folder):
    joblib = pytest.importorskip("joblib")
    joblib.dump(estimator, folder / "estimator")
    return joblib.load(folder / "estimator")


def by_cloudpickle(estimator, folder):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(estimator))


def by_dill(estimator, folder):
    dill = pytest.importorskip("dill")
    return dill.loads(dill.dumps(estimator))


WAYS = {
    "skops": by_skops,
    "joblib": by_joblib,
    "cloudpickle": by_cloudpickle,
    "dill": by_dill,
    "pickle": lambda estimator, folder: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": lambda estimator, folder: copy.deepcopy(estimator),
}

# ---- estimators, and what they have been through ---------------------------------------------

SETTINGS = {
    "adam": {},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5},
    "sgd, inverse scaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "dropout": {"dropout": 0.3},
    "float32": {"dtype": "float32"},
    "schedule": {"schedule": cmlp.schedules.Cosine(100)},
    "an optimizer": {"solver": cmlp.RMSprop(0.01, momentum=0.5)},
    "weight_init": {"weight_init": cmlp.He(), "clip_norm": 1.0},
    "a generator": {"random_state": np.random.RandomState(3)},
    "lbfgs": {"solver": "lbfgs"},
}


def fit(net, y):
    return net.fit(X, y)


def partial(net, y):
    for _ in range(3):
        net.partial_fit(X, y, **classes(net))
    return net


def one_by_one(net, y):
    declared(net)
    for row, target in zip(X, y, strict=True):
        net.learn_one(row, target)
    return net


def classes(net):
    return {"classes": ["a", "b", "c"]} if isinstance(net, MLPClassifier) else {}


def declared(net):
    return net.declare(["a", "b", "c"], 3) if isinstance(net, MLPClassifier) else net.declare(1, 3)


def assigned(net, y):
    fit(net, y)
    net.coefs_ = [0.5 * w for w in net.coefs_]
    return net


STATES = {
    "new": lambda net, y: net,
    "declared": lambda net, y: declared(net),
    "fitted": fit,
    "partly fitted": partial,
    "taught one by one": one_by_one,
    "with weights assigned": assigned,
}


def make(kind, settings):
    shared = {"hidden_layer_sizes": (6, 4), "max_iter": 4, "batch_size": 16, "random_state": 0}
    return clone(kind(**shared | SETTINGS[settings]))


def bits(net):
    return [a.tobytes() for a in net.coefs_ + net.intercepts_]


def end(net, y):
    """Where an estimator comes to from here by every kind of training that goes on."""
    found = []
    if hasattr(net, "partial_fit"):
        net.partial_fit(X, y, **classes(net))
        found += [bits(net), net.t_, net.loss_curve_]
        net.learn_one(X[0], y[0])
        found += [bits(net), net.loss_]
    net.set_params(warm_start=True).fit(X, y)
    return [*found, bits(net), net.predict(X).tolist(), net.loss_]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_copy_goes_on_with_the_same_bits(kind, settings, state, way, tmp_path):
    y = LABELS if kind is MLPClassifier else Y
    if settings == "lbfgs" and state in ("partly fitted", "taught one by one"):
        pytest.skip("lbfgs takes no steps")
    net = STATES[state](make(kind, settings), y)
    again = WAYS[way](net, tmp_path)
    assert type(again) is kind
    if settings != "a generator":  # which shows its address
        assert repr(again) == repr(net)
    for name in ("n_iter_", "t_", "loss_curve_", "best_loss_", "loss_", "classes_"):
        mine, theirs = getattr(net, name, None), getattr(again, name, None)
        np.testing.assert_array_equal(mine, theirs)
    if hasattr(net, "coefs_"):
        assert bits(again) == bits(net)
        assert again.net_ is not net.net_
    before = bits(net) if hasattr(net, "coefs_") else None
    ended = end(again, y)
    assert before is None or bits(net) == before  # nothing is shared
    assert ended == end(net, y)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_clone_has_the_parameters_alone(kind, state):
    y = LABELS if kind is MLPClassifier else Y
    net = STATES[state](make(kind, "dropout"), y)
    again = clone(net)
    assert repr(again) == repr(net)
    assert not hasattr(again, "coefs_") and not hasattr(again, "t_")
    assert bits(again.fit(X, y)) == bits(make(kind, "dropout").fit(X, y))


class Quartic:
    """A loss of a user's own."""

    def forward(self, y, t, sample_weight=None):
        self.d = y - t
        return float((self.d**4).sum(axis=1).mean())

    def backward(self):
        return 4 * self.d**3 / len(self.d)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", [cmlp.Huber(0.5), "poisson", Quartic()], ids=str)
def test_losses_are_copied(loss, way, tmp_path):
    net = MLPRegressor(loss, 4, max_iter=3, random_state=0).fit(X, abs(Y))
    again = WAYS[way](net, tmp_path)
    for a in (net, again):
        a.partial_fit(X, abs(Y))
    assert bits(net) == bits(again)
    np.testing.assert_array_equal(net.predict(X), again.predict(X))


def test_nothing_of_the_estimator_is_inside_itself():
    """A cycle would be without end for formats that know none, as skops."""
    net = partial(make(MLPClassifier, "adam"), LABELS)
    seen = []

    def walk(value, path):
        assert value is not net or not path, path
        if id(value) in path or isinstance(value, (str, bytes, int, float, np.ndarray, type)):
            return
        seen.append(value)
        inner = value.__getstate__() if hasattr(value, "__getstate__") else None
        if isinstance(value, dict):
            inner = value
        elif isinstance(value, (list, tuple)):
            inner = dict(enumerate(value))
        if isinstance(inner, dict):
            for part in inner.values():
                walk(part, (*path, id(value)))

    walk(net, ())
    assert len(seen) > 20
