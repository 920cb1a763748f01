"""Arrays in every layout and of every type, wherever one may be given.

The result is that of a clean copy, bit for bit, or the documented error; no input is changed.
"""

import tempfile

import numpy as np
import pytest
from core_nets import LAYOUTS
from hypothesis import given, settings
from hypothesis import strategies as st

import cmlp
from cmlp import kernels

N, N_IN, N_OUT = 12, 4, 3


class Special(np.ndarray):
    """A subclass that carries something of its own."""

    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", "cm")


def memory_mapped(a):
    with tempfile.NamedTemporaryFile() as file:
        file.write(a.tobytes())
        file.flush()
        return np.memmap(file.name, a.dtype, "r", shape=a.shape)


MORE_LAYOUTS = {
    **LAYOUTS,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "memory-mapped": memory_mapped,
    "masked, nothing hidden": lambda a: np.ma.masked_array(a, mask=np.zeros(a.shape, bool)),
    "subclass": lambda a: a.view(Special),
    "record array": lambda a: a.view(np.recarray),
    "objects": lambda a: a.astype(object),
    "stride of zero": lambda a: np.broadcast_to(a[:1], a.shape),
    "part of a row": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
}
OTHER_TYPES = {"objects", "record array"}  # which labels and kernels do not take


def net(dtype="float64"):
    return cmlp.Sequential(
        cmlp.Dense(N_IN, 5, activation="tanh"), cmlp.Dropout(0.2), cmlp.Dense(5, N_OUT),
        dtype=dtype, seed=3,
    )  # fmt: skip


def trainer(loss=None, dtype="float64"):
    return cmlp.Trainer(net(dtype), loss or cmlp.SquaredError(), cmlp.SGD(0.1), n_threads=1)


def trained(run, *args, **kwargs):
    """Bits of what a training gives and leaves."""
    t = trainer(kwargs.pop("loss", None))
    result = run(t, *args, **kwargs)
    losses = result["loss"] if isinstance(result, cmlp.History) else result
    return [np.array(losses), t.net.get_flat()]


def gradients(dy, x):
    n = net()
    n.forward(x, training=True)
    dx = n.backward(dy)
    return [dx, n.get_flat_grad()]


def loss_parts(loss, y, t, w):
    return [np.array(loss.forward(y, t, w)), loss.backward()]


def assigned(w, b):
    layer = net().layers[0]
    layer.weight, layer.bias = w, b
    return [layer.weight, layer.bias]


def flat(v):
    n = net()
    n.set_flat(v)
    return [n.get_flat()]


def weighted(v):
    t = trainer(cmlp.SoftmaxCrossEntropy(class_weight=v))
    return [np.array(t.train_step(np.ones((N, N_IN)), np.arange(N) % N_OUT))]


def fit(t, *args, **kwargs):
    return t.fit(*args, epochs=2, batch_size=5, progress=False, **kwargs)


SHAPES = {
    "x": (N, N_IN), "y": (N, N_OUT), "t": (N, N_OUT), "w": (N,), "row": (N_IN,), "dy": (N, N_OUT),
    "weight": (5, N_IN), "bias": (5,), "flat": (5 * N_IN + 5 + 5 * N_OUT + N_OUT,),
    "dx": (N, N_IN), "per_class": (N_OUT,), "w1": (N_OUT, N_IN), "b1": (N_OUT,),
}  # fmt: skip
# Name of a call -> what it takes, and what comes of it.
CALLS = {
    "predict": ("x", lambda x: [net().predict(x)]),
    "predict of a row": ("row", lambda row: [net().predict(row)]),
    "predict_proba": ("x", lambda x: [net().predict_proba(x)]),
    "forward": ("x", lambda x: [net().forward(x)]),
    "backward": ("dy x", gradients),
    "layers": ("x dy", lambda x, dy: [cmlp.Tanh().forward(x), cmlp.Softmax().forward(dy)]),
    "assignment": ("weight bias", assigned),
    "set_flat": ("flat", flat),
    "train_step": ("x y w", lambda x, y, w: trained(cmlp.Trainer.train_step, x, y, w)),
    "fit": ("x y w", lambda x, y, w: trained(fit, x, y, sample_weight=w, validation=(x, y))),
    "evaluate": ("x y w", lambda *a: [np.array([*trainer().evaluate(*a).values()])]),
    "squared error": ("y t w", lambda *a: loss_parts(cmlp.SquaredError(), *a)),
    "huber": ("y t w", lambda *a: loss_parts(cmlp.Huber(), *a)),
    "cross-entropy": ("y t w", lambda y, t, w: loss_parts(cmlp.BinaryCrossEntropy(), y, t, w)),
    "class_weight": ("per_class", weighted),
    "dense_forward": ("x w1 b1", lambda x, w, b: [kernels.dense_forward(x, w, b)]),
    "dense_backward_dx": ("dy w1", lambda dy, w: [kernels.dense_backward_dx(dy, w)]),
    "dense_backward_dw": ("dy x", lambda dy, x: [*kernels.dense_backward_dw(dy, x)]),
    "activation_forward": ("x", lambda x: [kernels.activation_forward(x, "gelu")]),
    "activation_backward": ("dx x", lambda dx, x: [kernels.activation_backward(dx, x, "tanh")]),
    "softmax": ("x", lambda x: [kernels.softmax(x), kernels.log_softmax(x)]),
}


