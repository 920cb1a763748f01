"""Gradient descent on the variables of a graph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..attributes import Declared
from ..errors import DivergenceError
from .differentiation import gradients
from .evaluation import Feed, as_nodes, evaluate, read_leaves
from .nodes import Array, Node, Variable, topological


class HasParameters(Protocol):
    """What an optimizer changes: a layer, or the variables of a graph."""

    def parameters(self) -> Mapping[str, Array]:
        """Arrays by name, changed in place."""

    def gradients(self) -> Mapping[str, Array]:
        """Their gradients, of the same names and shapes."""


class Optimizer(Protocol):
    """What `minimize` needs of an optimizer: cmlp's own have it too."""

    def step(self, net: Any) -> None:
        """Change the parameters of the net by its gradients."""


class Parameters(Declared):
    """Variables as an optimizer sees them, with a gradient beside each.

    Parameters
    ----------
    variables : iterable of Variable
        Those without a name are called after their place, ``variable0``...

    Raises
    ------
    ValueError
        Two have the same name.
    TypeError
        Another kind of node is among them.
    """

    def __init__(self, variables: Iterable[Node]) -> None:
        self._variables: dict[str, Variable] = {}
        for i, variable in enumerate(variables):
            if not isinstance(variable, Variable):
                raise TypeError(f"variables holds {variable!r}; expected variables")
            name = variable.name or f"variable{i}"
            if name in self._variables:
                raise ValueError(f"variables has the name {name!r} twice; expected different names")
            self._variables[name] = variable
        self._gradients = {name: np.zeros_like(v.value) for name, v in self._variables.items()}
        self._trainable = True

    @property
    def trainable(self) -> bool:
        """Whether training changes the variables; where not, no gradient is computed for them."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = checks.flag(value, "trainable")
        if not value:
            self.take(np.zeros_like(dw) for dw in self._gradients.values())

    @property
    def variables(self) -> list[Variable]:
        """The variables, in the order of their names in `parameters`."""
        return list(self._variables.values())

    def parameters(self) -> dict[str, Array]:
        """The arrays of the variables by name; an optimizer changes them in place."""
        return {name: variable.value for name, variable in self._variables.items()}

    def gradients(self) -> dict[str, Array]:
        """The gradients of the last backward pass, by the same names; zeros before any."""
        return dict(self._gradients)

    def take(self, slopes: Iterable[Array]) -> None:
        """Keep these as the gradients, given in the order of the variables."""
        for dw, slope in zip(self._gradients.values(), slopes, strict=True):
            dw[...] = slope


class SGD(Declared):
    """Gradient descent with momentum: v <- momentum v - lr dw, w <- w + v.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    momentum : float
        Share of the last step that is kept, from 0 to below 1.

    Raises
    ------
    ValueError
        A parameter is outside these bounds.
    """

    def __init__(self, lr: float = 0.1, momentum: float = 0.0) -> None:
        self.lr = lr
        self.momentum = momentum
        self._velocities: WeakKeyDictionary[HasParameters, dict[str, Array]] = WeakKeyDictionary()

    @property
    def lr(self) -> float:
        """The learning rate; may be assigned at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = checks.number(value, "lr", 0.0, open_low=True)

    @property
    def momentum(self) -> float:
        """Share of the last step that is kept; may be assigned at any time."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        self._momentum = checks.number(value, "momentum", 0.0, 1.0, open_high=True)

    def step(self, net: HasParameters) -> None:
        """Change the parameters, in place, by the gradients; the velocity is kept for each net."""
        velocity = self._velocities.setdefault(net, {})
        slopes = net.gradients()
        for name, w in net.parameters().items():
            v = velocity.setdefault(name, np.zeros_like(w))
            v *= self.momentum
            v -= self.lr * slopes[name]
            w += v


def minimize(
    loss: Node,
    feeds: Iterable[Feed],
    optimizer: Optimizer | None = None,
    variables: Sequence[Variable] | None = None,
) -> NDArray[np.float64]:
    """Take one optimizer step on the variables for each feed.

    Parameters
    ----------
    loss : Node
        A scalar.
    feeds : iterable of mappings
        The feed of each step: ``[feed] * 100`` for a hundred steps on one batch,
        ``[{}] * 100`` without placeholders, or a generator of minibatches.
    optimizer : object with ``step(net)``, optional
        One of cmlp's, or any that changes the arrays of ``net.parameters()`` in place by those of
        ``net.gradients()``; `SGD()` by default. Momentum starts at zero with each call.
    variables : sequence of Variable, optional
        What to change; by default every variable that the loss depends on.

    Returns
    -------
    ndarray, shape (n_steps,)
        The loss before each step.

    Raises
    ------
    ValueError
        The loss is not a scalar, there is no variable, two have the same name, or as `run`.
    TypeError
        `variables` holds another kind of node.
    DivergenceError
        The loss or a gradient is not finite. The variables keep the last step before.
    """
    if not isinstance(loss, Node):
        raise TypeError(f"loss is {loss!r}; expected a node")
    if variables is None:
        variables = [n for n in topological([loss]) if isinstance(n, Variable)]
    net = Parameters(as_nodes(variables, "variables"))
    if not net.variables:
        raise ValueError(f"loss {loss.label!r} has no variables to change")
    slopes = gradients(loss, net.variables)
    order = topological([loss, *slopes])
    optimizer = SGD() if optimizer is None else optimizer
    losses = []
    for feed in feeds:
        values = read_leaves(order, feed)
        evaluate(order, values)
        if values[loss].size != 1:
            raise ValueError(f"loss has shape {values[loss].shape}; expected a scalar")
        losses.append(values[loss].item())
        if not all(np.isfinite(values[n]).all() for n in (loss, *slopes)):
            raise DivergenceError(
                f"loss {losses[-1]:g} or one of its gradients is not finite at step "
                f"{len(losses)}; the variables keep the step before"
            )
        net.take(values[slope] for slope in slopes)
        optimizer.step(net)
    return np.array(losses)
