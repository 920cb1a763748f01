import copy
import pickle
import threading

import numpy as np
import pytest
from formulas import activate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle import numerical_gradient, relative_error

import cmlp


def two_layers(dtype="float64", **settings):
    return cmlp.Sequential(
        cmlp.Dense(4, 6, activation="tanh"), cmlp.Dense(6, 3), dtype=dtype, seed=0, **settings
    )


class Scale:
    """A layer as a user may write it, with a parameter."""

    def __init__(self, n, factor=1.0):
        self.factor = np.full(n, factor)
        self.grad = np.zeros(n)

    def forward(self, x, training=False):
        self.x = x
        return self.factor * x

    def backward(self, dy):
        self.grad = (dy * self.x).sum(axis=0)
        return self.factor * dy

    def parameters(self):
        return {"factor": self.factor}

    def gradients(self):
        return {"factor": self.grad}


@pytest.fixture
def mixed():
    """Built-in layers, one in Python, built-in layers."""
    return cmlp.Sequential(
        cmlp.Dense(4, 5), cmlp.Tanh(), Scale(5, 2.0), cmlp.Dense(5, 3), dtype="float64", seed=0
    )


class TestWidths:
    def test_layers_learn_theirs(self):
        net = cmlp.Sequential(cmlp.Dropout(0.1), cmlp.PReLU(), cmlp.Dense(4, 2), cmlp.Softmax())
        assert [layer.n_in for layer in net.layers] == [4, 4, 4, 2]
        assert (net.n_in, net.n_out) == (4, 2)

    def test_given_by_hand(self):
        assert cmlp.Sequential(cmlp.ReLU(), n_in=7).n_out == 7

    def test_of_a_layer_in_python(self):
        class Pairs:
            def forward(self, x, training=False):
                return x[:, ::2] + x[:, 1::2]

            def backward(self, dy):
                return np.repeat(dy, 2, axis=1)

            def n_out(self, n_in):
                return n_in // 2

        net = cmlp.Sequential(cmlp.Dense(3, 8), Pairs(), cmlp.PReLU(), cmlp.Dense(4, 1))
        assert net.layers[2].n_in == 4
        assert net.forward(np.ones((5, 3))).shape == (5, 1)
        with pytest.raises(ValueError, match=r"layers\[2\].*has n_in 5; expected 4"):
            cmlp.Sequential(cmlp.Dense(3, 8), Pairs(), cmlp.Dense(5, 1))

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            (lambda: cmlp.Sequential(), ValueError, "layers is empty"),
            (lambda: cmlp.Sequential(cmlp.ReLU()), ValueError, r"width of layers\[0\], ReLU\(\)"),
            (
                lambda: cmlp.Sequential(cmlp.Dense(2, 3), cmlp.Dense(4, 1)),
                ValueError,
                r"layers\[1\], Dense\(4, 1\), has n_in 4; expected 3",
            ),
            (lambda: cmlp.Sequential(cmlp.Dense), TypeError, r"layers\[0\] is <class"),
            (lambda: cmlp.Sequential("relu"), TypeError, r"layers\[0\] is 'relu'"),
            (lambda: cmlp.Sequential(cmlp.Dense(1, 1), dtype="int32"), ValueError, "dtype is"),
            (lambda: cmlp.Sequential(cmlp.Dense(1, 1), dtype=None), ValueError, "dtype is None"),
            (lambda: cmlp.Sequential(cmlp.Dense(1, 1), seed=-1), ValueError, "seed is -1"),
            (lambda: cmlp.Sequential(cmlp.Dense(1, 1), seed=2**64), ValueError, "seed is"),
            (lambda: cmlp.Sequential(cmlp.Dense(1, 1), n_threads=0), ValueError, "n_threads is 0"),
            (lambda: cmlp.Sequential(cmlp.Dense(2, 1), n_in=3), ValueError, "n_in 2; expected 3"),
        ],
    )
    def test_errors(self, make, error, words):
        with pytest.raises(error, match=words):
            make()

    def test_the_same_layer_twice(self):
        layer = cmlp.Dense(2, 2)
        with pytest.raises(ValueError, match="the same layer twice"):
            cmlp.Sequential(layer, layer)


