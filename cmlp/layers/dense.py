"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from .. import _core, checks
from .base import Layer
from .shapes import Shape
from .weighted import Weighted


class Dense(Weighted):
    """Fully connected layer: y = f(x W^T + b).

    Parameters
    ----------
    n_in, n_out : int
    activation : str or Layer, default "identity"
        f by name ("relu", "tanh", ...; `cmlp.layers.activation_names`), or an activation layer
        such as ``LeakyReLU(0.2)``.  The same numbers come out as with a layer of its own.
    bias : bool, default True
    weight_init, bias_init : callable, optional
        Initializers (`cmlp.initializers`), or functions (shape, rng) -> array.  Weights: `He`
        before a rectifier, else `Xavier`; biases: zero.

    Attributes
    ----------
    weight : ndarray of shape (n_out, n_in)
        A read-only copy of W.  Assign a whole array to change it.
    bias : ndarray of shape (n_out,)
        Likewise, b.
    grad_weight, grad_bias : ndarray
        dL/dW and dL/db of the last backward pass.
    """

    gives_rows = True

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Layer = "identity",
        bias: bool = True,
        weight_init: Callable[..., ArrayLike] | None = None,
        bias_init: Callable[..., ArrayLike] | None = None,
    ) -> None:
        super().__init__()
        self._n_in = checks.positive_int(n_in, "n_in")
        self._n_out = checks.positive_int(n_out, "n_out")
        self._take(activation, bias, weight_init, bias_init)

    @property
    def n_in(self) -> int:
        return self._n_in

    @property
    def n_out(self) -> int:
        return self._n_out

    @property
    def units(self) -> int:
        """The same: each has weights of its own."""
        return self._n_out

    def shapes(self, n_in: int | Shape) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"weight": (self._n_out, self._n_in)}
        if self.has_bias:
            shapes["bias"] = (self._n_out,)
        return shapes

    def shape_after(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ValueError("expected rows of numbers; put a Flatten before it")
        return (self._n_out,)

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        core = _core.Layer("dense", n_in, self._n_out, dtype, bias=self.has_bias)
        return self._with_activation(core)

    def config(self) -> dict[str, Any]:
        return {"n_in": self._n_in, "n_out": self._n_out, **super().config()}

    def __repr__(self) -> str:
        settings = self.config()
        parts = [str(settings.pop("n_in")), str(settings.pop("n_out"))]
        parts += [f"{k}={v!r}" for k, v in settings.items()]
        return f"Dense({', '.join(parts)})"
