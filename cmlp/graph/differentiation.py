"""The backward pass: gradients as graphs, by the chain rule from the output to the inputs."""

from collections.abc import Sequence
from typing import overload

import numpy as np

from .evaluation import Feed, as_nodes, run
from .nodes import (
    Array,
    Constant,
    Node,
    Operand,
    Operation,
    Placeholder,
    Variable,
    as_node,
    broadcast_to,
    topological,
)

Edge = tuple[Node, int]  # a node, and which of its inputs


@overload
def gradients(node: Node, wrt: Node, dy: Operand | None = None) -> Node: ...
@overload
def gradients(node: Node, wrt: Sequence[Node], dy: Operand | None = None) -> list[Node]: ...
def gradients(
    node: Node, wrt: Node | Sequence[Node], dy: Operand | None = None
) -> Node | list[Node]:
    """The gradient of a node, by reverse mode, as nodes of the same graph.

    Every node on the way gets its gradient once; where paths join, their contributions are
    summed (the two chain rules of "Multi-layer perceptron", section 2.2). The gradient refers
    to the values of the forward pass, so `run` on both computes those once. A gradient can be
    differentiated again.

    Parameters
    ----------
    node : Node
        What to differentiate. If it is not a scalar, the sum of its elements is.
    wrt : Node or sequence of Node
        Variables, placeholders or operations. Where the node does not depend on one of them,
        its gradient is zeros.
    dy : Node or array_like, optional
        The gradient of the node itself, broadcast to its shape; 1 by default.

    Returns
    -------
    Node, or list of Node for a sequence
        Each of the shape of its `wrt`.

    Raises
    ------
    ValueError
        `wrt` holds a constant, or the graph has a cycle.
    TypeError
        An argument is not a node.
    """
    if not isinstance(node, Node):
        raise TypeError(f"node is {node!r}; expected a node")
    sources = as_nodes(wrt, "wrt")
    for source in sources:
        if isinstance(source, Constant):
            raise ValueError(
                f"wrt holds the constant {source.label}; expected nodes that have a gradient"
            )
    totals, _ = backward(node, sources, dy)
    results = [totals.get(source, broadcast_to(0.0, source)) for source in sources]
    return results[0] if isinstance(wrt, Node) else results


def backward(
    node: Node, sources: Sequence[Node], dy: Operand | None = None
) -> tuple[dict[Node, Node], dict[Edge, Node]]:
    """Gradients of all nodes between the sources and the node, and what flows on each edge.

    A node's gradient is the sum of what flows on the edges from it to its users.
    """
    order = topological([node])
    on_path = set(sources)
    for n in order:
        if not on_path.isdisjoint(n.inputs):
            on_path.add(n)
    totals = {node: broadcast_to(1.0 if dy is None else as_node(dy), node)}
    edges: dict[Edge, Node] = {}
    # Users come before what they use, so a node's sum is complete when its turn comes.
    for user in reversed(order):
        if user not in totals or user not in on_path or not isinstance(user, Operation):
            continue
        flows = user.backward(totals[user], user, *user.inputs)
        for i, (source, flow) in enumerate(zip(user.inputs, flows, strict=True)):
            if flow is None or source not in on_path:
                continue
            edges[user, i] = flow
            totals[source] = totals[source] + flow if source in totals else flow
    return totals, edges


def leaves(node: Node) -> list[Variable | Placeholder]:
    """The variables and placeholders that a node depends on."""
    return [n for n in topological([node]) if isinstance(n, Variable | Placeholder)]


def check_gradients(
    node: Node,
    feed: Feed | None = None,
    wrt: Node | Sequence[Node] | None = None,
    eps: float = 1e-6,
) -> float:
    """Compare `gradients` with central differences (f(x + eps) - f(x - eps)) / (2 eps).

    Runs the graph twice for every element of every `wrt`, in float64. No variable is changed.

    Parameters
    ----------
    node : Node
        If it is not a scalar, the sum of its elements is checked.
    feed : mapping of Placeholder to number or array_like, optional
    wrt : Node or sequence of Node, optional
        Variables and placeholders; by default all that the node depends on.
    eps : float
        Half the distance of the differences. The error of the comparison itself is about
        1e-9 for functions of order 1; a kink within eps (`relu`, `max`) makes it large.

    Returns
    -------
    float
        The largest |a - d| / max(1, |a|, |d|) over all elements, for gradients a and
        differences d; NaN if one of them is NaN.

    Raises
    ------
    ValueError
        As `run` and `gradients`; or eps is not a positive number.
    TypeError
        `wrt` holds something that is not a variable or placeholder.
    """
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps is {eps!r}; expected a positive number")
    sources = leaves(node) if wrt is None else as_nodes(wrt, "wrt")
    for source in sources:
        if not isinstance(source, Variable | Placeholder):
            raise TypeError(f"wrt holds {source!r}; expected variables and placeholders")
    fed = {} if feed is None else dict(feed)
    run(node, fed)  # reports a bad feed as the user gave it
    for leaf in leaves(node):
        value = fed.get(leaf, leaf.value if isinstance(leaf, Variable) else None)
        fed[leaf] = np.array(value, dtype=np.float64)
    worst = [0.0]
    for source, slope in zip(sources, run(gradients(node, sources), fed), strict=True):
        difference = _central_difference(node, fed, source, eps)
        scale = np.maximum(1.0, np.maximum(np.abs(slope), np.abs(difference)))
        worst.append(float(np.max(np.abs(slope - difference) / scale, initial=0.0)))
    return float(np.max(worst))


def _central_difference(node: Node, feed: Feed, source: Node, eps: float) -> Array:
    """The slope of sum(node) along each element of the source."""
    value = np.asarray(feed[source])
    slope = np.empty_like(value)
    for index in np.ndindex(value.shape):
        shifted = [value.copy(), value.copy()]
        shifted[0][index] += eps
        shifted[1][index] -= eps
        high, low = (np.sum(run(node, {**feed, source: v})) for v in shifted)
        slope[index] = (high - low) / (shifted[0][index] - shifted[1][index])
    return slope
