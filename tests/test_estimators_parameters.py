"""Parameters assigned between calls that go on: each takes effect, or is refused by name."""

from __future__ import annotations

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

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X[:, 0] - X[:, 1] ** 2
LABELS = np.digitize(Y, [-1.0, 0.0])


class Recorder(cmlp.Callback):
    """Counts the epochs that it is told of."""

    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, trainer, row):
        self.epochs += 1


# What is assigned after some calls, and the other parameters with which it makes a difference.
CHANGES = {
    "hidden_layer_sizes": ((6, 5), {}),
    "activation": ("tanh", {}),
    "solver": ("sgd", {}),
    "alpha": (10.0, {}),
    "batch_size": (10, {}),
    "learning_rate": ("invscaling", {"solver": "sgd"}),
    "learning_rate_init": (0.1, {}),
    "power_t": (2.0, {"solver": "sgd", "learning_rate": "invscaling"}),
    "max_iter": (5, {}),
    "shuffle": (False, {}),
    "random_state": (7, {}),
    "tol": (1e3, {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1}),
    "verbose": (True, {}),
    "warm_start": (True, {}),
    "momentum": (0.1, {"solver": "sgd"}),
    "nesterovs_momentum": (False, {"solver": "sgd"}),
    "early_stopping": (True, {}),
    "validation_fraction": (0.4, {}),
    "beta_1": (0.1, {}),
    "beta_2": (0.1, {}),
    "epsilon": (1.0, {}),
    "n_iter_no_change": (1, {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e3}),
    "max_fun": (10, {}),
    "dropout": (0.5, {}),
    "schedule": (cmlp.schedules.Exponential(0.1, 1), {}),
    "clip_value": (1e-6, {}),
    "clip_norm": (1e-6, {"solver": "sgd"}),
    "weight_init": (cmlp.He(), {}),
    "dtype": ("float32", {}),
    "n_threads": (1, {}),
    "callbacks": (None, {}),  # a new one each time
    "restore_best": (True, {}),
    "n_restarts": (3, {}),
    "progress": (True, {}),
    "preprocess": ("auto", {}),
    "class_weight": ({0: 9.0}, {}),
    "label_smoothing": (0.5, {}),
    "loss": ("huber", {}),
}
# The net was made by these: another value is refused.
REFUSED = {"hidden_layer_sizes", "activation", "dropout", "weight_init", "dtype", "preprocess"}
# scikit-learn's ``partial_fit`` is one epoch, and has no use of these; the next ``fit`` has.
OF_FIT = {
    "max_iter", "warm_start", "validation_fraction", "max_fun", "restore_best", "n_restarts",
}  # fmt: skip
# Of the epochs of ``partial_fit``, which one sample is none of; and what samples have no order in.
OF_EPOCHS = {"batch_size", "shuffle", "random_state", "tol", "n_iter_no_change", "verbose",
             "progress", "callbacks", "early_stopping"}  # fmt: skip
# These change no number.
SEEN_OTHERWISE = {"verbose", "callbacks", "progress", "n_threads"}

KINDS = {MLPClassifier: LABELS, MLPRegressor: Y}
CASES = [(kind, name) for kind in KINDS for name in kind()._get_param_names()]
IDS = [f"{kind.__name__}-{name}" for kind, name in CASES]


def test_every_parameter_is_here():
    assert {name for _, name in CASES} == set(CHANGES)


def make(kind, name):
    _, settings = CHANGES[name]
    shared = {"hidden_layer_sizes": (6, 4), "random_state": 0, "batch_size": 16, "max_iter": 3}
    return kind(**shared | settings)


def classes(kind):
    return {"classes": [0, 1, 2]} if kind is MLPClassifier else {}


def some_epochs(net, n=3):
    for _ in range(n):
        net.partial_fit(X, KINDS[type(net)], **classes(type(net)))
    return bits(net)


def some_samples(net):
    y = KINDS[type(net)]
    for row, target in zip(X[:20], y[:20], strict=True):
        net.learn_one(row, target)
    return bits(net)


