"""The parts of a training: which nets, losses and optimizers there may be, and go together."""

from __future__ import annotations

from typing import Any

from .. import _core, checks, losses, optimizers
from ..augment import Augment
from ..layers import Layer
from ..losses import Loss
from ..network import Sequential
from ..optimizers import LBFGS, Optimizer

_OPTIMIZERS: dict[str, type[Any]] = {**optimizers.KINDS, "lbfgs": LBFGS}

# What the core does in place of a built-in loss or optimizer: a class that overrides one of these
# is the user's own.
_COMPUTES: dict[type[Any], tuple[str, ...]] = {
    Loss: ("forward", "backward", "gradient"),
    Optimizer: ("step", "apply"),
}


def check_net(net: Any) -> Sequential:
    """Return a net that can be trained."""
    if not isinstance(net, Sequential):
        raise TypeError(f"net is {net!r}; expected a Sequential")
    for layer in net.layers:
        if getattr(layer, "activation", None) == "step":
            raise ValueError(f"{layer!r} has no slope; a net with a step cannot be trained")
    return net


def check_loss(loss: Any) -> Any:
    """Return an object that has what a loss needs; a name stands for a built-in one."""
    if isinstance(loss, str):
        return losses.KINDS[checks.choice(loss, "loss", losses.KINDS)]()
    return _with_methods(loss, "loss", ("forward", "backward"))


def check_optimizer(optimizer: Any) -> Any:
    """Return an object that has what an optimizer needs; a name stands for a built-in one."""
    if isinstance(optimizer, str):
        return _OPTIMIZERS[checks.choice(optimizer, "optimizer", _OPTIMIZERS)]()
    return optimizer if isinstance(optimizer, LBFGS) else _with_methods(
        optimizer, "optimizer", ("step",)
    )  # fmt: skip


def _with_methods(value: Any, name: str, methods: tuple[str, ...]) -> Any:
    if isinstance(value, type) or not all(callable(getattr(value, m, None)) for m in methods):
        raise TypeError(f"{name} is {value!r}; expected an object with {', '.join(methods)}")
    return value


def check_pair(net: Sequential, loss: Any) -> None:
    """Raise ValueError where the net's output activation does not go with the loss."""
    if isinstance(loss, Loss) and pair(net, loss) == "refused":
        raise ValueError(f"the net ends with {net.output_activation}; {loss!r} takes logits")


def check_views(net: Sequential, augment: Any) -> None:
    """Raise TypeError or ValueError where the net does not take the views of an `Augment`."""
    if augment is None:
        return
    if not isinstance(augment, Augment):
        raise TypeError(f"augment is {augment!r}; expected an Augment or None")
    if net.n_in != augment.n_view:
        raise ValueError(
            f"augment gives views of {augment.n_view} numbers, {augment.view}; expected "
            f"{net.n_in}, the inputs of the net"
        )


def pair(net: Sequential, loss: Loss) -> str:
    """How the net's output goes with the loss.

    "fused": the loss takes the place of the output's activation; "plain": it takes the outputs as
    they are; "refused": they do not go together.
    """
    activation = net.output_activation
    if activation == "identity":
        return "plain"
    # a learnt or drawn slope is a rectifier to the loss
    name = "relu" if activation in ("prelu", "rrelu") else activation
    mode = _core.pair_mode(name, loss.name)
    return "plain" if mode == "chain" else mode


def in_core(part: Any) -> bool:
    """Tell whether the core computes what a loss or an optimizer computes."""
    for base, methods in _COMPUTES.items():
        if isinstance(part, base):
            own = [kind for kind in type(part).__mro__ if not kind.__module__.startswith("cmlp.")]
            return not any(name in vars(a) for a in (part, *own) for name in methods)
    return False


def compiled(net: Sequential, loss: Any) -> bool:
    """Tell whether a net and a loss can be compiled into one plan."""
    return in_core(loss) and all(isinstance(layer, Layer) for layer in net.layers)
