"""Operations of computation graphs: values, and first and second derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import cmlp.graph as graph

few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def three():
    return [graph.Placeholder(name) for name in "xyz"]


# Values and numerical gradients, first and second, of every operation

UNARY = {
    "neg": (lambda x: -x, np.negative),
    "exp": (graph.exp, np.exp),
    "log": (graph.log, np.log),
    "sqrt": (graph.sqrt, np.sqrt),
    "sin": (graph.sin, np.sin),
    "cos": (graph.cos, np.cos),
    "sigmoid": (graph.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (graph.tanh, np.tanh),
    "relu": (graph.relu, lambda x: np.where(x > 0, x, 0)),
    "softplus": (graph.softplus, lambda x: np.log(1 + np.exp(x))),
    "square": (lambda x: x**2, np.square),
    "2 **": (lambda x: 2**x, np.exp2),
    "1 - 1 /": (lambda x: 1 - 1 / x, lambda x: 1 - 1 / x),
    "sum": (graph.sum, np.sum),
    "mean": (graph.mean, np.mean),
    "max": (graph.max, np.max),
    "sum last": (lambda x: graph.sum(x, -1), lambda x: x.sum(-1)),
    "mean first": (lambda x: graph.mean(x, 0, True), lambda x: x.mean(0, keepdims=True)),
    "max last": (lambda x: graph.max(x, (-1,)), lambda x: x.max(-1)),
    "reshape": (lambda x: graph.reshape(x, (-1, 1)), lambda x: x.reshape(-1, 1)),
    "transpose": (graph.transpose, np.transpose),
    "log_softmax": (
        graph.log_softmax,
        lambda x: np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    ),
}
BINARY = {
    "+": (lambda a, b: a + b, np.add),
    "-": (lambda a, b: a - b, np.subtract),
    "*": (lambda a, b: a * b, np.multiply),
    "/": (lambda a, b: a / b, np.divide),
    "**": (lambda a, b: a**b, np.power),
}


def check_twice(y, feed):
    """First derivatives of y, and the derivatives of a weighted sum of those."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 1.5, graph.run(y, feed).shape)
    assert graph.check_gradients(y * weights, feed) < 1e-6
    slopes = graph.gradients(y * weights, list(feed))
    weighted = sum(
        graph.sum(g * rng.uniform(0.5, 1.5, np.shape(v)))
        for g, v in zip(slopes, feed.values(), strict=True)
    )
    assert graph.check_gradients(weighted, feed) < 1e-5


@pytest.mark.parametrize("name", UNARY)
@few
@given(shape=array_shapes(max_dims=3, max_side=3), seed=seeds)
def test_unary(name, shape, seed):
    op, oracle = UNARY[name]
    # Distinct and away from 0, where log, relu and max have no derivative to compare with.
    size = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(np.linspace(0.3, 2, size)).reshape(shape)
    if name in ("neg", "exp", "sin", "cos", "sigmoid", "tanh", "relu", "softplus", "square"):
        values *= np.random.default_rng(seed).choice([-1, 1], shape)
    x = graph.Placeholder("x")
    np.testing.assert_allclose(graph.run(op(x), {x: values}), oracle(values), rtol=1e-12)
    check_twice(op(x), {x: values})


@pytest.mark.parametrize("name", BINARY)
@few
@given(
    shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3),
    seed=seeds,
)
def test_binary_with_broadcasting(name, shapes, seed):
    op, oracle = BINARY[name]
    a, b, _ = three()
    rng = np.random.default_rng(seed)
    feed = {
        n: rng.uniform(0.5, 2, shape) for n, shape in zip((a, b), shapes.input_shapes, strict=True)
    }
    np.testing.assert_allclose(graph.run(op(a, b), feed), oracle(feed[a], feed[b]), rtol=1e-15)
    check_twice(op(a, b), feed)


