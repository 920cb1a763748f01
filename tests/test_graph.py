"""Computation graphs against the notes' numbers, central differences and closed forms."""

import runpy
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import cmlp.graph as graph
from cmlp.errors import DivergenceError

few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def three():
    return [graph.Placeholder(name) for name in "xyz"]


# The notes' three graphs


def test_product_of_a_sum():
    x, y, z = three()
    f = (x + y) * z
    values = graph.run([f, *graph.gradients(f, [x, y, z])], {x: -2, y: 5, z: -4})
    assert [float(v) for v in values] == [-12, -4, -4, 3]


def test_gradient_of_a_node_in_the_middle():
    x, y, z = three()
    q = x + y
    assert graph.run(graph.gradients(q * z, q), {x: -2, y: 5, z: -4}) == -4


def test_logistic_neuron():
    w0, w1, w2, x0, x1 = (graph.Variable(v) for v in (2.0, -3.0, -3.0, -1.0, -2.0))
    f = 1 / (1 + graph.exp(-(w0 * x0 + w1 * x1 + w2)))
    value, *slopes = graph.run([f, *graph.gradients(f, [w0, w1, w2, x0, x1])])
    s = 1 / (1 + np.exp(-1.0))
    assert value == pytest.approx(s) == pytest.approx(0.73, abs=5e-3)
    np.testing.assert_allclose(slopes, s * (1 - s) * np.array([-1, -2, 1, 2, -3]), rtol=1e-14)
    np.testing.assert_allclose(slopes, [-0.20, -0.39, 0.20, 0.39, -0.59], atol=5e-3)


def test_logistic_neuron_is_the_sigmoid():
    z = graph.Placeholder("z")
    f, g = 1 / (1 + graph.exp(-z)), graph.sigmoid(z)
    feed = {z: np.linspace(-5, 5, 11)}
    nodes = [f, g, graph.gradients(f, z), graph.gradients(g, z)]
    f, g, df, dg = graph.run(nodes, feed)
    np.testing.assert_allclose(f, g, rtol=1e-14)
    np.testing.assert_allclose(df, dg, rtol=1e-12)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_paths_that_join_are_summed(r_value, t_value):
    r, t = graph.Placeholder("r"), graph.Placeholder("t")
    x, y = r * graph.sin(t), graph.sin(t) ** 2
    u = x**2 + 2 * y
    du_dr, du_dt = graph.run(graph.gradients(u, [r, t]), {r: r_value, t: t_value})
    assert du_dr == pytest.approx(2 * r_value * np.sin(t_value) ** 2, abs=1e-12)
    assert du_dt == pytest.approx((r_value**2 + 2) * np.sin(2 * t_value), abs=1e-12)


def test_example_prints_the_notes_numbers(capsys):
    path = Path(__file__).parents[1] / "examples" / "graph_basics.py"
    runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    assert "f = -12, df/dx = -4, df/dy = -4, df/dz = 3" in out
    assert "f = 0.7311, and f (1 - f) = 0.1966" in out
    assert "df/dw0 = -0.1966, df/dw1 = -0.3932, df/dw2 = 0.1966" in out
    assert "du/dr = 1.379093, 2 r sin^2 t      = 1.379093" in out
    assert "du/dt = 9.256181, (r^2 + 2) sin 2t = 9.256181" in out


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
    with pytest.raises(ValueError, match="class number"):
        graph.run(loss, {z: np.zeros((2, 3)), t: labels})


# Running


def test_what_is_shared_is_computed_once():
    calls = []

    class Net:
        def forward(self, x):
            calls.append("forward")
            return 2 * x

        def backward(self, dy):
            calls.append("backward")
            return 2 * dy

    x = graph.Placeholder("x")
    y = graph.net(Net(), x)
    u = y * y + graph.sin(y) + y
    values = graph.run([u, *graph.gradients(u, [x, y])], {x: 3.0})
    expected = [36 + np.sin(6) + 6, 2 * (12 + np.cos(6) + 1), 12 + np.cos(6) + 1]
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    assert calls == ["forward", "backward"]


def test_dtypes():
    x = graph.Placeholder("x")
    x32 = np.ones((2, 2), np.float32)
    y = graph.sigmoid(2 * x + 1) ** 2 / graph.mean(x) @ [[1.0, 2.0], [3.0, 4.0]]
    loss = graph.softmax_cross_entropy(graph.softplus(y), [0, 1])
    for node in (y, loss, graph.gradients(loss, x), graph.gradients(graph.max(x, 0), x)):
        assert graph.run(node, {x: x32}).dtype == np.float32
        assert graph.run(node, {x: x32.astype(np.float64)}).dtype == np.float64
        assert graph.run(node, {x: [[1, 2], [3, 4]]}).dtype == np.float64
    assert graph.run(x * graph.Variable(1.0), {x: x32}).dtype == np.float64
    assert graph.run(x * graph.Variable(x32), {x: x32}).dtype == np.float32


