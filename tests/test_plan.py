"""Plans: training against NumPy step by step, gradients, parts of a training put together again."""

import numpy as np
import pytest
from core_nets import (
    ISAS,
    LOSSES,
    TRAINABLE,
    Chain,
    build,
    flat,
    problem,
    random_bits,
    set_flat,
    snapshot,
    train_by_hand,
    using,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import relative_error

from cmlp import _core

OPTIMIZERS = {
    "sgd": ("sgd", {}, 0.1),
    "momentum, decay, l1": ("sgd", {"momentum": 0.9, "weight_decay": 1e-3, "l1": 1e-4}, 0.05),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": 1.0, "weight_decay": 1e-3}, 0.05),
    "adam": ("adam", {"weight_decay": 1e-3}, 0.01),
    "adamw": ("adamw", {"weight_decay": 0.01}, 0.01),
    "rmsprop": ("rmsprop", {"momentum": 0.5}, 0.003),
    "adagrad": ("adagrad", {"eps": 1e-6}, 0.03),
    "adadelta": ("adadelta", {"eps": 1e-4}, 0.5),
    "clip_value": ("sgd", {"momentum": 0.9, "clip_value": 0.01}, 0.1),
    "clip_norm": ("sgd", {"momentum": 0.9, "clip_norm": 0.05}, 0.1),
    "decay over the batch": (
        "sgd",
        {"weight_decay": 0.1, "l1": 0.01, "decay_over_batch": 1.0},
        0.1,
    ),
}
# Parameters below and above what goes by groups of rows, and one wider than a unit of the update.
SMALL = (7, ("dense", 20, "tanh"), ("dense", 9, "sigmoid"), ("dense", 3))
LARGE = (150, ("dense", 200, "tanh"), ("dense", 3))
WIDE = (300, ("dense", 400, "tanh"), ("dense", 10))


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield request.param


def compare(net, case, loss="softmax_cross_entropy", batch=16, epochs=9, n=90, w=None, slower=1):
    """Train in the core and by hand, and compare losses and parameters."""
    kind, options, lr = OPTIMIZERS[case]
    lr /= slower
    layers, x, y = problem(net, loss, n)
    chain = Chain(layers, loss)
    state = _core.State(layers, kind, **options)
    plan = _core.Plan(layers, batch, (loss, None), state, 1, seed=3)
    losses, outcome = plan.fit(x, y, w, epochs, True, lr)
    expected = train_by_hand(
        chain, kind, options, x, y, epochs, batch, lr,
        order=lambda epoch: _core.permutation(n, 3, epoch), w=w,
    )  # fmt: skip
    assert outcome == "done"
    assert (plan.cursor.epoch, plan.cursor.step_in_epoch) == (epochs, 0)
    assert state.step_count == epochs * -(-n // batch)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    np.testing.assert_allclose(flat(layers), chain.flat(), rtol=1e-6, atol=1e-8)
    # It did train.
    assert relative_error(chain.flat(), flat(build(*net))) > 1e-3


# ---- training by the formulas ----


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_training_of_a_small_net(isa, case):
    compare(SMALL, case)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_training_of_a_large_net(case):
    compare(LARGE, case)


@pytest.mark.parametrize("case", ["momentum, decay, l1", "adam", "clip_norm"])
def test_training_of_a_wide_net(case):
    compare(WIDE, case, batch=32, epochs=17)


@pytest.mark.parametrize("net", [SMALL, LARGE])
@pytest.mark.parametrize("loss", LOSSES)
def test_training_under_every_loss(loss, net):
    compare(net, "momentum, decay, l1", loss, slower=10)


@pytest.mark.parametrize("net", [SMALL, LARGE])
@pytest.mark.parametrize("batch", [1, 2, 15, 17, 45, 89, 90, 91, 500])
def test_training_at_every_size_of_batch(batch, net):
    """The last minibatch is partial, or the only one."""
    compare(net, "momentum, decay, l1", batch=batch, epochs=-(-20 // -(-90 // batch)))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_training_on_next_to_nothing(n):
    compare(SMALL, "adam", n=n, epochs=50)


def test_training_by_many_groups():
    compare(SMALL, "clip_norm", batch=600, n=1300, epochs=17)


@pytest.mark.parametrize("net", [SMALL, LARGE])
@pytest.mark.parametrize("case", ["momentum, decay, l1", "decay over the batch"])
def test_training_with_weights_of_samples(isa, case, net, rng):
    w = rng.random(90)
    w[::7] = 0.0
    compare(net, case, w=w)


def test_values_for_each_step(rng):
    steps = 9 * 6
    lr, momentum = 0.1 * rng.random(steps), 0.9 * rng.random(steps)
    layers, x, y = problem(SMALL)
    chain, state = Chain(layers, "softmax_cross_entropy"), _core.State(layers, "sgd")
    plan = _core.Plan(layers, 16, ("softmax_cross_entropy", None), state, 1)
    losses, _ = plan.fit(x, y, None, 9, False, lr, momentum)
    expected = train_by_hand(chain, "sgd", {}, x, y, 9, 16, lr, momentum=momentum)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    np.testing.assert_allclose(flat(layers), chain.flat(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("net", [SMALL, LARGE])
@pytest.mark.parametrize("labels", [True, False])
def test_float32_comes_close(isa, net, labels):
    layers, x, y = problem(net, dtype="float32", labels=labels)
    chain = Chain(layers, "softmax_cross_entropy")
    state = _core.State(layers, "sgd", momentum=0.9)
    plan = _core.Plan(layers, 16, ("softmax_cross_entropy", None), state, 1)
    losses, _ = plan.fit(x, y, None, 5, False, 0.05)
    expected = train_by_hand(chain, "sgd", {"momentum": 0.9}, x, y, 5, 16, 0.05)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    np.testing.assert_allclose(flat(layers), chain.flat(), rtol=1e-3, atol=2e-5)


def test_label_smoothing_and_where_huber_turns():
    for loss, param in (("softmax_cross_entropy", 0.1), ("huber", 0.3)):
        layers, x, y = problem(SMALL, loss)
        chain, state = Chain(layers, loss, param), _core.State(layers, "sgd")
        losses, _ = _core.Plan(layers, 16, (loss, param), state, 1).fit(x, y, None, 5, False, 0.1)
        expected = train_by_hand(chain, "sgd", {}, x, y, 5, 16, 0.1)
        np.testing.assert_allclose(losses, expected, rtol=1e-10)
        np.testing.assert_allclose(flat(layers), chain.flat(), rtol=1e-9, atol=1e-12)


def test_labels_and_their_rows_train_alike():
    results = []
    for make in (lambda y: y, lambda y: np.eye(3)[y]):
        layers, x, y = problem(SMALL)
        plan = _core.Plan(
            layers, 16, ("softmax_cross_entropy", None), _core.State(layers, "adam"), 1
        )
        plan.fit(x, make(y), None, 3, True, 0.01)
        results.append(flat(layers))
    np.testing.assert_allclose(*results, rtol=1e-12)


def test_steps_are_what_fit_does(isa):
    for net in (SMALL, LARGE):
        nets = [problem(net) for _ in range(2)]
        (layers, x, y), states = nets[0], [_core.State(n[0], "adam") for n in nets]
        plans = [
            _core.Plan(n[0], 16, ("softmax_cross_entropy", None), s, 1, seed=7)
            for n, s in zip(nets, states, strict=True)
        ]
        losses, _ = plans[0].fit(x, y, None, 2, True, 0.01)
        sums = []
        for epoch in range(2):
            order = _core.permutation(len(x), 7, epoch)
            rows = [order[i : i + 16] for i in range(0, len(x), 16)]
            sums.append(sum(plans[1].step(x[r], y[r], None, 0.01) * len(r) for r in rows))
        np.testing.assert_allclose(losses, np.array(sums) / len(x), rtol=1e-13)
        assert snapshot(nets[1][0], states[1]) == snapshot(layers, states[0])
        assert (plans[1].cursor.epoch, plans[1].cursor.step_in_epoch) == (0, 0)


def test_single_rows(rng):
    for loss in ("softmax_cross_entropy", "squared_error"):
        nets = [problem(SMALL, loss) for _ in range(2)]
        plans = [_core.Plan(n[0], 4, (loss, None), _core.State(n[0], "adam"), 1) for n in nets]
        x, y = nets[0][1:]
        for i in range(5):
            label = int(y[i]) if y.ndim == 1 else y[i]
            one = plans[0].step_one(x[i], label, 0.1)
            assert one == plans[1].step(x[i : i + 1], y[i : i + 1], None, 0.1)
            out = np.empty(3)
            assert plans[0].predict_one(x[i], out) is out
            assert out.tobytes() == plans[1].predict(x[i : i + 1]).tobytes()
        assert snapshot(nets[0][0]) == snapshot(nets[1][0])


def test_mean_squares_of_the_weights():
    """They are taken before each step, biases left out."""
    layers, x, y = problem(LARGE)
    plan = _core.Plan(layers, 45, ("softmax_cross_entropy", None), _core.State(layers, "sgd"), 1)
    assert plan.last_norms is None
    plan.keep_norms = True
    expected = []
    twin, _, _ = problem(LARGE)
    steps = _core.Plan(twin, 45, ("softmax_cross_entropy", None), _core.State(twin, "sgd"), 1)
    for _ in range(2):
        squares = []
        for rows in (slice(0, 45), slice(45, 90)):
            squares.append(sum((layer.get("weight") ** 2).sum() for layer in twin))
            steps.step(x[rows], y[rows], None, 0.1)
        expected.append(np.mean(squares))
    plan.fit(x, y, None, 2, False, 0.1)
    np.testing.assert_allclose(plan.last_norms, expected, rtol=1e-12)


# ---- layers put together in other ways ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", TRAINABLE)
def test_fused_and_separate_activations_are_the_same(isa, activation, dtype):
    nets = [
        (7, ("dense", 19, activation), ("dense", 3)),
        (7, ("dense", 19), activation, ("dense", 3)),
    ]
    results = []
    for net in nets:
        layers, x, y = problem(net, "squared_error", n=50, dtype=dtype)
        state = _core.State(layers, "sgd", momentum=0.9)
        plan = _core.Plan(layers, 16, ("squared_error", None), state, 1)
        losses, _ = plan.fit(x, y, None, 3, True, 0.02)
        results.append([losses.tobytes(), plan.predict(x).tobytes(), *snapshot(layers, state)])
    assert results[0] == results[1]


def test_logits(rng):
    """What the loss works on: the fused output activation left out, any other kept."""
    x = rng.normal(size=(5, 4))
    for loss, activation in (("softmax_cross_entropy", "softmax"), ("squared_error", "tanh")):
        layers = build(4, ("dense", 3, activation))
        plan = _core.Plan(layers, 8, (loss, None), n_threads=1)
        u = x @ layers[0].get("weight").T + layers[0].get("bias")
        np.testing.assert_allclose(
            plan.predict(x, logits=True), u if activation == "softmax" else np.tanh(u), rtol=1e-12
        )
        np.testing.assert_allclose(
            plan.predict(x),
            np.tanh(u) if activation == "tanh" else np.exp(u) / np.exp(u).sum(1, keepdims=True),
            rtol=1e-12,
        )


def test_predict_takes_any_number_of_rows(isa, rng):
    layers = build(5, ("dense", 33, "relu"), ("dense", 3))
    plan = _core.Plan(layers, 4, n_threads=1)
    assert plan.predict(np.empty((0, 5))).shape == (0, 3)
    for n in (1, 3, 4, 5, 47, 48, 49, 3000):
        x, out = rng.normal(size=(n, 5)), np.empty((n, 3))
        h = np.maximum(x @ layers[0].get("weight").T + layers[0].get("bias"), 0)
        assert plan.predict(x, out=out) is out
        expected = h @ layers[1].get("weight").T + layers[1].get("bias")
        np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-13)


# ---- layers that draw at random ----


@pytest.mark.parametrize("width", [30, 700])
@pytest.mark.parametrize("batch", [5, 40, 300])
def test_training_draws_factors_for_every_row_and_column(isa, batch, width):
    """One weight a column, starting at 0: its gradient shows which rows were kept."""
    rng, seed, rate = np.random.default_rng(3), 2**45 + 77, 0.3
    layers = build(width, ("plain", width), ("dropout", rate), ("plain", 1))
    layers[0].set("weight", np.eye(width))
    state = _core.State(layers, "sgd")
    plan = _core.Plan(layers, batch, ("squared_error", None), state, 1, seed=seed)
    x, t = np.ones((batch, width)), rng.normal(size=(batch, 1))
    for step in (1, 2, 2**33 + 5):
        state.step_count = step - 1
        layers[2].set("weight", np.zeros((1, width)))
        plan.step(x, t, None, 1.0)
        factors = (random_bits(seed, 1, step, batch, width) >= rate) / (1 - rate)
        np.testing.assert_allclose(layers[2].get("weight")[0], (factors * t).mean(0), atol=1e-12)


# ---- in pieces ----

RANDOM_NET = (
    6,
    ("dense", 24, "tanh"),
    ("dropout", 0.3),
    ("dense", 12),
    ("prelu", 0.1),
    ("dense", 4),
)


def trainer(case, n=61, seed=11, batch=8):
    kind, options, _ = OPTIMIZERS[case]
    layers, x, y = problem(RANDOM_NET, n=n)
    state = _core.State(layers, kind, **options)
    plan = _core.Plan(layers, batch, ("softmax_cross_entropy", None), state, 1, seed=seed)
    return layers, state, plan, x, y


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(OPTIMIZERS)),
    st.lists(st.integers(1, 20), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_training_in_pieces_is_training_at_once(case, cuts, shuffle, rebuilt):
    """With rebuilt, everything moves to new objects at each cut: what an exact resume does."""
    epochs, rng = 5, np.random.default_rng(0)
    lr, momentum = 0.05 * rng.random(5 * 8), 0.9 * rng.random(5 * 8)
    w = rng.random(61)
    layers, state, plan, x, y = trainer(case)
    expected, outcome = plan.fit(x, y, w, epochs, shuffle, lr, momentum)
    assert outcome == "done"
    at_once = snapshot(layers, state)

    layers, state, plan, x, y = trainer(case)
    losses, done = [], 0
    for cut in [*cuts, None]:
        if plan.cursor.epoch == epochs:
            break
        found, outcome = plan.fit(
            x, y, w, epochs - plan.cursor.epoch, shuffle, lr[done:], momentum[done:], max_steps=cut
        )
        losses.extend(found)
        done = state.step_count
        assert plan.cursor.epoch * 8 + plan.cursor.step_in_epoch == done
        assert outcome == ("done" if done == 40 else "paused")
        if rebuilt:
            place = plan.cursor.epoch, plan.cursor.step_in_epoch, plan.cursor.loss_sum
            parameters, slots = flat(layers), state.get_slots()
            layers, state, plan, _, _ = trainer(case)
            set_flat(layers, parameters)
            state.set_slots(slots)
            state.step_count = done
            plan.cursor.epoch, plan.cursor.step_in_epoch, plan.cursor.loss_sum = place
    assert np.array(losses).tobytes() == expected.tobytes()
    assert snapshot(layers, state) == at_once


# ---- errors ----

X, Y = np.ones((6, 5)), np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda p: p(np.ones((6, 4)), Y),
            ValueError,
            r"^x has shape \(6, 4\); expected \(any, 5\)",
        ),
        (lambda p: p(X[0], Y), ValueError, "^x has shape"),
        (lambda p: p(X[:0], Y[:0]), ValueError, "^x is empty"),
        (lambda p: p(X.astype("f4"), Y), TypeError, "^x has dtype float32"),
        (lambda p: p(X.astype(">f8"), Y), TypeError, "^x has dtype >f8"),
        (lambda p: p(X[:, ::-1], Y), TypeError, "^x has dtype float64 and strides"),
        (lambda p: p(X.tolist(), Y), TypeError, "^x is list"),
        (lambda p: p(X, Y[:5]), ValueError, "^y has shape"),
        (lambda p: p(X, Y.astype("i4")), TypeError, "^y has dtype int32"),
        (lambda p: p(X, Y - 1), ValueError, "^y has label -1 in row 0; expected 0 to 2"),
        (lambda p: p(X, Y + 1), ValueError, "^y has label 3 in row 2; expected 0 to 2"),
        (lambda p: p(X, np.ones((6, 2))), ValueError, "^y has shape"),
        (lambda p: p(X, np.ones((6, 3), "f4")), TypeError, "^y has dtype float32"),
        (lambda p: p(X, Y.tolist()), TypeError, "^y is list"),
        (lambda p: p(X, Y, np.ones(5)), ValueError, "^sample_weight has shape"),
        (lambda p: p(X, Y, np.ones(6, "f4")), TypeError, "^sample_weight has dtype float32"),
        (lambda p: p(X, Y, None, lr=np.nan), ValueError, "^lr"),
        (lambda p: p(X, Y, None, lr="fast"), (TypeError, ValueError), "."),
    ],
)
@pytest.mark.parametrize("method", ["fit", "step"])
def test_bad_data_change_nothing(call, error, match, method):
    layers = build(5, ("dense", 4, "tanh"), ("dense", 3))
    state = _core.State(layers, "adam")
    plan = _core.Plan(layers, 8, ("softmax_cross_entropy", None), state, 1)
    before = snapshot(layers, state)

    def run(x, y, w=None, lr=0.1):
        if method == "fit":
            return plan.fit(x, y, w, 2, True, lr)
        return plan.step(x, y, w, lr)

    with pytest.raises(error, match=match):
        call(run)
    assert snapshot(layers, state) == before
    assert (plan.cursor.epoch, plan.cursor.step_in_epoch) == (0, 0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda p: p.fit(X, Y, None, 0, True, 0.1), "^epochs is 0"),
        (lambda p: p.fit(X, Y, None, -1, True, 0.1), "^epochs is -1"),
        (lambda p: p.fit(X, Y, None, 1.5, True, 0.1), "^epochs"),
        (lambda p: p.fit(X, Y, None, 1, True, 0.1, max_steps=0), "^max_steps is 0"),
        (lambda p: p.fit(X, Y, None, 1, True, 0.1, max_steps=-1), "^max_steps is -1"),
        (lambda p: p.fit(X, Y, None, 3, True, [0.1, 0.2]), "^lr has 2 values; expected 1 or"),
        (lambda p: p.fit(X, Y, None, 1, True, []), "^lr has 0 values"),
        (lambda p: p.fit(X, Y, None, 3, True, 0.1, [0.1, 0.2]), "^momentum has 2 values"),
        (lambda p: p.fit(X, Y, None, 3, True, 0.1, np.inf), "^momentum"),
        (lambda p: p.step(np.ones((9, 5)), np.zeros(9, int), None, 0.1), "^x has 9 rows"),
        (lambda p: p.step_one(X[0], 3, 0.1), "^y is 3; expected a label"),
        (lambda p: p.predict(np.ones((6, 4))), "^x has shape"),
        (lambda p: p.predict(X, np.empty((6, 2))), "^out has shape"),
        (lambda p: p.predict(X, np.empty((6, 3), "f4")), "^out has dtype float32"),
        (lambda p: p.predict(X, np.empty((3, 6)).T), "^out has dtype float64 and strides"),
        (lambda p: p.predict(X, np.broadcast_to(np.ones(3), (6, 3))), "^out"),
        (lambda p: p.predict_one(X), "^x has shape"),
    ],
)
def test_bad_calls(call, match):
    layers = build(5, ("dense", 4, "tanh"), ("dense", 3))
    state = _core.State(layers, "adam")
    plan = _core.Plan(layers, 8, ("softmax_cross_entropy", None), state, 1)
    before = snapshot(layers, state)
    with pytest.raises((ValueError, TypeError), match=match):
        call(plan)
    assert snapshot(layers, state) == before


