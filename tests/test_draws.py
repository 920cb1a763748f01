"""Layers that draw: no two draw alike, and every draw can be repeated."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from trainer_parts import PythonIdentity

import cmlp
from cmlp.layers import registry

X = np.ones((400, 50))
DRAWING = [cmlp.Dropout, cmlp.RReLU]


def negative(kind):
    """Inputs for which a layer of this kind draws a factor for each number."""
    return X if kind is cmlp.Dropout else -X


def whole(kind, n):
    return cmlp.Sequential(*(kind() for _ in range(n)), n_in=50, dtype="float64", seed=5)


def split(kind, n):
    """Each layer in a part of its own."""
    layers = [layer for _ in range(n) for layer in (kind(), PythonIdentity())]
    return cmlp.Sequential(*layers, n_in=50, dtype="float64", seed=5)


def nested(kind, n):
    layers = [cmlp.Sequential(kind(), n_in=50, dtype="float64", seed=5) for _ in range(n)]
    return cmlp.Sequential(*layers, dtype="float64", seed=5)


class Alone:
    """Layers one after the other, without a net."""

    def __init__(self, kind, n):
        self.layers = [kind() for _ in range(n)]

    def forward(self, x, training):
        for layer in self.layers:
            x = layer.forward(x, training)
        return x


NETS = [whole, split, nested, Alone]


# What kinds that are not made of nothing are made of, for inputs of (1, 2, 5) or 10 numbers.
MADE_OF = {
    cmlp.Dense: (10, 10),
    cmlp.Conv2D: (1, 2, 2),
    cmlp.MaxPool2D: (2,),
    cmlp.AvgPool2D: (2,),
    cmlp.SubSample2D: (2,),
    cmlp.Reshape: (10,),
}


def test_which_kinds_draw():
    x = np.linspace(-2.0, 2.0, 60)
    for kind in registry._BUILT_IN.values():
        shape = (10,) if kind in (cmlp.Dense, cmlp.Softmax) else (1, 2, 5)
        net = cmlp.Sequential(kind(*MADE_OF.get(kind, ())), n_in=shape, seed=0)
        rows = x.reshape(6, *shape)
        differ = not np.array_equal(net.forward(rows, True), net.forward(rows, True))
        assert differ == kind.draws, kind
    assert [kind for kind in registry._BUILT_IN.values() if kind.draws] == DRAWING


@pytest.mark.parametrize("make", NETS)
def test_three_dropouts_keep_an_eighth(make):
    y = make(cmlp.Dropout, 3).forward(X, training=True)
    assert (y != 0).mean() == pytest.approx(1 / 8, abs=0.015)
    assert np.unique(y).tolist() == [0.0, 8.0]


@pytest.mark.parametrize("make", NETS)
def test_two_slopes_are_drawn_apart(make):
    """The product of two slopes drawn alike would be larger in the mean."""
    one = cmlp.RReLU(0.0, 1.0)
    two = -one.forward(-X, training=True), -one.forward(-X, training=True)
    assert (two[0] * two[1]).mean() == pytest.approx(0.25, abs=0.01)
    y = make(lambda: cmlp.RReLU(0.0, 1.0), 2).forward(-X, training=True)
    assert -y.mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("kind", DRAWING)
def test_used_alone_no_two_draw_alike(kind):
    x = negative(kind)
    of_a_net = list(whole(kind, 3).layers)
    from_one_generator = np.random.default_rng(0)
    layers = [
        *of_a_net,
        *split(kind, 2).layers[::2],
        kind(),
        kind(),
        *(kind().build(50, "float64", from_one_generator) for _ in range(2)),
        kind().build(50, "float64", 1),
    ]
    draws = [layer.forward(x, training=True) for layer in layers]
    # two nets of one seed are the same net twice
    same = {(0, 3), (1, 4)}
    for i, j in itertools.combinations(range(len(draws)), 2):
        assert np.array_equal(draws[i], draws[j]) == ((i, j) in same), (i, j)


@pytest.mark.parametrize("kind", DRAWING)
@pytest.mark.parametrize("make", NETS)
def test_one_draw_after_the_other(make, kind):
    """However the batch grows, on which threads, and what is frozen meanwhile."""
    x, net = negative(kind), make(kind, 2)
    draws = [net.forward(x[:n], training=True)[:10] for n in (10, 10, 20, 400, 10)]
    if isinstance(net, cmlp.Sequential):
        net.n_threads = 1
        draws.append(net.forward(x[:10], training=True))
    net.layers[0].trainable = False
    draws.append(net.forward(x[:10], training=True))
    for a, b in itertools.combinations(draws, 2):
        assert not np.array_equal(a, b)


@pytest.mark.parametrize("kind", DRAWING)
@pytest.mark.parametrize("make", [whole, split, nested])
def test_the_seed_decides(make, kind):
    x = negative(kind)
    a, b = make(kind, 2), make(kind, 2)
    for _ in range(3):
        assert np.array_equal(a.forward(x, training=True), b.forward(x, training=True))
    c, d = (kind().build(50, "float64", rng=3) for _ in range(2))
    assert np.array_equal(c.forward(x, training=True), d.forward(x, training=True))


@pytest.mark.parametrize("kind", DRAWING)
def test_how_a_net_is_cut_makes_no_difference(kind):
    x = negative(kind)
    assert np.array_equal(
        whole(kind, 3).forward(x, training=True), split(kind, 3).forward(x, training=True)
    )
    assert np.array_equal(
        whole(kind, 3).forward(x, training=True), nested(kind, 3).forward(x, training=True)
    )


@pytest.mark.parametrize("kind", DRAWING)
@pytest.mark.parametrize("how", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
@pytest.mark.parametrize("make", [whole, split, nested, Alone])
def test_copies_go_on_alike(make, how, kind):
    x, net = negative(kind), make(kind, 2)
    net.forward(x, training=True)
    other = how(net)
    assert np.array_equal(net.forward(x, training=True), other.forward(x, training=True))


@pytest.mark.parametrize("kind", DRAWING)
def test_backward_has_the_same_draw(kind):
    x = negative(kind)
    for make in (whole, split, nested):
        net = make(kind, 2)
        y = net.forward(x, training=True)
        np.testing.assert_allclose(net.backward(np.ones_like(x)), y / x)


@pytest.mark.parametrize("kind", DRAWING)
def test_initial_weights_are_those_without(kind):
    a = cmlp.Sequential(cmlp.Dense(3, 4), kind(), cmlp.Dense(4, 2), seed=1)
    b = cmlp.Sequential(cmlp.Dense(3, 4), cmlp.Dense(4, 2), seed=1)
    if kind is cmlp.Dropout:
        assert np.array_equal(a.get_flat(), b.get_flat())
    else:  # a rectifier, for which weights are larger
        assert np.allclose(a.layers[2].weight, b.layers[1].weight)


def fitted(extra, loss, points, kind):
    """Weights after some epochs of a net with two drawing layers."""
    layers = [cmlp.Dense(2, 8), kind(), *extra(), cmlp.Dense(8, 8), kind(), cmlp.Dense(8, 3)]
    net = cmlp.Sequential(*layers, dtype="float64", seed=2)
    trainer = cmlp.Trainer(net, loss, cmlp.SGD(0.1), seed=4)
    trainer.fit(*points, epochs=2, batch_size=16)
    for _ in range(2):
        trainer.train_step(*points)
    return net.get_flat()


@pytest.mark.parametrize("kind", DRAWING)
def test_training_step_by_step_draws_like_compiled_training(kind, points):
    class PythonLoss(cmlp.SoftmaxCrossEntropy):
        """The same, by its methods."""

        def gradient(self, y, t, w):
            return super().gradient(y, t, w)

    compiled = fitted(list, cmlp.SoftmaxCrossEntropy(), points, kind)
    python = fitted(lambda: [PythonIdentity()], cmlp.SoftmaxCrossEntropy(), points, kind)
    np.testing.assert_allclose(python, compiled, rtol=1e-9, atol=1e-12)
    loss = fitted(list, PythonLoss(), points, kind)
    np.testing.assert_allclose(loss, compiled, rtol=1e-9, atol=1e-12)


def test_a_generator_whose_seed_cannot_be_split():
    class Plain:
        """A seed sequence without ``spawn``."""

        def generate_state(self, n_words, dtype=np.uint32):
            return np.arange(1, n_words + 1, dtype=dtype)

    np.random.bit_generator.ISeedSequence.register(Plain)
    rng = np.random.Generator(np.random.Philox(Plain()))
    a, b = (cmlp.Dropout().build(50, rng=rng) for _ in range(2))
    assert not np.array_equal(a.forward(X, True), b.forward(X, True))


def test_training_draws_in_each_part():
    seen = []

    class Watch(PythonIdentity):
        def forward(self, x, training=False):
            if training:
                seen.append((x > 0).mean())
            return x

    parts = [part for _ in range(3) for part in (cmlp.Dropout(0.5), Watch())]
    net = cmlp.Sequential(*parts, cmlp.Dense(50, 1), seed=1)
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(lr=0.0))
    trainer.train_step(X, np.ones((400, 1)))
    np.testing.assert_allclose(seen, [1 / 2, 1 / 4, 1 / 8], atol=0.02)
