"""Passes forward and back without an optimizer: gradients, and the layers that draw at random."""

import numpy as np
import pytest
from core_nets import (
    ISAS,
    LOSSES,
    PAIRS,
    TRAINABLE,
    Chain,
    build,
    flat,
    flat_grad,
    problem,
    random_bits,
    set_flat,
    using,
)
from oracle import numerical_gradient, relative_error

from cmlp import _core


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "specs",
    [
        [("dense", 19, "gelu"), ("dense", 33, "softmax"), ("dense", 4)],
        [("dense", 21), "tanh", ("prelu", 0.2), ("plain", 5, "elu"), "softsign"],
        ["relu", ("rrelu", (0.1, 0.4)), ("dense", 17, "silu"), ("dropout", 0.4), "softmax"],
    ],
)
def test_a_plan_is_its_layers_one_by_one(isa, specs, dtype, rng):
    """Plans of one layer each, passes done in a row, give the bits of the plan of all of them."""
    layers = build(6, *specs, dtype=dtype)
    whole = _core.Plan(layers, 40, n_threads=1)
    parts = [_core.Plan([layer], 40, n_threads=1) for layer in layers]
    x = rng.normal(size=(37, 6)).astype(dtype)
    dy = rng.normal(size=(37, layers[-1].n_out)).astype(dtype)
    y, h = whole.forward(x), x
    for part in parts:
        h = part.forward(h)
    assert y.tobytes() == h.tobytes()
    assert y.tobytes() == whole.predict(x).tobytes()
    dx, d = whole.backward(dy), dy
    gradients = flat_grad(layers)
    for part in reversed(parts):
        d = part.backward(d)
    assert dx.tobytes() == d.tobytes()
    assert gradients.tobytes() == flat_grad(layers).tobytes()


def test_norms_of_deltas(rng):
    layers, x, _ = problem((7, ("dense", 20, "tanh"), ("dense", 9), "sigmoid", ("dense", 3)))
    plan, dy = _core.Plan(layers, 90, n_threads=1), rng.normal(size=(90, 3))
    h = np.tanh(x @ layers[0].get("weight").T + layers[0].get("bias"))
    plan.forward(x)
    plan.backward(dy)
    s = 1 / (1 + np.exp(-(h @ layers[1].get("weight").T + layers[1].get("bias"))))
    d2 = (dy @ layers[3].get("weight")) * s * (1 - s)
    d1 = (d2 @ layers[1].get("weight")) * (1 - h * h)
    expected = [np.linalg.norm(d) for d in (d1, d2, d2, dy)]
    np.testing.assert_allclose(plan.deltas(), expected, rtol=1e-10)


# ---- numerical gradients ----

KINDS = {
    "dense": [("dense", 4, "tanh")],
    "without bias": [("plain", 4, "sigmoid")],
    "prelu": [("dense", 4), ("prelu", 0.2)],
    "rrelu": [("dense", 4), ("rrelu", (0.1, 0.4))],
    "dropout": [("dense", 6, "tanh"), ("dropout", 0.4)],
    **{f"hidden {a}": [("dense", 4), a] for a in TRAINABLE},
}


def check_gradient(net, loss, param=None, labels=False):
    """The step's gradient against central differences of the step's loss."""
    layers, x, t = problem(net, loss, n=5, labels=labels)
    start = flat(layers)

    def value(p):
        # Each step of a plan has masks of its own: always the first.
        plan = _core.Plan(layers, 5, (loss, param), n_threads=1, seed=1)
        set_flat(layers, p)
        return plan.step(x, t, None, 0.0)

    value(start)
    found = flat_grad(layers)
    assert relative_error(found, numerical_gradient(value, start)) < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_layer_under_every_loss(kind, loss):
    check_gradient((3, *KINDS[kind], ("dense", 3)), loss)


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_gradients_of_every_output_under_its_losses(activation, loss):
    check_gradient((3, ("dense", 4, "tanh"), ("dense", 3, activation)), loss)
    check_gradient((3, ("dense", 4, "tanh"), ("dense", 3), activation), loss)


def test_gradients_with_parameters_of_losses():
    net = (3, ("dense", 4, "tanh"), ("dense", 3))
    check_gradient(net, "softmax_cross_entropy", 0.2)
    check_gradient(net, "softmax_cross_entropy", 0.2, labels=True)
    check_gradient(net, "huber", 0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_input(kind, rng):
    layers = build(3, *KINDS[kind], ("dense", 2))
    x, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))

    def forward(x):
        # Each training pass of a plan has masks of its own: always the first.
        plan = _core.Plan(layers, 4, n_threads=1, seed=1)
        return plan, plan.forward(x, training=True)

    plan, _ = forward(x)
    dx = plan.backward(dy)
    assert plan.backward(dy, need_dx=False) is None
    assert relative_error(dx, numerical_gradient(lambda x: (forward(x)[1] * dy).sum(), x)) < 1e-6