def test_out_must_be_writable_and_apart():
    plan = _core.Plan(build(3, ("dense", 3)), 8, n_threads=1)
    memory = np.ones((7, 3))
    with pytest.raises(ValueError, match="^out overlaps"):
        plan.predict(memory[:6], memory[1:])
    memory.flags.writeable = False
    with pytest.raises(ValueError, match="^out is read-only"):
        plan.predict(np.ones((7, 3)), memory)
    assert (memory == 1).all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda a, s: _core.Plan([], 8), "^layers is empty"),
        (lambda a, s: _core.Plan(a, 0), "^batch_size is 0"),
        (lambda a, s: _core.Plan(a, 8, n_threads=0), "^n_threads is 0"),
        (lambda a, s: _core.Plan([*a, *build(4, ("dense", 2))], 8), "^layers has one of 3 outputs"),
        (
            lambda a, s: _core.Plan([*a, *build(3, "relu", dtype="float32")], 8),
            "^layers are of different",
        ),
        (lambda a, s: _core.Plan([a[0], a[0]], 8), "^layers"),
        (lambda a, s: _core.Plan(a, 8, ("none", None)), "^loss is 'none'"),
        (lambda a, s: _core.Plan(a, 8, None, s), "^loss is None"),
        (lambda a, s: _core.Plan(a[1:], 8, ("huber", None), s), "^state"),
        (
            lambda a, s: _core.Plan([*a, *build(3, "relu")], 8, ("poisson", None)),
            "^loss is poisson",
        ),
        (
            lambda a, s: _core.Plan([*a, *build(3, "step")], 8, ("huber", None)),
            "^layers has a step",
        ),
    ],
)
def test_bad_plans(call, match):
    layers = build(3, ("dense", 3), ("dense", 3))
    with pytest.raises(ValueError, match=match):
        call(layers, _core.State(layers, "sgd"))