class TestSeed:
    def test_decides_the_values(self):
        a, b = two_layers(), two_layers()
        assert np.array_equal(a.get_flat(), b.get_flat())
        other = cmlp.Sequential(cmlp.Dense(4, 6), cmlp.Dense(6, 3), dtype="float64", seed=1)
        assert not np.array_equal(a.get_flat(), other.get_flat())

    def test_fresh_without_one(self):
        a, b = (cmlp.Sequential(cmlp.Dense(4, 6)) for _ in range(2))
        assert a.seed != b.seed
        again = cmlp.Sequential(cmlp.Dense(4, 6), seed=a.seed)
        assert np.array_equal(again.get_flat(), a.get_flat())

    def test_numpy_state_is_left_alone(self):
        np.random.seed(5)
        before = np.random.get_state()[1].copy()
        two_layers().predict(np.ones((1, 4)))
        assert np.array_equal(np.random.get_state()[1], before)


class TestForward:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_values(self, dtype, rng):
        net = two_layers(dtype)
        x = rng.normal(size=(50, 4)).astype(dtype)
        h = np.tanh(x @ net.layers[0].weight.T + net.layers[0].bias)
        y = h @ net.layers[1].weight.T + net.layers[1].bias
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        assert net.forward(x).dtype == dtype
        np.testing.assert_allclose(net.forward(x), y, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(net.predict(x), y, rtol=tolerance, atol=tolerance)

    def test_layer_by_layer_is_the_same(self, rng):
        net, x, dy = two_layers(), rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
        first, second = (copy.deepcopy(layer) for layer in net.layers)
        assert np.array_equal(net.forward(x), second.forward(first.forward(x)))
        assert np.array_equal(net.backward(dy), first.backward(second.backward(dy)))
        assert np.array_equal(net.layers[0].grad_weight, first.grad_weight)

    def test_layers_in_python(self, mixed, rng):
        x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
        first, second = mixed.layers[0], mixed.layers[3]
        h = 2.0 * np.tanh(x @ first.weight.T + first.bias)
        np.testing.assert_allclose(mixed.forward(x), h @ second.weight.T + second.bias, rtol=1e-12)
        assert np.array_equal(mixed.predict(x), mixed.forward(x))

        def scalar(value):
            return float((mixed.forward(value) * dy).sum())

        expected = numerical_gradient(scalar, x)
        mixed.forward(x)
        assert relative_error(mixed.backward(dy), expected) < 1e-6

    def test_flat_gradient(self, mixed, rng):
        x, dy, w = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), mixed.get_flat()

        def scalar(value):
            mixed.set_flat(value)
            return float((mixed.forward(x) * dy).sum())

        expected = numerical_gradient(scalar, w)
        mixed.set_flat(w)
        mixed.forward(x)
        mixed.backward(dy)
        assert relative_error(mixed.get_flat_grad(), expected) < 1e-6

    def test_what_a_layer_in_python_gives_is_checked(self):
        class Broken(Scale):
            def forward(self, x, training=False):
                return self.result

        layer = Broken(3)
        net = cmlp.Sequential(cmlp.Dense(2, 3), layer, cmlp.Dense(3, 1))
        for result, error, words in (
            (np.ones((4, 3)), ValueError, "has 4 rows; expected 5"),
            (np.ones((5, 2)), ValueError, r"shape \(5, 2\)"),
            (None, (TypeError, ValueError), "output of"),
        ):
            layer.result = result
            with pytest.raises(error, match=words):
                net.forward(np.ones((5, 2)))

    @pytest.mark.parametrize(
        ("x", "error", "words"),
        [
            (np.ones((2, 5)), ValueError, r"x has shape \(2, 5\); expected \(batch, 4\)"),
            (np.ones(4), ValueError, r"x has shape \(4,\)"),
            (np.ones((0, 4)), ValueError, "x is empty"),
            (np.ones((1, 4), complex), TypeError, "x has dtype complex128"),
            (np.array([["1", "2", "3", "4"]]), TypeError, "x has dtype"),
            ([[1.0, 2.0], [3.0]], ValueError, "x cannot be read as an array"),
            (None, (TypeError, ValueError), "x has"),
        ],
    )
    def test_errors(self, x, error, words):
        with pytest.raises(error, match=words):
            two_layers().forward(x)

    def test_backward_before_forward(self):
        with pytest.raises(RuntimeError, match="before forward"):
            two_layers().backward(np.ones((1, 3)))