def test_results_belong_to_the_caller():
    w = graph.Variable([1.0, 2.0])
    for result in (graph.run(w), graph.run(graph.reshape(w, (2, 1))), graph.run(w + 0)):
        result[...] = 7
    np.testing.assert_array_equal(w.value, [1, 2])
    values = np.array([3.0])
    c = graph.Constant(values)
    values[0] = 4
    assert graph.run(c) == 3


def test_a_feed_stands_in_for_a_variable():
    w = graph.Variable(2.0)
    assert graph.run(w * w, {w: 5}) == 25
    assert w.value == 2


def test_gradients_seed_and_unrelated_nodes():
    x, y, _ = three()
    feed = {x: [1.0, 2.0], y: [[5.0]]}
    np.testing.assert_array_equal(graph.run(graph.gradients(x * x, x), feed), [2, 4])
    np.testing.assert_array_equal(graph.run(graph.gradients(x * x, x, dy=[10, 1]), feed), [20, 4])
    np.testing.assert_array_equal(graph.run(graph.gradients(x * x, y), feed), [[0]])
    np.testing.assert_array_equal(graph.run(graph.gradients(x, x), feed), [1, 1])


def test_deep_graphs():
    x = graph.Placeholder("x")
    y = x
    for _ in range(10_000):
        y = y * 1.0001 + 0.0
    value, slope = graph.run([y, graph.gradients(y, x)], {x: 1.0})
    assert value == pytest.approx(1.0001**10_000)
    assert slope == pytest.approx(1.0001**10_000)
    assert graph.to_dot(y).count("->") == 40_001
    del y


def test_gradients_of_shared_nodes_do_not_explode():
    x = graph.Placeholder("x")
    y = x
    for _ in range(60):  # 2^60 paths
        y = y + y
    assert graph.run(graph.gradients(y, x), {x: 1.0}) == 2.0**60


# Gradient check


def test_check_gradients_finds_a_wrong_rule():
    x = graph.Placeholder("x")

    class Wrong:
        def forward(self, x):
            return x**2

        def backward(self, dy):
            return dy  # not 2 x dy

    assert graph.check_gradients(graph.net(Wrong(), x), {x: [3.0, 0.5]}) > 0.5
    assert graph.check_gradients(graph.sqrt(x), {x: np.float32(2)}) < 1e-8


def test_check_gradients_leaves_variables_alone():
    w = graph.Variable(np.ones(3, np.float32))
    assert graph.check_gradients(graph.sum(w**3)) < 1e-8
    np.testing.assert_array_equal(w.value, np.ones(3))
    assert graph.check_gradients(graph.sum(w**3), wrt=w) < 1e-8
    with pytest.raises(TypeError, match="variables and placeholders"):
        graph.check_gradients(w * 2, wrt=w * 3)
    with pytest.raises(ValueError, match="eps must be a positive number, got 0"):
        graph.check_gradients(w * 2, eps=0)


# Errors


def test_missing_feed_is_named():
    x, y, _ = three()
    with pytest.raises(ValueError, match="placeholder 'y' has no value"):
        graph.run(x + y, {x: 1})


def test_shape_errors_name_node_and_shapes():
    x = graph.Placeholder("x")
    w = graph.Variable(np.zeros((4, 5)), name="w")
    score = x @ w
    with pytest.raises(ValueError, match=r"'@\(x, w\)' \(@\) of x \(2, 3\) and w \(4, 5\)"):
        graph.run(score, {x: np.zeros((2, 3))})
    score.name = "score"
    with pytest.raises(ValueError, match=r"'score'.*x \(2, 3\) and w \(4, 5\)"):
        graph.run(score, {x: np.zeros((2, 3))})
    for bad in (graph.reshape(x, (4, 2)), graph.sum(x, 5), graph.transpose(x, (0, 2, 1)), x + w):
        with pytest.raises(ValueError, match=r"x \(2, 3\)"):
            graph.run(bad, {x: np.zeros((2, 3))})


def test_placeholder_shape():
    x = graph.Placeholder("x", shape=(None, 3))
    assert graph.run(graph.sum(x), {x: np.ones((5, 3))}) == 15
    for shape in [(3,), (5, 4), (1, 5, 3)]:
        with pytest.raises(ValueError, match=r"placeholder 'x' has shape \(None, 3\), fed \("):
            graph.run(x, {x: np.ones(shape)})


