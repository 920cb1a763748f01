import copy
import pickle

import numpy as np
import pytest
from oracle import Mlp, Updates

import cmlp
from cmlp import optimizers

CASES = [
    ("sgd", cmlp.SGD(0.1)),
    ("sgd", cmlp.SGD(0.1, momentum=0.9)),
    ("sgd", cmlp.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("sgd", cmlp.SGD(0.1, l1=0.02)),
    ("sgd", cmlp.SGD(0.1, clip_value=0.01)),
    ("sgd", cmlp.SGD(0.1, clip_norm=0.05, weight_decay=0.1)),
    ("adam", cmlp.Adam(0.01)),
    ("adam", cmlp.Adam(0.01, beta1=0.8, beta2=0.9, eps=1e-3, weight_decay=0.1)),
    ("adamw", cmlp.AdamW(0.01, weight_decay=0.1)),
    ("rmsprop", cmlp.RMSprop(0.01)),
    ("rmsprop", cmlp.RMSprop(0.01, rho=0.8, momentum=0.5, eps=1e-4)),
    ("adagrad", cmlp.Adagrad(0.1)),
    ("adadelta", cmlp.Adadelta()),
    ("adadelta", cmlp.Adadelta(0.5, rho=0.8, eps=1e-3, weight_decay=0.1)),
]
IDS = [repr(optimizer) for _, optimizer in CASES]


def make(seed=0, dtype="float64"):
    """A small net and the same one in plain NumPy."""
    net = cmlp.Sequential(
        cmlp.Dense(2, 5, activation="tanh"), cmlp.Dense(5, 3), dtype=dtype, seed=seed
    )
    dense = [layer for layer in net.layers if isinstance(layer, cmlp.Dense)]
    return net, Mlp([la.weight for la in dense], [la.bias for la in dense])


def settings(optimizer):
    return {k: v for k, v in optimizer.config().items() if k != "lr"}


@pytest.mark.parametrize(("kind", "optimizer"), CASES, ids=IDS)
def test_steps_follow_the_formula(kind, optimizer, points):
    x, labels = points
    net, reference = make()
    optimizer = copy.deepcopy(optimizer)
    updates = Updates(kind, optimizer.lr, **settings(optimizer))
    loss = cmlp.SoftmaxCrossEntropy()
    for _ in range(20):
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())
        optimizer.step(net)
        _, dw, db = reference.gradients(x, labels)
        updates.step(reference, dw, db)
    np.testing.assert_allclose(net.get_flat(), reference.flat(), rtol=1e-9, atol=1e-11)


def convnetjs(p, gradients, rows, rho=0.95, eps=1e-8, l2_decay=0.001):
    """Adadelta of ConvNetJS's trainer, number by number: sums over a minibatch of some rows."""
    gsum, xsum = [0.0] * len(p), [0.0] * len(p)
    for g in gradients:
        for j in range(len(p)):
            gij = (l2_decay * p[j] + g[j]) / rows
            gsum[j] = rho * gsum[j] + (1 - rho) * gij * gij
            dx = -np.sqrt((xsum[j] + eps) / (gsum[j] + eps)) * gij
            xsum[j] = rho * xsum[j] + (1 - rho) * dx * dx
            p[j] += dx
    return p


def test_adadelta_is_that_of_convnetjs(rng):
    w, sums = rng.normal(size=7), rng.normal(size=(60, 7)) * 10.0 ** rng.integers(-6, 3, (60, 7))
    expected = convnetjs(list(w), sums.tolist(), rows=20)
    layer = cmlp.Dense(7, 1, bias=False)
    net = cmlp.Sequential(layer, dtype="float64", seed=0)
    layer.weight = w[None, :]
    optimizer = cmlp.Adadelta(weight_decay=0.001, decay_over_batch=True)
    for g in sums:
        net.forward(np.tile(g / 20, (20, 1)))
        net.backward(np.full((20, 1), 1 / 20))
        optimizer.step(net)
    np.testing.assert_allclose(layer.weight[0], expected, rtol=1e-12)


