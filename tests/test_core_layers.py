"""Layers, optimizers' state and tables of the compiled core."""

import gc

import numpy as np
import pytest
from core_nets import ISAS, LAYOUTS, build, flat, flat_grad, philox, set_flat, using
from formulas import RULES, options_for
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Updates

from cmlp import _core

DTYPES = ["float32", "float64"]
SLOTS = {kind: list(rule.slots) for kind, rule in RULES.items()}


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield request.param


# ---- parameters ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimension", ["n_in", "n_out"])
def test_packing_loses_nothing(isa, dimension, dtype):
    """Every element comes back, at every width of the last panel."""
    for n in [*range(1, 71), 127, 128, 129, 200, 257]:
        n_in, n_out = (n, 13) if dimension == "n_in" else (13, n)
        layer = _core.Layer("dense", n_in, n_out, dtype)
        w = np.arange(1, n_in * n_out + 1, dtype=dtype).reshape(n_out, n_in)
        b = -np.arange(1, n_out + 1, dtype=dtype)
        layer.set("weight", w)
        layer.set("bias", b)
        layer.set_grad("weight", 2 * w)
        layer.set_grad("bias", 2 * b)
        assert np.array_equal(layer.get("weight"), w)
        assert np.array_equal(layer.get("bias"), b)
        assert np.array_equal(layer.get_grad("weight"), 2 * w)
        assert np.array_equal(layer.get_grad("bias"), 2 * b)


def test_a_new_layer(isa):
    layer = _core.Layer("dense", 5, 3)
    assert (layer.kind, layer.n_in, layer.n_out, layer.dtype) == ("dense", 5, 3, "float32")
    assert (layer.activation, layer.isa, layer.n_parameters) == ("identity", isa, 18)
    assert layer.shapes == {"weight": (3, 5), "bias": (3,)}
    assert list(layer.shapes) == ["weight", "bias"]
    for name in layer.shapes:
        assert (layer.get(name) == 0).all()
        assert (layer.get_grad(name) == 0).all()


def test_layers_keep_the_instruction_set_they_were_made_for():
    with using(ISAS[-1]):
        layer = _core.Layer("dense", 2, 2)
    assert layer.isa == ISAS[-1]
    assert layer.copy().n_parameters == layer.n_parameters


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (("plain", 3), {"weight": (3, 5)}),
        (("prelu", 0.25), {"slope": (5,)}),
        (("rrelu", (0.1, 0.3)), {}),
        (("dropout", 0.5), {}),
        ("tanh", {}),
        ("softmax", {}),
    ],
)
def test_parameters_of_each_kind(spec, shapes):
    (layer,) = build(5, spec)
    assert layer.shapes == shapes
    assert layer.n_parameters == sum(int(np.prod(s)) for s in shapes.values())
    assert layer.n_in == 5
    with pytest.raises(ValueError, match="^name is 'bias'"):
        layer.get("bias")


def test_prelu_starts_at_its_parameter():
    layer = _core.Layer("prelu", 4, 4, param=0.25)
    assert layer.get("slope").tolist() == [0.25] * 4


def test_defaults_of_parameters():
    assert _core.Layer("activation", 2, 2, activation="leaky_relu").param[0] == 0.01
    assert _core.Layer("activation", 2, 2, activation="elu").param[0] == 1.0
    assert _core.Layer("rrelu", 2, 2, param=(0.1, 0.3)).param == (0.1, 0.3)


def test_what_get_returns_is_a_read_only_copy():
    (layer,) = build(3, ("dense", 2))
    for values in (layer.get("weight"), layer.get_grad("weight")):
        with pytest.raises(ValueError, match="read-only"):
            values[0, 0] = 1.0
    before = layer.get("weight")
    layer.set("weight", np.zeros((2, 3)))
    assert before.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_set_takes_any_layout(layout, rng):
    layer, w = _core.Layer("dense", 4, 3, "float64"), rng.normal(size=(3, 4))
    layer.set("weight", LAYOUTS[layout](w))
    assert np.array_equal(layer.get("weight"), w)


