"""The functions of a computation graph.

Each takes nodes, numbers or arrays and gives a node. The forward function and the backward rule
stand side by side; slopes come from the output ``y`` where the function allows it.
"""

from typing import Any

import numpy as np

from .nodes import (
    Array,
    Node,
    Operand,
    Operation,
    as_node,
    is_int,
    log,
    matmul,
)

__all__ = [
    "cos",
    "exp",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "mean",
    "relu",
    "reshape",
    "sigmoid",
    "sin",
    "softmax_cross_entropy",
    "softplus",
    "sqrt",
    "sum",
    "tanh",
    "transpose",
]

Axis = int | tuple[int, ...] | None


def exp(x: Operand) -> Node:
    """e^x; dx = dy y."""
    return Operation("exp", (as_node(x),), np.exp, lambda dy, y, x: (dy * y,))


def sqrt(x: Operand) -> Node:
    """Square root; dx = dy / (2 y)."""
    return Operation("sqrt", (as_node(x),), np.sqrt, lambda dy, y, x: (dy / (2 * y),))


def sin(x: Operand) -> Node:
    """Sine of x in radians; dx = dy cos x."""
    return Operation("sin", (as_node(x),), np.sin, lambda dy, y, x: (dy * cos(x),))


def cos(x: Operand) -> Node:
    """Cosine of x in radians; dx = -dy sin x."""
    return Operation("cos", (as_node(x),), np.cos, lambda dy, y, x: (-dy * sin(x),))


def sigmoid(x: Operand) -> Node:
    """1 / (1 + e^-x), without overflow; dx = dy y (1 - y)."""
    return Operation("sigmoid", (as_node(x),), _sigmoid, lambda dy, y, x: (dy * y * (1 - y),))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def tanh(x: Operand) -> Node:
    """Hyperbolic tangent; dx = dy (1 - y^2)."""
    return Operation("tanh", (as_node(x),), np.tanh, lambda dy, y, x: (dy * (1 - y * y),))


def relu(x: Operand) -> Node:
    """max(x, 0); dx = dy where x > 0, and 0 at x = 0."""
    return Operation(
        "relu", (as_node(x),), lambda x: np.maximum(x, 0), lambda dy, y, x: (dy * _positive(x),)
    )


def _positive(x: Node) -> Node:
    return Operation("positive", (x,), lambda x: (x > 0).astype(x.dtype), lambda dy, y, x: (None,))


def softplus(x: Operand) -> Node:
    """ln(1 + e^x), without overflow; dx = dy sigmoid(x)."""
    return Operation(
        "softplus",
        (as_node(x),),
        lambda x: np.logaddexp(x, x.dtype.type(0)),
        lambda dy, y, x: (dy * sigmoid(x),),
    )


def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Node:
    """Sum over the axes given, or over all.

    Parameters
    ----------
    x : Node or array_like
    axis : int, tuple of int or None
        What to sum over; negative axes count from the last. None is all of them.
    keepdims : bool
        Leave the summed axes in the shape with size 1.

    Raises
    ------
    TypeError
        The axis is none of these. An axis that x does not have is a ValueError of the run.
    """
    _check_axis(axis)
    return Operation(
        "sum",
        (as_node(x),),
        lambda x: x.sum(axis=axis, keepdims=keepdims),
        lambda dy, y, x: (_spread(dy, x, axis, keepdims),),
    )


def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Node:
    """Mean over the axes given, or over all. Parameters and errors as for `sum`."""
    _check_axis(axis)
    return Operation(
        "mean",
        (as_node(x),),
        lambda x: x.mean(axis=axis, keepdims=keepdims),
        lambda dy, y, x: (_spread(dy, x, axis, keepdims) / _count(x, axis),),
    )


def max(x: Operand, axis: Axis = None, keepdims: bool = False) -> Node:
    """Largest element over the axes given, or over all. Parameters and errors as for `sum`.

    Elements that tie for the maximum share its gradient equally.
    """
    _check_axis(axis)
    return Operation(
        "max",
        (as_node(x),),
        lambda x: x.max(axis=axis, keepdims=keepdims),
        lambda dy, y, x: (_spread(dy, x, axis, keepdims) * _share_of_max(x, axis),),
    )


def _check_axis(axis: Any) -> None:
    axes = axis if isinstance(axis, tuple) else (axis,)
    if axis is not None and not all(is_int(a) for a in axes):
        raise TypeError(f"axis is {axis!r}; expected an int, a tuple of int or None")


def _spread(dy: Node, x: Node, axis: Axis, keepdims: bool) -> Node:
    """dy repeated along the axes that a reduction of x took away: the gradient of a sum."""

    def forward(dy: Array, x: Array) -> Array:
        if axis is not None and not keepdims:
            dy = np.expand_dims(dy, axis)
        return np.broadcast_to(dy, x.shape)

    return Operation(
        "spread", (dy, x), forward, lambda dz, z, dy, x: (sum(dz, axis, keepdims), None)
    )


