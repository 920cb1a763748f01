"""Layers whose ``trainable`` is False: they stay as they are, whatever trains the net."""

import numpy as np
import pytest

import cmlp

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5)), RNG.normal(size=(40, 2))


class Plain:
    """A layer written in Python."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


class Shrink:
    """An optimizer written in Python."""

    lr = 0.1

    def step(self, net):
        net.set_flat(net.get_flat() - self.lr * net.get_flat_grad())


def build(*between):
    return cmlp.Sequential(
        cmlp.Dense(5, 8, "tanh"),
        *between,
        cmlp.Dense(8, 8),
        cmlp.PReLU(),
        cmlp.Dense(8, 2),
        dtype="float64",
        seed=0,
    )


OPTIMIZERS = {
    "sgd": lambda: cmlp.SGD(lr=0.05, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: cmlp.AdamW(lr=0.01, weight_decay=0.1),
    "clipped": lambda: cmlp.Adam(lr=0.01, clip_norm=0.1, l1=0.1),
    "lbfgs": lambda: cmlp.LBFGS(weight_decay=0.1),
    "own": Shrink,
}
WAYS = {"compiled": (), "through Python": (Plain(),)}


def parameters(net):
    return [layer.parameters() for layer in net.layers if isinstance(layer, cmlp.Layer)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("frozen", range(4))
def test_only_the_others_change(frozen, optimizer, way):
    net = build(*WAYS[way])
    built_in = [layer for layer in net.layers if isinstance(layer, cmlp.Layer)]
    built_in[frozen].trainable = False
    before = parameters(net)
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), OPTIMIZERS[optimizer]())
    trainer.fit(X, Y, epochs=3, batch_size=16)
    for i, (was, now) in enumerate(zip(before, parameters(net), strict=True)):
        same = all(np.array_equal(was[name], now[name]) for name in was)
        assert same == (i == frozen)


@pytest.mark.parametrize("way", WAYS)
def test_takes_effect_at_once_and_can_be_undone(way):
    net = build(*WAYS[way])
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(lr=0.05))
    first, last = net.layers[0], net.layers[-1]
    for on in (True, False, True):
        first.trainable = on
        weight, other = first.weight, last.weight
        trainer.train_step(X, Y)
        assert np.array_equal(first.weight, weight) != on
        assert not np.array_equal(last.weight, other)


def test_gradients_of_a_frozen_layer_are_zeros():
    net = build()
    net.forward(X, training=True)
    net.backward(Y)
    dx = net.backward(Y)
    whole = net.layers[-1].grad_weight
    net.layers[0].trainable = False
    assert not net.layers[0].grad_weight.any()
    net.forward(X, training=True)
    assert np.array_equal(net.backward(Y), dx)
    assert not net.layers[0].grad_weight.any()
    assert np.array_equal(net.layers[-1].grad_weight, whole)


def test_all_frozen():
    net = build()
    for layer in net.layers:
        layer.trainable = False
    before = net.get_flat()
    cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam()).fit(X, Y, epochs=2)
    assert np.array_equal(net.get_flat(), before)


def test_copies_keep_it_and_the_summary_shows_it():
    net = build()
    net.layers[1].trainable = False
    assert [layer.trainable for layer in net.copy().layers] == [True, False, True, True]
    lines = net.summary().splitlines()
    assert [line for line in lines if "frozen" in line] == [lines[3]]
    with pytest.raises(TypeError, match="trainable"):
        net.layers[0].trainable = 1.5