def test_cycles_are_named():
    x = graph.Placeholder("x")
    a = graph.sin(x)
    b = graph.exp(a)
    c = b + x
    a.name, b.name, c.name = "a", "b", "c"
    a.inputs = (c,)
    for use in (
        lambda: graph.run(c, {x: 1}),
        lambda: graph.gradients(b, x),
        lambda: graph.to_dot(a),
    ):
        with pytest.raises(ValueError, match=r"cycle: \w -> \w -> \w -> \w") as error:
            use()
        assert {"a", "b", "c"} <= set(str(error.value))


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda x, w: graph.run(x, {"x": 1}), TypeError, "placeholders and variables as keys"),
        (lambda x, w: graph.run(x, {x: "one"}), TypeError, "feed of 'x' must hold real numbers"),
        (lambda x, w: graph.run(x, {x: 1j}), TypeError, "complex"),
        (lambda x, w: graph.run(x, {x: [[1], [1, 2]]}), ValueError, "feed of 'x'"),
        (lambda x, w: graph.run(x, [1]), TypeError, "feed must map"),
        (lambda x, w: graph.run(w, {w: [1, 2]}), ValueError, r"'w' has shape \(\), fed \(2,\)"),
        (lambda x, w: graph.run(3), TypeError, "node must be a node"),
        (lambda x, w: graph.run([x, 3], {x: 1}), TypeError, "node must be a node"),
        (lambda x, w: graph.gradients(3, x), TypeError, "node must be a node"),
        (lambda x, w: graph.gradients(x, "x"), TypeError, "wrt must be a node"),
        (lambda x, w: graph.gradients(x, graph.Constant(2)), ValueError, "constant 2"),
        (lambda x, w: x + "one", TypeError, "real numbers"),
        (lambda x, w: x + None, TypeError, "real numbers"),
        (lambda x, w: graph.Variable(None), TypeError, "variable must hold real numbers"),
        (lambda x, w: graph.Variable(1.0, name=3), TypeError, "name must be a string"),
        (lambda x, w: graph.Placeholder(3), TypeError, "name of a placeholder"),
        (lambda x, w: graph.Placeholder("p", shape=3), TypeError, "shape of placeholder 'p'"),
        (lambda x, w: setattr(w, "value", [1, 2]), ValueError, r"shape \(\), got \(2,\)"),
        (lambda x, w: graph.sum(x, "all"), TypeError, "axis must be"),
        (lambda x, w: graph.mean(x, 1.0), TypeError, "axis must be"),
        (lambda x, w: graph.reshape(x, "all"), TypeError, "shape must be"),
        (lambda x, w: graph.transpose(x, (0, 0)), ValueError, "axes must be a permutation"),
        (lambda x, w: graph.net(object(), x), TypeError, "lacks forward"),
        (lambda x, w: graph.SGD(lr=0), ValueError, "lr must be"),
        (lambda x, w: graph.SGD(momentum=1), ValueError, "momentum must be"),
    ],
)
def test_bad_arguments(use, error, message):
    with pytest.raises(error, match=message):
        use(graph.Placeholder("x"), graph.Variable(1.0, name="w"))


def test_a_node_is_not_a_truth_value_to_compare():
    x = graph.Placeholder("x")
    with pytest.raises(TypeError):
        assert x > 0
    assert repr(x) == "<Placeholder x>"
    assert repr(x * 2) == "<Operation *(x, 2)>"


# Optimizer steps


def test_minimize_fits_a_line():
    rng = np.random.default_rng(7)
    x, t = graph.Placeholder("x"), graph.Placeholder("t")
    w, b = graph.Variable(np.zeros((2, 1)), name="w"), graph.Variable(0.0, name="b")
    loss = graph.mean((x @ w + b - t) ** 2)
    inputs = rng.normal(size=(50, 2))
    feed = {x: inputs, t: inputs @ [[2.0], [-1.0]] + 0.5}
    losses = graph.minimize(loss, [feed] * 200, graph.SGD(lr=0.05, momentum=0.8))
    assert losses.shape == (200,)
    assert losses[0] == pytest.approx(np.mean(feed[t] ** 2))
    np.testing.assert_allclose(w.value, [[2], [-1]], atol=1e-4)
    assert b.value == pytest.approx(0.5, abs=1e-4)


def test_momentum_steps_by_hand():
    w = graph.Variable(1.0)
    graph.minimize(w**2 / 2, [{}] * 3, graph.SGD(lr=0.1, momentum=0.5))
    expected, v = 1.0, 0.0
    for _ in range(3):
        v = 0.5 * v - 0.1 * expected
        expected += v
    assert w.value == pytest.approx(expected, rel=1e-15)


def test_minimize_takes_any_optimizer_and_a_choice_of_variables():
    class Sign:
        def step(self, net):
            for name, w in net.parameters().items():
                w -= np.sign(net.gradients()[name])

    a, b = graph.Variable(3.0, name="a"), graph.Variable(3.0, name="b")
    losses = graph.minimize(a * a + b, [{}, {}], Sign(), variables=[a])
    assert list(losses) == [12, 7]
    assert (a.value, b.value) == (1, 3)