@pytest.mark.parametrize("dtype", DTYPES)
def test_not_finite_parameters_come_back(dtype):
    (layer,) = build(3, ("dense", 2), dtype=dtype)
    layer.set("bias", [np.nan, -np.inf])
    assert np.isnan(layer.get("bias")[0])
    assert layer.get("bias")[1] == -np.inf


def test_set_reaches_every_plan(isa, rng):
    """Both forms of the weights are refreshed: the one of forward and the one of backward."""
    layers = build(9, ("dense", 21, "tanh"), ("dense", 6))
    plan = _core.Plan(layers, 4, n_threads=1)
    x, dy = rng.normal(size=(4, 9)), rng.normal(size=(4, 6))
    for seed in range(3):
        set_flat(layers, np.random.default_rng(seed).normal(size=flat(layers).size))
        w1, b1, w2, b2 = (layer.get(n) for layer in layers for n in ("weight", "bias"))
        h = np.tanh(x @ w1.T + b1)
        np.testing.assert_allclose(plan.forward(x), h @ w2.T + b2, rtol=1e-10)
        dh = (dy @ w2) * (1 - h * h)
        np.testing.assert_allclose(plan.backward(dy), dh @ w1, rtol=1e-9, atol=1e-12)
        expected = np.concatenate([(dh.T @ x).ravel(), dh.sum(0), (dy.T @ h).ravel(), dy.sum(0)])
        np.testing.assert_allclose(flat_grad(layers), expected, rtol=1e-9, atol=1e-12)


def test_copies_share_nothing():
    (layer,) = build(4, ("dense", 3, "elu"))
    other = layer.copy()
    assert (other.kind, other.activation, other.param) == ("dense", "elu", layer.param)
    assert np.array_equal(other.get("weight"), layer.get("weight"))
    assert np.array_equal(other.get("bias"), layer.get("bias"))
    other.set("bias", np.ones(3))
    assert not np.array_equal(other.get("bias"), layer.get("bias"))
    assert build(4, ("plain", 3))[0].copy().shapes == {"weight": (3, 4)}
    assert build(4, ("rrelu", (0.1, 0.2)))[0].copy().param == (0.1, 0.2)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: _core.Layer("no", 2, 2), ValueError, "^kind is 'no'; expected one of dense"),
        (lambda: _core.Layer("dense", 0, 2), ValueError, "^n_in is 0"),
        (lambda: _core.Layer("dense", 2, -1), ValueError, "^n_out is -1"),
        (lambda: _core.Layer("dense", 2**50, 2), ValueError, "^n_in"),
        (lambda: _core.Layer("dense", 2**40, 2**40), (ValueError, MemoryError), "."),
        (lambda: _core.Layer("dense", 2, 2, "float16"), ValueError, "^dtype is 'float16'"),
        (lambda: _core.Layer("dense", 2, 2, "text"), (ValueError, TypeError), "text"),
        (lambda: _core.Layer("dense", 2, 2, activation="no"), ValueError, "^activation is 'no'"),
        (lambda: _core.Layer("dropout", 2, 3, param=0.5), ValueError, "^n_out is 3"),
        (lambda: _core.Layer("dense", 2.5, 2), (TypeError, ValueError), "."),
        (lambda: build(3, ("dense", 2))[0].set("weight", np.ones((3, 2))), ValueError, "^weight"),
        (lambda: build(3, ("dense", 2))[0].set("bias", np.ones(3)), ValueError, "^bias"),
        (lambda: build(3, ("dense", 2))[0].set("bias", 1.0), ValueError, "^bias"),
        (lambda: build(3, ("dense", 2))[0].set("slope", 1.0), ValueError, "^name is 'slope'"),
        (lambda: build(3, ("dense", 2))[0].set_grad("bias", np.ones(3)), ValueError, "^bias"),
        (lambda: build(3, ("dense", 2))[0].get_grad("text"), ValueError, "^name is 'text'"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


# ---- the optimizer's state ----


@pytest.mark.parametrize("kind", SLOTS)
def test_slots_come_back(isa, kind, rng):
    layers = build(7, ("dense", 33, "tanh"), ("prelu", 0.1), ("plain", 5))
    state, size = _core.State(layers, kind), flat(layers).size
    assert state.step_count == 0
    assert state.kind == kind
    assert list(state.get_slots()) == SLOTS[kind]
    assert all((v == 0).all() and v.shape == (size,) for v in state.get_slots().values())
    slots = {name: rng.normal(size=size) for name in SLOTS[kind]}
    state.set_slots(slots)
    for name, values in state.get_slots().items():
        assert np.array_equal(values, slots[name])


class Flat:
    """Parameters of layers as oracle.Updates wants them."""

    def __init__(self, layers):
        names = [(layer, name) for layer in layers for name in layer.shapes]
        self.parts = [(layer.get(name).astype(float), name == "weight") for layer, name in names]

    def parameters(self):
        return self.parts


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *[(kind, {"weight_decay": 0.1}) for kind in RULES],
        ("sgd", {"momentum": 0.9, "weight_decay": 0.1, "l1": 0.01}),
        ("sgd", {"momentum": 0.9, "nesterov": 1.0, "clip_norm": 1.0}),
        ("adam", {"clip_value": 0.5}),
        ("rmsprop", {"momentum": 0.3}),
    ],
)
def test_state_steps_by_the_gradients_in_the_layers(isa, kind, options, dtype, rng):
    layers = build(5, ("dense", 19), ("dense", 3), dtype=dtype)
    options = options_for(kind, **options)
    state = _core.State(layers, kind, **options)
    by_hand, updates = Flat(layers), Updates(kind, 0.05, **options)
    for count in range(1, 6):
        found = [rng.normal(size=p.shape).astype(dtype) for p, _ in by_hand.parts]
        left = iter(found)
        for layer in layers:
            for name in layer.shapes:
                layer.set_grad(name, next(left))
        state.step(0.05)
        updates.step(by_hand, found[0::2], found[1::2])
        assert state.step_count == count
    expected = np.concatenate([p.ravel() for p, _ in by_hand.parts])
    tolerance = {"rtol": 1e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-10}
    np.testing.assert_allclose(flat(layers), expected, **tolerance)


