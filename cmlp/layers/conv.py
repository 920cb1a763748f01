"""Convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks
from ..checks import Array
from .base import Layer
from .shapes import Shape, short
from .weighted import Weighted
from .window import Window

if TYPE_CHECKING:
    from numpy.random import Generator

Pair = int | tuple[int, int]


class Conv2D(Window, Weighted):
    """Convolution: each output plane is f(b + the sum over input planes of w * x).

    y[o, i, j] = f(b[o] + sum over q, u, v of w[o, q, u, v] x[q, i s + u, j s + v]) for stride s,
    with zeros around x: a cross-correlation, as everywhere in deep learning.

    Parameters
    ----------
    channels_in, channels_out : int
        Planes of input and output.
    kernel : int or (int, int)
        Rows and columns of a window.
    stride : int or (int, int), default 1
        From one window to the next.
    padding : int, (int, int), "same" or "valid", default 0
        Rows and columns of zeros around the input, less than the kernel.  "same": as many as give
        an output of the input's size, the odd one at the bottom and right; "valid": none.
    bias : bool, default True
    activation : str or Layer, default "identity"
        f by name (`cmlp.layers.activation_names`, but for "softmax"), or an activation layer.
    connections : array_like of shape (channels_out, channels_in), optional
        Zeros and ones: whether an input plane feeds an output plane; all do if None.  Connections
        that are absent cost nothing and have no weights.
    weight_init, bias_init : callable, optional
        Initializers (`cmlp.initializers`), or functions (shape, rng) -> array.  Weights: `He`
        before a rectifier, else `Xavier`; biases: zero.  With ``connections`` they are called for
        each output plane by itself, with the shape (1, inputs, rows, columns) of its weights.

    Attributes
    ----------
    weight : ndarray of shape (channels_out, channels_in, rows, columns)
        A read-only copy of w.  Assign a whole array to change it.  With ``connections``: (n, rows,
        columns), the kernels of the connections, output plane after output plane.
    bias : ndarray of shape (channels_out,)
        Likewise, b.
    grad_weight, grad_bias : ndarray
        dL/dw and dL/db of the last backward pass.

    Examples
    --------
    >>> import cmlp
    >>> layer = cmlp.Conv2D(1, 8, 5, padding="same", activation="relu")
    >>> net = cmlp.Sequential(layer, cmlp.MaxPool2D(2), n_in=(1, 24, 24), seed=0)
    >>> net.out_shape
    (8, 12, 12)
    """

    channels_in: int
    channels_out: int
    connections: Array | None

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        bias: bool = True,
        activation: str | Layer = "identity",
        connections: ArrayLike | None = None,
        weight_init: Callable[..., ArrayLike] | None = None,
        bias_init: Callable[..., ArrayLike] | None = None,
    ) -> None:
        super().__init__(kernel, stride, padding)
        self.channels_in = checks.positive_int(channels_in, "channels_in", bits=20)
        self.channels_out = checks.positive_int(channels_out, "channels_out", bits=20)
        self._take(activation, bias, weight_init, bias_init)
        self.connections = None if connections is None else self._table(connections)

    @property
    def units(self) -> int:
        """Planes of the output: each has weights of its own."""
        return self.channels_out

    def _channels_after(self, channels: int) -> int:
        if channels != self.channels_in:
            raise ValueError(f"expected {self.channels_in} channels")
        return self.channels_out

    def shapes(self, n_in: int | Shape) -> dict[str, tuple[int, ...]]:
        planes: Shape = (self.channels_out, self.channels_in)
        if self.connections is not None:
            planes = (int(self.connections.sum()),)
        shapes: dict[str, Shape] = {"weight": (*planes, *self.kernel)}
        if self.has_bias:
            shapes["bias"] = (self.channels_out,)
        return shapes

    def _table(self, connections: ArrayLike) -> Array:
        table = checks.as_array(connections, "connections")
        expected = (self.channels_out, self.channels_in)
        if table.shape != expected or table.dtype.kind not in "biuf":
            raise ValueError(
                f"connections has shape {table.shape}; expected zeros and ones, {expected}"
            )
        if not np.isin(table, (0, 1)).all():
            raise ValueError("connections has other numbers than 0 and 1")
        if not table.any(axis=1).all():
            empty = int(np.flatnonzero(~table.any(axis=1))[0])
            raise ValueError(f"connections has no input for output plane {empty}")
        found = table.astype(np.uint8)
        found.flags.writeable = False
        return found

    def _initial(
        self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str, followed_by: str
    ) -> Array:
        if name != "weight" or self.connections is None:
            return super()._initial(name, shape, rng, dtype, followed_by)
        kernels = [
            super(Conv2D, self)._initial(name, (1, int(n), *self.kernel), rng, dtype, followed_by)[
                0
            ]
            for n in self.connections.sum(axis=1)
        ]
        return np.concatenate(kernels)

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        n_out, window = self._width_after(), self._window(self._at())
        settings: dict[str, Any] = {"bias": self.has_bias, "connections": self.connections}
        return self._with_activation(_core.Layer("conv", n_in, n_out, dtype, **settings, **window))

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "channels_in": self.channels_in,
            "channels_out": self.channels_out,
            "kernel": list(self.kernel),
        }
        if self.stride != (1, 1):
            config["stride"] = list(self.stride)
        if self.connections is not None:
            config["connections"] = self.connections.tolist()
        if self.padding != (0, 0):
            config["padding"] = self.padding if self.padding == "same" else list(self.padding)
        return {**config, **super().config()}

    def __repr__(self) -> str:
        settings = self.config()
        if self.connections is not None:
            settings["connections"] = f"{self.connections.sum()} of {self.connections.size}"
        first = [settings.pop(name) for name in ("channels_in", "channels_out")]
        text = short(settings).removeprefix("kernel=")
        return f"Conv2D({first[0]}, {first[1]}, {text})"
