"""An epoch is one call: nothing of Python runs inside it."""

import sys

import numpy as np

from cmlp import _core


def calls_of_a_fit(plan, x, y, epochs):
    """How many functions, of Python or C, are called while a plan runs some epochs."""
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(event))
    try:
        plan.fit(x, y, None, epochs, True, 0.01)
    finally:
        sys.setprofile(None)
    return len(seen)


def test_more_epochs_make_no_more_calls():
    rng = np.random.default_rng(0)
    layers = [_core.Layer("dense", 5, 7, activation="tanh"), _core.Layer("dense", 7, 3)]
    state = _core.State(layers, "sgd", momentum=0.9)
    plan = _core.Plan(layers, 8, ("softmax_cross_entropy", None), state)
    x = rng.standard_normal((100, 5)).astype(np.float32)
    y = rng.integers(0, 3, 100)
    few, many = calls_of_a_fit(plan, x, y, 1), calls_of_a_fit(plan, x, y, 40)
    assert 0 < few == many


def test_orders_of_millions_of_samples():
    """A long order is shuffled in pieces; it is the documented one nevertheless."""
    n, batch = (1 << 21) + 5, 1 << 17
    x = np.random.default_rng(0).standard_normal((n, 1)).astype(np.float32)
    order = _core.permutation(n, 7, 0)
    results = []
    for rows, shuffle in ((x, True), (x[order], False)):
        layer = _core.Layer("dense", 1, 1)
        layer.set("weight", np.ones((1, 1), np.float32))
        state = _core.State([layer], "sgd", momentum=0.0)
        plan = _core.Plan([layer], batch, ("squared_error", None), state, seed=7)
        plan.fit(rows, 2 * rows, None, 1, shuffle, 0.01)
        results.append(layer.get("weight"))
    np.testing.assert_array_equal(*results)
