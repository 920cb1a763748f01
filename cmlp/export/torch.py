"""Conversion from and to modules of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array
from ..layers import Dense, Dropout, Layer, PReLU, RReLU
from ..layers.activations import KINDS
from ..layers.forms import TorchForm
from ..network import Sequential
from ..preprocessing import Preprocessing, Standardizer

# Layers that correspond to one module without parameters; `Dense` and `PReLU` are handled apart.
_FORMS: dict[type[Layer], TorchForm] = {
    **{kind: kind.forms.torch for kind in KINDS.values() if kind.forms.torch is not None},
    Dropout: TorchForm("Dropout", {"p": "rate"}),
    RReLU: TorchForm("RReLU", {"lower": "lower", "upper": "upper"}),
}


# The attribute of a module that says what PyTorch has no place for.
_ABOUT = "cmlp"


def from_torch(module: Any) -> Sequential:
    """The net that is equivalent to a module of PyTorch.

    Parameters
    ----------
    module : torch.nn.Sequential or torch.nn.Linear
        Of Linear, Dropout, the activations that `cmlp.layers` has too, and Sequential of these.
        On any device.

    Returns
    -------
    Sequential
        Of the module's type, and with the preprocessing and the classes of a net that `to_torch`
        made the module of.  It shares nothing with the module.

    Raises
    ------
    ImportError
        Without PyTorch (``pip install torch``).
    TypeError, ValueError
        For any other module, or settings or types that cmlp does not have.
    """
    torch = _torch("from_torch")
    modules = _flatten(torch, module)
    inputs, targets = _take_rescaling(modules)
    dtypes = {p.dtype for m in modules for p in m.parameters()}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        raise ValueError(
            f"module has parameters of types {sorted(map(str, dtypes))}; expected all of float32 "
            "or all of float64"
        )
    dtype = str(dtypes.pop()).removeprefix("torch.")
    n_in = width = next((m.in_features for m in modules if type(m) is torch.nn.Linear), None)
    found = []
    for i, m in enumerate(modules):
        found.append(_from_module(torch, m, i, width))
        width = found[-1].n_out or width
    net = Sequential(*found, dtype=dtype, seed=0, n_in=n_in)
    about = getattr(module, _ABOUT, {})
    net.classes, net.link = about.get("classes"), about.get("link")
    net.preprocessing = Preprocessing(inputs, targets, about.get("feature_names"))
    return net


def _take_rescaling(modules: list[Any]) -> tuple[Standardizer | None, Standardizer | None]:
    """Take what standardises inputs and outputs from the ends of a list of modules."""
    from .torch_modules import Rescaling

    inputs = targets = None
    if isinstance(modules[0], Rescaling) and not modules[0].inverse:
        inputs = modules.pop(0).standardizer()
    if modules and isinstance(modules[-1], Rescaling) and modules[-1].inverse:
        targets = modules.pop().standardizer()
    return inputs, targets


def to_torch(net: Sequential) -> Any:
    """The module of PyTorch that is equivalent to a net.

    Parameters
    ----------
    net : Sequential

    Returns
    -------
    torch.nn.Sequential
        Of the net's type, on the CPU, in evaluation mode.  It shares nothing with the net.  The
        net's preprocessing is a module before the layers, and one behind them; its attribute
        ``cmlp`` is a dict of the net's classes, link and feature_names.

    Raises
    ------
    ImportError
        Without PyTorch (``pip install torch``).
    ValueError
        For a layer written in Python, and for `Step`, which PyTorch does not have.
    """
    torch = _torch("to_torch")
    from .torch_modules import Rescaling

    found = [m for i, layer in enumerate(net.layers) for m in _to_modules(torch, layer, i)]
    before = net.preprocessing
    inputs = before.scaler("PyTorch")
    if inputs is not None:
        found.insert(0, Rescaling(inputs))
    if before.targets is not None:
        found.append(Rescaling(before.targets, inverse=True))
    module = torch.nn.Sequential(*found).eval()
    about = {"classes": net.classes, "link": net.link, "feature_names": before.feature_names}
    setattr(module, _ABOUT, about)
    return module


def _torch(name: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{name} needs PyTorch: pip install torch") from error
    return torch


def _flatten(torch: Any, module: Any) -> list[Any]:
    """The modules in order, nested Sequentials taken apart."""
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is {module!r}; expected a torch.nn.Sequential")
    if type(module) is not torch.nn.Sequential:
        return [module]
    return [inner for child in module for inner in _flatten(torch, child)]


def _from_module(torch: Any, module: Any, i: int, width: int | None) -> Layer:
    """The layer for a module; ``width`` is the number of its inputs."""
    kind = type(module)
    if kind is torch.nn.Linear:
        dense = Dense(module.in_features, module.out_features, bias=module.bias is not None)
        dense.weight = _values(module.weight)
        if module.bias is not None:
            dense.bias = _values(module.bias)
        return dense
    if kind is torch.nn.PReLU and width is not None:
        prelu = PReLU()
        slope = _values(module.weight)  # one for each input, or one for all
        prelu.slope = np.full(width, slope[0]) if len(slope) == 1 else slope
        return prelu
    found = [entry for entry in _FORMS.items() if kind is getattr(torch.nn, entry[1].name)]
    if not found:
        names = ", ".join(["Linear", "PReLU", *(form.name for form in _FORMS.values())])
        raise TypeError(f"module[{i}] is {module!r}; expected one of {names}")
    (layer, form), *_ = found
    for name, allowed in form.fixed.items():
        value = getattr(module, name)
        if value not in allowed:
            raise ValueError(f"module[{i}] is {module!r}; expected {name}={allowed[0]!r}")
    return layer(**{ours: getattr(module, name) for name, ours in form.settings.items()})


def _to_modules(torch: Any, layer: Any, i: int) -> list[Any]:
    """The modules for a layer: two for a `Dense` with an activation."""
    if isinstance(layer, Dense):
        return [_linear(torch, layer), *_activation(torch, layer, i)]
    if isinstance(layer, PReLU):
        prelu = torch.nn.PReLU(layer.n_in, dtype=getattr(torch, layer.built().dtype))
        _fill(torch, prelu, layer)
        return [prelu]
    form = _FORMS.get(type(layer))
    if form is None:
        raise ValueError(f"layers[{i}] is {layer!r}; PyTorch has no such layer")
    settings = {name: getattr(layer, ours) for name, ours in form.settings.items()}
    settings.update((name, allowed[0]) for name, allowed in form.fixed.items())
    return [getattr(torch.nn, form.name)(**settings)]


def _linear(torch: Any, layer: Dense) -> Any:
    linear = torch.nn.utils.skip_init(  # drawing initial values would advance PyTorch's generator
        torch.nn.Linear,
        layer.n_in,
        layer.n_out,
        bias=layer.has_bias,
        dtype=getattr(torch, layer.built().dtype),
    )
    _fill(torch, linear, layer)
    return linear


def _activation(torch: Any, layer: Dense, i: int) -> list[Any]:
    """The module for the activation in a `Dense`, if it has one."""
    if layer.activation == "identity":
        return []
    kind = KINDS[layer.activation]
    form = _FORMS.get(kind)
    if form is None:
        raise ValueError(f"layers[{i}] is {layer!r}; PyTorch has no such activation")
    setting = [layer.cores[1].param[0]] if form.settings else []
    return _to_modules(torch, kind(*setting), i)


def _fill(torch: Any, module: Any, layer: Layer) -> None:
    """Copy the parameters; both have them in the same order."""
    with torch.no_grad():
        for p, value in zip(module.parameters(), layer.parameters().values(), strict=True):
            p.copy_(torch.tensor(value.copy()))


def _values(parameter: Any) -> Array:
    a: Array = parameter.detach().cpu().numpy()
    return a
