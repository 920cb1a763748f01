"""Every kernel on plain arrays against float64 NumPy, on every instruction set."""

import numpy as np
import pytest
from core_nets import (
    ELEMENTWISE,
    EPS,
    ISAS,
    LAYOUTS,
    LOSSES,
    any_number_of_threads,
    using,
)
from formulas import (
    ACTIVATIONS,
    RULES,
    activate,
    backward,
    loss_delta,
    loss_value,
    options_for,
    softmax,
    targets_for,
)
from formulas import LOSSES as LOSS_FORMULAS
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Updates

from cmlp import _core

DTYPES = ["float32", "float64"]
DERIVABLE = [name for name in ELEMENTWISE if name != "step"]
# (batch, n_in, n_out): tile edges of every instruction set lie between these, and those of blocks
# of the sums.
SHAPES = [
    (1, 1, 1),
    (2, 3, 5),
    (7, 1, 70),
    (1, 70, 33),
    (13, 17, 31),
    (48, 64, 64),
    (49, 65, 129),
    (70, 33, 16),
    (17, 257, 47),
    (300, 19, 100),
    (33, 300, 200),
    (5, 513, 9),
    (7, 2100, 20),
    (2100, 7, 20),
    (7, 20, 2100),
]
FEW_SHAPES = [(1, 1, 1), (13, 17, 31), (49, 33, 65), (7, 300, 5)]
# (optimizer, settings): every rule by its defaults, and what acts before it.
SETTINGS = [(kind, {}) for kind in RULES]
SETTINGS += [(kind, settings) for kind, rule in RULES.items() for settings in rule.others]
SETTINGS += [(kind, {"weight_decay": 0.01}) for kind in RULES]
SETTINGS += [
    ("sgd", {"momentum": 0.9, "weight_decay": 0.01, "l1": 0.002}),
    ("sgd", {"clip_value": 0.3}),
    ("sgd", {"clip_norm": 0.5}),
    ("adamw", {"weight_decay": 0.01, "beta1": 0.8, "beta2": 0.99}),
    ("adagrad", {"eps": 1e-6}),
    ("adadelta", {"eps": 1e-6}),
]


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield request.param


def whole_numbers(rng, *shape, dtype, largest=4):
    """Their products and sums are exact: no rounding hides a wrong element."""
    return rng.integers(-largest, largest + 1, shape).astype(dtype)


def exact_products(batch, n_in, n_out, dtype, n_threads=1):
    """Every product of a dense layer on whole numbers, compared without tolerance."""
    rng = np.random.default_rng([batch, n_in, n_out])
    x, w, b, dy = (
        whole_numbers(rng, *shape, dtype=dtype)
        for shape in ((batch, n_in), (n_out, n_in), (n_out,), (batch, n_out))
    )
    xd, wd, bd, dyd = (a.astype(float) for a in (x, w, b, dy))
    y = _core.dense_forward(x, w, b, n_threads=n_threads)
    assert y.dtype == dtype
    assert np.array_equal(y, xd @ wd.T + bd)
    assert np.array_equal(_core.dense_forward(x, w, n_threads=n_threads), xd @ wd.T)
    relu = _core.dense_forward(x, w, b, activation="relu", n_threads=n_threads)
    assert np.array_equal(relu, np.maximum(xd @ wd.T + bd, 0))
    dx = dyd @ wd
    assert np.array_equal(_core.dense_backward_dx(dy, w, n_threads=n_threads), dx)
    through_relu = _core.dense_backward_dx(dy, w, x, activation="relu", n_threads=n_threads)
    assert np.array_equal(through_relu, dx * (xd > 0))
    dw, db = _core.dense_backward_dw(dy, x, n_threads=n_threads)
    assert np.array_equal(dw, dyd.T @ xd)
    assert np.array_equal(db, dyd.sum(axis=0))
    slots = [np.zeros_like(w), np.zeros_like(b)]
    _core.dense_backward_update(dy, x, w, b, "sgd", slots, 1.0, n_threads=n_threads)
    assert np.array_equal(w, wd - dyd.T @ xd)
    assert np.array_equal(b, bd - dyd.sum(axis=0))
    assert np.array_equal(slots[0], -(dyd.T @ xd))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimension", ["batch", "n_in", "n_out"])
