"""How the layers of a net follow one another: shapes, and what a layer's outputs meet next."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .. import checks
from ..initializers import Constant
from .base import Layer, is_trainable
from .dropout import Dropout
from .pooling import AvgPool2D, MaxPool2D
from .reshape import Flatten, Reshape
from .shapes import Shape, as_shape, chain_text, plain
from .weighted import Weighted


def shapes_of(found: Sequence[Any], first: Shape | None) -> list[Shape | None]:
    """Shape before each layer and behind the last; ValueError where they do not fit."""
    shapes: list[Shape | None] = [first]
    for i, layer in enumerate(found):
        wanted, given = _wanted(layer), shapes[i]
        if wanted is not None and given is None:
            shapes[i] = wanted
            _fill_back(found, shapes, i)
        elif wanted is not None and given is not None and not _fits(layer, wanted, given):
            raise ValueError(
                f"layers[{i}], {layer!r}, has n_in {plain(wanted)}; expected {plain(given)}, "
                "the outputs before it"
            )
        try:
            shapes.append(shape_behind(layer, shapes[i]))
        except ValueError as error:
            if not isinstance(layer, Layer):
                raise
            raise ValueError(
                f"layers[{i}], {layer!r}, does not take the shape {shapes[i]}: {error} "
                f"(the shapes so far: {chain_text(shapes)})"
            ) from None
    for i, layer in enumerate(found):
        if shapes[i] is None and isinstance(layer, Layer):
            expected = "a Dense before it, or n_in"
            if not layer.keeps_shape:
                expected = "a Reshape before it, or n_in=(channels, height, width)"
            raise ValueError(
                f"the width of layers[{i}], {layer!r}, is not known; expected {expected}"
            )
    return shapes


def _wanted(layer: Any) -> Shape | None:
    """The shape that a layer tells by itself."""
    shape, n_in = getattr(layer, "in_shape", None), getattr(layer, "n_in", None)
    if shape is not None:
        return as_shape(shape if len(shape) == 3 else shape[0], f"in_shape of {layer!r}")
    return None if n_in is None else (int(n_in),)


def _fits(layer: Any, wanted: Shape, given: Shape) -> bool:
    """Layers that take any shape say no more than how many numbers they want."""
    if wanted == given:
        return True
    takes_any = isinstance(layer, Layer) and layer.core is None
    return takes_any and (prod(wanted) == prod(given) or len(given) == 3)


def shape_behind(layer: Any, shape: Shape | None) -> Shape | None:
    """Shape behind a layer of any kind; None while it depends on a shape not known."""
    if isinstance(layer, Layer):
        if shape is not None:
            return layer.shape_after(shape)
        return layer.out_shape
    after, n_out = getattr(layer, "shape_after", None), getattr(layer, "n_out", None)
    if callable(after):
        found = None if shape is None else after(shape)
        return None if found is None else as_shape(found, f"shape_after of {layer!r}")
    if callable(n_out):
        if shape is None:
            return None
        return (checks.positive_int(n_out(prod(shape)), f"n_out of {layer!r}"),)
    return shape if n_out is None else (int(n_out),)


def _fill_back(found: Sequence[Any], shapes: list[Shape | None], i: int) -> None:
    """Shapes before layers that keep the shape, from one known behind them."""
    while i > 0 and shapes[i - 1] is None and _keeps_shape(found[i - 1]):
        shapes[i - 1] = shapes[i]
        i -= 1


def _keeps_shape(layer: Any) -> bool:
    if isinstance(layer, Layer):
        return layer.keeps_shape
    return not callable(getattr(layer, "n_out", None)) and not hasattr(layer, "shape_after")


def summary_of(
    found: Sequence[Any], shapes: Sequence[Shape | None], sizes: Sequence[int], dtype: str
) -> str:
    """A table of the layers with the shapes of their outputs and their numbers of parameters."""
    rows = [("layer", "output", "parameters")]
    for layer, shape, size in zip(found, shapes[1:], sizes, strict=True):
        frozen = " (frozen)" if size and not is_trainable(layer) else ""
        inner = "None" if shape is None else ", ".join(map(str, shape))
        rows.append((f"{layer!r}{frozen}", f"(batch, {inner})", f"{size:,}"))
    rows.append(("total", dtype, f"{sum(sizes):,}"))
    trained = sum(n for layer, n in zip(found, sizes, strict=True) if is_trainable(layer))
    if trained < sum(sizes):
        rows.append(("trainable", "", f"{trained:,}"))
    first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
    lines = [f"{a:<{first}}  {b:<{second}}  {c:>{third}}" for a, b, c in rows]
    rule, n = "-" * len(lines[0]), len(found) + 1
    return "\n".join([lines[0], rule, *lines[1:n], rule, *lines[n:]])


def activation_behind(found: Sequence[Any], i: int) -> str:
    """The activation that a layer's outputs meet next; "identity" if there is none."""
    for layer in found[i + 1 :]:
        name = getattr(layer, "activation", None)
        if not isinstance(layer, (Dropout, MaxPool2D, AvgPool2D, Reshape, Flatten)):
            return name if isinstance(name, str) and not isinstance(layer, Weighted) else "identity"
    return "identity"


def warn_of_symmetry(found: Sequence[Any]) -> None:
    """Warn of hidden layers whose units all start alike: they would stay alike."""
    weighted = [layer for layer in found if isinstance(layer, Weighted)]
    for layer in weighted[:-1]:
        if isinstance(layer.weight_init, Constant) and layer.units > 1:
            import warnings

            warnings.warn(
                f"all units of the hidden layer {layer!r} start with the same weights and will "
                "stay alike; initialise it with Xavier() or He()",
                UserWarning,
                stacklevel=4,
            )