KERNELS = {name for name in CALLS if name.removesuffix("_dx").removesuffix("_dw") in {
    "dense_forward", "dense_backward", "activation_forward", "activation_backward", "softmax",
}}  # fmt: skip


def clean_copy(a):
    """The same numbers in a plain array of the same type."""
    found = np.array(np.asarray(a), order="C")
    if found.dtype == object:
        found = found.astype(float)
    return found.astype(found.dtype.newbyteorder("="))


def bits(results):
    return [(np.asarray(r).dtype, np.asarray(r).shape, np.asarray(r).tobytes()) for r in results]


def content(a):
    return np.asarray(a).tobytes() if not isinstance(a, list) else repr(a)


@settings(max_examples=300, deadline=None)
@given(
    call=st.sampled_from(sorted(CALLS)),
    layouts=st.lists(st.sampled_from(sorted(MORE_LAYOUTS)), min_size=3, max_size=3),
    dtypes=st.lists(
        st.sampled_from(["f4", "f8", "f2", "g", "i1", "i4", "u8", "?"]), min_size=3, max_size=3
    ),
    seed=st.integers(0, 99),
)
def test_any_layout_and_type(call, layouts, dtypes, seed):
    rng = np.random.default_rng(seed)
    names, function = CALLS[call]
    given_arrays = []
    for name, layout, dtype in zip(names.split(), layouts, dtypes, strict=False):
        a = rng.integers(0, 2, SHAPES[name]).astype(dtype)
        a.flat[0] = 1  # weights are not all zero
        given_arrays.append(MORE_LAYOUTS[layout](a))
    before = [content(a) for a in given_arrays]
    if call in KERNELS and "objects" in layouts[: len(given_arrays)]:
        with pytest.raises(TypeError, match="has dtype object; expected numbers"):
            function(*given_arrays)
        return
    found = bits(function(*given_arrays))
    assert [content(a) for a in given_arrays] == before, "an input was changed"
    assert found == bits(function(*map(clean_copy, given_arrays)))


@pytest.mark.parametrize("layout", sorted(set(MORE_LAYOUTS) - OTHER_TYPES))
@pytest.mark.parametrize("dtype", ["i8", "i1", "u4", "f4", "f8"])
def test_labels(layout, dtype, rng):
    labels = rng.integers(0, N_OUT, N).astype(dtype)
    given_y, x = MORE_LAYOUTS[layout](labels), rng.normal(size=(N, N_IN))
    before, loss = content(given_y), cmlp.SoftmaxCrossEntropy
    found = trained(fit, x, given_y, loss=loss())
    assert content(given_y) == before
    assert bits(found) == bits(trained(fit, x, np.array(given_y, np.int64), loss=loss()))
    assert trainer(loss()).evaluate(x, given_y) == trainer(loss()).evaluate(
        x, np.array(given_y, np.int64)
    )


# ---- what is refused ----


def replaced(names, which, value):
    """Arrays for a call, one of them replaced."""
    return [value if name == which else np.ones(SHAPES[name]) for name in names.split()]


WHERE = [(call, name) for call, (names, _) in CALLS.items() for name in names.split()]


@pytest.mark.parametrize(("call", "name"), WHERE)
def test_no_dimensions_and_no_numbers(call, name):
    names, function = CALLS[call]
    shape = SHAPES[name]
    for value in (np.ones(()), np.float32(1), 1.0, np.ones((0, *shape[1:])), np.ones((*shape, 0))):
        if call in ("activation_forward", "softmax"):  # which take any shape
            assert function(value)[0].shape == np.shape(value)
            continue
        if call in ("predict", "predict_proba") and np.shape(value) == (0, *shape[1:]):
            assert len(function(value)[0]) == 0  # no rows give no rows
            continue
        with pytest.raises((ValueError, TypeError), match="expected"):
            function(*replaced(names, name, value))


