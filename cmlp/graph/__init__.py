"""Computation graphs: expressions that know their gradients.

>>> import cmlp.graph as graph
>>> x, y, z = (graph.Placeholder(name) for name in "xyz")
>>> f = (x + y) * z
>>> values = graph.run([f, *graph.gradients(f, [x, y, z])], {x: -2, y: 5, z: -4})
>>> [float(v) for v in values]
[-12.0, -4.0, -4.0, 3.0]

`Constant`, `Variable` and `Placeholder` are the leaves; operators and functions join them into
a directed acyclic graph, on scalars and on arrays that broadcast. `run` computes values,
`gradients` extends the graph by its derivatives, `minimize` changes the variables, `to_dot` and
`draw` show it all. `net` makes a net of layers a node, `GraphLayer` makes a graph a layer.
"""

from .differentiation import check_gradients, gradients
from .drawing import draw, to_dot
from .evaluation import run
from .functions import (
    cos,
    exp,
    log,
    log_softmax,
    matmul,
    max,
    mean,
    relu,
    reshape,
    sigmoid,
    sin,
    softmax_cross_entropy,
    softplus,
    sqrt,
    sum,
    tanh,
    transpose,
)
from .layers import GraphLayer, net
from .nodes import Constant, Node, Placeholder, Variable
from .training import SGD, minimize

__all__ = [
    "SGD",
    "Constant",
    "GraphLayer",
    "Node",
    "Placeholder",
    "Variable",
    "check_gradients",
    "cos",
    "draw",
    "exp",
    "gradients",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "mean",
    "minimize",
    "net",
    "relu",
    "reshape",
    "run",
    "sigmoid",
    "sin",
    "softmax_cross_entropy",
    "softplus",
    "sqrt",
    "sum",
    "tanh",
    "to_dot",
    "transpose",
]