class TestPredict:
    def test_single_sample(self, rng):
        net, x = two_layers(), rng.normal(size=(5, 4))
        assert np.array_equal(net.predict(x[2]), net.predict(x)[2])

    def test_out(self, rng):
        net, x = two_layers("float32"), rng.normal(size=(5, 4)).astype("f")
        out = np.full((5, 3), np.nan, "f")
        for _ in range(2):  # the first call prepares, the second goes straight to the core
            assert net.predict(x, out=out) is out
            assert np.array_equal(out, net.predict(x))

    def test_out_of_a_net_with_layers_in_python(self, mixed, rng):
        x, out = rng.normal(size=(5, 4)), np.empty((5, 3))
        assert mixed.predict(x, out=out) is out
        assert np.array_equal(out, mixed.predict(x))

    @pytest.mark.parametrize(
        ("out", "error", "words"),
        [
            (np.empty((5, 2), "f"), ValueError, "out is float32"),
            (np.empty((5, 3)), ValueError, "out is float64"),
            (np.empty((3, 5), "f").T, ValueError, "C-contiguous"),
            ([], TypeError, "out is list"),
        ],
    )
    def test_wrong_out(self, out, error, words):
        net, x = two_layers("float32"), np.ones((5, 4), "f")
        for _ in range(2):
            with pytest.raises(error, match=words):
                net.predict(x, out=out)
            net.predict(x)

    def test_out_over_x(self):
        net = cmlp.Sequential(cmlp.Dense(4, 4), seed=0)
        x = np.ones((5, 4), "f")
        with pytest.raises(ValueError, match="out overlaps x"):
            net.predict(x, out=x)

    def test_nan_passes_through(self):
        y = two_layers().predict([[np.nan] * 4, [1.0] * 4])
        assert np.isnan(y[0]).all()
        assert np.isfinite(y[1]).all()

    def test_rows_do_not_depend_on_their_neighbours(self, rng):
        net, x = two_layers("float32"), rng.normal(size=(67, 4)).astype("f")
        whole = net.predict(x)
        assert all(np.array_equal(net.predict(x[i : i + 1])[0], whole[i]) for i in range(67))

    def test_from_many_threads(self, rng):
        net, x = two_layers("float32"), rng.normal(size=(300, 4)).astype("f")
        expected, wrong = net.predict(x), []

        def work():
            for _ in range(20):
                if not np.array_equal(net.predict(x), expected):
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    @pytest.mark.parametrize("make", [two_layers, lambda: cmlp.Sequential(Scale(4), n_in=4)])
    def test_no_rows(self, make):
        net = make()
        for used_before in (False, True):
            for x in (np.empty((0, 4)), np.empty((0, 4), "f"), np.ones((3, 4))[:0]):
                for method in (net.predict, net.predict_proba):
                    assert method(x).shape == (0, net.n_out)
                    assert method(x).dtype == net.dtype
                out = np.empty((0, net.n_out), net.dtype)
                assert net.predict(x, out=out) is out
            with pytest.raises(ValueError, match=r"out is .* \(3, .*; expected .* \(0, "):
                net.predict(np.empty((0, 4)), out=np.empty((3, net.n_out), net.dtype))
            for x in (np.empty((0, 5)), np.empty((0,)), []):
                with pytest.raises(ValueError, match=r"x has shape \(0,.*; expected \(batch, 4\)"):
                    net.predict(x)
            if not used_before:
                net.predict(np.ones((1, 4)))

    def test_no_rows_elsewhere(self):
        """To train on nothing is refused, and scikit-learn's contract wants that of predict."""
        net, x = two_layers(), np.empty((0, 4))
        trainer = cmlp.Trainer(net, cmlp.SquaredError())
        for refused in (
            lambda: net.forward(x),
            lambda: net.layers[0].forward(x),
            lambda: trainer.fit(x, np.empty((0, 3))),
            lambda: trainer.train_step(x, np.empty((0, 3))),
            lambda: trainer.evaluate(x, np.empty((0, 3))),
        ):
            with pytest.raises(ValueError, match="x is empty"):
                refused()

    def test_a_sample_of_another_length(self):
        with pytest.raises(ValueError, match=r"x has shape \(5,\); expected \(batch, 4\)"):
            two_layers().predict(np.ones(5))

    def test_sees_new_weights(self):
        net = two_layers()
        x = np.ones((1, 4))
        net.predict(x)
        net.set_flat(np.zeros(net.n_parameters))
        assert not net.predict(x).any()

    def test_probabilities(self, rng):
        x = rng.normal(size=(5, 4))
        net = two_layers()
        np.testing.assert_allclose(
            net.predict_proba(x), activate("softmax", net.predict(x)), rtol=1e-12
        )
        one = cmlp.Sequential(cmlp.Dense(4, 1), dtype="float64", seed=0)
        np.testing.assert_allclose(
            one.predict_proba(x), activate("sigmoid", one.predict(x)), rtol=1e-12
        )
        ends = cmlp.Sequential(cmlp.Dense(4, 3, activation="softmax"), dtype="float64", seed=0)
        assert np.array_equal(ends.predict_proba(x), ends.predict(x))
        net.link = "exp"
        with pytest.raises(ValueError, match="trained for counts"):
            net.predict_proba(x)


