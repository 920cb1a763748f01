"""Nets as nodes of a graph, and graphs as layers."""

from copy import deepcopy

import numpy as np
import pytest

import cmlp.graph as graph


def three():
    return [graph.Placeholder(name) for name in "xyz"]


class Dense:
    """A layer of a user's: y = x w^T, in its own dtype."""

    def __init__(self, w, dtype):
        self.w, self.dtype = np.asarray(w, dtype), np.dtype(dtype)

    def forward(self, x, training=False):
        assert x.dtype == self.dtype
        self.x = x
        return x @ self.w.T

    def backward(self, dy):
        assert dy.dtype == self.dtype
        self.dw = dy.T @ self.x
        return dy @ self.w


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_net_as_node(dtype):
    rng = np.random.default_rng(8)
    layer = Dense(rng.normal(size=(2, 3)), dtype)
    x = graph.Placeholder("x")
    y = graph.sum(graph.tanh(graph.net(layer, 2 * x)))
    w = graph.Constant(layer.w.astype(np.float64))
    same = graph.sum(graph.tanh((2 * x) @ graph.transpose(w)))
    feed = {x: rng.normal(size=(4, 3))}
    found = graph.run([y, graph.gradients(y, x)], feed)
    expected = graph.run([same, graph.gradients(same, x)], feed)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert layer.dw.shape == layer.w.shape


def test_nodes_that_share_a_net():
    rng = np.random.default_rng(9)

    class Square:
        def forward(self, x):
            self.x = x
            return x**2

        def backward(self, dy):
            return 2 * self.x * dy

    square = Square()
    x, y, _ = three()
    z = graph.net(square, x) * graph.net(square, graph.sin(y) * x) + graph.net(square, y)
    assert graph.check_gradients(z, {x: rng.normal(size=3), y: rng.normal(size=3)}) < 1e-8


def test_a_net_has_no_second_derivative():
    x = graph.Placeholder("x")
    slope = graph.gradients(graph.net(Dense(np.eye(2), float), x), x)
    with pytest.raises(ValueError, match=r"'net\(x\)' is a net of layers"):
        graph.gradients(slope, x)


def test_a_net_that_does_not_fit_is_named():
    x = graph.Placeholder("x")
    with pytest.raises(ValueError, match=r"node 'net\(x\)' \(net\) of x \(4, 3\)"):
        graph.run(graph.net(Dense(np.eye(2), float), x), {x: np.ones((4, 3))})

    class Short:
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy[:1]

    slope = graph.gradients(graph.net(Short(), x), x)
    with pytest.raises(ValueError, match=r"backward gave shape \(1,\)"):
        graph.run(slope, {x: np.ones(3)})


def make_layer(dtype=np.float64):
    rng = np.random.default_rng(10)
    x = graph.Placeholder("x")
    w = graph.Variable(rng.normal(size=(2, 3)).astype(dtype), name="weight")
    b = graph.Variable(rng.normal(size=2).astype(dtype), name="bias")
    return graph.GraphLayer(graph.tanh(x @ graph.transpose(w) + b), x)


def test_graph_as_layer():
    layer = make_layer()
    rng = np.random.default_rng(11)
    x, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    w, b = layer.parameters()["weight"], layer.parameters()["bias"]
    assert not layer.gradients()["weight"].any()
    y = layer.forward(x, training=True)
    kept = x.copy()
    x[...] = 0  # a caller may reuse its buffer before backward
    dx = layer.backward(dy)
    d = dy * (1 - np.tanh(kept @ w.T + b) ** 2)
    np.testing.assert_allclose(y, np.tanh(kept @ w.T + b), rtol=1e-13)
    np.testing.assert_allclose(dx, d @ w, rtol=1e-12)
    np.testing.assert_allclose(layer.gradients()["weight"], d.T @ kept, rtol=1e-12)
    np.testing.assert_allclose(layer.gradients()["bias"], d.sum(0), rtol=1e-12)
    assert layer.n_out(3) == 2
    layer.parameters()["weight"][...] = 0
    np.testing.assert_allclose(layer.forward(kept), np.tanh(np.tile(b, (4, 1))), rtol=1e-14)


