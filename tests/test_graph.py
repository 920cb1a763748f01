"""Computation graphs against the notes' numbers, central differences and closed forms."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cmlp.graph as graph
from cmlp.errors import DivergenceError


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
    with pytest.raises(ValueError, match="eps is 0; expected a positive number"):
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
        with pytest.raises(ValueError, match=r"feed of 'x' has shape \(.*; expected \(None, 3\)"):
            graph.run(x, {x: np.ones(shape)})


def test_cycles_are_named():
    x = graph.Placeholder("x")
    a = graph.sin(x)
    b = graph.exp(a)
    c = b + x
    a.name, b.name, c.name = "a", "b", "c"
    vars(a)["inputs"] = (c,)  # there is no other way to make one
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
        (
            lambda x, w: graph.run(x, {"x": 1}),
            TypeError,
            "feed has the key 'x'; expected placeholders",
        ),
        (
            lambda x, w: graph.run(x, {x: "one"}),
            TypeError,
            "feed of 'x' has dtype <U3; expected real numbers",
        ),
        (lambda x, w: graph.run(x, {x: 1j}), TypeError, "complex"),
        (lambda x, w: graph.run(x, {x: [[1], [1, 2]]}), ValueError, "feed of 'x'"),
        (lambda x, w: graph.run(x, [1]), TypeError, "feed is list; expected a map"),
        (
            lambda x, w: graph.run(w, {w: [1, 2]}),
            ValueError,
            r"feed of 'w' has shape \(2,\); expected \(\)",
        ),
        (lambda x, w: graph.run(3), TypeError, "node is .*3.*; expected a node"),
        (lambda x, w: graph.run([x, 3], {x: 1}), TypeError, "node is .*3.*; expected a node"),
        (lambda x, w: graph.gradients(3, x), TypeError, "node is .*3.*; expected a node"),
        (lambda x, w: graph.gradients(x, "x"), TypeError, "wrt is 'x'; expected a node"),
        (lambda x, w: graph.gradients(x, graph.Constant(2)), ValueError, "constant 2"),
        (lambda x, w: x + "one", TypeError, "real numbers"),
        (lambda x, w: x + None, TypeError, "real numbers"),
        (
            lambda x, w: graph.Variable(None),
            TypeError,
            "variable has dtype object; expected real numbers",
        ),
        (lambda x, w: graph.Variable(1.0, name=3), TypeError, "name is 3; expected a string"),
        (lambda x, w: graph.Placeholder(3), TypeError, "name is 3; expected a string"),
        (
            lambda x, w: graph.Placeholder("p", shape=3),
            TypeError,
            "shape is 3; expected a tuple of int and None",
        ),
        (
            lambda x, w: setattr(w, "value", [1, 2]),
            ValueError,
            r"value of 'w' has shape \(2,\); expected \(\)",
        ),
        (lambda x, w: graph.sum(x, "all"), TypeError, "axis is .*; expected an int"),
        (lambda x, w: graph.mean(x, 1.0), TypeError, "axis is .*; expected an int"),
        (lambda x, w: graph.reshape(x, "all"), TypeError, "shape is 'all'; expected an int"),
        (
            lambda x, w: graph.transpose(x, (0, 0)),
            ValueError,
            r"axes is \(0, 0\); expected a permutation",
        ),
        (
            lambda x, w: graph.net(object(), x),
            TypeError,
            "net is <object .*; expected an object with forward and backward",
        ),
        (lambda x, w: graph.SGD(lr=0), ValueError, "lr is 0"),
        (lambda x, w: graph.SGD(momentum=1), ValueError, "momentum is 1"),
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
    with pytest.raises(ValueError, match=r"loss has shape \(2,\); expected a scalar"):
        graph.minimize(w * w, [{}])
    with pytest.raises(ValueError, match="no variables"):
        graph.minimize(x * x, [{x: 1}])
    with pytest.raises(ValueError, match="variables has the name 'w' twice"):
        graph.minimize(graph.sum(w) * graph.Variable(1.0, name="w"), [{}])
    with pytest.raises(TypeError, match="loss is .*; expected a node"):
        graph.minimize(3, [{}])
    with pytest.raises(TypeError, match="variables holds .*; expected variables"):
        graph.minimize(graph.sum(w) * x, [{x: 1}], variables=[x])
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="step 1"):
        graph.minimize(graph.sum(graph.log(w - 1)), [{}])
    np.testing.assert_array_equal(w.value, [1, 2])


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
    with pytest.raises(ValueError, match=r"expected an ending of \.svg, \.png, \.pdf"):
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
