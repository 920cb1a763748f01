"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from .. import _core, checks, initializers
from ..checks import Array
from .activations import Activation, activation_names
from .base import Layer

if TYPE_CHECKING:
    from numpy.random import Generator


class Dense(Layer):
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

    activation: str
    has_bias: bool
    weight_init: Callable[..., ArrayLike] | None
    bias_init: Callable[..., ArrayLike] | None

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
        self.activation, self._param = _activation(activation)
        self.has_bias = checks.flag(bias, "bias")
        for init, name in ((weight_init, "weight_init"), (bias_init, "bias_init")):
            if init is not None and (not callable(init) or isinstance(init, type)):
                raise TypeError(f"{name} is {init!r}; expected an initializer such as He()")
        self.weight_init, self.bias_init = weight_init, bias_init

    @property
    def n_in(self) -> int:
        return self._n_in

    @property
    def n_out(self) -> int:
        return self._n_out

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"weight": (self._n_out, self._n_in)}
        if self.has_bias:
            shapes["bias"] = (self._n_out,)
        return shapes

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        n_out = self._n_out
        made = [_core.Layer("dense", n_in, n_out, dtype, bias=self.has_bias)]
        if self.activation != "identity":
            made.append(
                _core.Layer("activation", n_out, n_out, dtype, self.activation, self._param)
            )
        return made

    def _initial(
        self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str, followed_by: str
    ) -> Array:
        init: Callable[..., ArrayLike]
        if name == "weight":
            met = followed_by if self.activation == "identity" else self.activation
            init = self.weight_init or initializers.default_weight(met)
        else:
            init = self.bias_init or initializers.Zeros()
        return initializers.draw(init, shape, rng, name, dtype)

    @property
    def weight(self) -> Array:
        return self._get("weight")

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        self._set("weight", value)

    @property
    def bias(self) -> Array | None:
        """None in a layer without bias."""
        return self._get("bias") if self.has_bias else None

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        if not self.has_bias:
            raise ValueError(f"{self!r} has no bias")
        self._set("bias", value)

    @property
    def grad_weight(self) -> Array:
        return self._get_grad("weight")

    @property
    def grad_bias(self) -> Array | None:
        return self._get_grad("bias") if self.has_bias else None

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"n_in": self._n_in, "n_out": self._n_out}
        if self.activation != "identity":
            config["activation"] = self.activation
        if self._param is not None:
            config["param"] = self._param
        if not self.has_bias:
            config["bias"] = False
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Dense:
        """The layer that ``config()`` described."""
        arguments = dict(config)
        param = arguments.pop("param", None)
        layer = cls(**arguments)
        if param is not None:
            layer._param = checks.number(param, "param")
        return layer

    def __repr__(self) -> str:
        settings = self.config()
        parts = [str(settings.pop("n_in")), str(settings.pop("n_out"))]
        parts += [f"{k}={v!r}" for k, v in settings.items()]
        return f"Dense({', '.join(parts)})"


def _activation(value: str | Layer) -> tuple[str, float | None]:
    """Name and setting of the activation of a `Dense`."""
    if isinstance(value, Activation):
        return value.activation, value.param
    if isinstance(value, Layer) or not isinstance(value, str):
        raise TypeError(
            f"activation is {value!r}; expected a name or an activation layer without parameters"
        )
    return checks.choice(value, "activation", activation_names()), None