def test_prelu_learns_its_slopes(isa):
    layers = build(70, ("prelu", 0.25))
    plan = _core.Plan(layers, 40, n_threads=1)
    rng = np.random.default_rng(2)
    x, dy = (rng.integers(-4, 5, (37, 70)).astype(float) for _ in range(2))
    layers[0].set("slope", np.full(70, 0.25))
    assert np.array_equal(plan.forward(x), np.where(x < 0, 0.25 * x, x))
    assert np.array_equal(plan.backward(dy), np.where(x < 0, 0.25 * dy, dy))
    expected = (dy * x * (x < 0)).sum(axis=0)
    assert np.array_equal(layers[0].get_grad("slope"), expected)
    state = _core.State(layers, "sgd", weight_decay=10.0)
    state.step(1.0)
    assert np.array_equal(layers[0].get("slope"), 0.25 - expected), "slopes are not decayed"


@pytest.mark.parametrize("width", [20, 400])
def test_prelu_trains(isa, width):
    net = (9, ("dense", width), ("prelu", 0.1), ("dense", 3))
    layers, x, y = problem(net)
    chain = Chain(layers, "softmax_cross_entropy")
    plan = _core.Plan(layers, 90, ("softmax_cross_entropy", None), _core.State(layers, "sgd"), 1)
    plan.fit(x, y, None, 1, False, 0.5)
    gradients = np.concatenate([g.ravel() for g in chain.gradients(x, y)[1]])
    np.testing.assert_allclose(flat(layers), chain.flat() - 0.5 * gradients, atol=1e-13)


# ---- dropout ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_dropout(isa, rate, dtype):
    plan = _core.Plan(build(101, ("dropout", rate), dtype=dtype), 300, n_threads=1, seed=1)
    x = np.ones((300, 101), dtype)
    y = plan.forward(x, training=True)
    keep = np.asarray(1 / (1 - rate), dtype)
    assert set(np.unique(y)) <= {0.0, float(keep)}
    for share, n in ((y > 0).mean(), y.size), ((y > 0).mean(axis=0)[50], 300):
        assert abs(share - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / n)
    assert np.array_equal(plan.backward(3 * x), 3 * y), "the same mask on the way back"
    if rate:
        assert not np.array_equal(plan.forward(x, training=True), y), "each pass has its own"
    assert np.array_equal(plan.forward(x), x)
    assert np.array_equal(plan.predict(x), x)


@pytest.mark.parametrize("spec", [("dropout", 0.5), ("rrelu", (0.1, 0.9))])
def test_random_layers_are_functions_of_the_seed(spec):
    x = -np.ones((40, 30))

    def passes(seed, specs=(spec,)):
        plan = _core.Plan(build(30, *specs), 64, n_threads=1, seed=seed)
        return np.array([plan.forward(x, training=True) for _ in range(3)])

    assert np.array_equal(passes(1), passes(1))
    assert not np.array_equal(passes(1), passes(2))
    assert not np.array_equal(passes(1), passes(2**40 + 1)), "the seed's upper half counts"
    neighbours = passes(1, (spec, ("plain", 30), spec))
    assert neighbours.shape == (3, 40, 30)
    rows, columns = passes(1)[0], passes(1)[0].T
    assert len({r.tobytes() for r in rows}) == 40
    assert len({c.tobytes() for c in columns}) == 30


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_are_the_documented_function(isa, dtype):
    seed, x = 2**40 + 3, -np.ones((50, 77), dtype)
    plan = _core.Plan(build(77, ("dropout", 0.4), dtype=dtype), 64, n_threads=1, seed=seed)
    layers = build(77, "identity", ("rrelu", (0.1, 0.4)), dtype=dtype)
    slopes = _core.Plan(layers, 64, n_threads=1, seed=seed)
    for number in range(3):
        y, kept = plan.forward(x, training=True), random_bits(seed, 0, number, 50, 77) >= 0.4
        assert np.array_equal(y != 0, kept)
        y, drawn = slopes.forward(x, training=True), random_bits(seed, 1, number, 50, 77)
        np.testing.assert_allclose(y, -(0.1 + 0.3 * drawn), rtol=1e-6)


def test_rrelu(isa):
    plan = _core.Plan(build(50, ("rrelu", (0.2, 0.6))), 200, n_threads=1, seed=1)
    x = np.where(np.arange(200 * 50).reshape(200, 50) % 2, -1.0, 2.0)
    y = plan.forward(x, training=True)
    assert np.array_equal(y[x > 0], x[x > 0])
    slopes = -y[x < 0]
    assert slopes.min() >= 0.2
    assert slopes.max() < 0.6
    assert abs(slopes.mean() - 0.4) < 5 * 0.4 / np.sqrt(12 * slopes.size)
    np.testing.assert_allclose(plan.backward(np.ones_like(x))[x < 0], slopes, rtol=1e-12)
    np.testing.assert_allclose(plan.predict(x), np.where(x < 0, 0.4 * x, x), rtol=1e-12)
