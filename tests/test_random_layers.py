"""Dropout and randomised ReLU draw independently of each other, wherever they stand."""

import numpy as np
import pytest

import cmlp

ROWS, WIDTH = 64, 256


class Plain:
    """A layer written in Python, which cuts a net into parts."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


def drops():
    return [cmlp.Dropout(0.5) for _ in range(3)]


def whole(layers):
    return cmlp.Sequential(*layers, n_in=WIDTH, seed=1).forward


def split(layers):
    a, b, c = layers
    return cmlp.Sequential(a, Plain(), b, Plain(), c, n_in=WIDTH, seed=1).forward


def nested(layers):
    inner = cmlp.Sequential(*layers[1:], n_in=WIDTH, seed=1)
    return cmlp.Sequential(layers[0], Plain(), inner, n_in=WIDTH, seed=1).forward


def alone(layers):
    def forward(x, training):
        for layer in layers:
            x = layer.forward(x, training)
        return x

    return forward


def copied(layers):
    net = cmlp.Sequential(layers[0], Plain(), *layers[1:], n_in=WIDTH, seed=1)
    return net.copy().forward


@pytest.mark.parametrize("way", [whole, split, nested, alone, copied])
def test_three_halves_keep_an_eighth(way):
    y = way(drops())(np.ones((ROWS, WIDTH), np.float32), training=True)
    assert set(np.unique(y)) == {0.0, 8.0}
    assert abs((y > 0).mean() - 1 / 8) < 0.02


@pytest.mark.parametrize("way", [whole, split, nested, alone, copied])
def test_slopes_are_independent(way):
    layers = [cmlp.RReLU(0.1, 0.9) for _ in range(3)]
    y = way(layers)(-np.ones((ROWS, WIDTH), np.float32), training=True)
    # the cube of one slope would have the mean (0.9^4 - 0.1^4) / (4 * 0.8) = 0.205
    assert abs(-y.mean() - 0.5**3) < 0.01


@pytest.mark.parametrize("way", [whole, split])
def test_the_same_seed_draws_the_same(way):
    x = np.ones((ROWS, WIDTH), np.float32)
    assert np.array_equal(way(drops())(x, training=True), way(drops())(x, training=True))


def test_training_draws_in_each_part():
    """In training, too, an eighth is left of what meets three layers that are apart."""
    seen = []

    class Watch(Plain):
        def forward(self, x, training=False):
            if training:
                seen.append((x > 0).mean())
            return x

    a, b, c = drops()
    net = cmlp.Sequential(a, Watch(), b, Watch(), c, Watch(), cmlp.Dense(WIDTH, 1), seed=1)
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(lr=0.0))
    trainer.train_step(np.ones((ROWS, WIDTH)), np.ones((ROWS, 1)))
    np.testing.assert_allclose(seen, [1 / 2, 1 / 4, 1 / 8], atol=0.02)