def bits(net):
    return [a.tobytes() for a in net.coefs_ + net.intercepts_]


def refuses(net, name, go_on):
    before = bits(net)
    with pytest.raises(ValueError, match=name):
        go_on(net)
    assert bits(net) == before


@pytest.mark.parametrize(("kind", "name"), CASES, ids=IDS)
def test_between_calls_of_partial_fit(kind, name, capsys):
    value, _ = CHANGES[name]
    value = [Recorder()] if name == "callbacks" else value
    changed, same = make(kind, name), make(kind, name)
    assert some_epochs(changed) == some_epochs(same)
    capsys.readouterr()
    changed.set_params(**{name: value})
    if name in REFUSED or name == "early_stopping":
        refuses(changed, name, some_epochs)
        return
    differs = some_epochs(changed) != some_epochs(same)
    if name in SEEN_OTHERWISE:
        shown = capsys.readouterr()
        seen = {
            "verbose": "Iteration 1" in shown.out,
            "progress": "epoch" in shown.err,
            "callbacks": value[0].epochs == 3 if name == "callbacks" else None,
            "n_threads": changed.n_threads == 1,
        }
        assert seen[name] and not differs
    else:
        assert differs == (name not in OF_FIT)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=IDS)
def test_between_calls_of_learn_one(kind, name):
    value, _ = CHANGES[name]
    value = [Recorder()] if name == "callbacks" else value
    changed, same = make(kind, name), make(kind, name)
    for net in (changed, same):
        net.declare([0, 1, 2], 3) if kind is MLPClassifier else net.declare(1, 3)
    assert some_samples(changed) == some_samples(same)
    changed.set_params(**{name: value})
    if name in REFUSED:
        refuses(changed, name, some_samples)
        return
    differs = some_samples(changed) != some_samples(same)
    assert differs == (name not in OF_FIT | OF_EPOCHS | SEEN_OTHERWISE)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=IDS)
def test_in_a_fit_that_goes_on(kind, name):
    """With ``warm_start`` too, what the net was made by is refused."""
    value, _ = CHANGES[name]
    net = make(kind, name).set_params(warm_start=True).fit(X, KINDS[kind])
    if name in REFUSED:
        net.set_params(**{name: value})
        refuses(net, name, lambda net: net.fit(X, KINDS[kind]))
        net.set_params(warm_start=False).fit(X, KINDS[kind])  # makes a new one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", -1.0), ("learning_rate_init", 0.0), ("solver", "newton"), ("batch_size", 0)],
)
@pytest.mark.parametrize("go_on", [some_epochs, some_samples])
def test_values_that_make_no_sense_are_refused_at_once(kind, name, value, go_on):
    net = make(kind, "alpha")
    some_epochs(net)
    setattr(net, name, value)
    refuses(net, name, go_on)


def test_going_on_is_what_a_fresh_estimator_with_that_parameter_does():
    """Running values of the optimizer stay; the rate begins anew where it was assigned alone."""
    net = make(MLPRegressor, "alpha").set_params(momentum=0.5, solver="sgd", alpha=0.0)
    net.partial_fit(X, Y)
    trainer = cmlp.Trainer(net.net_.copy(), cmlp.SquaredError())
    net.set_params(learning_rate_init=1e-300, momentum=1.0 - 1e-9)
    before = net.net_.get_flat()
    net.partial_fit(X, Y)
    moved = net.net_.get_flat() - before
    assert abs(moved).max() > 1e-6  # by the velocity that was there
    assert trainer.epoch == 0


def test_a_lowered_rate_stays_when_something_else_changes():
    net = make(MLPRegressor, "tol").set_params(tol=1e3)
    some_epochs(net, 6)
    rates = clone(net)
    some_epochs(rates, 6)
    net.set_params(alpha=net.alpha, verbose=False)  # nothing new, but assigned
    assert some_epochs(net) == some_epochs(rates)