def _count(x: Node, axis: Axis) -> Node:
    """How many elements of x go into each mean."""

    def forward(x: Array) -> Array:
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
        return np.asarray(np.prod([x.shape[a] for a in axes]), dtype=x.dtype)

    return Operation("count", (x,), forward, lambda dy, y, x: (None,))


def _share_of_max(x: Node, axis: Axis) -> Node:
    """1 / (number of ties) where x is the maximum along the axes, 0 elsewhere."""

    def forward(x: Array) -> Array:
        top = (x == x.max(axis=axis, keepdims=True)).astype(x.dtype)
        return np.asarray(top / top.sum(axis=axis, keepdims=True))

    return Operation("share_of_max", (x,), forward, lambda dy, y, x: (None,))


def reshape(x: Operand, shape: int | tuple[int, ...]) -> Node:
    """x with another shape, row by row.

    Parameters
    ----------
    x : Node or array_like
    shape : int or tuple of int
        One size may be -1 and follows from the others.

    Raises
    ------
    TypeError
        The shape is none of these. Sizes that do not fit are a ValueError of the run.
    """
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if not all(is_int(n) for n in sizes):
        raise TypeError(f"shape is {shape!r}; expected an int or a tuple of int")
    return Operation(
        "reshape",
        (as_node(x),),
        lambda x: x.reshape(sizes),
        lambda dy, y, x: (_reshape_like(dy, x),),
    )


def _reshape_like(x: Node, like: Node) -> Node:
    return Operation(
        "reshape_like",
        (x, like),
        lambda x, like: x.reshape(like.shape),
        lambda dy, y, x, like: (_reshape_like(dy, x), None),
    )


def transpose(x: Operand, axes: tuple[int, ...] | None = None) -> Node:
    """x with its axes reversed, or in the order given.

    Parameters
    ----------
    x : Node or array_like
    axes : tuple of int, optional
        Every axis of x once, counted from 0.

    Raises
    ------
    ValueError
        The axes are not a permutation. Too many or too few are a ValueError of the run.
    """
    if axes is not None and sorted(axes) != list(range(len(axes))):
        raise ValueError(f"axes is {axes!r}; expected a permutation of 0 to {len(axes) - 1}")
    back = None if axes is None else tuple(int(a) for a in np.argsort(axes))
    return Operation(
        "transpose",
        (as_node(x),),
        lambda x: x.transpose(axes),
        lambda dy, y, x: (transpose(dy, back),),
    )


def log_softmax(z: Operand) -> Node:
    """z - ln(sum of e^z) along the last axis, without overflow: the logarithm of softmax(z)."""
    return Operation(
        "log_softmax",
        (as_node(z),),
        _log_softmax,
        lambda dy, y, z: (dy - exp(y) * sum(dy, axis=-1, keepdims=True),),
    )


def _log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softmax_cross_entropy(z: Operand, target: Operand) -> Node:
    """Mean over the batch of -sum_k t_k ln softmax(z)_k.

    Parameters
    ----------
    z : Node or array_like, shape (..., n_classes)
        Scores before the softmax.
    target : Node or array_like, shape (...) or (..., n_classes)
        Class numbers from 0, or a row of probabilities for each row of z. Rows have a gradient,
        class numbers have gradient 0.

    Returns
    -------
    Node
        A scalar. Built of `log_softmax`, products and means, so that all its derivatives exist;
        for rows that sum to 1 the first comes to (softmax(z) - t) / batch.
    """
    z = as_node(z)
    rows = _one_hot(as_node(target), z)
    return mean(-sum(rows * log_softmax(z), axis=-1))


def _one_hot(target: Node, z: Node) -> Node:
    """Rows of probabilities as they are; class numbers as rows with a single 1."""

    def forward(target: Array, z: Array) -> Array:
        if target.shape == z.shape:
            return target
        if target.shape != z.shape[:-1]:
            raise ValueError(
                f"targets has shape {target.shape}; expected {z.shape[:-1]} or {z.shape}"
            )
        n_classes = z.shape[-1]
        wrong = (target != np.floor(target)) | (target < 0) | (target >= n_classes)
        if wrong.any():
            raise ValueError(
                f"targets holds {target[wrong][0]:g}; expected classes 0 to {n_classes - 1}"
            )
        return np.asarray(target[..., None] == np.arange(n_classes), dtype=z.dtype)

    return Operation(
        "one_hot", (target, z), forward, lambda dy, y, target, z: (_same_or_zero(dy, target), None)
    )


def _same_or_zero(x: Node, like: Node) -> Node:
    """x if it has the shape of `like`, else zeros of that shape."""
    return Operation(
        "same_or_zero",
        (x, like),
        lambda x, like: x if x.shape == like.shape else np.zeros_like(like),
        lambda dy, y, x, like: (_same_or_zero(dy, x), None),
    )
