"""Numbers at the edges: NaN, infinity, denormals, far logits, and trainings that diverge."""

import numpy as np
import pytest
from core_nets import ISAS, build, flat, problem, snapshot, using
from formulas import ACTIVATIONS, loss_value

from cmlp import _core

DTYPES = ["float32", "float64"]
NAN, INF = np.nan, np.inf
TRAINABLE = [name for name, formulas in ACTIVATIONS.items() if formulas.slope]


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield request.param


# ---- NaN and infinity ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_limits_of_activations(isa, activation, dtype):
    for n in (2, 3, 16, 37):
        x = np.full(n, NAN, dtype)
        assert np.isnan(_core.activation_forward(x, activation)).all()
        x[0], x[-1] = -INF, INF
        y = _core.activation_forward(x, activation)
        np.testing.assert_array_equal(y[[0, -1]], np.array(ACTIVATIONS[activation].limits, dtype))
        assert np.isnan(y[1:-1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", TRAINABLE)
def test_limits_of_derivatives(isa, activation, dtype):
    needs_input = _core.activations()[activation]["needs_input"]
    x = np.array([-INF, 0.5, INF], dtype)
    s = x if needs_input else _core.activation_forward(x, activation)
    one = np.ones(3, dtype)
    slopes = _core.activation_backward(one, s, activation)
    np.testing.assert_allclose(slopes[[0, 2]], ACTIVATIONS[activation].slopes, atol=1e-7)
    nan = _core.activation_backward(one * NAN, s, activation)
    assert np.isnan(nan).all(), "a gradient that is NaN stays NaN"
    if not ACTIVATIONS[activation].piecewise:
        assert np.isnan(_core.activation_backward(one, one * NAN, activation)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_products_keep_to_ieee(isa, bad, dtype):
    """What is not finite reaches its row or column, and nothing else."""
    rng = np.random.default_rng(1)
    x, w, dy = (rng.normal(size=s).astype(dtype) for s in ((37, 19), (23, 19), (37, 23)))
    with np.errstate(invalid="ignore"):
        for array, row in ((x, 5), (w, 7)):
            old, array[row, 3] = array[row, 3], bad
            y, expected = _core.dense_forward(x, w), x.astype(float) @ w.T.astype(float)
            assert np.array_equal(np.isnan(y), np.isnan(expected))
            assert np.array_equal(np.isinf(y), np.isinf(expected))
            assert np.isfinite(y).sum() == (36 * 23 if array is x else 37 * 22)
            dx = _core.dense_backward_dx(dy, w)
            assert np.isfinite(dx).sum() == (37 * 19 if array is x else 37 * 18)
            dw, db = _core.dense_backward_dw(dy, x)
            assert np.isfinite(dw).sum() == (23 * 18 if array is x else 23 * 19)
            assert np.isfinite(db).all()
            array[row, 3] = old
        dy[4, 2] = bad
        dw, db = _core.dense_backward_dw(dy, x)
        assert np.isfinite(dw).sum() == 22 * 19
        assert np.isfinite(db).sum() == 22


def test_zero_times_infinity_is_nan(isa):
    for n in (1, 7, 40):
        x, w = np.zeros((3, n), "f4"), np.full((2, n), INF, "f4")
        assert np.isnan(_core.dense_forward(x, w)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_nan_and_infinity(isa, dtype):
    for n in (2, 5, 16, 33):
        x = np.zeros((5, n), dtype)
        x[0, -1] = NAN
        x[1, 0] = NAN
        x[2, 1] = -INF
        x[3, 1] = INF
        y = _core.softmax(x)
        assert np.isnan(y[:2]).all(), "no maximum may swallow a NaN"
        assert np.isnan(y[3]).any()
        assert y[2, 1] == 0
        np.testing.assert_allclose(np.delete(y[2], 1), 1 / (n - 1), rtol=1e-6)
        assert np.isnan(_core.log_softmax(x)[:2]).all()
        assert _core.log_softmax(x)[2, 1] == -INF
        np.testing.assert_allclose(y[4], 1 / n, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", _core.losses())
def test_losses_of_nan_are_nan(isa, loss, dtype):
    for n in (1, 2, 9, 33):
        for row, column in ((0, 0), (2, n - 1)):
            y, t = np.ones((3, n), dtype), np.full((3, n), 1 / n, dtype)
            y[row, column] = NAN
            d, value = _core.loss_delta(loss, None, y, t)
            assert np.isnan(value)
            assert np.isnan(d[row, column])
            assert np.isfinite(np.delete(d, row, axis=0)).all()
    assert np.isnan(_core.loss_value(loss, None, np.ones((2, 2)), np.full((2, 2), NAN)))


def test_nan_reaches_the_outputs_of_its_row_alone(isa, rng):
    for specs in (
        [("dense", 19, "relu"), ("dense", 5)],
        [("dense", 7, "tanh"), ("prelu", 0.1), ("dense", 3, "softmax")],
        ["gelu", ("rrelu", (0.1, 0.2)), ("dropout", 0.5), "elu"],
    ):
        plan = _core.Plan(build(6, *specs), 32, n_threads=1)
        x = rng.normal(size=(20, 6))
        clean = plan.predict(x)
        x[3, 2] = NAN
        y = plan.predict(x)
        assert np.isnan(y[3]).any()
        assert np.delete(y, 3, axis=0).tobytes() == np.delete(clean, 3, axis=0).tobytes()


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_nan_in_parameters_reaches_the_outputs(isa, name):
    layers = build(4, ("dense", 5, "relu"), ("dense", 3))
    values = layers[0].get(name).copy()
    values[-1] = NAN
    layers[0].set(name, values)
    assert np.isnan(_core.Plan(layers, 8, n_threads=1).predict(np.ones((7, 4)))).all()


# ---- far logits ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("n", [2, 10, 17])
def test_losses_of_far_logits(isa, n, size, dtype):
    rng = np.random.default_rng(n)
    y = (size * rng.choice([-1.0, 1.0], (31, n))).astype(dtype)
    y[0], y[1] = size, -size
    labels = rng.integers(0, n, 31)
    rows, smooth = np.eye(n)[labels].astype(dtype), rng.dirichlet(np.ones(n), 31).astype(dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for loss, t in (
        ("softmax_cross_entropy", labels),
        ("softmax_cross_entropy", rows),
        ("softmax_cross_entropy", smooth),
        ("binary_cross_entropy", rows),
        ("squared_error", rows),
        ("absolute_error", rows),
        ("huber", rows),
    ):
        d, value = _core.loss_delta(loss, None, y, t)
        np.testing.assert_allclose(value, loss_value(loss, y.astype(float), t), rtol=rtol)
        assert np.isfinite(d).all()


def test_certain_and_right_or_wrong(isa):
    """The pair's delta is y - t also where the sigmoid or softmax has run out of digits."""
    y = np.array([[1e4, -1e4]])
    for label, value in ((0, 0.0), (1, 2e4)):
        t = np.eye(2)[[label]]
        d, found = _core.loss_delta("softmax_cross_entropy", None, y, np.array([label]))
        assert found == value
        assert np.array_equal(d, [[1.0, 0.0]] - t)
        d, found = _core.loss_delta("binary_cross_entropy", None, y, t)
        assert found == value
        assert np.array_equal(d, [[1.0, 0.0]] - t)


def test_training_from_far_logits(isa):
    """1e4 on the wrong side is a slope of 1, not of 0 or NaN."""
    layers, x, y = problem((4, ("dense", 3)), n=30)
    layers[0].set("bias", [1e4, -1e4, 0.0])
    state = _core.State(layers, "sgd")
    plan = _core.Plan(layers, 30, ("softmax_cross_entropy", None), state, 1)
    losses, outcome = plan.fit(x, y, None, 3, False, 1.0)
    assert outcome == "done"
    assert losses[0] > losses[1] > losses[2] > 5e3


# ---- denormals ----


def denormals_are_kept():
    """Whether this thread computes with them."""
    tiny = np.array([np.finfo("f4").tiny], "f4")
    return bool((tiny * np.float32(0.5) != 0).all())


def test_denormals_are_flushed_and_the_mode_comes_back(isa):
    assert denormals_are_kept()
    x, w = np.full((3, 5), 1e-30, "f4"), np.full((2, 5), 1e-10, "f4")
    layers = build(5, ("dense", 2), dtype="float32")
    layers[0].set("weight", w)
    layers[0].set("bias", np.zeros(2))
    plan = _core.Plan(layers, 8, n_threads=1)
    passes = [
        lambda: _core.dense_forward(x, w),
        lambda: plan.predict(x),
        lambda: plan.forward(x),
        lambda: _core.activation_backward(x, np.full_like(x, 1e-10), "softplus"),
        lambda: _core.activation_forward(np.full(99, 1e-40, "f4"), "tanh"),
        lambda: _core.dense_backward_dw(np.full((3, 2), 1e-10, "f4"), x)[0],
        lambda: _core.loss_delta("squared_error", None, x * np.float32(1e-10), x * 0)[0],
    ]
    for run in passes:
        assert not run().any()
        assert denormals_are_kept()
    for call in (
        lambda: plan.predict(x[:, :4].copy()),
        lambda: _core.dense_forward(x, w[:, :4]),
    ):
        with pytest.raises(ValueError, match="has shape"):
            call()
        assert denormals_are_kept()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_training_restores_the_mode(n_threads):
    layers, x, y = problem((150, ("dense", 200, "tanh"), ("dense", 3)), dtype="float32")
    state = _core.State(layers, "adam")
    loss = ("softmax_cross_entropy", None)
    plan = _core.Plan(layers, 64, loss, state, n_threads)
    plan.fit(x, y, None, 2, True, 0.01)
    assert denormals_are_kept()
    plan.step(x[:5], y[:5], None, 0.01)
    state.step(0.01)
    assert denormals_are_kept()


def test_denormal_state_is_flushed():
    """A velocity that dies away becomes zero instead of slow."""
    layers = build(1, ("plain", 1), dtype="float32")
    state = _core.State(layers, "sgd", momentum=0.5)
    state.set_slots({"velocity": np.array([2e-38], "f4")})
    layers[0].set_grad("weight", [[0.0]])
    state.step(0.1)
    assert state.get_slots()["velocity"] == 0.0


# ---- divergence ----


def diverging(net, optimizer="sgd", n=48, **options):
    """A squared error whose slope grows with the error: at this rate it runs away."""
    layers, x, t = problem(net, "squared_error", n=n)
    state = _core.State(layers, optimizer, **options)
    return layers, state, _core.Plan(layers, 16, ("squared_error", None), state, 1, seed=2), x, t


NETS = [(4, ("dense", 8), ("dense", 3)), (90, ("dense", 150), ("dense", 3))]


@pytest.mark.parametrize("net", NETS)
def test_divergence_puts_the_last_good_epoch_back(isa, net):
    layers, _, plan, x, t = diverging(net)
    losses, outcome = plan.fit(x, t, None, 1000, True, 1.0)
    assert outcome == "diverged"
    assert np.isfinite(losses).all()
    assert len(losses) < 1000
    restored = flat(layers)
    assert np.isfinite(restored).all()
    # The same training again, epoch by epoch, passes through exactly these parameters.
    layers, _, plan, x, t = diverging(net)
    seen = [flat(layers)]
    for _ in losses:
        _, outcome = plan.fit(x, t, None, 1, True, 1.0)
        if outcome == "diverged":
            break
        seen.append(flat(layers))
    # Those of the last one, or of the one before if its next loss was not finite.
    assert any(np.array_equal(restored, p) for p in seen[-2:])
    assert not np.array_equal(restored, seen[0])


def test_divergence_at_once_puts_the_start_back(isa):
    layers, _, plan, x, t = diverging(NETS[0])
    x[20] = 1e200
    before = flat(layers)
    losses, outcome = plan.fit(x, t, None, 5, False, 0.1)
    assert (outcome, len(losses)) == ("diverged", 0)
    assert np.array_equal(flat(layers), before), "the first step had changed them"


def test_an_overflow_in_the_very_last_update_is_divergence():
    layers = build(2, ("dense", 1))
    state = _core.State(layers, "sgd")
    plan = _core.Plan(layers, 4, ("squared_error", None), state, 1)
    before = flat(layers)
    _, outcome = plan.fit(np.ones((2, 2)), np.full((2, 1), 9.0), None, 1, False, 1e308)
    assert outcome == "diverged"
    assert np.array_equal(flat(layers), before)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_with_a_loss_that_is_not_finite_changes_nothing(isa, optimizer, bad, net):
    layers, state, plan, x, t = diverging(net, optimizer)
    plan.fit(x, t, None, 1, True, 0.001)
    before = snapshot(layers, state)
    for which in (x, t):
        old, which[5, 1] = which[5, 1], bad
        with np.errstate(all="ignore"):
            loss = plan.step(x[:16], t[:16], None, 0.001)
        assert not np.isfinite(loss)
        assert snapshot(layers, state) == before
        which[5, 1] = old
    assert np.isfinite(plan.step(x[:16], t[:16], None, 0.001))
    assert snapshot(layers, state) != before


def test_training_goes_on_after_divergence(isa):
    layers, _, plan, x, t = diverging(NETS[0], momentum=0.5)
    first, _ = plan.fit(x, t, None, 3, False, 0.01)
    good, old = flat(layers), x[40, 1]
    x[40, 1] = NAN
    losses, outcome = plan.fit(x, t, None, 3, False, 0.01)
    assert (outcome, len(losses)) == ("diverged", 0)
    assert np.array_equal(flat(layers), good)
    assert (plan.cursor.epoch, plan.cursor.step_in_epoch) == (3, 2)
    x[40, 1] = old
    plan.cursor.step_in_epoch, plan.cursor.loss_sum = 0, 0.0
    losses, outcome = plan.fit(x, t, None, 3, False, 0.01)
    assert (outcome, plan.cursor.epoch) == ("done", 6)
    assert losses[-1] < losses[0] < first[-1]
