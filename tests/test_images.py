"""Layers of planes: convolution, pooling and changes of shape, alone, in nets and in training."""

import copy
import pickle

import numpy as np
import pytest
from core_nets import any_number_of_threads
from trainer_parts import Cut, Stopped

import cmlp

RNG = np.random.default_rng(0)

TABLE = [[1, 1, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1]]

# Layers with the shape of their input: odd sizes, strides, padding, overlapping and ragged windows.
CASES = [
    (lambda: cmlp.Conv2D(1, 1, 3), (1, 5, 5)),
    (lambda: cmlp.Conv2D(3, 5, (5, 3), padding="same", activation="tanh"), (3, 8, 7)),
    (lambda: cmlp.Conv2D(2, 7, (2, 4), stride=(2, 3), padding=(1, 0), bias=False), (2, 9, 11)),
    (lambda: cmlp.Conv2D(4, 9, 1, activation="gelu"), (4, 6, 14)),
    (lambda: cmlp.Conv2D(3, 6, 4, activation=cmlp.ELU(0.5)), (3, 4, 4)),
    (lambda: cmlp.Conv2D(2, 4, (2, 6), padding="same"), (2, 5, 6)),
    (
        lambda: cmlp.Conv2D(3, 4, (3, 2), padding=1, activation="tanh", connections=TABLE),
        (3, 5, 6),
    ),
    (lambda: cmlp.Conv2D(3, 4, 3, stride=2, bias=False, connections=TABLE), (3, 7, 8)),
    (lambda: cmlp.SubSample2D(2), (3, 4, 6)),
    (lambda: cmlp.SubSample2D((3, 2), stride=(1, 2), padding=1, activation="tanh"), (2, 7, 8)),
    (lambda: cmlp.MaxPool2D(2), (3, 6, 8)),
    (lambda: cmlp.MaxPool2D(3), (2, 12, 12)),
    (lambda: cmlp.MaxPool2D((3, 2), stride=(2, 1), padding=1), (2, 7, 9)),
    (lambda: cmlp.MaxPool2D(3, stride=2, ceil_mode=True), (2, 8, 6)),
    (lambda: cmlp.AvgPool2D((2, 3), stride=2, padding=(0, 1)), (3, 7, 8)),
    (lambda: cmlp.AvgPool2D(3, stride=2, padding=1, ceil_mode=True), (2, 8, 6)),
]
IDS = [repr(make()) for make, _ in CASES]


def windows(layer, x, fill):
    """Every window of padded x: (batch, channels, height, width, rows, columns)."""
    out = layer.shape_after(x.shape[1:])
    top, left, bottom, right = layer.margins
    (rows, columns), (down, across) = layer.kernel, layer.stride
    bottom = max(bottom, (out[1] - 1) * down + rows - x.shape[2] - top)
    right = max(right, (out[2] - 1) * across + columns - x.shape[3] - left)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, (2, 3))
    return views[:, :, ::down, ::across][:, :, : out[1], : out[2]]


def expected(layer, x):
    """What a layer gives, in NumPy."""
    if isinstance(layer, cmlp.MaxPool2D):
        return windows(layer, x, -np.inf).max((-1, -2))
    if isinstance(layer, cmlp.AvgPool2D):
        top, left, bottom, right = layer.margins
        padding = ((0, 0), (0, 0), (top, bottom), (left, right))
        padded, inside = np.pad(x, padding), np.pad(np.ones_like(x), padding, constant_values=1.0)
        flat = cmlp.AvgPool2D(layer.kernel, layer.stride, ceil_mode=layer.ceil_mode)
        sums, counts = (windows(flat, a, 0.0).sum((-1, -2)) for a in (padded, inside))
        return sums / counts
    views, weight = windows(layer, x, 0.0), layer.weight
    if isinstance(layer, cmlp.SubSample2D):
        y = views.sum((-1, -2)) * weight[:, np.newaxis, np.newaxis]
    else:
        if layer.connections is not None:
            weight = np.zeros((layer.channels_out, layer.channels_in, *layer.kernel))
            weight[layer.connections != 0] = layer.weight
        y = np.einsum("bqijuv,oquv->boij", views, weight)
    if layer.has_bias:
        y += layer.bias[:, np.newaxis, np.newaxis]
    if layer.activation == "identity":
        return y
    setting = [0.5] if layer.activation == "elu" else []
    function = {"tanh": cmlp.Tanh, "gelu": cmlp.GELU, "elu": cmlp.ELU}[layer.activation](*setting)
    return function.forward(y.reshape(len(y), -1)).reshape(y.shape)