def test_graph_layer_keeps_the_dtype_of_x():
    for layer in (make_layer(np.float32), make_layer(np.float64)):
        x = np.ones((4, 3), np.float32)
        assert layer.forward(x).dtype == np.float32
        assert layer.backward(np.ones((4, 2), np.float32)).dtype == np.float32


def test_width_of_a_graph_layer():
    x = graph.Placeholder("x", shape=(None, 3))
    layer = graph.GraphLayer(graph.reshape(graph.max(x * x, axis=1), (-1, 1)), x)
    assert (layer.n_in, layer.n_out(3)) == (3, 1)
    assert make_layer().n_in is None


def test_copies_share_nothing():
    x = graph.Placeholder("x")
    w = graph.Variable(2.0, name="w")
    layer = graph.GraphLayer(graph.net(Dense(np.eye(2), float), w * x), x)
    copy = deepcopy(layer)
    w.value = 5
    layer.output.net.w *= 3
    rows = np.ones((1, 2))
    np.testing.assert_array_equal(copy.forward(rows), [[2, 2]])
    np.testing.assert_array_equal(copy.backward(rows), [[2, 2]])
    np.testing.assert_array_equal(layer.forward(rows), [[15, 15]])


def test_in_a_sequential_with_cmlps_optimizers():
    pytest.importorskip("cmlp._core")
    from cmlp.layers import Dense, Tanh
    from cmlp.network import Sequential
    from cmlp.optimizers import Adam

    rng = np.random.default_rng(13)
    x, y = graph.Placeholder("x"), three()[1]
    w = graph.Variable(rng.normal(size=(4, 2)), name="weight")
    layer = graph.GraphLayer(graph.sin(x @ w), x)
    net = Sequential(Dense(3, 4), Tanh(), layer, dtype="float64", seed=0)
    assert net.n_parameters == 3 * 4 + 4 + 4 * 2
    loss = graph.mean((graph.net(net, y) - 0.3) ** 2)
    feed = {y: rng.normal(size=(5, 3))}
    assert graph.check_gradients(loss, feed) < 1e-7
    optimizer, slope, losses = Adam(lr=0.02), graph.gradients(loss, y), []
    for _ in range(150):
        losses.append(graph.run([loss, slope], feed)[0])
        optimizer.step(net)
    assert losses[-1] < 0.1 * losses[0]
    v = graph.Variable([[3.0, -2.0]])
    losses = graph.minimize(graph.sum(v * v), [{}] * 200, Adam(lr=0.1))
    assert losses[-1] < 1e-2 * losses[0]


def test_a_graph_layer_is_a_net():
    layer = make_layer()
    x = graph.Placeholder("x")
    y = graph.net(layer, x)
    assert graph.check_gradients(y * y, {x: np.random.default_rng(12).normal(size=(2, 3))}) < 1e-8


def test_graph_layer_errors():
    x, y, _ = three()
    with pytest.raises(ValueError, match="depends on 'y'; expected no placeholder but 'x'"):
        graph.GraphLayer(x * y, x)
    with pytest.raises(ValueError, match="expected a node that depends on 'y'"):
        graph.GraphLayer(x * 2, y)
    with pytest.raises(TypeError, match="x is .*; expected a placeholder"):
        graph.GraphLayer(x * 2, graph.Variable(1.0))
    with pytest.raises(TypeError, match="output is .*; expected a node"):
        graph.GraphLayer(2, x)
    with pytest.raises(ValueError, match="one row for each row of x"):
        graph.GraphLayer(graph.sum(x), x).forward(np.ones((2, 3)))
    layer = make_layer()
    with pytest.raises(RuntimeError, match="before forward"):
        layer.backward(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"x \(4, 5\)"):
        layer.forward(np.ones((4, 5)))
    layer.forward(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"dy has shape \(4, 3\); expected \(4, 2\)"):
        layer.backward(np.ones((4, 3)))
