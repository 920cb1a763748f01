"""Nets that compute Boolean functions with weights that nobody had to train."""

from __future__ import annotations

from .. import checks
from ..layers import Dense
from ..network import Sequential

_ONES = [[1.0, 1.0], [1.0, 1.0]]

# Activation, W and b of each layer.
_BOOLEAN_NETS: dict[str, list[tuple[str, list[list[float]], list[float]]]] = {
    "not": [("sigmoid", [[-20.0]], [10.0])],
    "and": [("sigmoid", [[20.0, 20.0]], [-30.0])],
    "or": [("sigmoid", [[20.0, 20.0]], [-10.0])],
    "nand": [("sigmoid", [[-20.0, -20.0]], [30.0])],
    "nor": [("sigmoid", [[-20.0, -20.0]], [10.0])],
    "xnor": [
        ("sigmoid", [[20.0, 20.0], [-20.0, -20.0]], [-30.0, 10.0]),
        ("sigmoid", [[20.0, 20.0]], [-10.0]),
    ],
    "xor": [("relu", _ONES, [0.0, -1.0]), ("relu", [[1.0, -2.0]], [0.0])],
    "xor_signs": [("relu", _ONES, [0.0, -1.0]), ("identity", [[2.0, -4.0]], [-1.0])],
}

BOOLEAN_NETS = tuple(_BOOLEAN_NETS)
"""The names that `boolean_net` knows."""


def boolean_net(name: str, dtype: str = "float64") -> Sequential:
    """A net that computes a Boolean function with weights that nobody had to train.

    Parameters
    ----------
    name : str
        - "not", "and", "or", "nand", "nor": one sigmoid unit; g(-30 + 20 x1 + 20 x2) for "and",
          as in *Machine Learning CS 539*.
        - "xnor": the same units in two layers, "and" and "nor" under an "or".
        - "xor": ReLU units that give 0, 1, 1, 0, from *Deep Learning, topic 3: Multi-layer
          Perceptron*, "XOR problem revisited".
        - "xor_signs": a linear unit above ReLU units that gives -1, 1, 1, -1, from *CS489/698
          Lecture 04: Multi-layer Perceptron*.
    dtype : {"float64", "float32"}

    Returns
    -------
    Sequential
        For inputs of 0 and 1, such as those of `cmlp.datasets.boolean`.
    """
    checks.choice(name, "name", BOOLEAN_NETS)
    layers = []
    for activation, w, b in _BOOLEAN_NETS[name]:
        layer = Dense(len(w[0]), len(w), activation=activation)
        layer.weight, layer.bias = w, b
        layers.append(layer)
    return Sequential(*layers, dtype=dtype, seed=0)
