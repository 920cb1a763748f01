"""Nets for the tests of exports: every built-in layer, and every kind of classifier."""

from __future__ import annotations

from functools import partial

import numpy as np

import cmlp
from cmlp import _core
from cmlp.layers.activations import KINDS

# Every kind; those of one number with a parameter have one that is not the default.
LAYERS = [
    partial(kind, 0.3) if _core.activations()[name]["param"] is not None else kind
    for name, kind in KINDS.items()
]
LAYERS += [cmlp.PReLU, lambda: cmlp.RReLU(0.1, 0.3), lambda: cmlp.Dropout(0.4)]
NAMES = [repr(make()).lower() for make in LAYERS]
DTYPES = ["float32", "float64"]


def rows(net, n=10_000, scale=2.0):
    """Samples for a net."""
    x = np.random.default_rng(5).normal(scale=scale, size=(n, net.n_in))
    return x.astype(net.dtype)


def between_dense(make, dtype):
    """The layer in a net, and a Dense without bias; no parameter is at its initial value."""
    net = cmlp.Sequential(
        cmlp.Dense(6, 9), make(), cmlp.Dense(9, 4, bias=False), dtype=dtype, seed=1
    )
    rng = np.random.default_rng(2)
    net.set_flat(0.5 * rng.normal(size=net.n_parameters))
    return net


def alone(make, dtype):
    """The layer as a net of its own."""
    return cmlp.Sequential(make(), n_in=4, dtype=dtype, seed=1)


def far_values(dtype):
    """Rows (n, 4) of numbers from the smallest to ones where exponentials overflow."""
    sizes = np.concatenate([[0.0, 1e-30], np.geomspace(1e-5, 2000.0, 300)])
    x = np.concatenate([-sizes[::-1], sizes]).astype(dtype)
    return np.stack([x, x[::-1], np.roll(x, 7), np.zeros_like(x)], axis=1)


def classifier(n_out, classes=None, activation="identity", link=None):
    """A small net of that many outputs."""
    net = cmlp.Sequential(
        cmlp.Dense(6, 9, activation="tanh"), cmlp.Dense(9, n_out, activation), seed=3
    )
    net.classes, net.link = classes, link
    return net


# (net, labels in the order of the classes)
CLASSIFIERS = {
    "numbers": lambda: (classifier(3), [0, 1, 2]),
    "integers": lambda: (classifier(3, [-5, 2, 70_000]), [-5, 2, 70_000]),
    "floats": lambda: (classifier(3, [0.1, 0.5, 1.5]), [0.1, 0.5, 1.5]),
    "strings": lambda: (classifier(3, ["a", 'b"\\', "ü??/"]), ["a", 'b"\\', "ü??/"]),
    "softmax": lambda: (classifier(3, ["a", "b", "c"], "softmax"), ["a", "b", "c"]),
    "one against the rest": lambda: (classifier(3, link="sigmoid"), [0, 1, 2]),
    "two": lambda: (classifier(1), [0, 1]),
    "two, booleans": lambda: (classifier(1, [False, True]), [False, True]),
    "two, strings": lambda: (classifier(1, ["no", "yes"], "sigmoid"), ["no", "yes"]),
    "two outputs": lambda: (classifier(2, ["no", "yes"]), ["no", "yes"]),
}


def probabilities(net, x):
    """Columns for all classes."""
    p = net.predict_proba(x)
    return np.hstack([1 - p, p]) if net.n_out == 1 else p


def places(net, x):
    """The place of each row's label in the classes."""
    if net.n_out == 1:
        return (net.predict_proba(x)[:, 0] > 0.5).astype(int)
    return net.predict(x).argmax(axis=1)


def surely(net, x):
    """Rows at which rounding cannot change the label."""
    p = np.sort(probabilities(net, x), axis=1)
    return x[p[:, -1] - p[:, -2] > 1e-4]


class Doubling:
    """A layer of a user's own."""

    def forward(self, x, training=False):
        return 2 * x

    def backward(self, dy):
        return 2 * dy

    def __repr__(self):
        return "Doubling()"
