"""The running values that an optimizer keeps for a net, and a step of all its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any

import numpy as np

from . import _core
from .checks import Array
from .layers import Layer
from .layers.base import is_trainable, own_gradients, own_parameters


class NetState:
    """Momentum and other running values of one net under one optimizer.

    The compiled core keeps those of the built-in layers, arrays here those of a user's layers.

    Parameters
    ----------
    layers : sequence of layers
    kind : str
    options : dict
        See `Optimizer.options`.
    """

    def __init__(self, layers: Sequence[Any], kind: str, options: dict[str, float]) -> None:
        self.kind = kind
        self.cores = _cores(layers)
        self.core = _core.State(self.cores, kind, **options) if self.cores else None
        self.slots: dict[str, list[Array]] = {}
        self._options = options
        self._python_steps = 0

    @property
    def step_count(self) -> int:
        """Updates so far."""
        return self._python_steps if self.core is None else self.core.step_count

    @step_count.setter
    def step_count(self, value: int) -> None:
        self._python_steps = value
        if self.core is not None:
            self.core.step_count = value

    def set_options(self, options: dict[str, float]) -> None:
        """Give the core its settings, where they are not those it has."""
        if self.core is not None and options != self._options:
            self.core.set_options(**options)
            self._options = options

    def reset(self) -> None:
        """Start the running values and the step count anew."""
        if self.core is not None:
            slots = {name: np.zeros_like(a) for name, a in self.core.get_slots().items()}
            self.core.set_slots(slots)
        self.slots = {}
        self.step_count = 0

    def belongs_to(self, layers: Sequence[Any]) -> bool:
        """Tell whether these are the layers that it was made for."""
        cores = _cores(layers)
        return len(cores) == len(self.cores) and all(
            a is b for a, b in zip(cores, self.cores, strict=True)
        )

    def step(
        self, layers: Sequence[Any], lr: float, options: dict[str, float], rows: int = 1
    ) -> None:
        """Update every layer that is not frozen by its gradients."""
        own = list(_own_parameters(layers))
        if own and (options["clip_norm"] or options["clip_value"]):
            own = _clipped(layers, own, options["clip_value"], options["clip_norm"])
            options = {**options, "clip_norm": 0.0, "clip_value": 0.0}
        count = self.step_count + 1
        if self.core is not None:
            self.set_options(options)
            self.core.step(lr, rows)
        if options["decay_over_batch"]:
            over = {name: options[name] / rows for name in ("weight_decay", "l1")}
            options = {**options, **over}
        for name, w, dw in own:
            self._update(name, w, dw, lr, count, options)
        self._python_steps = count

    def _update(
        self, name: str, w: Array, dw: Array, lr: float, count: int, options: dict[str, float]
    ) -> None:
        """Change one array of a user's layer; only matrices are decayed."""
        if name not in self.slots:
            n_slots = len(_core.optimizers()[self.kind]["slots"])
            self.slots[name] = [np.zeros_like(w) for _ in range(n_slots)]
        used: dict[str, Any] = {
            k: v for k, v in options.items() if k not in ("clip_norm", "decay_over_batch")
        }
        if w.ndim < 2:
            used.update(weight_decay=0.0, l1=0.0)
        _core.update(self.kind, w, dw, self.slots[name], lr, count, **used)

    def get_slots(self) -> dict[str, Array]:
        """Everything that an exact resume needs, by name; the step count apart."""
        result = (
            {} if self.core is None else {f"core.{k}": v for k, v in self.core.get_slots().items()}
        )
        for name, arrays in self.slots.items():
            result.update({f"python.{name}.{i}": a for i, a in enumerate(arrays)})
        return result

    def set_slots(self, slots: dict[str, Array]) -> None:
        """Take what `get_slots` gave."""
        if self.core is not None:
            self.core.set_slots({k[5:]: v for k, v in slots.items() if k.startswith("core.")})
        self.slots = {}
        for key in sorted(k for k in slots if k.startswith("python.")):
            name = key[7:].rpartition(".")[0]
            self.slots.setdefault(name, []).append(np.array(slots[key]))


def layers_of(net: Any) -> Sequence[Any]:
    """The layers of a net, of a sequence of layers, or of one layer."""
    if isinstance(net, (list, tuple)):
        if not net:
            raise ValueError("net is empty; expected layers")
        return net
    layers = getattr(net, "layers", None)
    return [net] if layers is None else layers


def _cores(layers: Sequence[Any]) -> list[_core.Layer]:
    built_in = [layer for layer in layers if isinstance(layer, Layer)]
    for layer in built_in:
        layer.built()
    return [core for layer in built_in for core in layer.cores]


def _own_parameters(layers: Sequence[Any]) -> Iterator[tuple[str, Array, Array]]:
    """(name, parameter, gradient) of the layers written by users that are not frozen."""
    for i, layer in enumerate(layers):
        if isinstance(layer, Layer) or not is_trainable(layer):
            continue
        gradients = own_gradients(layer)
        for name, w in own_parameters(layer).items():
            yield f"{i}.{name}", w, np.ascontiguousarray(gradients[name], dtype=w.dtype)


def _clipped(
    layers: Sequence[Any], own: list[tuple[str, Array, Array]], value: float, norm: float
) -> list[tuple[str, Array, Array]]:
    """Clip over built-in and users' layers together: the core alone sees only its own."""
    built_in = [(c, k, c.get_grad(k)) for c in _cores(layers) for k in c.shapes]
    limit = value or np.inf
    clipped = [np.clip(dw, -limit, limit) for *_, dw in built_in + own]
    size = sqrt(sum(float((dw.astype(np.float64) ** 2).sum()) for dw in clipped))
    scale = min(1.0, norm / size) if norm and size else 1.0
    for (core, name, _), dw in zip(built_in, clipped, strict=False):
        core.set_grad(name, dw * dw.dtype.type(scale))
    rest = clipped[len(built_in) :]
    return [(n, w, dw * dw.dtype.type(scale)) for (n, w, _), dw in zip(own, rest, strict=True)]