def built(make, shape, dtype="float64"):
    layer = make().build(shape, dtype, rng=1)
    if getattr(layer, "has_bias", False):
        layer.bias = np.linspace(-1, 1, len(layer.bias))
    if isinstance(layer, cmlp.SubSample2D):
        layer.weight = np.linspace(-0.5, 1, len(layer.bias))
    return layer


@pytest.mark.parametrize(("make", "shape"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs(make, shape, dtype):
    layer = built(make, shape, dtype)
    x = RNG.normal(size=(19, *shape)).astype(dtype)
    y = layer.forward(x)
    assert y.shape == (19, *layer.out_shape)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(y, expected(layer, x), rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize(("make", "shape"), CASES, ids=IDS)
def test_gradients_against_differences(make, shape):
    layer = built(make, shape)
    x = RNG.permutation(np.arange(3.0 * np.prod(shape))).reshape(3, *shape) / 97
    dy = RNG.normal(size=(3, *layer.out_shape))
    layer.forward(x)
    dx = layer.backward(dy)
    gradients = layer.gradients()

    def slope(a, at, step=1e-6):
        before = a[at]
        values = []
        for value in (before + step, before - step):
            a[at] = value
            for name in parameters:
                setattr(layer, name, parameters[name])
            values.append((layer.forward(x) * dy).sum())
        a[at] = before
        return (values[0] - values[1]) / (2 * step)

    parameters = {name: np.array(a) for name, a in layer.parameters().items()}
    for name, a, found in [("x", x, dx), *((k, parameters[k], gradients[k]) for k in parameters)]:
        for place in RNG.choice(a.size, min(25, a.size), replace=False):
            at = np.unravel_index(place, a.shape)
            assert found[at] == pytest.approx(slope(a, at), rel=1e-5, abs=1e-7), (name, at)


def test_of_equal_ones_the_first_row_by_row_has_the_gradient():
    layer = cmlp.MaxPool2D(2).build((1, 2, 4))
    layer.forward(np.float32([[[[1, 2, 3, 3], [2, 2, 3, 1]]]]))
    dx = layer.backward(np.float32([[[[5, 7]]]]))
    assert dx.tolist() == [[[[0, 5, 7, 0], [0, 0, 0, 0]]]]


def test_sums_of_integers_are_exact():
    layer = cmlp.Conv2D(40, 6, 5, padding=2).build((40, 9, 10), rng=0)
    layer.weight = RNG.integers(-8, 9, layer.weight.shape)
    x = RNG.integers(-8, 9, (35, 40, 9, 10)).astype(np.float32)
    dy = RNG.integers(-8, 9, (35, 6, 9, 10)).astype(np.float32)
    y, wide = layer.forward(x), copy.deepcopy(layer)
    assert np.array_equal(y, expected(wide, x.astype(float)))
    layer.backward(dy)
    views = windows(layer, x.astype(float), 0.0)
    assert np.array_equal(layer.grad_weight, np.einsum("boij,bqijuv->oquv", dy, views))
    assert np.array_equal(layer.grad_bias, dy.sum((0, 2, 3)))


def convnet(dtype="float32", **settings):
    return cmlp.Sequential(
        cmlp.Conv2D(1, 6, 3, padding=1, activation="relu"),
        cmlp.MaxPool2D(2),
        cmlp.Conv2D(6, 7, (3, 2), stride=(2, 1)),
        cmlp.Tanh(),
        cmlp.SubSample2D(2, stride=1, activation="tanh"),
        cmlp.Conv2D(7, 7, 1, connections=1 - np.eye(7)),
        cmlp.AvgPool2D(1),
        cmlp.Dropout(0.1),
        cmlp.Flatten(),
        cmlp.Dense(28, 4),
        **{"dtype": dtype, "seed": 3, "n_in": (1, 12, 12), **settings},
    )


@pytest.fixture(scope="module")
def images():
    """Bars at one of four places, with noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 150)
    x = rng.normal(0, 0.3, (150, 1, 12, 12)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        image[0, 2 + 2 * label] += 1.0
    return x, y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sample_alone_has_the_same_bits(dtype, images):
    net, x = convnet(dtype), images[0][:53]
    y = net.predict(x)
    for i in (0, 7, 16, 47, 52):
        assert np.array_equal(net.predict(x[i : i + 1])[0], y[i])
        assert np.array_equal(net.predict(x[i]), y[i])
    assert np.array_equal(net.predict(x[3:20]), y[3:20])


@pytest.mark.parametrize("batch_size", [20, 64, 150])
def test_training_has_the_same_bits_for_any_threads(batch_size, images):
    found = []
    with any_number_of_threads():
        for n_threads in (1, 2, 3, 8):
            net = convnet(n_threads=n_threads)
            trainer = cmlp.Trainer(
                net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(), n_threads=n_threads
            )
            trainer.fit(*images, epochs=2, batch_size=batch_size)
            found.append((net.get_flat(), net.predict(images[0])))
    for flat, y in found[1:]:
        assert np.array_equal(flat, found[0][0])
        assert np.array_equal(y, found[0][1])


def test_training_learns(images):
    net = convnet()
    cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(3e-3)).fit(
        *images, epochs=40, batch_size=16
    )
    assert (net.predict(images[0]).argmax(1) == images[1]).mean() > 0.95


def test_compiled_training_is_the_loop_in_python(images):
    """With an optimizer of the user's the same passes are made step by step."""

    class Plain:
        def step(self, net):
            net.set_flat(net.get_flat() - np.float64(0.05) * net.get_flat_grad())

    nets = []
    for optimizer in (cmlp.SGD(0.05), Plain()):
        nets.append(convnet("float64"))
        trainer = cmlp.Trainer(nets[-1], cmlp.SoftmaxCrossEntropy(), optimizer)
        trainer.fit(*images, epochs=2, batch_size=32)
    np.testing.assert_allclose(nets[0].get_flat(), nets[1].get_flat(), rtol=0, atol=1e-12)


def test_training_goes_on_from_any_step(images, tmp_path):
    def trainer():
        return cmlp.Trainer(convnet(), cmlp.SoftmaxCrossEntropy(), cmlp.Adam())

    whole = trainer()
    whole.fit(*images, epochs=3, batch_size=20)
    for steps in (1, 5, 11, 17):
        path = tmp_path / f"{steps}.safetensors"
        with pytest.raises(Stopped):
            trainer().fit(*images, epochs=3, batch_size=20, callbacks=[Cut(steps, path)])
        other = trainer()
        other.fit(*images, epochs=3, batch_size=20, resume=path)
        assert np.array_equal(other.net.get_flat(), whole.net.get_flat()), steps


def test_copies_files_and_flat_vectors(images, tmp_path):
    net, x = convnet(), images[0][:9]
    y = net.predict(x)
    net.save(tmp_path / "net")
    for other in (
        cmlp.load(tmp_path / "net"),
        net.copy(),
        pickle.loads(pickle.dumps(net)),
        cmlp.Sequential(*net.layers, dtype=net.dtype),
    ):
        assert np.array_equal(other.predict(x), y)
        assert (other.in_shape, other.out_shape) == ((1, 12, 12), (4,))
        assert repr(other.layers) == repr(net.layers)
    twin = convnet(seed=9)
    twin.set_flat(net.get_flat())
    assert np.array_equal(twin.predict(x), y)
    order = [a.ravel() for layer in net.layers for a in layer.parameters().values()]
    assert np.array_equal(np.concatenate(order), net.get_flat())


def test_frozen_layers_stay_and_let_gradients_through(images):
    net, twin = convnet(), convnet()
    net.layers[0].trainable = net.layers[2].trainable = False
    before = net.layers[0].parameters(), net.layers[2].parameters()
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, weight_decay=0.1))
    trainer.fit(*images, epochs=1, batch_size=32)
    for old, layer in zip(before, (net.layers[0], net.layers[2]), strict=True):
        assert all(np.array_equal(old[k], layer.parameters()[k]) for k in old)
    net.set_flat(twin.get_flat())
    x, dy = images[0][:21], RNG.normal(size=(21, 4)).astype(np.float32)
    found = []
    for each in (net, twin):
        each.forward(x)
        found.append(each.backward(dy))
    assert found[0].shape == x.shape
    assert np.array_equal(*found)
    assert not net.layers[0].grad_weight.any()


class Centred:
    """A layer in Python that works on planes."""

    def forward(self, x, training=False):
        assert x.ndim == 4
        return x - x.mean((2, 3), keepdims=True)

    def backward(self, dy):
        return dy - dy.mean((2, 3), keepdims=True)


def test_layers_in_python_between_planes(images):
    net = cmlp.Sequential(
        Centred(),
        cmlp.Conv2D(1, 3, 3, padding=1),
        Centred(),
        cmlp.MaxPool2D(2),
        cmlp.Flatten(),
        cmlp.Dense(108, 4),
        n_in=(1, 12, 12),
        seed=0,
    )
    x, y = images
    parts = [cmlp.Sequential(net.layers[1]), cmlp.Sequential(*net.layers[3:])]
    inner = parts[0].predict(Centred().forward(x))
    assert np.array_equal(parts[1].predict(Centred().forward(inner)), net.predict(x))
    assert net.predict(x[0]).shape == (4,)
    assert net.backward(net.forward(x)).shape == x.shape
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(3e-3))
    trainer.fit(x, y, epochs=20, batch_size=30)
    assert (net.predict(x).argmax(1) == y).mean() > 0.9