def test_options_may_change_between_steps():
    (layer,) = layers = build(1, ("plain", 1))
    state = _core.State(layers, "sgd")
    layer.set("weight", [[1.0]])
    layer.set_grad("weight", [[0.0]])
    state.step(0.5)
    assert layer.get("weight") == 1.0
    state.set_options(weight_decay=0.5)
    state.step(0.5)
    assert layer.get("weight") == 0.75


def test_a_state_keeps_its_layers():
    state = _core.State(build(3, ("dense", 2)), "adam")
    gc.collect()
    state.step(0.1)
    assert state.get_slots()["m"].shape == (8,)


def test_lists_of_layers_cannot_be_changed_from_outside():
    """The compiled side holds pointers to these very layers."""
    layers = build(3, ("dense", 2))
    state = _core.State(layers, "sgd")
    plan = _core.Plan(layers, 4, ("squared_error", None), state)
    for found in (state.layers, plan.layers):
        assert list(found) == layers
        assert not hasattr(found, "clear")


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda s: _core.State([], "sgd"), ValueError, "^layers is empty"),
        (lambda s: _core.State([None], "sgd"), TypeError, "."),
        (
            lambda s: _core.State(s.layers, "best"),
            ValueError,
            "^kind is 'best'; expected one of sgd",
        ),
        (lambda s: _core.State(s.layers, "sgd", speed=1.0), TypeError, "^speed"),
        (lambda s: _core.State(s.layers, "sgd", momentum="much"), TypeError, "."),
        (lambda s: s.set_options(speed=1.0), TypeError, "^speed"),
        (lambda s: s.set_slots({}), ValueError, "^slots"),
        (lambda s: s.set_slots({"m": np.ones(8), "w": np.ones(8)}), ValueError, "^slots"),
        (
            lambda s: s.set_slots({"m": np.ones(8), "v": np.ones(7)}),
            ValueError,
            r"^slots\['v'\] has",
        ),
    ],
)
def test_bad_arguments_of_a_state(call, error, match):
    state = _core.State(build(3, ("dense", 2)), "adam")
    with pytest.raises(error, match=match):
        call(state)
    assert not state.get_slots()["m"].any()
    assert state.step_count == 0