def test_products_are_exact_at_every_size(isa, dimension, dtype):
    others = {"batch": 19, "n_in": 37, "n_out": 21}
    for size in range(1, 71):
        exact_products(**(others | {dimension: size}), dtype=dtype)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_exact(isa, shape, dtype, n_threads):
    exact_products(*shape, dtype, n_threads)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(ISAS),
    st.tuples(*[st.integers(1, 70)] * 3),
    st.sampled_from(DTYPES),
    st.sampled_from([1, 2]),
)
def test_products_are_exact_at_any_size(isa, shape, dtype, n_threads):
    with using(isa):
        exact_products(*shape, dtype, n_threads)


def bounded(actual, expected, bound):
    """Every element within its bound; NaN in neither."""
    assert actual.shape == expected.shape
    worst = np.abs(actual.astype(float) - expected) - bound
    assert (worst <= 0).all(), f"{(~(worst <= 0)).sum()} elements, off by {np.nanmax(worst)} more"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*ELEMENTWISE, "softmax"])
def test_dense_forward(isa, activation, dtype):
    rng = np.random.default_rng(1)
    for batch, n_in, n_out in FEW_SHAPES:
        x, w, b = (rng.normal(size=s).astype(dtype) for s in ((batch, n_in), (n_out, n_in), n_out))
        u = x.astype(float) @ w.T.astype(float) + b
        size = np.abs(x).astype(float) @ np.abs(w.T).astype(float) + np.abs(b)
        error = 2.0 * EPS[dtype] * (n_in + 4) * size
        y = _core.dense_forward(x, w, b, activation=activation)
        if activation == "step":
            sure = np.abs(u) > error
            assert np.array_equal(y[sure], activate("step", u)[sure])
            continue
        if activation == "softmax":
            error = error.max(axis=1, keepdims=True)
        expected = activate(activation, u)
        bounded(y, expected, 1.2 * error + 8 * EPS[dtype] * np.abs(expected))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", DERIVABLE)