LAYOUTS = [
    lambda a: a,
    lambda a: np.asfortranarray(a),
    lambda a: a[::-1],
    lambda a: a[:, ::-1],
    lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    lambda a: a.astype(a.dtype.newbyteorder()),
    lambda a: a.tolist(),
    lambda a: np.ma.masked_array(a),
    lambda a: memoryview(np.ascontiguousarray(a)),
    lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1, count=a.size).reshape(a.shape),
]


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from(["f4", "f8", "f2", "i4", "u1", "?"]),
        st.tuples(st.integers(1, 9), st.just(4)),
        elements={"min_value": 0, "max_value": 1},
    ),
    layout=st.sampled_from(range(len(LAYOUTS))),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_layout_and_type(x, layout, dtype):
    net = two_layers(dtype)
    given_x = LAYOUTS[layout](x)
    before = copy.deepcopy(given_x) if not isinstance(given_x, memoryview) else None
    clean = np.array(np.asarray(given_x), dtype=dtype, order="C")
    assert np.array_equal(net.predict(given_x), net.predict(clean))
    assert np.array_equal(net.forward(given_x), net.forward(clean))
    if before is not None:
        assert np.array_equal(given_x, before)


class TestArrayLikes:
    def test_array_protocol(self):
        class Wrapped:
            def __array__(self, dtype=None, copy=None):
                return np.ones((2, 4))

        assert two_layers().predict(Wrapped()).shape == (2, 3)

    def test_dlpack(self):
        class Tensor:
            def __init__(self, a):
                self.a = a

            def __dlpack__(self, **kwargs):
                return self.a.__dlpack__(**kwargs)

            def __dlpack_device__(self):
                return self.a.__dlpack_device__()

        assert two_layers().predict(Tensor(np.ones((2, 4)))).shape == (2, 3)

    def test_masked_entries_are_refused(self):
        x = np.ma.masked_array(np.ones((2, 4)), mask=np.eye(2, 4))
        with pytest.raises(ValueError, match="x is a masked array"):
            two_layers().predict(x)


