"""Nets for digits that are known from the literature."""

import os
from pathlib import Path

import numpy as np
import pytest

import cmlp
from cmlp.models import IMAGE_NETS, convnetjs, convnetjs_fc, lenet5

FOLDER = Path(os.environ.get("CMLP_MNIST", Path(__file__).parents[2] / "shared/data/mnist"))
with_mnist = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no MNIST in {FOLDER}; set CMLP_MNIST")


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("convnetjs", (1, 24, 24), 8 * 26 + 16 * 201 + 10 * 257),
        ("convnetjs-fc", (1, 24, 24), 32 * 577 + 10 * 33),
        ("lenet5", (1, 28, 28), 44_426),
    ],
)
def test_shapes_and_parameters(name, shape, parameters):
    net = IMAGE_NETS[name](seed=0)
    assert (net.in_shape, net.out_shape, net.n_parameters) == (shape, (10,), parameters)
    assert net.dtype == "float32"
    assert IMAGE_NETS[name](seed=0, dtype="float64").dtype == "float64"


def test_first_values_are_those_of_convnetjs():
    net = convnetjs(seed=1, dtype="float64")
    conv = [net.layers[0], net.layers[2]]
    assert all((layer.bias == 0.1).all() for layer in conv)
    assert (net.layers[-1].bias == 0.0).all()
    assert conv[1].weight.std() * np.sqrt(200.0) == pytest.approx(1.0, rel=0.05)
    fc = convnetjs_fc(seed=1, dtype="float64").layers[1]
    assert fc.weight.std() * np.sqrt(576.0) == pytest.approx(1.0, rel=0.05)
    assert (fc.bias == 0.1).all()


def strokes(n, seed):
    """Pictures of a horizontal, a vertical or a slanted stroke, from 0 to 1."""
    rng = np.random.default_rng(seed)
    x, y = 0.2 * rng.random((n, 1, 28, 28)), rng.integers(0, 3, n)
    for image, label in zip(x[:, 0], y, strict=True):
        i, j = rng.integers(6, 12, 2)
        places = np.arange(10)
        rows, columns = (i + 0 * places, j + places, i + places)[label], j + places
        if label == 1:
            rows, columns = i + places, j + 0 * places
        image[rows, columns] = 1.0
    return x, y


@pytest.mark.parametrize("name", IMAGE_NETS)
def test_strokes_are_told_apart(name):
    net = IMAGE_NETS[name](seed=0)
    augment = cmlp.Augment((28, 28), crop=net.in_shape[1:], fill=-0.5)
    trainer = cmlp.Trainer(net, "softmax_cross_entropy", cmlp.Adam(0.003), augment=augment)
    net.classes = list(range(10))
    x, y = strokes(600, 1)
    trainer.fit(x - 0.5, y, epochs=6, batch_size=20)
    x_test, y_test = strokes(200, 2)
    p = augment.predict_proba(net, x_test - 0.5, n_crops=4)
    assert (p.argmax(axis=1) == y_test).mean() > (0.7 if name == "convnetjs-fc" else 0.95)


def digits():
    """MNIST's images (n, 1, 28, 28) and labels, to train on and to test."""
    x, y, x_test, y_test = cmlp.datasets.mnist(FOLDER).split()
    return x.reshape(-1, 1, 28, 28), y, x_test.reshape(-1, 1, 28, 28), y_test


@pytest.mark.slow
@with_mnist
def test_convnetjs_reads_mnist():
    """Two epochs with the page's settings and the first version's eps."""
    x, y, x_test, y_test = digits()
    net, augment = convnetjs(seed=0), cmlp.Augment((28, 28), crop=(24, 24), fill=-0.5)
    optimizer = cmlp.Adadelta(eps=1e-6, weight_decay=0.001, decay_over_batch=True)
    trainer = cmlp.Trainer(net, "softmax_cross_entropy", optimizer, augment=augment)
    trainer.fit(x - 0.5, y, epochs=2, batch_size=20)
    p = augment.predict_proba(net, x_test - 0.5, n_crops=4)
    assert (p.argmax(axis=1) != y_test).sum() <= 150


@pytest.mark.slow
@with_mnist
def test_lenet5_reads_mnist():
    x, y, x_test, y_test = digits()
    trainer = cmlp.Trainer(lenet5(seed=0), "softmax_cross_entropy", cmlp.Adam(1e-3))
    trainer.fit(x, y, epochs=4, batch_size=64)
    assert trainer.evaluate(x_test, y_test)["accuracy"] >= 0.985
