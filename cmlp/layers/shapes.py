"""Shapes without their batch: (n,) for rows of numbers, (channels, height, width) for planes."""

from __future__ import annotations

from math import prod
from typing import Any

from .. import checks
from ..checks import Array

Shape = tuple[int, ...]
"""(n,), or (channels, height, width)."""

_MOST_NUMBERS = 1 << 31


def as_shape(value: Any, name: str) -> Shape:
    """A shape from a number, or from three of them."""
    if not isinstance(value, (tuple, list)):
        return (checks.positive_int(value, name),)
    if len(value) not in (1, 3):
        raise ValueError(f"{name} is {value!r}; expected a number or (channels, height, width)")
    shape = tuple(checks.positive_int(n, name) for n in value)
    if prod(shape) > _MOST_NUMBERS:
        raise ValueError(f"{name} is {value!r}; expected 2**31 numbers at most")
    return shape


def pair_of(value: Any, name: str, minimum: int = 1) -> tuple[int, int]:
    """(rows, columns) from a number for both, or from two."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name} is {value!r}; expected a number or (rows, columns)")
    rows, columns = (checks.positive_int(n, name, minimum, bits=20) for n in values)
    return rows, columns


def shaped(rows: Array, shape: Shape | None) -> Array:
    """Rows as the user sees them: planes where they are some."""
    return rows if shape is None or len(shape) == 1 else rows.reshape(len(rows), *shape)


def plain(shape: Shape) -> int | Shape:
    """A shape as the user writes it: n, or (channels, height, width)."""
    return shape[0] if len(shape) == 1 else shape


def short(settings: dict[str, Any]) -> str:
    """Settings as keyword arguments; a pair of equal numbers as the number."""
    alike = {k: v[0] if isinstance(v, list) and v == v[:1] * 2 else v for k, v in settings.items()}
    return ", ".join(f"{k}={tuple(v) if isinstance(v, list) else v!r}" for k, v in alike.items())


def chain_text(shapes: list[Shape | None]) -> str:
    """The shapes one after the other, for an error."""
    return " -> ".join("?" if shape is None else str(shape) for shape in shapes)