@pytest.mark.parametrize(("call", "name"), WHERE)
def test_what_are_no_numbers(call, name):
    names, function = CALLS[call]
    good = np.ones(SHAPES[name])
    for value in (good + 1j, good.astype("M8[s]"), good.astype("U1"), good.astype("V8"), None):
        if value is None and name in ("w", "bias", "b1", "per_class"):
            continue
        with pytest.raises((ValueError, TypeError)):
            function(*replaced(names, name, value))


@pytest.mark.parametrize(("call", "name"), WHERE)
def test_hidden_entries(call, name):
    names, function = CALLS[call]
    value = np.ma.masked_array(np.ones(SHAPES[name]))
    value[-1] = np.ma.masked
    with pytest.raises(ValueError, match="masked array with masked entries"):
        function(*replaced(names, name, value))


def test_hidden_entries_are_refused_again():
    """Also by the shorter way that a second prediction takes."""
    n, x = net(), np.ones((N, N_IN))
    n.predict(x)
    x = np.ma.masked_array(x, mask=np.eye(N, N_IN))
    for _ in range(2):
        with pytest.raises(ValueError, match="masked array with masked entries"):
            n.predict(x)
        with pytest.raises(ValueError, match="masked array with masked entries"):
            n.predict(x[0])


# ---- out ----

OUTS = {
    "predict": lambda x, out: NET.predict(x, out=out),
    "dense_forward": lambda x, out: kernels.dense_forward(x, np.eye(N_IN), out=out),
    "dense_backward_dx": lambda x, out: kernels.dense_backward_dx(x, np.eye(N_IN), out=out),
    "activation_forward": lambda x, out: kernels.activation_forward(x, "tanh", out=out),
    "activation_backward": lambda x, out: kernels.activation_backward(x, x, "tanh", out=out),
    "softmax": lambda x, out: kernels.softmax(x, out=out),
    "log_softmax": lambda x, out: kernels.log_softmax(x, out=out),
}
NET = cmlp.Sequential(cmlp.Dense(N_IN, N_IN, activation="tanh"), dtype="float64", seed=0)


@settings(max_examples=200, deadline=None)
@given(
    call=st.sampled_from(sorted(OUTS)),
    at=st.integers(0, 40),
    out_at=st.integers(0, 40),
    stride=st.integers(1, 2),
)
def test_out_in_the_same_memory(call, at, out_at, stride):
    """Apart, or the very same array where the kernel allows that; else refused and untouched."""
    memory = np.linspace(-1, 1, 2 * 5 * N_IN + 50)
    x = memory[at:][: 5 * N_IN * stride : stride].reshape(5, N_IN)
    out = memory[out_at:][: 5 * N_IN].reshape(5, N_IN)
    before = memory.copy()
    expected = OUTS[call](x.copy(), None)
    try:
        found = OUTS[call](x, out)
    except ValueError as error:
        assert "overlaps" in str(error)
        assert np.may_share_memory(x, out)
        assert np.array_equal(memory, before)
        return
    assert found is out
    assert np.array_equal(out, expected)
    outside = np.ones(memory.size, bool)
    outside[out_at : out_at + out.size] = False
    assert np.array_equal(memory[outside], before[outside])


@pytest.mark.parametrize("call", sorted(OUTS))
@pytest.mark.parametrize(
    "out",
    [
        np.empty((5, N_IN), "f4"),
        np.empty((5, N_IN), ">f8"),
        np.empty((4, N_IN)),
        np.empty((N_IN, 5)).T,
        np.empty((5, 2 * N_IN))[:, ::2],
        np.frombuffer(bytearray(5 * N_IN * 8 + 1), offset=1).reshape(5, N_IN),
        np.broadcast_to(1.0, (5, N_IN)),
        np.empty(()),
        [[0.0] * N_IN] * 5,
    ],
    ids=lambda out: f"{np.asarray(out).dtype.str} {np.shape(out)} {type(out).__name__}",
)
def test_out_that_does_not_fit(call, out):
    x = np.linspace(-1, 1, 5 * N_IN).reshape(5, N_IN)
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match="^out"):
            OUTS[call](x, out)
        OUTS[call](x, None)