def test_dense_backward_dx(isa, activation, dtype):
    rng = np.random.default_rng(2)
    needs_input = _core.activations()[activation]["needs_input"]
    for batch, n_in, n_out in FEW_SHAPES:
        dy, w = rng.normal(size=(batch, n_out)).astype(dtype), rng.normal(size=(n_out, n_in))
        w, u = w.astype(dtype), rng.normal(size=(batch, n_in)).astype(dtype)
        source = u if needs_input else _core.activation_forward(u, activation)
        dx = _core.dense_backward_dx(dy, w, source, activation=activation)
        expected = backward(activation, dy.astype(float) @ w.astype(float), u.astype(float))
        size = np.abs(dy).astype(float) @ np.abs(w).astype(float)
        bounded(dx, expected, EPS[dtype] * (2 * n_out + 20) * size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_backward_dw(isa, dtype):
    rng = np.random.default_rng(3)
    for batch, n_in, n_out in SHAPES:
        dy, x = (rng.normal(size=(batch, n)).astype(dtype) for n in (n_out, n_in))
        dw, db = _core.dense_backward_dw(dy, x)
        a, b = np.abs(dy).astype(float), np.abs(x).astype(float)
        error = 2.0 * EPS[dtype] * (batch + 2)
        bounded(dw, dy.T.astype(float) @ x.astype(float), error * (a.T @ b))
        bounded(db, dy.astype(float).sum(axis=0), error * a.sum(axis=0))


class One:
    """A weight and a bias for oracle.Updates."""

    def __init__(self, w, b):
        self.w, self.b = w.astype(float), b.astype(float)

    def parameters(self):
        return [(self.w, True), (self.b, False)]


def zero_slots(kind, *arrays):
    return [np.zeros_like(a) for a in arrays for _ in RULES[kind].slots]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_dense_backward_update(isa, kind, options, dtype):
    rng, options = np.random.default_rng(4), options_for(kind, **options)
    for batch, n_in, n_out in FEW_SHAPES:
        w, b = (rng.normal(size=s).astype(dtype) for s in ((n_out, n_in), n_out))
        one, updates, slots = One(w, b), Updates(kind, 0.01, **options), zero_slots(kind, w, b)
        for step in range(1, 4):
            dy, x = (rng.normal(size=(batch, n)).astype(dtype) for n in (n_out, n_in))
            dyd = dy.astype(float)
            updates.step(one, [dyd.T @ x], [dyd.sum(axis=0)])
            _core.dense_backward_update(dy, x, w, b, kind, slots, 0.01, step, **options)
        tolerance = {"rtol": 2e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-9}
        np.testing.assert_allclose(w, one.w, **tolerance)
        np.testing.assert_allclose(b, one.b, **tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_update(isa, kind, options, dtype):
    rng, options = np.random.default_rng(5), options_for(kind, **options)
    for n in (1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 70, 333):
        w = rng.normal(size=n).astype(dtype)
        w[::5] = 0.0
        one, slots = One(w, np.zeros(1)), zero_slots(kind, w)
        updates = Updates(kind, 0.01, **options)
        for step in range(1, 6):
            dw = rng.normal(size=n).astype(dtype)
            updates.step(one, [dw.astype(float)], [np.zeros(1)])
            assert _core.update(kind, w, dw, slots, 0.01, step, **options) is None
        tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12}
        np.testing.assert_allclose(w, one.w, **tolerance)


def test_update_leaves_what_lies_behind(isa):
    """A vector's length is kept to, whatever the width of a register."""
    for n in range(1, 40):
        around = np.full(n + 2, 7.0, np.float32)
        slot = np.full(n + 2, 7.0, np.float32)
        _core.update("sgd", around[1:-1], np.ones(n, np.float32), [slot[1:-1]], 0.5, momentum=0.5)
        assert around[0] == around[-1] == slot[0] == slot[-1] == 7.0
        assert (around[1:-1] == 10.0).all()


def test_eps_inside(isa):
    """Adam's other form: eps is added before the bias correction is taken out."""
    w, g, slots = np.ones(5), np.full(5, 0.3), [np.zeros(5), np.zeros(5)]
    _core.update("adam", w, g, slots, 0.1, 1, eps=0.01, eps_inside=1.0)
    m, v = 0.1 * 0.3, 0.001 * 0.3**2
    step = 0.1 * np.sqrt(1 - 0.999) / (1 - 0.9)
    np.testing.assert_allclose(w, 1 - step * m / (np.sqrt(v) + 0.01), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_activations(isa, activation, dtype):
    rng = np.random.default_rng(6)
    needs_input = _core.activations()[activation]["needs_input"]
    for n in (*range(1, 71), 333):
        u = (3 * rng.normal(size=n)).astype(dtype)
        dy = rng.normal(size=n).astype(dtype)
        y = _core.activation_forward(u, activation)
        expected = activate(activation, u.astype(float))
        condition = ACTIVATIONS[activation].condition(u.astype(float))
        bounded(y, expected, 5 * EPS[dtype] * np.abs(expected) * condition)
        if activation == "step":
            continue
        dx = _core.activation_backward(dy, u if needs_input else y, activation)
        expected = backward(activation, dy.astype(float), u.astype(float))
        bounded(dx, expected, 8 * EPS[dtype] * np.abs(dy))
        _core.activation_backward(dy, u if needs_input else y, activation, out=dy)
        assert np.array_equal(dy, dx)
        assert _core.activation_forward(u, activation, out=u) is u
        assert np.array_equal(u, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax(isa, dtype):
    rng = np.random.default_rng(7)
    for rows, n in [(3, n) for n in range(1, 71)] + [(1, 333), (70, 10), (17, 1000)]:
        u = (5 * rng.normal(size=(rows, n))).astype(dtype)
        expected = softmax(u.astype(float))
        y = _core.softmax(u)
        np.testing.assert_allclose(y, expected, rtol=40 * EPS[dtype])
        error = 8 * EPS[dtype] * np.abs(u).max()
        np.testing.assert_allclose(_core.log_softmax(u), np.log(expected), atol=error, rtol=error)
        dy = rng.normal(size=(rows, n)).astype(dtype)
        dx = _core.activation_backward(dy, y, "softmax")
        d = backward("softmax", dy.astype(float), u.astype(float))
        np.testing.assert_allclose(dx, d, rtol=0, atol=50 * EPS[dtype])
        shifted = _core.softmax(u.astype(float) + 100.0)
        np.testing.assert_allclose(shifted, expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(isa, loss, dtype, weighted):
    rng = np.random.default_rng(8)
    params = (None, *LOSS_FORMULAS[loss].others)
    tolerance = {"rtol": 60 * EPS[dtype], "atol": 30 * EPS[dtype]}
    for rows, n in [(5, n) for n in range(1, 71)] + [(1, 7), (16, 10), (70, 10), (33, 300)]:
        y = (2 * rng.normal(size=(rows, n))).astype(dtype)
        w = rng.random(rows).astype(dtype) + 0.1 if weighted else None
        choices = [targets_for(loss, rng, rows, n, dtype)]
        if loss == "softmax_cross_entropy":
            choices.append(rng.integers(0, n, rows))
        for t in choices:
            for param in params:
                yd = y.astype(float)
                expected = loss_value(loss, yd, t, w, param)
                value = _core.loss_value(loss, param, y, t, w)
                np.testing.assert_allclose(value, expected, **tolerance)
                out = np.full_like(y, np.nan)
                d, same = _core.loss_delta(loss, param, y, t, w, out=out)
                assert d is out
                assert same == value
                np.testing.assert_allclose(d, loss_delta(loss, yd, t, w, param), **tolerance)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_delta_in_place(isa, loss, rng):
    y, t = rng.normal(size=(37, 11)), targets_for(loss, rng, 37, 11)
    expected, value = _core.loss_delta(loss, None, y.copy(), t)
    d, same = _core.loss_delta(loss, None, y, t, out=y)
    assert d is y
    assert same == value
    assert np.array_equal(d, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(isa, dtype, rng):
    """Large enough that 8 threads are really given work."""
    dy, x = (rng.normal(size=(331, n)).astype(dtype) for n in (101, 117))
    w, b = rng.normal(size=(101, 117)).astype(dtype), rng.normal(size=101).astype(dtype)
    many, more = (rng.normal(size=(411, 413)).astype(dtype) for _ in range(2))

    def run(n):
        w2, slots = many.copy(), [np.zeros_like(many), np.zeros_like(many)]
        _core.update("adam", w2, more, slots, 0.1, n_threads=n)
        return [
            _core.dense_forward(x, w, b, activation="gelu", n_threads=n),
            _core.dense_backward_dx(dy, w, x, activation="tanh", n_threads=n),
            *_core.dense_backward_dw(dy, x, n_threads=n),
            _core.activation_forward(many, "tanh", n_threads=n),
            _core.activation_backward(more, many, "gelu", n_threads=n),
            _core.softmax(many, n_threads=n),
            _core.log_softmax(many, n_threads=n),
            w2,
            *slots,
        ]

    one = [a.tobytes() for a in run(1)]
    with any_number_of_threads():
        for n in (2, 3, 4, 8):
            assert [a.tobytes() for a in run(n)] == one


# ---- what comes in ----


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, rng):
    """Any layout gives the bits of a clean copy, and no input is changed."""
    lay = LAYOUTS[layout]
    x, w, b, dy = (rng.normal(size=s) for s in ((7, 5), (6, 5), (6,), (7, 6)))
    x2, w2, b2, dy2 = laid = [lay(a) for a in (x, w, b, dy)]
    before = [np.array(a) for a in laid]
    pairs = [
        (_core.dense_forward(x2, w2, b2), _core.dense_forward(x, w, b)),
        (_core.dense_backward_dx(dy2, w2, x2, "tanh"), _core.dense_backward_dx(dy, w, x, "tanh")),
        *zip(_core.dense_backward_dw(dy2, x2), _core.dense_backward_dw(dy, x), strict=True),
        (_core.activation_forward(x2, "gelu"), _core.activation_forward(x, "gelu")),
        (_core.softmax(x2), _core.softmax(x)),
    ]
    for actual, expected in pairs:
        assert actual.dtype == np.float64
        assert actual.tobytes() == expected.tobytes()
    for a, old in zip(laid, before, strict=True):
        assert np.array_equal(a, old)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int8", "float64"),
        ("uint64", "float64"),
        ("bool", "float64"),
        (">f4", "float32"),
        (">f8", "float64"),
        (">i4", "float64"),
    ],
)
def test_types(given, taken):
    x = np.array([[0, 1], [1, 1]], given)
    y = _core.dense_forward(x, x)
    assert y.dtype == taken
    assert y.tolist() == [[1, 1], [1, 2]]
    assert _core.activation_forward(x, "relu").dtype == taken


def test_mixed_types_take_the_wider_float():
    x = np.ones((2, 3), np.float32)
    assert _core.dense_forward(x, np.ones((4, 3), np.int64)).dtype == np.float32
    assert _core.dense_forward(x, np.ones((4, 3))).dtype == np.float64


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0,), (0, 3), (3, 0)])
def test_elementwise_kernels_take_any_shape(shape, rng):
    x = rng.normal(size=shape)
    y = _core.activation_forward(x, "tanh")
    assert y.shape == shape
    np.testing.assert_allclose(y, np.tanh(x))
    assert _core.activation_backward(x, y, "tanh").shape == shape
    assert _core.softmax(x).shape == shape