class Linear:
    """A dense layer as a user may write it."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight.copy(), bias.copy()
        self.grads = {}

    def forward(self, x, training=False):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, dy):
        self.grads = {"weight": dy.T @ self.x, "bias": dy.sum(axis=0)}
        return dy @ self.weight

    def parameters(self):
        return {"weight": self.weight, "bias": self.bias}

    def gradients(self):
        return self.grads

    def n_out(self, n_in):
        return len(self.weight)


@pytest.mark.parametrize(("kind", "optimizer"), CASES, ids=IDS)
def test_layers_in_python_are_updated_alike(kind, optimizer, points):
    x, labels = points
    net, _ = make()
    mixed = cmlp.Sequential(
        copy.deepcopy(net.layers[0]),
        Linear(net.layers[1].weight, net.layers[1].bias),
        dtype="float64",
        seed=0,
    )
    loss = cmlp.SoftmaxCrossEntropy()
    results = []
    for model in (net, mixed):
        chosen = copy.deepcopy(optimizer)
        for _ in range(10):
            loss.forward(model.forward(x), labels)
            model.backward(loss.backward())
            chosen.step(model)
        results.append(model.get_flat())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_layers_one_by_one_or_in_a_list(points):
    x, labels = points
    net, _ = make()
    layers = [copy.deepcopy(layer) for layer in net.layers]
    loss = cmlp.SoftmaxCrossEntropy()
    first, second = cmlp.SGD(0.1, momentum=0.9), cmlp.SGD(0.1, momentum=0.9)
    for _ in range(5):
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())
        first.step(net)
        y = layers[1].forward(layers[0].forward(x))
        loss.forward(y, labels)
        layers[0].backward(layers[1].backward(loss.backward()))
        second.step(layers)
    np.testing.assert_allclose(layers[0].weight, net.layers[0].weight, rtol=1e-12)
    np.testing.assert_allclose(layers[1].bias, net.layers[1].bias, rtol=1e-12)


def over(rows, kind, **decay):
    """An optimizer whose decay is already divided by the rows."""
    return kind(0.1, **{name: value / rows for name, value in decay.items()})


class TestDecayOverBatch:
    KINDS = tuple(optimizers.KINDS.values())

    def weights(self, points, optimizer, door, python):
        """Weights after steps with minibatches of different sizes."""
        net, _ = make()
        if python:
            last = net.layers[1]
            net = cmlp.Sequential(
                net.layers[0], Linear(last.weight, last.bias), dtype="float64", seed=0
            )
        loss = cmlp.SoftmaxCrossEntropy()
        trainer = cmlp.Trainer(net, loss, optimizer)
        for rows in (10, 40, 7):
            x, labels = points[0][:rows], points[1][:rows]
            if door == "train_step":
                trainer.train_step(x, labels)
                continue
            loss.forward(net.forward(x), labels)
            net.backward(loss.backward())
            optimizer.step({"net": net, "list": list(net.layers)}[door])
        return net.get_flat()

    @pytest.mark.parametrize("python", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_door_divides_alike(self, kind, python, points):
        settings = {"weight_decay": 0.5, "l1": 0.1, "decay_over_batch": True}
        found = [
            self.weights(points, kind(0.1, **settings), door, python)
            for door in ("train_step", "net", "list")
        ]
        np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[2], found[0], rtol=1e-9, atol=1e-12)
        plain = self.weights(points, kind(0.1, weight_decay=0.5, l1=0.1), "net", python)
        assert not np.allclose(plain, found[0])

    @pytest.mark.parametrize("kind", KINDS)
    def test_by_the_rows_of_the_last_backward(self, kind, points):
        decay = {"weight_decay": 0.5, "l1": 0.1}
        nets = make()[0], make()[0]
        loss = cmlp.SoftmaxCrossEntropy()
        for net, optimizer in zip(
            nets, (kind(0.1, **decay, decay_over_batch=True), over(8, kind, **decay)), strict=True
        ):
            net.forward(points[0])
            net.backward(np.zeros((90, 3)))
            loss.forward(net.forward(points[0][:8]), points[1][:8])
            net.backward(loss.backward())
            optimizer.step(net)
        np.testing.assert_allclose(nets[0].get_flat(), nets[1].get_flat(), rtol=1e-12)

    def test_a_layer_alone(self, points):
        layer = cmlp.Dense(2, 3).build(dtype="float64", rng=0)
        w = layer.weight
        layer.forward(points[0][:5])
        layer.backward(np.zeros((5, 3)))
        cmlp.SGD(0.1, weight_decay=0.5, decay_over_batch=True).step(layer)
        np.testing.assert_allclose(layer.weight, w * (1 - 0.1 * 0.5 / 5), rtol=1e-12)

    def test_without_a_backward(self):
        net, _ = make()
        before = net.get_flat()
        with pytest.raises(RuntimeError, match="rows of the last backward; there was none"):
            cmlp.SGD(weight_decay=0.5, decay_over_batch=True).step(net)
        assert np.array_equal(net.get_flat(), before)


def test_each_net_has_a_state_of_its_own(points):
    x, labels = points
    nets = [make(seed)[0] for seed in (0, 0)]
    shared, loss = cmlp.Adam(0.01), cmlp.SoftmaxCrossEntropy()
    for net in nets:
        for _ in range(3):
            loss.forward(net.forward(x), labels)
            net.backward(loss.backward())
            shared.step(net)
    assert np.array_equal(nets[0].get_flat(), nets[1].get_flat())
    assert shared.state_for(nets[0]).step_count == 3


def test_states_end_with_their_nets():
    optimizer = cmlp.SGD()
    net, _ = make()
    optimizer.state_for(net)
    assert len(optimizer._states) == 1
    del net
    assert len(optimizer._states) == 0


def test_momentum_schedule_and_rate_changes(points):
    x, labels = points
    net, reference = make()
    optimizer = cmlp.SGD(0.1, momentum=cmlp.MomentumStep(0.5, 0.9, after=4))
    updates, loss = Updates("sgd", 0.1), cmlp.SoftmaxCrossEntropy()
    for t in range(10):
        optimizer.lr = 0.1 / (1 + t)
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())
        optimizer.step(net)
        _, dw, db = reference.gradients(x, labels)
        updates.step(reference, dw, db, lr=0.1 / (1 + t), momentum=0.5 if t < 4 else 0.9)
    np.testing.assert_allclose(net.get_flat(), reference.flat(), rtol=1e-9, atol=1e-12)


def test_biases_and_slopes_are_not_decayed():
    net = cmlp.Sequential(cmlp.Dense(3, 2), cmlp.PReLU(), dtype="float64", seed=0)
    net.layers[0].bias = [1.0, 2.0]
    net.forward(np.zeros((1, 3)))
    net.backward(np.zeros((1, 2)))
    for make_one in optimizers.KINDS.values():
        before = net.layers[0].weight
        make_one(lr=0.1, weight_decay=0.5).step(net)
        assert (net.layers[0].weight != before).all()
    assert net.layers[0].bias.tolist() == [1.0, 2.0]
    assert net.layers[1].slope.tolist() == [0.25, 0.25]


def test_python_slots_round_trip(points):
    x, labels = points
    net, _ = make()
    mixed = cmlp.Sequential(
        net.layers[0], Linear(net.layers[1].weight, net.layers[1].bias), dtype="float64", seed=0
    )
    loss, optimizer = cmlp.SoftmaxCrossEntropy(), cmlp.Adam(0.01)
    for _ in range(3):
        loss.forward(mixed.forward(x), labels)
        mixed.backward(loss.backward())
        optimizer.step(mixed)
    state, other = optimizer.state_for(mixed), cmlp.Adam(0.01).state_for(mixed)
    other.set_slots(state.get_slots())
    slots = other.get_slots()
    assert set(slots) == set(state.get_slots())
    assert all(np.array_equal(slots[k], v) for k, v in state.get_slots().items())


class TestSettings:
    @pytest.mark.parametrize(("kind", "optimizer"), CASES, ids=IDS)
    def test_config_and_pickle(self, kind, optimizer):
        again = optimizers.from_config(optimizers.to_config(optimizer))
        assert again.config() == optimizer.config()
        assert pickle.loads(pickle.dumps(optimizer)).config() == optimizer.config()

    def test_config_of_a_momentum_schedule(self):
        optimizer = cmlp.SGD(momentum=cmlp.MomentumStep(0.2, 0.8, after=3))
        again = optimizers.from_config(optimizers.to_config(optimizer))
        assert repr(again) == repr(optimizer)
        assert optimizers.to_config(cmlp.SGD(momentum=lambda t: 0.5)) is None

    def test_repr_shows_what_is_not_default(self):
        assert repr(cmlp.SGD(0.5, nesterov=True)) == "SGD(lr=0.5, nesterov=True)"
        assert repr(cmlp.AdamW()) == "AdamW(lr=0.001)"

    def test_only_the_rate_changes_later(self):
        optimizer = cmlp.SGD(0.5)
        optimizer.lr = 0.25
        with pytest.raises(AttributeError, match="momentum is fixed; make a new SGD"):
            optimizer.momentum = 0.5
        with pytest.raises(ValueError, match="lr is -1"):
            optimizer.lr = -1
        assert optimizer.lr == 0.25

    @pytest.mark.parametrize(
        ("make_one", "error", "words"),
        [
            (lambda: cmlp.SGD("fast"), TypeError, "lr is 'fast'"),
            (lambda: cmlp.SGD(float("nan")), ValueError, "lr is nan"),
            (lambda: cmlp.SGD(momentum=1.0), ValueError, r"momentum is 1\.0"),
            (lambda: cmlp.SGD(momentum=cmlp.Halving()), TypeError, "momentum is"),
            (lambda: cmlp.SGD(nesterov=1), TypeError, "nesterov is 1"),
            (lambda: cmlp.SGD(weight_decay=-0.1), ValueError, r"weight_decay is -0\.1"),
            (lambda: cmlp.SGD(l1=None), TypeError, "l1 is None"),
            (lambda: cmlp.SGD(clip_norm=0), ValueError, "clip_norm is 0"),
            (lambda: cmlp.SGD(clip_value=-1), ValueError, "clip_value is -1"),
            (lambda: cmlp.SGD(decay_over_batch=0), TypeError, "decay_over_batch is 0"),
            (lambda: cmlp.Adam(beta1=1.0), ValueError, r"beta1 is 1\.0"),
            (lambda: cmlp.Adam(beta2=-0.1), ValueError, r"beta2 is -0\.1"),
            (lambda: cmlp.Adam(eps=0), ValueError, "eps is 0"),
            (lambda: cmlp.RMSprop(rho=2), ValueError, "rho is 2"),
            (lambda: cmlp.Adagrad(eps="x"), TypeError, "eps is 'x'"),
            (lambda: cmlp.Adadelta(rho=1.0), ValueError, "rho is 1.0"),
            (lambda: cmlp.LBFGS(memory=0), ValueError, "memory is 0"),
            (lambda: cmlp.SGD().step([]), ValueError, "net is empty"),
            (lambda: optimizers.from_config({"class": "eval"}), ValueError, "optimizer class"),
        ],
    )
    def test_errors_name_the_argument(self, make_one, error, words):
        with pytest.raises(error, match=words):
            make_one()

    def test_a_net_must_be_built(self):
        with pytest.raises(ValueError, match="has no values yet"):
            cmlp.SGD().step([cmlp.Dense(2, 2)])

    def test_gradients_must_be_there(self):
        layer = Linear(np.ones((2, 2)), np.ones(2))
        with pytest.raises(ValueError, match="has no 'weight'"):
            cmlp.SGD().step([layer])


@pytest.mark.parametrize("of", ["net", "layers", "layer"])
def test_decay_over_batch_in_single_steps(of):
    """``step`` divides the decay by the rows of the last backward pass, as training does."""
    found = []
    for settings in ({"weight_decay": 0.5, "decay_over_batch": True}, {"weight_decay": 0.5 / 20}):
        net = cmlp.Sequential(cmlp.Dense(3, 2), dtype="float64", seed=0)
        target = {"net": net, "layers": list(net.layers), "layer": net.layers[0]}[of]
        optimizer = cmlp.SGD(lr=0.1, **settings)
        for rows in (20, 20):
            run = net.layers[0] if of == "layer" else net
            run.forward(np.ones((rows, 3)))
            run.backward(np.ones((rows, 2)))
            optimizer.step(target)
        found.append(net.get_flat())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
