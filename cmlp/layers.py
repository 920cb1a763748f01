"""Layers: each a class with ``forward`` and ``backward``, alone or in a `Sequential`.

Shapes: ``x`` is (batch, n_in) and row-major, ``y`` is (batch, n_out).  A layer owns one packed
layer of the compiled core, which holds its parameters whether it is used alone or in a net.

A layer of the user's own is any object with ``forward(x, training=False) -> y`` and
``backward(dy) -> dx``; it may have ``parameters()`` and ``gradients()`` (dicts of arrays with the
same keys; the parameters are changed in place by the optimizer), ``n_out(n_in) -> int`` if it
changes the width, and the attribute ``n_in`` if it is to tell its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import ArrayLike

from . import _checks, _core, initializers
from ._checks import Array
from ._layer import Layer, PythonLayer
from .activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    PReLU,
    ReLU,
    RReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Step,
    Tanh,
)

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Dense",
    "Dropout",
    "Identity",
    "Layer",
    "LeakyReLU",
    "PReLU",
    "PythonLayer",
    "RReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Step",
    "Tanh",
    "register_layer",
]


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
        self._n_in = _checks.positive_int(n_in, "n_in")
        self._n_out = _checks.positive_int(n_out, "n_out")
        self.activation, self._param = _activation(activation)
        self.has_bias = _checks.flag(bias, "bias")
        for init, name in ((weight_init, "weight_init"), (bias_init, "bias_init")):
            if init is not None and (not callable(init) or isinstance(init, type)):
                raise TypeError(f"{name} is {init!r}; expected an initializer such as He()")
        self.weight_init, self.bias_init = weight_init, bias_init
        # what Sequential sees behind the layer; it decides the default initial weights
        self.followed_by = self.activation

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

    def _initial(self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str) -> Array:
        init: Callable[..., ArrayLike]
        if name == "weight":
            init = self.weight_init or initializers.default_weight(self.followed_by)
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
            layer._param = _checks.number(param, "param")
        return layer

    def __repr__(self) -> str:
        settings = self.config()
        parts = [str(settings.pop("n_in")), str(settings.pop("n_out"))]
        parts += [f"{k}={v!r}" for k, v in settings.items()]
        return f"Dense({', '.join(parts)})"


class Dropout(Layer):
    """In training, zero each input with probability ``rate`` and divide the others by 1 - rate.

    In prediction it does nothing.  From Srivastava, Hinton, Krizhevsky, Sutskever and
    Salakhutdinov, *Dropout* (2014).

    Parameters
    ----------
    rate : float in [0, 1), default 0.5
    """

    activation = "identity"

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = _checks.number(rate, "rate", 0.0, 1.0, open_high=True)

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("dropout", n_in, n_in, dtype, param=self.rate)]

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}


def width_after(layer: Any, n_in: int | None) -> int | None:
    """Width behind a layer of any kind; None while it depends on a width not known."""
    n_out = getattr(layer, "n_out", None)
    if callable(n_out):
        return None if n_in is None else _checks.positive_int(n_out(n_in), f"n_out of {layer!r}")
    return n_in if n_out is None else int(n_out)


def activation_names() -> list[str]:
    """Names that `Dense` takes as ``activation``."""
    return list(_core.activations())


_BUILT_IN: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Dense, Dropout, ELU, GELU, Identity, LeakyReLU, PReLU, RReLU, ReLU, SiLU, Sigmoid, Softmax,
        Softplus, Softsign, Step, Tanh,
    )
}  # fmt: skip
_REGISTERED: dict[str, type[Any]] = {}

C = TypeVar("C", bound=type[Any])


def register_layer(cls: C) -> C:
    """Let nets with layers of this class be saved and loaded; may be used as a decorator.

    Model files hold the name of the class, ``config()`` and ``parameters()``.  Loading calls
    ``cls(**config)`` and fills the parameters in place; no class is ever looked up by import.

    Parameters
    ----------
    cls : type
        Has ``forward``, ``backward`` and ``config() -> dict`` of JSON values.

    Raises
    ------
    TypeError
        If something of that is missing.
    ValueError
        If another class of that name is registered or built in.
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls is {cls!r}; expected a class")
    missing = [m for m in ("forward", "backward", "config") if not callable(getattr(cls, m, None))]
    if missing:
        raise TypeError(f"{cls.__name__} has no {', '.join(missing)}; expected a layer class")
    if cls.__name__ in _BUILT_IN or _REGISTERED.get(cls.__name__, cls) is not cls:
        raise ValueError(f"a layer class named {cls.__name__} exists already")
    _REGISTERED[cls.__name__] = cls
    return cls


def to_config(layer: Any) -> dict[str, Any]:
    """JSON form of a layer; ValueError for a class that is not registered."""
    name = type(layer).__name__
    if {**_BUILT_IN, **_REGISTERED}.get(name) is not type(layer):
        raise ValueError(f"layers of class {name} cannot be saved; see cmlp.register_layer")
    return {"class": name, **layer.config()}


def from_config(config: dict[str, Any]) -> Any:
    """The layer that `to_config` described, not built; ValueError or TypeError if none."""
    arguments = dict(config)
    name = arguments.pop("class", None)
    if name == "Dense":
        return Dense.from_config(arguments)
    kinds = {**_BUILT_IN, **_REGISTERED}
    if name not in kinds:
        raise ValueError(f"unknown layer class {name!r}; see cmlp.register_layer")
    return kinds[name](**arguments)


def _activation(value: str | Layer) -> tuple[str, float | None]:
    """Name and setting of the activation of a `Dense`."""
    if isinstance(value, Activation):
        return value.activation, value.param
    if isinstance(value, Layer) or not isinstance(value, str):
        raise TypeError(
            f"activation is {value!r}; expected a name or an activation layer without parameters"
        )
    return _checks.choice(value, "activation", activation_names()), None
