"""Gradient descent on the variables of a graph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DivergenceError
from .differentiation import gradients
from .evaluation import Feed, as_nodes, evaluate, read_leaves
from .nodes import Array, Node, Variable, topological


class Optimizer(Protocol):
    """What `minimize` needs of an optimizer."""

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> Any:
        """Change the arrays of the parameters in place; both have the same keys and shapes."""


class SGD:
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
        if not (np.isfinite(lr) and lr > 0):
            raise ValueError(f"lr must be a number above 0, got {lr!r}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1, got {momentum!r}")
        self.lr = lr
        self.momentum = momentum
        self._velocity: dict[str, Array] = {}

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """One step, in place; the velocity is kept under the parameter's name."""
        for name, w in parameters.items():
            v = self._velocity.setdefault(name, np.zeros_like(w))
            v *= self.momentum
            v -= self.lr * gradients[name]
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
    optimizer : object with ``step(parameters, gradients)``, optional
        It changes the arrays of the dict `parameters` in place; `SGD()` by default.
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
    order = topological([loss])
    if variables is None:
        variables = [n for n in order if isinstance(n, Variable)]
    named = name_variables(as_nodes(variables, "variables"))
    if not named:
        raise ValueError(f"loss {loss.label!r} has no variables to change")
    slopes = gradients(loss, list(named.values()))
    order = topological([loss, *slopes])
    optimizer = SGD() if optimizer is None else optimizer
    parameters = {name: variable.value for name, variable in named.items()}
    losses = []
    for feed in feeds:
        values = read_leaves(order, feed)
        evaluate(order, values)
        if values[loss].size != 1:
            raise ValueError(f"loss {loss.label!r} must be a scalar, got {values[loss].shape}")
        losses.append(values[loss].item())
        found = {name: values[slope] for name, slope in zip(named, slopes, strict=True)}
        if not all(np.isfinite(a).all() for a in (values[loss], *found.values())):
            raise DivergenceError(
                f"loss {losses[-1]:g} or one of its gradients is not finite at step "
                f"{len(losses)}; the variables keep the step before"
            )
        optimizer.step(parameters, found)
    return np.array(losses)


def name_variables(variables: Iterable[Node]) -> dict[str, Variable]:
    """Variables by name; those without one are called after their place, ``variable0``..."""
    named: dict[str, Variable] = {}
    for i, variable in enumerate(variables):
        if not isinstance(variable, Variable):
            raise TypeError(f"variables must hold variables, got {variable!r}")
        name = variable.name or f"variable{i}"
        if name in named:
            raise ValueError(f"two variables have the name {name!r}")
        named[name] = variable
    return named
