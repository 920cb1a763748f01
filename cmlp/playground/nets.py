"""Nets for images, written as a text: a layer a line, and the shapes that follow from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..layers import AvgPool2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D
from ..layers.activations import KINDS
from ..network import Sequential

__all__ = ["ACTIVATIONS", "Plan", "nets_for", "read_net"]

ACTIVATIONS = {
    name: kind for name, kind in KINDS.items() if name not in ("step", "softmax", "identity")
}
"""Activations that a line may name."""

_MOST_LAYERS = 30
_MOST_WEIGHTS = 4_000_000
_MOST_CHARACTERS = 2000
_MOST_WIDTH = 4096

_BIG = {
    "ConvNetJS": "conv 8 5x5 pad 2\nrelu\npool 2\nconv 16 5x5 pad 2\nrelu\npool 3\ndense 10",
    "Fully connected": "dense 100\nrelu\ndense 10",
    "LeNet-5": (
        "conv 6 5x5 pad 2\ntanh\nmean 2\nconv 16 5x5\ntanh\nmean 2\n"
        "dense 120\ntanh\ndense 84\ntanh\ndense 10"
    ),
    "Softmax regression": "dense 10",
}
_SMALL = {
    "ConvNetJS": "conv 8 3x3 pad 1\nrelu\npool 2\nconv 16 3x3 pad 1\nrelu\npool 2\ndense 10",
    "Fully connected": "dense 32\nrelu\ndense 10",
    "LeNet-5": "conv 6 3x3 pad 1\ntanh\nmean 2\nconv 16 3x3\ntanh\ndense 40\ntanh\ndense 10",
    "Softmax regression": "dense 10",
}


def nets_for(side: int) -> dict[str, str]:
    """The nets that the page offers for images of this side: ConvNetJS's and others."""
    return _BIG if side >= 20 else _SMALL


@dataclass(frozen=True)
class Plan:
    """A net that a text describes.

    Attributes
    ----------
    layers : list of Layer
        New ones, without values.
    lines : list of str
        What stands for each layer; a flattening that no line asks for is "flatten".
    shapes : list of tuple
        Before each layer and behind the last; a net that begins with "dense" takes rows of pixels.
    """

    layers: list[Any]
    lines: list[str]
    shapes: list[tuple[int, ...]]

    def build(self, seed: int) -> Sequential:
        """A net of it."""
        first = self.shapes[0]
        if len(first) == 1:
            return Sequential(*self.layers, n_in=first[0], seed=seed)
        return Sequential(*self.layers, n_in=(first[0], first[1], first[2]), seed=seed)


def read_net(text: Any, shape: tuple[int, ...], n_out: int = 10) -> Plan:
    """The net of a text.

    Parameters
    ----------
    text : str
        Lines such as "conv 8 5x5 pad 2 stride 1", "pool 2", "mean 2", "dense 100", "dropout 0.5"
        or the name of an activation.
    shape : tuple
        Of the images, (channels, height, width).
    n_out : int
        Outputs that the net has to have.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        That names the line, and what was expected.
    """
    if not isinstance(text, str):
        raise TypeError(f"net is {type(text).__name__}; expected a text")
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"net has {len(text)} characters; expected {_MOST_CHARACTERS} at most")
    lines = [line.strip().lower() for line in text.replace(",", "\n").splitlines()]
    layers, named, shapes = list[Any](), list[str](), [shape]
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if len(layers) >= _MOST_LAYERS:
            raise ValueError(f"line {number}: expected {_MOST_LAYERS} layers at most")
        try:
            if line.startswith("dense") and not layers:
                shapes[0] = (_size(shape),)
            elif line.startswith("dense") and len(shapes[-1]) == 3:
                _append(layers, named, shapes, Flatten(), "flatten")
            _append(layers, named, shapes, _layer(line, shapes[-1]), line)
        except (ValueError, TypeError) as error:
            raise ValueError(f"line {number}, {line!r}: {error}") from None
    if not layers:
        raise ValueError("the net is empty; expected a layer a line")
    if shapes[-1] != (n_out,):
        raise ValueError(
            f"the net ends with the shape {shapes[-1]}; expected a last line dense {n_out}"
        )
    return Plan(layers, named, shapes)


def _append(
    layers: list[Any], named: list[str], shapes: list[tuple[int, ...]], layer: Any, line: str
) -> None:
    """Add a layer if its shape fits."""
    behind = layer.shape_after(shapes[-1])
    weights = sum(_size(shape) for shape in layer.shapes(_size(shapes[-1])).values())
    if weights > _MOST_WEIGHTS:
        raise ValueError(f"{weights:,} weights; expected {_MOST_WEIGHTS:,} at most")
    layers.append(layer)
    named.append(line)
    shapes.append(behind)


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


# ---- lines -----------------------------------------------------------------------------------


def _conv(found: re.Match[str], shape: tuple[int, ...]) -> Any:
    kernel = int(found["rows"]), int(found["columns"])
    stride, padding = int(found["stride"] or 1), int(found["pad"] or 0)
    return Conv2D(_planes(shape), _width(found["n"]), kernel, stride, padding)


def _pool(kind: Callable[..., Any]) -> Callable[[re.Match[str], tuple[int, ...]], Any]:
    def make(found: re.Match[str], shape: tuple[int, ...]) -> Any:
        _planes(shape)
        return kind(int(found["n"]), int(found["stride"] or found["n"]))

    return make


_STRIDE = r"(?: stride (?P<stride>\d{1,2}))?"
_LINES: list[tuple[str, str, Callable[[re.Match[str], tuple[int, ...]], Any]]] = [
    (
        "conv 8 5x5 [pad 2] [stride 1]",
        r"conv (?P<n>\d{1,4}) (?P<rows>\d{1,2})x(?P<columns>\d{1,2})(?: pad (?P<pad>\d{1,2}))?"
        + _STRIDE,
        _conv,
    ),
    ("pool 2 [stride 2]", r"pool (?P<n>\d{1,2})" + _STRIDE, _pool(MaxPool2D)),
    ("mean 2 [stride 2]", r"mean (?P<n>\d{1,2})" + _STRIDE, _pool(AvgPool2D)),
    (
        "dense 100",
        r"dense (?P<n>\d{1,5})",
        lambda found, shape: Dense(_size(shape), _width(found["n"])),
    ),
    (
        "dropout 0.5",
        r"dropout (?P<share>0?\.\d{1,6}|0)",
        lambda found, shape: Dropout(float(found["share"])),
    ),
]


def _layer(line: str, shape: tuple[int, ...]) -> Any:
    words = " ".join(line.split())
    if words in ACTIVATIONS:
        return ACTIVATIONS[words]()
    for _, pattern, make in _LINES:
        found = re.fullmatch(pattern, words)
        if found:
            return make(found, shape)
    kinds = "; ".join(example for example, _, _ in _LINES)
    raise ValueError(f"expected {kinds}; or one of {', '.join(ACTIVATIONS)}")


def _planes(shape: tuple[int, ...]) -> int:
    if len(shape) != 3:
        raise ValueError(f"the shape before it is {shape}; expected planes, before any dense")
    return shape[0]


def _width(text: str) -> int:
    n = int(text)
    if not 1 <= n <= _MOST_WIDTH:
        raise ValueError(f"{n} outputs; expected 1 to {_MOST_WIDTH}")
    return n