def test_planes_as_outputs():
    """A net may end with planes, and be trained on some."""
    net = cmlp.Sequential(
        cmlp.Conv2D(1, 4, 3, padding="same", activation="tanh"),
        cmlp.Conv2D(4, 1, 3, padding="same"),
        n_in=(1, 6, 5),
        seed=0,
    )
    x = RNG.normal(size=(60, 1, 6, 5)).astype(np.float32)
    assert net.predict(x).shape == x.shape
    out = np.empty_like(x)
    assert net.predict(x, out=out) is out
    assert np.array_equal(out, net.predict(x))
    assert net.predict(x[:0]).shape == (0, 1, 6, 5)
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam(0.01))
    history = trainer.fit(x, x, epochs=40, batch_size=20)
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_a_net_that_begins_with_reshape_takes_rows(images):
    net = cmlp.Sequential(cmlp.Reshape((1, 12, 12)), *convnet().layers, seed=0)
    x = images[0]
    assert net.in_shape == (144,)
    assert np.array_equal(net.predict(x.reshape(150, -1)), convnet().predict(x))


def test_absent_connections_have_no_weights():
    """The third layer of LeNet-5: 1,516 parameters."""
    table = np.zeros((16, 6), int)
    for i in range(6):
        table[i, [i, (i + 1) % 6, (i + 2) % 6]] = 1
        table[6 + i, [(i + k) % 6 for k in range(4)]] = 1
    for i, inputs in enumerate([[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], range(6)]):
        table[12 + i, list(inputs)] = 1
    layer = cmlp.Conv2D(6, 16, 5, connections=table).build((6, 14, 14), rng=0)
    assert layer.weight.shape == (60, 5, 5)
    assert layer.n_parameters == 1516
    by_fan = [layer.weight[:3].std() * 75**0.5, layer.weight[-6:].std() * 150**0.5]
    np.testing.assert_allclose(by_fan, 1.0, atol=0.25)
    assert np.array_equal(layer.connections, table)


