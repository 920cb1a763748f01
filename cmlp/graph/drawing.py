"""Drawings of a graph, with value and gradient on every edge."""

import shutil
import subprocess
from collections import Counter
from html import escape
from os import PathLike
from pathlib import Path

import numpy as np

from .differentiation import Edge, backward, leaves
from .evaluation import Feed, run
from .nodes import Array, Node, Operation, topological

_MOST_ELEMENTS = 6  # a larger array is shown by its shape


def to_dot(node: Node, feed: Feed | None = None) -> str:
    """The graph of a node as text in Graphviz's language DOT.

    On each edge stands in green the value that flows forward, and beneath it in red the gradient
    that flows back, as in "CS489/698 Lecture 04: Multi-layer Perceptron". A node with several
    users also shows the sum of their gradients.

    Parameters
    ----------
    node : Node
        The output; its own gradient is 1.
    feed : mapping of Placeholder to number or array_like, optional
        As for `run`; ``{}`` for a graph without placeholders. Without a feed the structure alone
        is drawn.

    Returns
    -------
    str

    Raises
    ------
    ValueError, TypeError
        As `run`.
    """
    order = topological([node])
    edges = [(user, i) for user in order for i in range(len(user.inputs))]
    values, flows, totals = ({}, {}, {}) if feed is None else _numbers(node, edges, feed)
    lines = ["digraph {", "  rankdir=LR;", "  node [shape=circle];"]
    number = {n: i for i, n in enumerate(order)}
    for n, i in number.items():
        shape = "circle" if isinstance(n, Operation) else "box"
        lines.append(f"  n{i} [label=<{_node_text(n, totals.get(n))}>, shape={shape}];")
    for user, i in edges:
        source = user.inputs[i]
        text = _edge_text(values.get(source), flows.get((user, i)))
        lines.append(f"  n{number[source]} -> n{number[user]}{text};")
    text = _edge_text(values.get(node), None if feed is None else np.ones_like(values[node]))
    lines += ["  output [shape=none];", f"  n{number[node]} -> output{text};", "}"]
    return "\n".join(lines) + "\n"


def _numbers(
    node: Node, edges: list[Edge], feed: Feed
) -> tuple[dict[Node, Array], dict[Edge, Array], dict[Node, Array]]:
    """Values of the nodes, gradients on the edges, and their sums at nodes with several users."""
    totals, flows = backward(node, leaves(node))
    uses = Counter(user.inputs[i] for user, i in edges)
    shared = {n: dn for n, dn in totals.items() if uses[n] > 1}
    nodes = topological([node])
    wanted = [*nodes, *flows.values(), *shared.values()]
    found = dict(zip(wanted, run(wanted, feed), strict=True))
    return (
        {n: found[n] for n in nodes},
        {edge: found[flow] for edge, flow in flows.items()},
        {n: found[total] for n, total in shared.items()},
    )


def _node_text(node: Node, total: Array | None) -> str:
    text = escape(node.kind if isinstance(node, Operation) else node.label)
    if isinstance(node, Operation) and node.name:
        text = f"{escape(node.name)}<br/>{text}"
    return text if total is None else f"{text}<br/>{_colored('sum ' + _format(total), 'red')}"


def _edge_text(value: Array | None, gradient: Array | None) -> str:
    parts = []
    if value is not None:
        parts.append(_colored(_format(value), "darkgreen"))
    if gradient is not None:
        parts.append(_colored(_format(gradient), "red"))
    return f" [label=<{'<br/>'.join(parts)}>]" if parts else ""


def _colored(text: str, color: str) -> str:
    return f'<font color="{color}">{escape(text)}</font>'


def _format(array: Array) -> str:
    if array.ndim == 0:
        return f"{array:.4g}"
    if array.size <= _MOST_ELEMENTS:
        return np.array2string(array, precision=4, separator=", ").replace("\n", "")
    return f"array {array.shape}"


def draw(node: Node, path: str | PathLike[str], feed: Feed | None = None) -> None:
    """Write the drawing of `to_dot` as a picture, by Graphviz's program ``dot``.

    Parameters
    ----------
    node : Node
    path : path
        Where to write; the ending says the format: .svg, .png or .pdf.
    feed : mapping of Placeholder to number or array_like, optional
        As for `to_dot`.

    Raises
    ------
    ValueError
        The ending is another, or as `run`.
    RuntimeError
        There is no ``dot`` on the search path, or it failed.
    """
    path = Path(path)
    formats = (".svg", ".png", ".pdf")
    if path.suffix not in formats:
        raise ValueError(f"path is {str(path)!r}; expected an ending of {', '.join(formats)}")
    text = to_dot(node, feed)
    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(
            "draw needs Graphviz's program dot, which is not on the search path: install "
            "Graphviz, or write the text of to_dot to a file"
        )
    command = [program, f"-T{path.suffix[1:]}", "-o", str(path)]
    done = subprocess.run(command, input=text, text=True, encoding="utf-8", capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"dot failed: {done.stderr.strip()}")