def test_layers_of_two_instruction_sets_do_not_mix():
    if len(ISAS) < 2:
        pytest.skip("one instruction set only")
    layers = []
    for isa in ISAS[:2]:
        with using(isa):
            layers += build(3, ("dense", 3))
    with pytest.raises(ValueError, match="^layers are of different"):
        _core.Plan(layers, 8)


def test_passes_and_steps_want_the_right_plan():
    layers = build(5, ("dense", 3))
    plan = _core.Plan(layers, 8, ("softmax_cross_entropy", None), _core.State(layers, "sgd"))
    passes = _core.Plan(layers, 8)
    with pytest.raises(RuntimeError, match="^forward"):
        plan.forward(X)
    with pytest.raises(RuntimeError, match="^backward"):
        plan.backward(np.ones((6, 3)))
    with pytest.raises(RuntimeError, match="^backward"):
        passes.backward(np.ones((6, 3)))
    with pytest.raises(ValueError, match="^state"):
        passes.fit(X, Y, None, 1, True, 0.1)
    with pytest.raises(ValueError, match="^loss"):
        passes.step(X, np.ones((6, 3)), None, 0.1)
    with pytest.raises(ValueError, match="^x has 9 rows"):
        passes.forward(np.ones((9, 5)))
    passes.forward(X)
    with pytest.raises(ValueError, match="^dy has shape"):
        passes.backward(np.ones((5, 3)))
    plan.cursor.step_in_epoch = 5
    with pytest.raises(ValueError, match="^step_in_epoch is 5"):
        plan.fit(X, Y, None, 1, True, 0.1)
