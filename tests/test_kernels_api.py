"""The faces of the kernels: what they take and refuse.  Their numbers are tested elsewhere."""

import doctest

import numpy as np
import pytest
from formulas import loss_value
from oracle import numerical_gradient, relative_error

from cmlp import kernels


def test_examples():
    assert doctest.testmod(kernels).failed == 0


def test_dense_forward_and_back(rng):
    x, w, b = rng.normal(size=(6, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
    y = np.tanh(x @ w.T + b)
    out = np.empty((6, 4))
    assert kernels.dense_forward(x, w, b, activation="tanh", out=out) is out
    np.testing.assert_allclose(out, y, rtol=1e-12)
    dy = rng.normal(size=(6, 4))
    dw, db = kernels.dense_backward_dw(dy, x)
    np.testing.assert_allclose(dw, dy.T @ x, rtol=1e-12)
    np.testing.assert_allclose(db, dy.sum(axis=0), rtol=1e-12)
    x = np.tanh(x)
    dx = kernels.dense_backward_dx(dy, w, x, activation="tanh")
    np.testing.assert_allclose(dx, (dy @ w) * (1 - x**2), rtol=1e-12)


def test_update_and_fused_update_agree(rng):
    x, dy = rng.normal(size=(6, 5)), rng.normal(size=(6, 4))
    w, b = rng.normal(size=(4, 5)), rng.normal(size=4)
    w2, b2 = w.copy(), b.copy()
    slots, slots2 = [np.zeros((4, 5)), np.zeros(4)], [np.zeros((4, 5)), np.zeros(4)]
    dw, db = kernels.dense_backward_dw(dy, x)
    kernels.update("sgd", w, dw, slots[:1], 0.1, momentum=0.9, weight_decay=0.01)
    kernels.update("sgd", b, db, slots[1:], 0.1, momentum=0.9)
    kernels.dense_backward_update(
        dy, x, w2, b2, "sgd", slots2, 0.1, momentum=0.9, weight_decay=0.01
    )
    np.testing.assert_allclose(w2, w, rtol=1e-14)
    np.testing.assert_allclose(b2, b, rtol=1e-14)


@pytest.mark.parametrize("function", [kernels.softmax, kernels.log_softmax])
def test_softmax_in_place(function, rng):
    x = rng.normal(size=(3, 4, 5)) * 100
    expected = function(x.copy())
    assert function(x, out=x) is x
    assert np.array_equal(x, expected)
    p = np.exp(x) if function is kernels.log_softmax else x
    np.testing.assert_allclose(p.sum(axis=-1), 1.0)


def test_activation_in_place(rng):
    x = rng.normal(size=7)
    y = kernels.activation_forward(x, "sigmoid")
    dx = kernels.activation_backward(np.ones(7), y, "sigmoid")
    np.testing.assert_allclose(dx, y * (1 - y), rtol=1e-12)
    assert kernels.activation_forward(x, "sigmoid", out=x) is x
    assert np.array_equal(x, y)


def test_loss_delta(rng):
    y, t, w = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.random(5)
    dy, loss = kernels.loss_delta("huber", y, t, w, 0.7)
    assert loss == pytest.approx(loss_value("huber", y, t, w, 0.7))
    numeric = numerical_gradient(lambda v: loss_value("huber", v, t, w, 0.7), y)
    assert relative_error(dy, numeric) < 1e-6


ONES = np.ones((2, 2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: kernels.dense_forward(ONES, np.ones((2, 3))), ValueError, "^w"),
        (lambda: kernels.dense_forward(ONES, ONES, [1.0]), ValueError, "^b"),
        (lambda: kernels.dense_forward(np.ones(2), ONES), ValueError, "^x"),
        (lambda: kernels.dense_forward(ONES, ONES, activation="soft"), ValueError, "^activation"),
        (lambda: kernels.dense_forward(ONES, ONES, n_threads=0), ValueError, "^n_threads"),
        (lambda: kernels.dense_forward(ONES, ONES, out=np.ones((3, 2))), ValueError, "^out"),
        (lambda: kernels.dense_forward(ONES, ONES, out=ONES), ValueError, "^out"),
        (lambda: kernels.dense_forward(ONES, ONES, out=[1]), TypeError, "^out"),
        (lambda: kernels.dense_forward([["a"]], ONES), TypeError, "^x"),
        (lambda: kernels.activation_backward(ONES, ONES, "step"), ValueError, "^activation"),
        (lambda: kernels.update("sgd", ONES, ONES, [], 0.1), ValueError, "^slots"),
        (lambda: kernels.update("sdg", ONES, ONES, [], 0.1), ValueError, "^kind"),
        (lambda: kernels.loss_delta("hubert", ONES, ONES), ValueError, "^loss"),
    ],
)
def test_errors_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
