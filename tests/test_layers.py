import copy
import pickle

import numpy as np
import pytest
from formulas import activate
from oracle import numerical_gradient, relative_error

import cmlp
from cmlp.layers import registry
from cmlp.layers.activations import KINDS

SIMPLE = {name: kind for name, kind in KINDS.items() if name != "step"}


def away_from_kinks(rng, shape):
    """Numbers that no step of a numerical derivative carries across zero."""
    x = rng.normal(size=shape) * 2
    return np.where(abs(x) < 0.01, 0.5, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SIMPLE)
def test_activation_values(name, dtype, rng):
    x = rng.normal(size=(7, 19)).astype(dtype) * 3
    y = SIMPLE[name]().build(19, dtype).forward(x)
    assert y.dtype == dtype
    expected = activate(name, x.astype(float))
    np.testing.assert_allclose(y, expected, rtol=2e-6 if dtype == "float32" else 1e-13, atol=1e-7)


def test_step_is_one_from_zero_on():
    y = cmlp.Step().forward([[-1.0, -0.0, 0.0, 2.0]])
    assert y.tolist() == [[0.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("layer", "below", "above"),
    [
        (cmlp.ReLU(), 0.0, 1.0),
        (cmlp.LeakyReLU(0.25), 0.25, 1.0),
        (cmlp.ELU(0.5), 0.5, 1.0),
    ],
    ids=repr,
)
def test_slope_at_a_kink_is_that_of_the_negative_side(layer, below, above):
    layer.build(3, "float64").forward([[-1e-9, 0.0, 1e-9]], training=True)
    np.testing.assert_allclose(
        layer.backward([[1.0, 1.0, 1.0]]), [[below, below, above]], atol=1e-8
    )


def test_learnt_and_drawn_slopes_are_one_at_zero():
    for layer in (cmlp.PReLU(0.125), cmlp.RReLU(0.1, 0.1)):
        layer.forward([[-1.0, 0.0, 1.0]], training=True)
        np.testing.assert_allclose(layer.backward([[1.0, 1.0, 1.0]])[0, 1:], [1.0, 1.0])


LAYERS = [
    cmlp.Dense(5, 4),
    cmlp.Dense(5, 4, bias=False),
    *[cmlp.Dense(5, 4, activation=name) for name in SIMPLE if name != "identity"],
    cmlp.Dense(5, 4, activation=cmlp.LeakyReLU(0.3)),
    *[kind() for kind in SIMPLE.values()],
    cmlp.LeakyReLU(0.2),
    cmlp.ELU(0.7),
    cmlp.PReLU(0.2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_gradients_against_differences(layer, rng):
    layer = copy.deepcopy(layer).build(5, "float64", rng=1)
    x = away_from_kinks(rng, (6, 5))
    dy = rng.normal(size=layer.forward(x).shape)

    def scalar(value):
        return float((layer.forward(value) * dy).sum())

    expected = numerical_gradient(scalar, x)
    layer.forward(x)
    assert relative_error(layer.backward(dy), expected) < 1e-6
    gradients = layer.gradients()
    for name, value in layer.parameters().items():

        def with_parameter(w, name=name):
            setattr(layer, name, w)
            return float((layer.forward(x) * dy).sum())

        assert relative_error(gradients[name], numerical_gradient(with_parameter, value)) < 1e-6
        setattr(layer, name, value)


@pytest.mark.parametrize("name", [n for n in SIMPLE if n != "identity"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_equals_two_layers_bit_for_bit(name, dtype, rng):
    x, dy = rng.normal(size=(33, 21)), rng.normal(size=(33, 18))
    fused = cmlp.Dense(21, 18, activation=name).build(dtype=dtype, rng=3)
    dense, activation = cmlp.Dense(21, 18).build(dtype=dtype), SIMPLE[name]()
    dense.weight, dense.bias = fused.weight, fused.bias
    assert np.array_equal(fused.forward(x), activation.forward(dense.forward(x)))
    dx = dense.backward(activation.backward(dy))
    assert np.array_equal(fused.backward(dy), dx)
    assert np.array_equal(fused.grad_weight, dense.grad_weight)
    assert np.array_equal(fused.grad_bias, dense.grad_bias)


class TestDropout:
    def test_prediction_changes_nothing(self, rng):
        x = rng.normal(size=(4, 9))
        assert np.array_equal(cmlp.Dropout(0.9).forward(x), x)

    @pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
    def test_share_and_scale(self, rate):
        x = np.ones((200, 100))
        y = cmlp.Dropout(rate).forward(x, training=True)
        kept = y != 0
        assert abs(kept.mean() - (1 - rate)) < 0.02
        np.testing.assert_allclose(y[kept], 1 / (1 - rate))

    def test_backward_uses_the_same_mask(self):
        layer = cmlp.Dropout(0.5)
        y = layer.forward(np.ones((20, 10)), training=True)
        assert np.array_equal(layer.backward(np.ones((20, 10))), y)

    def test_masks_differ_from_call_to_call(self):
        layer = cmlp.Dropout(0.5)
        x = np.ones((20, 10))
        first = layer.forward(x, training=True)
        assert not np.array_equal(layer.forward(x, training=True), first)


class TestRReLU:
    def test_training_draws_and_prediction_takes_the_mean(self):
        layer = cmlp.RReLU(0.1, 0.3)
        x = -np.ones((100, 50))
        np.testing.assert_allclose(layer.forward(x), -0.2)
        y = layer.forward(x, training=True)
        assert -0.3 <= y.min() < -0.28
        assert -0.12 < y.max() <= -0.1
        assert y.mean() == pytest.approx(-0.2, abs=0.005)
        assert np.array_equal(layer.backward(np.ones_like(x)), -y)

    def test_positive_inputs_pass(self):
        x = np.arange(1.0, 5.0)[None]
        assert np.array_equal(cmlp.RReLU().forward(x, training=True), x)


class TestParameters:
    def test_copies_cannot_be_written_to(self):
        layer = cmlp.Dense(3, 2).build()
        for array in (layer.weight, layer.bias, layer.grad_weight, layer.grad_bias):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0

    def test_assignment(self, rng):
        layer = cmlp.Dense(37, 23).build(dtype="float64")
        w, b = rng.normal(size=(23, 37)), rng.normal(size=23)
        layer.weight, layer.bias = w, b
        assert np.array_equal(layer.weight, w)
        assert np.array_equal(layer.bias, b)
        x = rng.normal(size=(5, 37))
        np.testing.assert_allclose(layer.forward(x), x @ w.T + b, rtol=1e-12, atol=1e-12)

    def test_assignment_before_it_is_built(self):
        layer = cmlp.Dense(2, 1)
        layer.weight = [[1, 2]]
        layer.bias = [3]
        assert layer.forward([[10, 100]]).tolist() == [[213.0]]
        assert layer.dtype == "float32"

    def test_reading_before_it_is_built(self):
        with pytest.raises(ValueError, match="has no values yet"):
            _ = cmlp.Dense(2, 1).weight

    @pytest.mark.parametrize(
        ("value", "error", "words"),
        [
            (np.ones((3, 2)), ValueError, r"weight has shape \(3, 2\); expected \(2, 3\)"),
            (np.full((2, 3), np.nan), ValueError, r"weight holds nan at \[0, 0\]"),
            (np.ones((2, 3), complex), TypeError, "weight has dtype complex128"),
            ([["a"] * 3] * 2, TypeError, "weight has dtype"),
        ],
    )
    def test_wrong_values(self, value, error, words):
        layer = cmlp.Dense(3, 2).build()
        before = layer.weight
        with pytest.raises(error, match=words):
            layer.weight = value
        assert np.array_equal(layer.weight, before)

    def test_no_bias(self):
        layer = cmlp.Dense(3, 2, bias=False).build()
        assert layer.bias is None
        assert layer.grad_bias is None
        assert layer.n_parameters == 6
        with pytest.raises(ValueError, match="has no bias"):
            layer.bias = [1, 2]

    def test_prelu_slope(self):
        layer = cmlp.PReLU(0.5).build(3, "float64")
        assert layer.slope.tolist() == [0.5] * 3
        layer.slope = [0.1, 0.2, 0.3]
        np.testing.assert_allclose(layer.forward([[-1, -1, -1]]), [[-0.1, -0.2, -0.3]])
        assert layer.n_parameters == 3

    def test_gradients_are_zero_before_backward(self):
        layer = cmlp.Dense(3, 2).build()
        assert not layer.grad_weight.any()


class TestBuild:
    def test_seed(self):
        a, b, c = (cmlp.Dense(8, 4).build(rng=seed) for seed in (1, 1, 2))
        assert np.array_equal(a.weight, b.weight)
        assert not np.array_equal(a.weight, c.weight)

    def test_dtype_of_the_first_input(self):
        layer = cmlp.Dense(2, 2)
        layer.forward(np.ones((1, 2)))
        assert layer.dtype == "float64"

    def test_built_layers_keep_their_values(self):
        layer = cmlp.Dense(2, 2).build(rng=0)
        before = layer.weight
        assert layer.build(rng=1) is layer
        assert np.array_equal(layer.weight, before)
        with pytest.raises(ValueError, match="dtype is float64; expected float32"):
            layer.build(dtype="float64")

    def test_batches_of_any_size(self, rng):
        layer = cmlp.Dense(3, 2).build(dtype="float64")
        x = rng.normal(size=(100, 3))
        whole = layer.forward(x)
        for n in (1, 7, 100, 3):
            assert np.array_equal(layer.forward(x[:n]), whole[:n])
            assert layer.backward(np.ones((n, 2))).shape == (n, 3)


@pytest.mark.parametrize(
    "layer", [*LAYERS, cmlp.Dropout(0.25), cmlp.RReLU(), cmlp.Step()], ids=repr
)
def test_config_makes_the_same_layer(layer):
    assert repr(registry.from_config(registry.to_config(layer))) == repr(layer)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_share_nothing(how, rng):
    layer = cmlp.Dense(4, 3, activation="tanh").build(dtype="float64")
    x = rng.normal(size=(2, 4))
    other = how(layer)
    assert np.array_equal(other.forward(x), layer.forward(x))
    other.weight = np.zeros((3, 4))
    assert layer.weight.any()


def test_repr():
    assert repr(cmlp.Dense(3, 2, activation="relu")) == "Dense(3, 2, activation='relu')"
    assert repr(cmlp.Dropout(0.1)) == "Dropout(rate=0.1)"
    assert repr(cmlp.ReLU()) == "ReLU()"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: cmlp.Dense(0, 2), ValueError, "n_in is 0"),
        (lambda: cmlp.Dense(2, -1), ValueError, "n_out is -1"),
        (lambda: cmlp.Dense(2.0, 1), TypeError, r"n_in is 2\.0"),
        (lambda: cmlp.Dense(True, 1), TypeError, "n_in is True"),
        (lambda: cmlp.Dense(2, 1, activation="rely"), ValueError, "activation is 'rely'"),
        (lambda: cmlp.Dense(2, 1, activation=cmlp.PReLU()), TypeError, "without parameters"),
        (lambda: cmlp.Dense(2, 1, activation=None), TypeError, "activation is None"),
        (lambda: cmlp.Dense(2, 1, bias=1), TypeError, "bias is 1"),
        (lambda: cmlp.Dropout(1.0), ValueError, r"rate is 1\.0"),
        (lambda: cmlp.LeakyReLU(-0.1), ValueError, r"slope is -0\.1"),
        (lambda: cmlp.RReLU(0.5, 0.25), ValueError, r"upper is 0\.25"),
        (lambda: cmlp.ReLU().build(), ValueError, "n_in is None"),
        (lambda: cmlp.Dense(3, 2).build(4), ValueError, "n_in is 4; expected 3"),
        (lambda: cmlp.Dense(3, 2).build(dtype="float16"), ValueError, "dtype is 'float16'"),
        (lambda: cmlp.Dense(3, 2).forward(np.ones(3)), ValueError, r"x has shape \(3,\)"),
        (lambda: cmlp.Dense(3, 2).forward(np.ones((1, 4))), ValueError, r"x has shape \(1, 4\)"),
        (lambda: cmlp.Dense(3, 2).forward(np.ones((0, 3))), ValueError, "x is empty"),
        (lambda: cmlp.Dense(3, 2).forward([["a", "b", "c"]]), TypeError, "x has dtype"),
        (lambda: cmlp.Dense(3, 2).backward(np.ones((1, 2))), RuntimeError, "before forward"),
        (lambda: registry.from_config({"class": "os.system"}), ValueError, "unknown layer class"),
    ],
)
def test_errors_name_the_argument(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_backward_needs_the_rows_of_forward():
    layer = cmlp.Dense(3, 2)
    layer.forward(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"dy has shape \(3, 2\); expected \(4, 2\)"):
        layer.backward(np.ones((3, 2)))


class Doubling:
    """A layer as a user may write it."""

    def __init__(self, factor=2.0):
        self.factor = factor

    def forward(self, x, training=False):
        return self.factor * x

    def backward(self, dy):
        return self.factor * dy

    def config(self):
        return {"factor": self.factor}


class TestRegister:
    def test_round_trip(self, monkeypatch):
        monkeypatch.setattr(registry, "_REGISTERED", {})
        assert cmlp.register_layer(Doubling) is Doubling
        cmlp.register_layer(Doubling)  # again is fine
        again = registry.from_config(registry.to_config(Doubling(3.0)))
        assert isinstance(again, Doubling)
        assert again.factor == 3.0

    def test_refused(self, monkeypatch):
        monkeypatch.setattr(registry, "_REGISTERED", {})
        with pytest.raises(ValueError, match="cannot be saved"):
            registry.to_config(Doubling())
        with pytest.raises(TypeError, match="has no forward, backward, config"):
            cmlp.register_layer(int)
        with pytest.raises(TypeError, match="expected a class"):
            cmlp.register_layer(Doubling())
        with pytest.raises(ValueError, match="named Dense exists"):
            cmlp.register_layer(type("Dense", (Doubling,), {}))
        cmlp.register_layer(Doubling)
        with pytest.raises(ValueError, match="named Doubling exists"):
            cmlp.register_layer(type("Doubling", (Doubling,), {}))
