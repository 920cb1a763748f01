"""Layers: each a class with ``forward`` and ``backward``, alone or in a `Sequential`.

Shapes: ``x`` is (batch, n_in) and row-major, ``y`` is (batch, n_out).  A layer owns one packed
layer of the compiled core, which holds its parameters whether it is used alone or in a net.

A layer of the user's own is any object with ``forward(x, training=False) -> y`` and
``backward(dy) -> dx``; it may have ``parameters()`` and ``gradients()`` (dicts of arrays with the
same keys; the parameters are changed in place by the optimizer), ``n_out(n_in) -> int`` if it
changes the width, and the attribute ``n_in`` if it is to tell its own.

A file for each kind of layer; `segment` makes a compiled plan of a run of them.  Of the package
this imports the compiled core, checks and initializers.
"""

from .activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    ScaledTanh,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Step,
    Tanh,
    activation_names,
)
from .base import Layer, PythonLayer
from .conv import Conv2D
from .dense import Dense
from .dropout import Dropout
from .pooling import AvgPool2D, MaxPool2D
from .prelu import PReLU
from .registry import register_layer
from .reshape import Flatten, Reshape
from .rrelu import RReLU
from .subsample import SubSample2D

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "AvgPool2D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Identity",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "PReLU",
    "PythonLayer",
    "RReLU",
    "ReLU",
    "Reshape",
    "ScaledTanh",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Step",
    "SubSample2D",
    "Tanh",
    "activation_names",
    "register_layer",
]
