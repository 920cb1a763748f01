"""What layers with weights and biases share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from numpy.typing import ArrayLike

from .. import _core, checks, initializers
from ..checks import Array
from .activations import Activation, activation_names
from .base import Layer, rectifies

if TYPE_CHECKING:
    from numpy.random import Generator


class Weighted(Layer):
    """Base of the layers f(w x + b) of one kind or another."""

    activation: str
    has_bias: bool
    weight_init: Callable[..., ArrayLike] | None
    bias_init: Callable[..., ArrayLike] | None

    keeps_shape = False
    gives_rows: ClassVar[bool] = False
    """Its outputs are rows of numbers, not planes."""

    def _take(
        self,
        activation: str | Layer,
        bias: bool,
        weight_init: Callable[..., ArrayLike] | None,
        bias_init: Callable[..., ArrayLike] | None,
    ) -> None:
        """The settings that they all have, checked."""
        self.activation, self._param = _activation(activation)
        if self.activation == "softmax" and not self.gives_rows:
            raise ValueError("activation is 'softmax'; expected one of single numbers")
        self.has_bias = checks.flag(bias, "bias")
        for init, name in ((weight_init, "weight_init"), (bias_init, "bias_init")):
            if init is not None and (not callable(init) or isinstance(init, type)):
                raise TypeError(f"{name} is {init!r}; expected an initializer such as He()")
        self.weight_init, self.bias_init = weight_init, bias_init

    @property
    def units(self) -> int:
        """Units, or planes, with weights of their own."""
        raise NotImplementedError

    def _with_activation(self, core: _core.Layer) -> list[_core.Layer]:
        """A packed layer and its activation, which a plan joins."""
        if self.activation == "identity":
            return [core]
        n = core.n_out
        return [core, _core.Layer("activation", n, n, core.dtype, self.activation, self._param)]

    def _initial(
        self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str, followed_by: str
    ) -> Array:
        init: Callable[..., ArrayLike]
        if name == "weight":
            met = followed_by if self.activation == "identity" else self.activation
            init = self.weight_init or initializers.default_weight(rectifies(met))
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
        config: dict[str, Any] = {}
        if self.activation != "identity":
            config["activation"] = self.activation
        if self._param is not None:
            config["param"] = self._param
        if not self.has_bias:
            config["bias"] = False
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The layer that ``config()`` described."""
        arguments = dict(config)
        param = arguments.pop("param", None)
        layer = cls(**arguments)
        if param is not None:
            layer._param = checks.number(param, "param")
        return layer


def _activation(value: str | Layer) -> tuple[str, float | None]:
    """Name and setting of an activation within a layer."""
    if isinstance(value, Activation):
        return value.activation, value.param
    if isinstance(value, Layer) or not isinstance(value, str):
        raise TypeError(
            f"activation is {value!r}; expected a name or an activation layer without parameters"
        )
    return checks.choice(value, "activation", activation_names()), None