X, W, B, DY = np.ones((4, 3)), np.ones((2, 3)), np.ones(2), np.ones((4, 2))
LABELS = np.zeros(4, np.int64)


def read_only(shape):
    a = np.zeros(shape)
    a.flags.writeable = False
    return a


READ_ONLY = read_only((4, 3))


def overlapping(shape):
    """Two arrays of this shape that share all but a row."""
    memory = np.zeros((shape[0] + 1, *shape[1:]))
    return memory[:-1], memory[1:]


def loss_of(name, y=DY, t=DY, w=None, out=None):
    return _core.loss_delta(name, None, y, t, w, out)


def update_of(w=X, dw=X, slots=None, step=1, **rest):
    slots = [np.zeros_like(X)] if slots is None else slots
    return _core.update("sgd", w.copy(), dw, slots, 0.1, step, **rest)


def backward_update(dy=DY, x=X, slots=None, **rest):
    slots = [np.zeros((2, 3)), np.zeros(2)] if slots is None else slots
    return _core.dense_backward_update(dy, x, W.copy(), B.copy(), "sgd", slots, 0.1, **rest)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: _core.dense_forward(X[0], W), ValueError, "x"),
        (lambda: _core.dense_forward(X, W[:, :2]), ValueError, "w"),
        (lambda: _core.dense_forward(X, B), ValueError, "w"),
        (lambda: _core.dense_forward(X, W, np.ones(3)), ValueError, "b"),
        (lambda: _core.dense_forward(X[:0], W), ValueError, "batch"),
        (lambda: _core.dense_forward(X[:, :0], W[:, :0]), ValueError, "n_in"),
        (lambda: _core.dense_forward("text", W), TypeError, "x"),
        (lambda: _core.dense_forward(X + 1j, W), TypeError, "x"),
        (lambda: _core.dense_forward(X, W, activation="none"), ValueError, "activation"),
        (lambda: _core.dense_forward(X, W, n_threads=0), ValueError, "n_threads"),
        (lambda: _core.dense_forward(X, W, n_threads=-1), ValueError, "n_threads"),
        (lambda: _core.dense_forward(X, W, out=[[0.0] * 2] * 4), TypeError, "out"),
        (lambda: _core.dense_forward(X, W, out=np.empty((4, 2), "f4")), TypeError, "out"),
        (lambda: _core.dense_forward(X, W, out=np.empty((2, 4)).T), TypeError, "out"),
        (lambda: _core.dense_forward(X, W, out=np.empty((4, 3))), ValueError, "out"),
        (lambda: _core.dense_forward(X, W, out=read_only((4, 2))), ValueError, "out"),
        (lambda: _core.dense_forward(X, X[:3], out=X[:, :].reshape(4, 3)), ValueError, "out"),
        (lambda: _core.dense_backward_dx(DY[0], W), ValueError, "dy"),
        (lambda: _core.dense_backward_dx(DY, X), ValueError, "w"),
        (lambda: _core.dense_backward_dx(DY, W, DY, "tanh"), ValueError, "y"),
        (lambda: _core.dense_backward_dx(DY, W, None, "tanh"), ValueError, "y"),
        (lambda: _core.dense_backward_dx(DY, W, X, "softmax"), ValueError, "activation"),
        (lambda: _core.dense_backward_dx(DY, W, X, "step"), ValueError, "activation"),
        (lambda: _core.dense_backward_dw(DY, X[:3]), ValueError, "x"),
        (lambda: _core.dense_backward_dw(DY, X, out=np.empty((3, 2))), ValueError, "out"),
        (lambda: _core.dense_backward_dw(DY, X, out_db=np.empty(3)), ValueError, "out_db"),
        (lambda: backward_update(x=X[:3]), ValueError, "x"),
        (lambda: backward_update(slots=[np.zeros((2, 3))]), ValueError, "slots"),
        (lambda: backward_update(slots=[np.zeros((2, 3)), read_only(2)]), ValueError, "slots"),
        (lambda: backward_update(step=0), ValueError, "step"),
        (lambda: backward_update(speed=1.0), TypeError, "speed"),
        (lambda: _core.activation_forward(X, "none"), ValueError, "activation"),
        (lambda: _core.activation_forward(X, "relu", out=DY.copy()), ValueError, "out"),
        (lambda: _core.activation_forward(READ_ONLY, "relu", out=READ_ONLY), ValueError, "out"),
        (lambda: _core.activation_backward(READ_ONLY, X, "relu", out=READ_ONLY), ValueError, "out"),
        (lambda: _core.activation_backward(X, DY, "relu"), ValueError, "y"),
        (lambda: _core.activation_backward(X, X, "step"), ValueError, "activation"),
        (lambda: _core.softmax(X, out=read_only((4, 3))), ValueError, "out"),
        (lambda: _core.softmax(READ_ONLY, out=READ_ONLY), ValueError, "out"),
        (lambda: _core.softmax(X, n_threads=0), ValueError, "n_threads"),
        (lambda: loss_of("none"), ValueError, "loss"),
        (lambda: loss_of("huber", t=X), ValueError, "t"),
        (lambda: loss_of("huber", t=DY.astype("f4")), TypeError, "t"),
        (lambda: loss_of("huber", t=LABELS), TypeError, "t"),
        (lambda: loss_of("huber", w=np.ones(3)), ValueError, "w"),
        (lambda: loss_of("huber", out=X.copy()), ValueError, "out"),
        (lambda: loss_of("huber", out=read_only((4, 2))), ValueError, "out"),
        (lambda: loss_of("huber", y=DY.tolist()), TypeError, "y"),
        (lambda: loss_of("huber", y=LABELS), TypeError, "y"),
        (lambda: loss_of("softmax_cross_entropy", t=[0, 1, 0, 1]), TypeError, "t"),
        (lambda: loss_of("softmax_cross_entropy", t=LABELS - 1), ValueError, "t"),
        (lambda: loss_of("softmax_cross_entropy", t=LABELS + 2), ValueError, "t"),
        (lambda: loss_of("softmax_cross_entropy", t=LABELS[:3]), ValueError, "t"),
        (lambda: loss_of("softmax_cross_entropy", t=LABELS.astype("i4")), TypeError, "t"),
        (lambda: update_of(dw=DY), ValueError, "dw"),
        (lambda: update_of(slots=[]), ValueError, "slots"),
        (lambda: update_of(slots=[DY.copy()]), ValueError, "slots"),
        (lambda: update_of(step=0), ValueError, "step"),
        (lambda: update_of(speed=1.0), TypeError, "speed"),
        (lambda: update_of(n_threads=0), ValueError, "n_threads"),
        (lambda: _core.update("best", X.copy(), X, [], 0.1), ValueError, "kind"),
        (lambda: _core.update("sgd", X.tolist(), X, [X.copy()], 0.1), TypeError, "w"),
        (lambda: _core.set_isa("none"), ValueError, "name"),
        (lambda: _core.permutation(-1, 0, 0), ValueError, "n"),
    ],
)
def test_bad_arguments_are_named(call, error, names):
    with pytest.raises(error, match=rf"^{names}\b"):
        call()
    for a in (X, W, B, DY):
        assert (a == 1).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_delta_does_not_write_over_its_inputs(loss):
    y, out = overlapping((4, 2))
    with pytest.raises(ValueError, match="^out"):
        _core.loss_delta(loss, None, y, DY, out=out)


@pytest.mark.parametrize(
    "kernel", [_core.softmax, lambda x, out: _core.activation_forward(x, "relu", out=out)]
)
def test_elementwise_out_is_the_input_or_apart(kernel):
    x, out = overlapping((4, 2))
    with pytest.raises(ValueError, match="^out"):
        kernel(x, out=out)
    assert (x == 0).all()