@pytest.mark.parametrize(
    "shapes",
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((2, 2, 3), (3, 2)),
        ((2, 3), (2, 3, 1)),
        ((2, 1, 2, 3), (2, 3, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
    ],
)
def test_matmul(shapes):
    rng = np.random.default_rng(1)
    a, b, _ = three()
    feed = {a: rng.normal(size=shapes[0]), b: rng.normal(size=shapes[1])}
    np.testing.assert_array_equal(graph.run(a @ b, feed), feed[a] @ feed[b])
    check_twice(a @ b, feed)
    check_twice(graph.sum(a @ b) ** 2, feed)


def test_transpose_with_axes():
    x = graph.Placeholder("x")
    values = np.random.default_rng(2).normal(size=(2, 3, 4))
    y = graph.transpose(x, (2, 0, 1))
    np.testing.assert_array_equal(graph.run(y, {x: values}), values.transpose(2, 0, 1))
    check_twice(y * y, {x: values})


@pytest.mark.parametrize("op", [graph.sum, graph.mean, graph.max])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 0)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(op, axis, keepdims):
    x = graph.Placeholder("x")
    values = np.random.default_rng(3).permutation(24).reshape(2, 3, 4) / 24
    y = op(x, axis=axis, keepdims=keepdims)
    oracle = getattr(np, op.__name__)(values, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(graph.run(y, {x: values}), oracle, rtol=1e-14)
    assert graph.check_gradients(y**2, {x: values}) < 1e-7


def test_operands_on_the_left():
    x = graph.Placeholder("x")
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    left = np.array([[2.0, 0.5]])
    cases = [
        (left + x, left + values),
        (left - x, left - values),
        (left * x, left * values),
        (left / x, left / values),
        (left**x, left**values),
        (left @ x, left @ values),
        (2 - x, 2 - values),
        (2 / x, 2 / values),
        ([[1, 2]] @ x, [[1, 2]] @ values),
    ]
    for node, expected in cases:
        assert isinstance(node, graph.Node)
        np.testing.assert_allclose(graph.run(node, {x: values}), expected, rtol=1e-15)


# Where derivatives need care


def test_sigmoid_and_softplus_do_not_overflow():
    x = graph.Placeholder("x")
    values = np.array([-1e4, -40.0, 0.0, 40.0, 1e4])
    for op, expected in [
        (graph.sigmoid, [0, np.exp(-40.0), 0.5, 1, 1]),
        (graph.softplus, [0, np.exp(-40.0), np.log(2), 40, 1e4]),
    ]:
        y = op(x)
        value, slope = graph.run([y, graph.gradients(y, x)], {x: values})
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        assert np.isfinite(slope).all()


def test_relu_has_slope_zero_at_zero():
    x = graph.Placeholder("x")
    np.testing.assert_array_equal(
        graph.run(graph.gradients(graph.relu(x), x), {x: [-1, 0, 1]}), [0, 0, 1]
    )


def test_ties_share_the_gradient_of_max():
    x = graph.Placeholder("x")
    slope = graph.run(graph.gradients(graph.max(x, axis=1), x), {x: [[3, 1, 3], [0, 1, 2]]})
    np.testing.assert_array_equal(slope, [[0.5, 0, 0.5], [0, 0, 1]])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_all_derivatives_of_a_power_at_zero(exponent):
    x = graph.Placeholder("x")
    y, found = x**exponent, []
    for _ in range(5):
        found.append(float(graph.run(y, {x: 0.0})))
        y = graph.gradients(y, x)
    expected = [0.0] * 5
    expected[exponent] = [1, 1, 2, 6][exponent]
    assert found == expected


def test_power_of_a_negative_base_and_of_a_zero_base():
    x, y, _ = three()
    assert graph.run(graph.gradients(x**3, x), {x: -2}) == 12
    assert graph.run(graph.gradients(x**y, y), {x: 0, y: 2}) == 0


def test_second_derivatives():
    x = graph.Placeholder("x")
    values = np.linspace(-2, 2, 9)
    s, t = 1 / (1 + np.exp(-values)), np.tanh(values)
    for y, expected in [
        (x**3, 6 * values),
        (graph.sin(x) * x, 2 * np.cos(values) - values * np.sin(values)),
        (graph.sigmoid(x), s * (1 - s) * (1 - 2 * s)),
        (graph.tanh(x), -2 * t * (1 - t**2)),
        (graph.softplus(x), s * (1 - s)),
        (2 * x + 1, 0 * values),
    ]:
        second = graph.gradients(graph.gradients(y, x), x)
        np.testing.assert_allclose(graph.run(second, {x: values}), expected, atol=1e-14)


def test_hessian_of_a_quadratic_form():
    a = np.random.default_rng(4).normal(size=(3, 3))
    x = graph.Placeholder("x")
    slope = graph.gradients(x @ a @ x, x)
    rows = [graph.gradients(slope, x, dy=row) for row in np.eye(3)]
    np.testing.assert_allclose(graph.run(rows, {x: [1, -2, 3]}), a + a.T, rtol=1e-14)


# Softmax cross-entropy


def test_softmax_cross_entropy():
    rng = np.random.default_rng(5)
    z, t, _ = three()
    scores, labels = rng.normal(size=(4, 3)), np.array([0, 2, 1, 2])
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    loss = graph.softmax_cross_entropy(z, t)
    for target in (labels, np.eye(3)[labels]):
        value, dz = graph.run([loss, graph.gradients(loss, z)], {z: scores, t: target})
        assert value == pytest.approx(-np.log(p[range(4), labels]).mean())
        np.testing.assert_allclose(dz, (p - np.eye(3)[labels]) / 4, atol=1e-15)
    assert graph.run(graph.softmax_cross_entropy([1000.0, 0.0], 0)) == 0
    np.testing.assert_array_equal(
        graph.run(graph.gradients(loss, t), {z: scores, t: labels}), np.zeros(4)
    )


def test_softmax_cross_entropy_derivatives():
    rng = np.random.default_rng(6)
    z, t, _ = three()
    loss = graph.softmax_cross_entropy(z, t)
    check_twice(loss, {z: rng.normal(size=(4, 3)), t: rng.dirichlet(np.ones(3), 4)})
    check_twice(graph.softmax_cross_entropy(z, [1, 0]), {z: rng.normal(size=(2, 3))})


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.5, 1], [0, 1, 2]])
def test_softmax_cross_entropy_refuses_labels(labels):
    z, t, _ = three()
    loss = graph.softmax_cross_entropy(z, t)
    with pytest.raises(ValueError, match="targets ha|targets holds"):
        graph.run(loss, {z: np.zeros((2, 3)), t: labels})
