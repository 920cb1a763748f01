"""Sums over many terms keep their digits: they are made in blocks, whose sizes the shapes fix."""

import numpy as np
import pytest
from core_nets import ISAS, using

import cmlp

# One chain of additions is off by 7e-7, 9e-6 and 2e-4.
BOUNDS = {1000: 4e-7, 100_000: 1e-6, 1_000_000: 3e-6}
pytestmark = pytest.mark.usefixtures("isa")


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield


def worst(got, want):
    return float(np.abs(got / want - 1).max())


@pytest.fixture(params=BOUNDS)
def n(request):
    return request.param


def positive(*shape):
    return np.random.default_rng(sum(shape)).random(shape).astype(np.float32)


def test_dense_forward(n):
    x, w = positive(2, n), positive(3, n)
    want = x.astype(float) @ w.T.astype(float)
    assert worst(cmlp.kernels.dense_forward(x, w, None), want) < BOUNDS[n]


def test_dense_backward_dx(n):
    dy, w = positive(2, n), positive(n, 3)
    want = dy.astype(float) @ w.astype(float)
    assert worst(cmlp.kernels.dense_backward_dx(dy, w), want) < BOUNDS[n]


def test_dense_backward_dw(n):
    dy, x = positive(n, 3), positive(n, 4)
    dw, db = cmlp.kernels.dense_backward_dw(dy, x)
    assert worst(dw, dy.T.astype(float) @ x.astype(float)) < BOUNDS[n]
    assert worst(db, dy.sum(axis=0, dtype=float)) < BOUNDS[n]


def test_net(n):
    net = cmlp.Sequential(cmlp.Dense(n, 2), seed=0)
    net.layers[0].weight, x = positive(2, n), positive(3, n)
    want = x.astype(float) @ net.layers[0].weight.T.astype(float)
    y = net.predict(x)
    assert worst(y, want) < BOUNDS[n]
    assert all(np.array_equal(net.predict(x[i : i + 1])[0], y[i]) for i in range(3))


def test_softmax(n):
    p = cmlp.kernels.softmax(positive(2, n))
    assert worst(p.sum(axis=1, dtype=float), 1.0) < BOUNDS[n]


def test_losses(n):
    z, t = positive(2, n), positive(2, n)[::-1].copy()
    value = cmlp.SquaredError().gradient(z, t, None)[1]
    want = 0.5 * ((z.astype(float) - t) ** 2).sum(axis=1).mean()
    assert abs(value / want - 1) < BOUNDS[n]
    shifted = z.astype(float) - z.max()
    want = (np.log(np.exp(shifted).sum(axis=1)) - shifted[:, 7]).mean()
    value = cmlp.SoftmaxCrossEntropy().gradient(z, np.array([7, 7]), None)[1]
    assert abs(value / want - 1) < BOUNDS[n]