def test_minimize_errors():
    x = graph.Placeholder("x")
    w = graph.Variable([1.0, 2.0], name="w")
    with pytest.raises(ValueError, match=r"must be a scalar, got \(2,\)"):
        graph.minimize(w * w, [{}])
    with pytest.raises(ValueError, match="no variables"):
        graph.minimize(x * x, [{x: 1}])
    with pytest.raises(ValueError, match="two variables have the name 'w'"):
        graph.minimize(graph.sum(w) * graph.Variable(1.0, name="w"), [{}])
    with pytest.raises(TypeError, match="loss must be a node"):
        graph.minimize(3, [{}])
    with pytest.raises(TypeError, match="variables must hold variables"):
        graph.minimize(graph.sum(w) * x, [{x: 1}], variables=[x])
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="step 1"):
        graph.minimize(graph.sum(graph.log(w - 1)), [{}])
    np.testing.assert_array_equal(w.value, [1, 2])


# Nets as nodes, graphs as layers


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
    with pytest.raises(ValueError, match="one input, 'x'; also got 'y'"):
        graph.GraphLayer(x * y, x)
    with pytest.raises(ValueError, match="does not depend on x, 'y'"):
        graph.GraphLayer(x * 2, y)
    with pytest.raises(TypeError, match="x must be a placeholder"):
        graph.GraphLayer(x * 2, graph.Variable(1.0))
    with pytest.raises(TypeError, match="output must be a node"):
        graph.GraphLayer(2, x)
    with pytest.raises(ValueError, match="one row for each row of x"):
        graph.GraphLayer(graph.sum(x), x).forward(np.ones((2, 3)))
    layer = make_layer()
    with pytest.raises(RuntimeError, match="forward before"):
        layer.backward(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"x \(4, 5\)"):
        layer.forward(np.ones((4, 5)))
    layer.forward(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"output's shape \(4, 2\), got \(4, 3\)"):
        layer.backward(np.ones((4, 3)))


# Drawings


def edge(value, gradient):
    return f'<font color="darkgreen">{value}</font><br/><font color="red">{gradient}</font>'


def test_to_dot_shows_value_and_gradient_on_every_edge():
    x, y, z = three()
    dot = graph.to_dot((x + y) * z, {x: -2, y: 5, z: -4})
    lines = [line.strip() for line in dot.splitlines()]
    edges = {line.split(" [label=<")[1][:-3] for line in lines if "->" in line}
    assert edges == {edge(-2, -4), edge(5, -4), edge(3, -4), edge(-4, 3), edge(-12, 1)}
    for label in ("x", "y", "z", "+", "*"):
        assert f"label=<{label}>" in dot


def test_to_dot_sums_where_paths_join():
    x = graph.Placeholder("x")
    dot = graph.to_dot(x**2 + 3 * x, {x: 2.0})
    assert edge(2, 4) in dot
    assert edge(2, 3) in dot
    assert dot.count("sum") == 1
    assert '<font color="red">sum 7</font>' in dot
    assert graph.to_dot(x * x, {x: 2.0}).count(edge(2, 2)) == 2


def test_to_dot_of_arrays_names_and_structure():
    x = graph.Placeholder("<x> & y")
    y = graph.sum(x * [1.0, 2.0])
    y.name = "total"
    dot = graph.to_dot(y, {x: [3.0, 4.0]})
    assert edge("[3., 4.]", "[1., 2.]") in dot
    assert "&lt;x&gt; &amp; y" in dot
    assert "total<br/>sum" in dot
    assert "array (10, 10)" in graph.to_dot(x, {x: np.zeros((10, 10))})
    assert "font" not in graph.to_dot(y)
    with pytest.raises(ValueError, match="has no value"):
        graph.to_dot(y, {})


def test_draw_without_graphviz(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="needs Graphviz's program dot"):
        graph.draw(graph.Variable(1.0), tmp_path / "g.svg")
    with pytest.raises(ValueError, match=r"must end in one of \.svg, \.png, \.pdf"):
        graph.draw(graph.Variable(1.0), tmp_path / "g.txt")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_draw(tmp_path):
    x = graph.Placeholder("a & b")
    u = graph.sin(x) * x
    path = tmp_path / "g.svg"
    graph.draw(u, path, {x: [1.0, 2.0]})
    svg = path.read_text(encoding="utf-8")
    assert "a &amp; b" in svg
    assert "[1., 2.]" in svg
    with pytest.raises(RuntimeError, match="dot failed"):
        graph.draw(u, tmp_path / "missing" / "g.svg")