def test_a_state_wants_layers_of_one_type():
    mixed = build(3, ("dense", 2), dtype="float32") + build(2, ("dense", 2), dtype="float64")
    with pytest.raises(ValueError, match="^layers"):
        _core.State(mixed, "sgd")


# ---- tables ----


def test_activations():
    found = _core.activations()
    assert {name for name, facts in found.items() if not facts["trainable"]} == {"step"}
    assert {name for name, facts in found.items() if not facts["elementwise"]} == {"softmax"}
    for name in ("gelu", "silu"):
        assert found[name]["needs_input"]
    for name in ("identity", "sigmoid", "tanh", "relu", "elu", "softplus", "scaled_tanh"):
        assert not found[name]["needs_input"]
    assert (found["leaky_relu"]["param"], found["elu"]["param"]) == (0.01, 1.0)
    assert found["tanh"]["param"] is None


def test_losses():
    found = _core.losses()
    assert {name for name, facts in found.items() if facts["labels"]} == {"softmax_cross_entropy"}
    assert found["huber"]["param"] == 1.0
    assert {"squared_error", "binary_cross_entropy", "absolute_error", "poisson"} <= set(found)


def test_pairs():
    mode = _core.pair_mode
    assert mode("softmax", "softmax_cross_entropy") == "fused"
    assert mode("sigmoid", "binary_cross_entropy") == "fused"
    assert mode("tanh", "squared_error") == "chain"
    assert mode("softmax", "squared_error") == "chain"
    for loss in ("softmax_cross_entropy", "binary_cross_entropy", "poisson"):
        assert mode("identity", loss) == "fused"
        assert mode("relu", loss) == "refused"
    for loss in _core.losses():
        assert mode("step", loss) == "refused"
    with pytest.raises(ValueError, match="^loss is 'none'"):
        mode("relu", "none")
    with pytest.raises(ValueError, match="^activation is 'none'"):
        mode("none", "huber")


def test_info():
    info = _core.info()
    assert info["isa"] in info["isas"]
    assert info["isas"][-1] == "reference"
    assert info["threads"] == _core.default_threads() >= 1
    assert info["version"].count(".") == 2
    assert info["compiler"]
    assert isinstance(info["openmp"], bool)


def test_sets_of_instructions_can_be_chosen():
    before = _core.get_isa()
    for name in ISAS:
        with using(name):
            assert _core.get_isa() == name
            assert _core.info()["isa"] == name
    assert _core.get_isa() == before


# ---- the order of samples ----


def shuffled(n, seed, epoch):
    """Fisher and Yates from the end; place i draws with half i % 2 of counter (i // 2, epoch)."""
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        half = i // 2
        words = philox(
            (half & 0xFFFFFFFF, half >> 32, epoch & 0xFFFFFFFF, epoch >> 32),
            (seed & 0xFFFFFFFF, seed >> 32),
        )
        bits = words[2 * (i % 2)] << 32 | words[2 * (i % 2) + 1]
        j = bits * (i + 1) >> 64
        order[i], order[j] = order[j], order[i]
    return order


def test_philox_by_its_authors_numbers():
    ones = 0xFFFFFFFF
    assert philox((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox((ones,) * 4, (ones,) * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 200), st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_permutation(n, seed, epoch):
    order = _core.permutation(n, seed, epoch)
    assert order.dtype == np.int64
    assert order.tolist() == shuffled(n, seed, epoch)
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_are_even():
    """Each of the 24 orders of 4 samples about as often."""
    counts = {}
    for epoch in range(4800):
        order = tuple(_core.permutation(4, 1, epoch).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    chi2 = sum((c - 200) ** 2 / 200 for c in counts.values())
    assert chi2 < 60