def test_classes_are_sorted():
    net = two_layers()
    net.classes = ["a", "b", "c"]
    assert isinstance(net.classes, np.ndarray)
    for wrong in (["b", "a"], ["a", "a"], [["a"]]):
        with pytest.raises(ValueError, match="classes is .*; expected different labels"):
            net.classes = wrong


class TestFlat:
    def test_order(self):
        net = two_layers()
        first, second = net.layers
        parts = [first.weight, first.bias, second.weight, second.bias]
        assert np.array_equal(net.get_flat(), np.concatenate([p.ravel() for p in parts]))
        assert net.n_parameters == 4 * 6 + 6 + 6 * 3 + 3

    def test_set(self, mixed, rng):
        v = rng.normal(size=mixed.n_parameters)
        mixed.set_flat(v)
        assert np.array_equal(mixed.get_flat(), v)
        assert np.array_equal(mixed.layers[2].factor, v[25:30])

    def test_wrong(self):
        net = two_layers()
        before = net.get_flat()
        with pytest.raises(ValueError, match=r"values has shape \(3,\); expected \(51,\)"):
            net.set_flat(np.ones(3))
        with pytest.raises(ValueError, match="values holds nan"):
            net.set_flat(np.full(51, np.nan))
        assert np.array_equal(net.get_flat(), before)

    @pytest.mark.parametrize("tau", [0.0, 0.25, 1.0])
    def test_lerp(self, tau, rng):
        a, b = two_layers(), two_layers()
        b.set_flat(rng.normal(size=b.n_parameters))
        expected = (1 - tau) * a.get_flat() + tau * b.get_flat()
        assert a.lerp_(b, tau) is a
        np.testing.assert_allclose(a.get_flat(), expected, rtol=1e-15)

    def test_lerp_refuses(self):
        net = two_layers()
        with pytest.raises(ValueError, match=r"tau is 1\.5"):
            net.lerp_(net, 1.5)
        with pytest.raises(TypeError, match="other is 3"):
            net.lerp_(3, 0.5)
        with pytest.raises(ValueError, match="other has 15 parameters; expected 51"):
            net.lerp_(cmlp.Sequential(cmlp.Dense(4, 3)), 0.5)
        turned = [cmlp.Sequential(cmlp.Dense(a, b, bias=False)) for a, b in ((2, 3), (3, 2))]
        with pytest.raises(ValueError, match="layers of other shapes"):
            turned[0].lerp_(turned[1], 0.5)

    def test_lerp_of_another_type_or_with_layers_in_python(self, mixed, rng):
        for net, other in (
            (two_layers("float32"), two_layers("float64")),
            (mixed, copy.deepcopy(mixed)),
        ):
            other.set_flat(rng.normal(size=other.n_parameters))
            mine, theirs = net.get_flat(), other.get_flat()
            assert np.allclose(net.lerp_(other, 0.5).get_flat(), (mine + theirs) / 2, rtol=1e-6)
            assert np.array_equal(other.get_flat(), theirs)

    def test_gradients_in_the_order_of_the_parameters(self):
        class Two(Scale):
            """Its dicts are in different orders."""

            def parameters(self):
                return {"a": np.ones(3), "b": np.ones(2)}

            def gradients(self):
                return {"b": np.full(2, 2.0), "a": np.full(3, 1.0)}

        net = cmlp.Sequential(Two(4), n_in=4)
        assert net.get_flat_grad().tolist() == [1.0, 1.0, 1.0, 2.0, 2.0]

    @pytest.mark.parametrize(
        "how", [lambda n: n, lambda n: n.copy(), lambda n: pickle.loads(pickle.dumps(n))]
    )
    def test_joining_the_parameters_changes_no_bits(self, how):
        """A net of layers made by it has one block, one of layers built before has many."""
        net = how(two_layers())
        loose = cmlp.Sequential(
            *(copy.deepcopy(layer) for layer in net.layers), dtype="float64", seed=0
        )
        x, y = np.linspace(-1, 1, 24).reshape(6, 4), np.arange(6) % 3
        for each in (net, loose):
            cmlp.Trainer(each, cmlp.SoftmaxCrossEntropy(), n_threads=1).fit(x, y, epochs=3)
        assert np.array_equal(net.get_flat(), loose.get_flat())


