"""Nets of the lecture notes."""

import numpy as np

import cmlp
from cmlp import datasets

XOR = datasets.boolean("xor")


def net_of(*layers, seed=0):
    return cmlp.Sequential(*layers, dtype="float64", seed=seed)


def given(weights, activations):
    """A net whose weights and biases are given."""
    net = net_of(
        *[
            cmlp.Dense(np.shape(w)[1], np.shape(w)[0], activation=a)
            for (w, _), a in zip(weights, activations, strict=True)
        ]
    )
    for layer, (w, b) in zip(net.layers, weights, strict=True):
        layer.weight, layer.bias = w, b
    return net
