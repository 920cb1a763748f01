"""Nets of layers as nodes of a graph, and graphs as layers of a net."""

import weakref
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .differentiation import gradients
from .evaluation import evaluate, read_leaves
from .nodes import Array, Constant, Node, Operation, Placeholder, Variable, topological
from .training import Parameters


class Net(Protocol):
    """What `net` needs: a layer, a Sequential, or an object of the user's."""

    def forward(self, x: Array) -> Array: ...

    def backward(self, dy: Array) -> Array: ...


# The node that last ran forward through a net, by the net's id. Nets keep what backward needs
# from one forward pass only, and several nodes may share a net.
_last_user: "weakref.WeakValueDictionary[int, NetNode]" = weakref.WeakValueDictionary()


class NetNode(Operation):
    """A net applied to a node. Made by `net`."""

    net: Net

    def __init__(self, net: Net, x: Node) -> None:
        super().__init__("net", (x,), self.run_forward, _net_backward)
        self.net = net

    def run_forward(self, x: Array) -> Array:
        """The net's output, in the dtype of x whatever that of the net."""
        own = np.array(x, dtype=getattr(self.net, "dtype", x.dtype))
        y = np.array(self.net.forward(own), dtype=x.dtype)
        _last_user[id(self.net)] = self
        return y


class _NetBackward(Operation):
    """The gradient of a net's input. It takes y so that forward has run before it."""

    node: NetNode

    def __init__(self, dy: Node, y: NetNode, x: Node) -> None:
        super().__init__("net_backward", (dy, y, x), self._run, _no_second_derivative)
        self.node = y

    def _run(self, dy: Array, y: Array, x: Array) -> Array:
        net = self.node.net
        if _last_user.get(id(net)) is not self.node:
            self.node.run_forward(x)
        own = np.array(dy, dtype=getattr(net, "dtype", dy.dtype))
        dx = np.array(net.backward(own), dtype=x.dtype)
        if dx.shape != x.shape:
            raise ValueError(f"backward gave shape {dx.shape} for an input of {x.shape}")
        return dx


def _net_backward(dy: Node, y: NetNode, x: Node) -> tuple[Node]:
    return (_NetBackward(dy, y, x),)


def _no_second_derivative(dz: Node, z: Node, dy: Node, y: Node, x: Node) -> tuple[Node, ...]:
    raise ValueError(f"node {y.label!r} is a net of layers: it has no second derivative")


def net(net: Net, x: Node) -> NetNode:
    """Any net of layers as a node.

    Parameters
    ----------
    net : object with ``forward(x) -> y`` and ``backward(dy) -> dx``
        A `Sequential`, a layer, or the user's own. It computes in its ``dtype`` if it has one. Its
        forward runs as in prediction: `Dropout` drops nothing.
    x : Node
        Its input.

    Returns
    -------
    Node
        First derivatives with respect to whatever x depends on go through the net's backward,
        which leaves the gradients of the net's own parameters in the net, as it always does:
        those of the last call, where several nodes share the net. Second derivatives are a
        ValueError.

    Raises
    ------
    TypeError
        The net lacks one of the methods, or x is not a node.
    """
    for method in ("forward", "backward"):
        if not callable(getattr(net, method, None)):
            raise TypeError(f"net is {net!r}; expected an object with forward and backward")
    if not isinstance(x, Node):
        raise TypeError(f"x is {x!r}; expected a node")
    return NetNode(net, x)


class GraphLayer(Parameters):
    """A graph as a layer, to stand in a `Sequential` among others.

    Parameters
    ----------
    output : Node
        The layer's output, one row for each row of x. The variables that it depends on are the
        layer's parameters.
    x : Placeholder
        The layer's input, of shape (batch, n_in), the only placeholder of the graph.

    Raises
    ------
    ValueError
        The output does not depend on x, the graph has another placeholder or a cycle, or two
        variables have the same name.
    TypeError
        An argument is of another kind.

    Notes
    -----
    The output comes in the dtype of x, whatever that of the variables. A graph holds functions
    and cannot be pickled; `copy.deepcopy` copies it, as deep as Python's stack allows.
    """

    output: Node
    x: Placeholder

    def __init__(self, output: Node, x: Placeholder) -> None:
        if not isinstance(output, Node):
            raise TypeError(f"output is {output!r}; expected a node")
        if not isinstance(x, Placeholder):
            raise TypeError(f"x is {x!r}; expected a placeholder")
        order = topological([output])
        if x not in order:
            raise ValueError(
                f"output is {output.label!r}; expected a node that depends on {x.label!r}"
            )
        others = [n for n in order if isinstance(n, Placeholder) and n is not x]
        if others:
            raise ValueError(
                f"output depends on {others[0].label!r}; expected no placeholder but {x.label!r}"
            )
        self.output = output
        self.x = x
        super().__init__(n for n in order if isinstance(n, Variable))
        self._dy = Placeholder("dy")
        self._slopes = gradients(output, [x, *self.variables], dy=self._dy)
        self._backward_order = topological(self._slopes)
        self._dx_order = topological(self._slopes[:1])
        # One forward reads the constants of both passes, so that backward adds to its values.
        self._order = order + [n for n in self._backward_order if isinstance(n, Constant)]
        self._values: dict[Node, Array] = {}

    @property
    def n_in(self) -> int | None:
        """Width of the input where the placeholder's shape says it, else None."""
        return self.x.shape[-1] if self.x.shape else None

    def forward(self, x: Array, training: bool = False) -> Array:
        """The output for a batch; training makes no difference to a graph.

        Parameters
        ----------
        x : ndarray, shape (batch, n_in)
        training : bool

        Returns
        -------
        ndarray, shape (batch, ...)

        Raises
        ------
        ValueError
            A shape does not fit, or the output does not have one row for each of x.
        """
        values = self._evaluate(np.array(x))
        self._values = values
        return np.array(values[self.output], dtype=_dtype(x))

    def _evaluate(self, x: Array) -> dict[Node, Array]:
        values = read_leaves(self._order, {self.x: x})
        evaluate(self._order, values)
        y = values[self.output]
        if y.ndim == 0 or y.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"output {self.output.label!r} has shape {y.shape} for x of shape {x.shape}: "
                "expected one row for each row of x"
            )
        return values

    def backward(self, dy: Array) -> Array:
        """The gradient of x given that of the last forward's output; fills `gradients`.

        Parameters
        ----------
        dy : ndarray, the shape of the output

        Returns
        -------
        ndarray, the shape of x

        Raises
        ------
        ValueError
            dy has another shape.
        RuntimeError
            There was no forward before.
        """
        if not self._values:
            raise RuntimeError(f"backward of {self.output!r} before forward")
        y = self._values[self.output]
        if np.shape(dy) != y.shape:
            raise ValueError(f"dy has shape {np.shape(dy)}; expected {y.shape}, the output's")
        values = {**self._values, self._dy: np.asarray(dy, dtype=y.dtype)}
        evaluate(self._backward_order if self.trainable else self._dx_order, values)
        dx = values[self._slopes[0]]
        if self.trainable:
            self.take(values[slope] for slope in self._slopes[1:])
        return np.array(dx, dtype=_dtype(dy))

    def n_out(self, n_in: int) -> int:
        """Width of the output for inputs of width n_in, found by running one row of ones."""
        with np.errstate(all="ignore"):
            values = self._evaluate(np.ones((1, n_in)))
        return int(values[self.output].shape[-1])


def _dtype(x: ArrayLike) -> np.dtype[Any]:
    """float32 for a float32 array, else float64."""
    return np.dtype(np.float32 if np.asarray(x).dtype == np.float32 else np.float64)