def test_summary_shows_shapes():
    text = convnet().summary()
    for shape in ("(batch, 6, 12, 12)", "(batch, 7, 2, 5)", "(batch, 28)"):
        assert shape in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cmlp.Conv2D(1, 2, 0), "kernel is 0; expected an integer >= 1"),
        (lambda: cmlp.Conv2D(1, 2, (1, 2, 3)), r"kernel is \(1, 2, 3\); expected a number or"),
        (lambda: cmlp.Conv2D(1, 2, 3, stride=0), "stride is 0; expected"),
        (lambda: cmlp.Conv2D(1, 2, 3, padding=3), r"padding is 3; expected less than the kernel"),
        (lambda: cmlp.Conv2D(1, 2, 3, padding="full"), "padding is 'full'; expected 'same'"),
        (lambda: cmlp.Conv2D(1, 2, 3, 2, "same"), "padding is 'same' with stride"),
        (lambda: cmlp.Conv2D(1, 2, 3, activation="softmax"), "activation is 'softmax'"),
        (
            lambda: cmlp.Conv2D(3, 2, 1, connections=np.ones((3, 2))),
            r"connections has shape \(3, 2\); expected zeros and ones, \(2, 3\)",
        ),
        (lambda: cmlp.Conv2D(2, 1, 1, connections=[[1, 2]]), "other numbers than 0 and 1"),
        (lambda: cmlp.Conv2D(1, 2, 1, connections=[[1], [0]]), "no input for output plane 1"),
        (lambda: cmlp.Reshape((2, 3)), r"shape is \(2, 3\); expected a number or"),
        (lambda: cmlp.MaxPool2D(2, padding=2), "padding is 2; expected less"),
        (
            lambda: cmlp.Sequential(cmlp.Conv2D(1, 2, 3)),
            r"layers\[0\], Conv2D\(1, 2, 3\), is not known; expected a Reshape before it, or n_in=",
        ),
        (
            lambda: cmlp.Sequential(cmlp.Conv2D(1, 2, 3), cmlp.MaxPool2D(9), n_in=(1, 8, 8)),
            r"layers\[1\].*the kernel \(9, 9\) is larger than the padded input, \(6, 6\) "
            r"\(the shapes so far: \(1, 8, 8\) -> \(2, 6, 6\)\)",
        ),
        (
            lambda: cmlp.Sequential(cmlp.Conv2D(1, 2, 3), cmlp.Conv2D(3, 2, 3), n_in=(1, 8, 8)),
            r"layers\[1\], Conv2D\(3, 2, 3\), does not take the shape .*: expected 3 channels",
        ),
        (
            lambda: cmlp.Sequential(cmlp.Conv2D(1, 2, 3), cmlp.Dense(72, 3), n_in=(1, 8, 8)),
            r"layers\[1\].*put a Flatten before it \(the shapes so far: \(1, 8, 8\) -> \(2, 6, 6\)",
        ),
        (
            lambda: cmlp.Sequential(cmlp.Dense(3, 4), cmlp.MaxPool2D(2)),
            r"layers\[1\].*put a Reshape before it",
        ),
        (
            lambda: cmlp.Sequential(cmlp.Dense(3, 4), cmlp.Reshape((1, 2, 3))),
            r"layers\[1\], Reshape.*has n_in 6; expected 4, the outputs before it",
        ),
        (lambda: convnet().predict(np.ones((2, 144))), r"expected \(batch, 1, 12, 12\)"),
        (lambda: convnet().predict(np.ones((2, 1, 12, 11))), r"expected \(batch, 1, 12, 12\)"),
        (lambda: cmlp.Sequential(cmlp.Softmax(), n_in=(1, 2, 2)), "expected rows of numbers"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("seed", range(6))
def test_against_pytorch(seed):
    """Outputs and gradients of convolutions and pooling of random shapes."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    kernel = tuple(int(n) for n in rng.integers(1, 5, 2))
    stride = tuple(int(n) for n in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    q, o = (int(n) for n in rng.integers(1, 9, 2))
    shape = (q, *(int(n) for n in rng.integers(6, 12, 2)))
    layers = [
        cmlp.Conv2D(q, o, kernel, stride, padding),
        cmlp.MaxPool2D(kernel, stride, padding, ceil_mode=bool(seed % 2)),
        cmlp.AvgPool2D(kernel, stride, padding, ceil_mode=bool(seed % 2)),
    ]
    how = {"stride": stride, "padding": padding}
    ceil = {**how, "ceil_mode": bool(seed % 2)}
    theirs = [
        torch.nn.Conv2d(q, o, kernel, dtype=torch.float64, **how),
        torch.nn.MaxPool2d(kernel, **ceil),
        torch.nn.AvgPool2d(kernel, **ceil),
    ]
    x = rng.normal(size=(int(rng.integers(1, 20)), *shape))
    for layer, module in zip(layers, theirs, strict=True):
        layer.build(shape, "float64", rng=0)
        if layer is layers[0]:
            layer.weight, layer.bias = (p.detach().numpy() for p in module.parameters())
        given = torch.tensor(x, requires_grad=True)
        y = module(given)
        dy = rng.normal(size=tuple(y.shape))
        y.backward(torch.tensor(dy))
        np.testing.assert_allclose(layer.forward(x), y.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.backward(dy), given.grad.numpy(), rtol=1e-12, atol=1e-12)
        for name, p in zip(layer.gradients(), module.parameters(), strict=True):
            np.testing.assert_allclose(
                layer.gradients()[name], p.grad.numpy(), rtol=1e-11, atol=1e-11
            )
