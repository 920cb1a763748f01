"""Layers by the names of their classes, as model files have them."""

from __future__ import annotations

from typing import Any, TypeVar

from .activations import KINDS
from .base import Layer
from .conv import Conv2D
from .dense import Dense
from .dropout import Dropout
from .pooling import AvgPool2D, MaxPool2D
from .prelu import PReLU
from .reshape import Flatten, Reshape
from .rrelu import RReLU
from .subsample import SubSample2D
from .weighted import Weighted

_BUILT_IN: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Dense,
        Conv2D,
        MaxPool2D,
        AvgPool2D,
        SubSample2D,
        Reshape,
        Flatten,
        Dropout,
        PReLU,
        RReLU,
        *KINDS.values(),
    )
}
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
    kinds = {**_BUILT_IN, **_REGISTERED}
    if name not in kinds:
        raise ValueError(f"unknown layer class {name!r}; see cmlp.register_layer")
    if issubclass(kinds[name], Weighted):
        return kinds[name].from_config(arguments)
    return kinds[name](**arguments)
