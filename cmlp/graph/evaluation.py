"""The forward pass: values of nodes, each computed once a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from .nodes import Array, Constant, Node, Operation, Placeholder, Variable, read_array, topological

Feed = Mapping[Node, ArrayLike]
Values = dict[Node, Array]


@overload
def run(node: Node, feed: Feed | None = None) -> Array: ...
@overload
def run(node: Sequence[Node], feed: Feed | None = None) -> list[Array]: ...
def run(node: Node | Sequence[Node], feed: Feed | None = None) -> Array | list[Array]:
    """The value of a node, or of several in one pass.

    What the nodes have in common is computed once: ask for a loss and its gradients together.

    Parameters
    ----------
    node : Node or sequence of Node
    feed : mapping of Placeholder to number or array_like, optional
        A value for every placeholder that the nodes depend on. A variable may be fed too; the
        value then stands in for its own during this run.

    Returns
    -------
    ndarray, or list of ndarray for a sequence
        The caller's own copies; scalars have shape (). The dtype is float32 if every floating
        array among feeds, variables and constants is float32, otherwise float64; Python numbers
        and integers follow. Overflow or the logarithm of a negative number gives infinity or NaN
        with NumPy's RuntimeWarning.

    Raises
    ------
    ValueError
        A placeholder is not fed, a shape does not fit (both are named), or there is a cycle.
    TypeError
        A key of the feed is not a placeholder or variable, or a value is not made of numbers.
    """
    single = isinstance(node, Node)
    targets = as_nodes(node, "node")
    order = topological(targets)
    values = read_leaves(order, feed)
    evaluate(order, values)
    results = [np.array(values[target]) for target in targets]
    return results[0] if single else results


def as_nodes(node: Any, what: str) -> list[Node]:
    """The nodes as a list; a single one becomes a list of one."""
    nodes = [node] if isinstance(node, Node) else node
    if not isinstance(nodes, Sequence) or not all(isinstance(n, Node) for n in nodes):
        raise TypeError(f"{what} is {node!r}; expected a node or a sequence of nodes")
    return list(nodes)


def read_leaves(order: Iterable[Node], feed: Feed | None) -> Values:
    """The values of the constants, variables and placeholders, all of the run's one dtype."""
    fed = _read_feed({} if feed is None else feed)
    leaves: dict[Node, tuple[Array, np.dtype[Any] | None]] = {}
    for node in order:
        if node in fed:
            leaves[node] = fed[node]
        elif isinstance(node, Constant | Variable):
            leaves[node] = node.value, node.dtype
        elif isinstance(node, Placeholder):
            raise ValueError(f"placeholder {node.label!r} has no value: give it in feed")
    asked = {dtype for _, dtype in leaves.values() if dtype is not None}
    dtype = np.float32 if asked == {np.dtype(np.float32)} else np.float64
    return {node: np.asarray(array, dtype=dtype) for node, (array, _) in leaves.items()}


def _read_feed(feed: Feed) -> dict[Node, tuple[Array, np.dtype[Any] | None]]:
    if not isinstance(feed, Mapping):
        raise TypeError(f"feed is {type(feed).__name__}; expected a map of placeholders to values")
    fed: dict[Node, tuple[Array, np.dtype[Any] | None]] = {}
    for node, value in feed.items():
        if not isinstance(node, Placeholder | Variable):
            raise TypeError(f"feed has the key {node!r}; expected placeholders and variables")
        array, dtype = read_array(value, f"feed of {node.label!r}")
        if isinstance(node, Placeholder) and not node.accepts(array.shape):
            raise ValueError(
                f"feed of {node.label!r} has shape {array.shape}; expected {node.shape}"
            )
        if isinstance(node, Variable) and array.shape != node.value.shape:
            raise ValueError(
                f"feed of {node.label!r} has shape {array.shape}; expected {node.value.shape}"
            )
        fed[node] = array, dtype
    return fed


def evaluate(order: Iterable[Node], values: Values) -> None:
    """Compute the nodes of a topological order that have no value yet, into `values`."""
    for node in order:
        if node in values:
            continue
        if not isinstance(node, Operation):
            raise ValueError(f"{node.kind} {node.label!r} has no value")
        arrays = [values[source] for source in node.inputs]
        try:
            values[node] = np.asarray(node.forward(*arrays))
        except ValueError as error:
            inputs = zip(node.inputs, arrays, strict=True)
            shapes = " and ".join(f"{source.label} {array.shape}" for source, array in inputs)
            raise ValueError(
                f"node {node.label!r} ({node.kind}) of {shapes} failed: {error}"
            ) from error