class TestCopies:
    @pytest.mark.parametrize(
        "how", [lambda n: n.copy(), copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
    )
    def test_share_nothing(self, how, mixed):
        mixed.classes = np.array(["a", "b", "c"])
        other = how(mixed)
        x = np.ones((2, 4))
        assert np.array_equal(other.predict(x), mixed.predict(x))
        assert other.classes.tolist() == ["a", "b", "c"]
        before = mixed.get_flat()
        other.set_flat(np.zeros(other.n_parameters))
        assert np.array_equal(mixed.get_flat(), before)

    def test_layers_of_a_net_can_be_used_in_another(self):
        net = two_layers()
        front = cmlp.Sequential(*net.layers[:1], dtype="float64")
        x = np.ones((1, 4))
        assert np.array_equal(front.predict(x), net.layers[0].forward(x))
        nested = cmlp.Sequential(front, cmlp.Dense(6, 1), dtype="float64")
        assert len(nested.layers) == 2
        with pytest.raises(ValueError, match="dtype is float32; expected float64"):
            cmlp.Sequential(*net.layers, dtype="float32")


def test_repr_and_summary():
    net = cmlp.Sequential(cmlp.Dense(784, 32, activation="relu"), cmlp.Dense(32, 10), seed=4)
    assert repr(net) == (
        "Sequential(\n    Dense(784, 32, activation='relu'),\n    Dense(32, 10),\n"
        "    dtype='float32', seed=4)"
    )
    lines = net.summary().splitlines()
    assert lines[2].split()[-3:] == ["(batch,", "32)", "25,120"]
    assert lines[-1].split() == ["total", "float32", "25,450"]
    assert len({len(line) for line in lines}) == 1


class Half:
    """A layer written in Python."""

    def forward(self, x, training=False):
        return 0.5 * x

    def backward(self, dy):
        return 0.5 * dy


@pytest.mark.parametrize("between", [(), (Half(),)])
@pytest.mark.parametrize("first", [True, False])
def test_no_rows(between, first):
    """Nothing in, nothing out, before the first prediction and after it."""
    net = cmlp.Sequential(cmlp.Dense(3, 4), *between, cmlp.Dense(4, 2), seed=0)
    if not first:
        net.predict(np.ones((2, 3), np.float32))
    for x in (np.empty((0, 3), np.float32), np.empty((0, 3))):
        assert net.predict(x).shape == net.predict_proba(x).shape == (0, 2)
        out = np.empty((0, 2), np.float32)
        assert net.predict(x, out=out) is out
    with pytest.raises(ValueError, match=r"x has shape \(0, 4\); expected \(batch, 3\)"):
        net.predict(np.empty((0, 4), np.float32))


def test_parameters_in_one_pass():
    """What the flat vector says is what the layers have, one by one; a net's copy, too."""
    net = cmlp.Sequential(cmlp.Dense(3, 4), cmlp.PReLU(), cmlp.Dense(4, 2, bias=False), seed=0)
    for one in (net, net.copy()):
        parts = [a.ravel() for layer in one.layers for a in layer.parameters().values()]
        assert np.array_equal(one.get_flat(), np.concatenate(parts))
        one.set_flat(np.arange(one.n_parameters))
        assert np.array_equal(one.get_flat(), np.arange(one.n_parameters))
        assert one.layers[0].weight[0].tolist() == [0, 1, 2]
