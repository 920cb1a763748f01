"""Frozen layers: they cost no gradient, and nothing that trains changes them."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from trainer_parts import PythonLoss, PythonTanh

import cmlp
from cmlp import graph


class Linear:
    """A dense layer as a user may write it."""

    def __init__(self, weight):
        self.weight, self.grad, self.backwards = np.array(weight), np.zeros_like(weight), 0

    def forward(self, x, training=False):
        self.x = x
        return x @ self.weight.T

    def backward(self, dy):
        self.backwards += 1
        self.grad = dy.T @ self.x
        return dy @ self.weight

    def parameters(self):
        return {"weight": self.weight}

    def gradients(self):
        return {"weight": self.grad}

    def n_out(self, n_in):
        return len(self.weight)


def built_in():
    return cmlp.Sequential(
        cmlp.Dense(2, 6, activation="tanh"), cmlp.PReLU(), cmlp.Dense(6, 5), cmlp.Tanh(),
        cmlp.Dense(5, 3), dtype="float64", seed=0,
    )  # fmt: skip


def mixed():
    w = np.random.default_rng(1).normal(size=(5, 6)) / 3
    return cmlp.Sequential(
        cmlp.Dense(2, 6, activation="tanh"), cmlp.PReLU(), Linear(w), PythonTanh(),
        cmlp.Dense(5, 3), dtype="float64", seed=0,
    )  # fmt: skip


class UsersSgd:
    """An optimizer as a user may write it, by the flat vectors."""

    def step(self, net):
        net.set_flat(net.get_flat() - 0.1 * net.get_flat_grad())


class UsersDecay:
    """One that changes everything, whatever its gradient; `Trainer` puts back what is frozen."""

    def step(self, net):
        net.set_flat(0.99 * net.get_flat() - 0.1 * net.get_flat_grad())


OPTIMIZERS = [
    cmlp.SGD(0.1, momentum=0.9, weight_decay=0.01),
    cmlp.SGD(0.1, nesterov=True, momentum=0.5, l1=0.01, clip_norm=0.1),
    cmlp.SGD(0.1, clip_value=0.01, weight_decay=0.1, decay_over_batch=True),
    cmlp.Adam(0.01, weight_decay=0.01),
    cmlp.AdamW(0.01, weight_decay=0.1),
    cmlp.RMSprop(0.01, momentum=0.5, weight_decay=0.01),
    cmlp.Adagrad(0.1, weight_decay=0.01),
    cmlp.Adadelta(weight_decay=0.01),
    UsersSgd(),
]
PARTS = [(0,), (1,), (2,), (4,), (0, 2), (0, 1, 2), (0, 1, 4), (0, 1, 2, 4)]
WEIGHTED = (0, 1, 2, 4)


def by_hand(net, optimizer, points):
    loss = cmlp.SoftmaxCrossEntropy()
    for _ in range(3):
        loss.forward(net.forward(points[0], training=True), points[1])
        net.backward(loss.backward(), need_dx=False)
        optimizer.step(net)


def by_layers(net, optimizer, points):
    """Layer by layer, and the optimizer is given a list."""
    loss = cmlp.SoftmaxCrossEntropy()
    for _ in range(3):
        y = points[0]
        for layer in net.layers:
            y = layer.forward(y, training=True)
        loss.forward(y, points[1])
        dy = loss.backward()
        for layer in reversed(net.layers):
            dy = layer.backward(dy)
        optimizer.step(net if isinstance(optimizer, UsersSgd) else list(net.layers))


def by_train_step(net, optimizer, points):
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), optimizer)
    for _ in range(3):
        trainer.train_step(*points)


def by_fit(net, optimizer, points):
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), optimizer)
    trainer.fit(*points, epochs=3, batch_size=40)


def with_a_users_loss(net, optimizer, points):
    cmlp.Trainer(net, PythonLoss(), optimizer).fit(*points, epochs=3, batch_size=40)


DOORS = [by_hand, by_layers, by_train_step, by_fit, with_a_users_loss]


def values(layer):
    return {name: np.array(a) for name, a in layer.parameters().items()}


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("make", [built_in, mixed])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o) if hasattr(o, "lr") else "")
def test_nothing_changes_them(make, door, optimizer, points):
    for parts in PARTS:
        net = make()
        for i in parts:
            net.layers[i].trainable = False
        before = [values(net.layers[i]) for i in WEIGHTED]
        door(net, copy.deepcopy(optimizer), points)
        for i, old in zip(WEIGHTED, before, strict=True):
            assert same(values(net.layers[i]), old) == (i in parts), (parts, i)


@pytest.mark.parametrize("make", [built_in, mixed])
@pytest.mark.parametrize("door", [by_train_step, by_fit, with_a_users_loss])
def test_not_even_an_optimizer_that_does_not_ask(make, door, points):
    test_nothing_changes_them(make, door, UsersDecay(), points)


@pytest.mark.parametrize("make", [built_in, mixed])
def test_a_step_moves_the_others_as_without_freezing(make, points):
    for parts in PARTS:
        free, net = make(), make()
        for i in parts:
            net.layers[i].trainable = False
        one = (points[0][:30], points[1][:30])
        for each in (free, net):
            trainer = cmlp.Trainer(each, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1))
            trainer.train_step(*one)
        for i in set(WEIGHTED) - set(parts):
            for name, a in values(net.layers[i]).items():
                np.testing.assert_allclose(a, values(free.layers[i])[name], rtol=1e-12)


@pytest.mark.parametrize("make", [built_in, mixed])
def test_lbfgs(make, points):
    pytest.importorskip("scipy")
    for parts in PARTS[:-1]:
        net = make()
        for i in parts:
            net.layers[i].trainable = False
        before = [values(net.layers[i]) for i in WEIGHTED]
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.LBFGS(weight_decay=0.1))
        trainer.fit(*points, epochs=4)
        for i, old in zip(WEIGHTED, before, strict=True):
            assert same(values(net.layers[i]), old) == (i in parts), (parts, i)


class TestGradients:
    @pytest.mark.parametrize("make", [built_in, mixed])
    def test_are_zeros(self, make, points):
        net = make()
        for _ in range(2):  # once before and once after there were some
            net.trainable = False
            net.forward(points[0])
            net.backward(np.ones((90, 3)))
            assert not net.get_flat_grad().any()
            net.trainable = True
            net.forward(points[0])
            net.backward(np.ones((90, 3)))
            assert net.get_flat_grad().any()

    @pytest.mark.parametrize("make", [built_in, mixed])
    def test_those_of_the_others_and_of_x_are_the_same(self, make, points):
        free, net = make(), make()
        net.layers[2].trainable = False
        dx = []
        for each in (free, net):
            each.forward(points[0])
            dx.append(each.backward(np.ones((90, 3))))
        assert np.array_equal(*dx)
        for i in (0, 1, 4):
            for name, a in net.layers[i].gradients().items():
                assert np.array_equal(a, free.layers[i].gradients()[name])

    def test_nothing_goes_back_below_the_first_trained_layer(self, points):
        net = mixed()
        for i in (0, 1, 2):
            net.layers[i].trainable = False
        by_fit(net, cmlp.SGD(0.1), points)
        assert net.layers[2].backwards == 0
        net.layers[0].trainable = True
        by_fit(net, cmlp.SGD(0.1), points)
        assert net.layers[2].backwards > 0

    def test_norms_of_what_is_left_out(self, points):
        net = built_in()
        net.layers[0].trainable = net.layers[1].trainable = False
        deltas, weights = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).gradient_norms(*points)
        assert np.isnan(deltas).tolist() == [True, True, False, False]
        assert [n > 0 for n in weights] == [False, False, True, True]


class TestWhen:
    def test_between_steps(self, points):
        net = built_in()
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1))
        for on in (True, False, True, False, False, True):
            net.layers[0].trainable = on
            for _ in range(3):  # also by the short way of the later steps
                before = values(net.layers[0])
                trainer.train_step(*points)
                assert same(values(net.layers[0]), before) != on

    @pytest.mark.parametrize("make", [built_in, mixed])
    def test_within_fit(self, make, points):
        net, seen = make(), []

        class Freeze(cmlp.Callback):
            def on_epoch_end(self, trainer, row):
                seen.append(net.layers[0].weight)
                net.layers[0].trainable = row["epoch"] >= 4

        net.layers[0].trainable = False
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1))
        trainer.fit(*points, epochs=6, batch_size=30, callbacks=[Freeze()])
        assert [np.array_equal(a, b) for a, b in itertools.pairwise(seen)] == [
            True, True, True, False, False,
        ]  # fmt: skip

    def test_before_the_layer_is_built(self, points):
        layer = cmlp.Dense(2, 3)
        layer.trainable = False
        net = cmlp.Sequential(layer, dtype="float64", seed=0)
        before = net.get_flat()
        by_fit(net, cmlp.SGD(0.1), points)
        assert np.array_equal(net.get_flat(), before)

    def test_all_at_once(self):
        net = mixed()
        assert net.trainable
        net.trainable = False
        assert [layer.trainable for layer in net.layers] == [False] * 5
        assert not net.trainable and net.n_trainable == 0
        net.layers[1].trainable = True
        assert net.trainable and net.n_trainable == 6
        assert net.n_parameters == 18 + 6 + 30 + 18

    @pytest.mark.parametrize("value", [0, None, "no"])
    def test_only_booleans(self, value):
        net = built_in()
        for thing in (net, net.layers[0]):
            with pytest.raises(TypeError, match=f"trainable is {value!r}; expected True or False"):
                thing.trainable = value
        assert net.n_trainable == net.n_parameters


class TestKept:
    def frozen(self):
        net = built_in()
        net.layers[2].trainable = False
        return net

    @pytest.mark.parametrize("how", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    def test_by_copies(self, how, points):
        net = how(self.frozen())
        assert [layer.trainable for layer in net.layers] == [True, True, False, True, True]
        before = net.layers[2].weight
        by_fit(net, cmlp.SGD(0.1), points)
        assert np.array_equal(net.layers[2].weight, before)

    def test_by_files(self, tmp_path, points):
        path = tmp_path / "net.safetensors"
        self.frozen().save(path)
        net = cmlp.load(path)
        assert [layer.trainable for layer in net.layers] == [True, True, False, True, True]
        before = net.layers[2].weight
        by_fit(net, cmlp.SGD(0.1), points)
        assert np.array_equal(net.layers[2].weight, before)

    def test_by_checkpoints(self, tmp_path, points):
        path = tmp_path / "run.ckpt"
        trainer = cmlp.Trainer(self.frozen(), cmlp.SoftmaxCrossEntropy())
        trainer.fit(*points, epochs=1)
        trainer.save_checkpoint(path)
        net = cmlp.Trainer.load_checkpoint(path).net
        assert [layer.trainable for layer in net.layers] == [True, True, False, True, True]


def test_summary():
    net = built_in()
    plain = net.summary()
    assert "frozen" not in plain and "trainable" not in plain
    net.layers[2].trainable = False
    lines = net.summary().splitlines()
    assert lines[4].startswith("Dense(6, 5) (frozen)")
    assert lines[-2].split() == ["total", "float64", "77"]
    assert lines[-1].split() == ["trainable", "42"]
    assert len({len(line) for line in lines}) == 1


def test_a_graph_as_a_layer(points):
    x, w = graph.Placeholder("x", (None, 2)), graph.Variable(np.eye(2), name="w")
    layer = graph.GraphLayer(graph.tanh(x @ w), x)
    net = cmlp.Sequential(cmlp.Dense(2, 2), layer, cmlp.Dense(2, 3), dtype="float64", seed=0)
    layer.trainable = False
    first = net.layers[0].weight
    by_fit(net, cmlp.SGD(0.1, weight_decay=0.1), points)
    assert np.array_equal(w.value, np.eye(2))
    assert not layer.gradients()["w"].any()
    assert not np.array_equal(net.layers[0].weight, first)
    layer.trainable = True
    by_fit(net, cmlp.SGD(0.1, weight_decay=0.1), points)
    assert not np.array_equal(w.value, np.eye(2))
