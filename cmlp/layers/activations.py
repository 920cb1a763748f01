"""Activation layers: one function without trainable parameters, applied to each row.

The functions and their derivatives are in ``src/activations.h``; a class here gives one of them a
layer, and says how other programs write it.  Derivatives are computed from the output where
possible.  At a kink the derivative is that of the negative side, so ReLU's at 0 is 0.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import _core, checks
from .base import Layer
from .forms import Forms, OnnxGraph, TorchForm
from .shapes import Shape


class Activation(Layer):
    """Base of the layers that apply one function to each row, without trainable parameters.

    Attributes
    ----------
    activation : str
        The function's name in the core.
    forms : Forms
        The function in C, ONNX and PyTorch.
    """

    activation = "identity"
    forms: ClassVar[Forms]

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("activation", n_in, n_in, dtype, self.activation, self.param)]

    @property
    def param(self) -> float | None:
        """The function's one setting, where it has one."""
        return None


def _onnx_elu(g: OnnxGraph, x: str, alpha: Any) -> str:
    """relu(x) + alpha (exp(min(x, 0)) - 1); onnxruntime has no Elu of float64."""
    e = g.add("Exp", g.add("Min", x, g.constant(0)))
    below = g.add("Mul", g.constant(alpha), g.add("Sub", e, g.constant(1)))
    return g.add("Add", g.add("Relu", x), below)


def _onnx_gelu(g: OnnxGraph, x: str, _: Any) -> str:
    """x/2 (1 + erf(x / sqrt 2)); onnxruntime has no Erf of float64, so that is of float32."""
    inside = g.add("Mul", x, g.constant(np.sqrt(0.5)))
    if g.dtype == "float64":
        erf = g.cast(g.add("Erf", g.cast(inside, "float32")), "float64")
    else:
        erf = g.add("Erf", inside)
    return g.add("Mul", g.add("Mul", x, g.constant(0.5)), g.add("Add", erf, g.constant(1)))


def _onnx_silu(g: OnnxGraph, x: str, _: Any) -> str:
    """x / (1 + exp(-x)); some versions of onnxruntime turn x sigmoid(x) into what float64 lacks."""
    e = g.add("Exp", g.add("Neg", x))
    return g.add("Div", x, g.add("Add", e, g.constant(1)))


def _onnx_softplus(g: OnnxGraph, x: str, _: Any) -> str:
    """relu(x) + log(1 + exp(-|x|)), which cannot overflow."""
    e = g.add("Exp", g.add("Neg", g.add("Abs", x)))
    return g.add("Add", g.add("Relu", x), g.add("Log", g.add("Add", e, g.constant(1))))


class Identity(Activation):
    """f(u) = u."""

    activation = "identity"
    forms = Forms(
        c="return x;", onnx=lambda g, x, _: g.add("Identity", x), torch=TorchForm("Identity")
    )


class Sigmoid(Activation):
    """f(u) = 1 / (1 + exp(-u)); f' = y (1 - y)."""

    activation = "sigmoid"
    forms = Forms(
        c="""const real e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);""",
        onnx=lambda g, x, _: g.add("Sigmoid", x),
        torch=TorchForm("Sigmoid"),
    )


class Tanh(Activation):
    """f(u) = tanh(u); f' = 1 - y^2."""

    activation = "tanh"
    forms = Forms(
        c="return tanh(x);", onnx=lambda g, x, _: g.add("Tanh", x), torch=TorchForm("Tanh")
    )


class ReLU(Activation):
    """f(u) = max(u, 0)."""

    activation = "relu"
    rectifies = True
    forms = Forms(
        c="return x < 0 ? 0 : x;", onnx=lambda g, x, _: g.add("Relu", x), torch=TorchForm("ReLU")
    )


class LeakyReLU(Activation):
    """f(u) = u for u > 0, else slope * u.

    Parameters
    ----------
    slope : float >= 0, default 0.01
    """

    activation = "leaky_relu"
    rectifies = True
    forms = Forms(
        c="return x < 0 ? x * p : x;",
        # PRelu: the slope of LeakyRelu is a float32 whatever x is
        onnx=lambda g, x, slope: g.add("PRelu", x, g.constant(np.ravel(slope))),
        torch=TorchForm("LeakyReLU", {"negative_slope": "slope"}),
    )
    slope: float

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = checks.number(slope, "slope", 0.0)

    @property
    def param(self) -> float:
        return self.slope

    def config(self) -> dict[str, Any]:
        return {"slope": self.slope}


class ELU(Activation):
    """f(u) = u for u > 0, else alpha * (exp(u) - 1).

    From Clevert, Unterthiner and Hochreiter, *Fast and accurate deep network learning by
    exponential linear units* (2016).

    Parameters
    ----------
    alpha : float > 0, default 1
    """

    activation = "elu"
    rectifies = True
    forms = Forms(
        c="return x < 0 ? p * expm1(x) : x;",
        onnx=_onnx_elu,
        torch=TorchForm("ELU", {"alpha": "alpha"}),
    )
    alpha: float

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = checks.number(alpha, "alpha", 0.0, open_low=True)

    @property
    def param(self) -> float:
        return self.alpha

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class GELU(Activation):
    """f(u) = u Phi(u), Phi the normal distribution function.

    From Hendrycks and Gimpel, *Gaussian error linear units* (2016).
    """

    activation = "gelu"
    rectifies = True
    forms = Forms(
        c="return x < -40 ? 0 : x / 2 * erfc((real)-0.70710678118654752 * x);",
        onnx=_onnx_gelu,
        torch=TorchForm("GELU", fixed={"approximate": ("none",)}),
    )


class SiLU(Activation):
    """f(u) = u / (1 + exp(-u)), also called swish."""

    activation = "silu"
    rectifies = True
    forms = Forms(
        c="return x < -1000 ? 0 : x / (1 + exp(-x));", onnx=_onnx_silu, torch=TorchForm("SiLU")
    )


class Softplus(Activation):
    """f(u) = ln(1 + exp(u)); f' = 1 - exp(-y)."""

    activation = "softplus"
    rectifies = True
    forms = Forms(
        c="return (x < 0 ? 0 : x) + log1p(exp(-fabs(x)));",
        onnx=_onnx_softplus,
        torch=TorchForm("Softplus", fixed={"beta": (1,), "threshold": (20,)}),
    )


class Softsign(Activation):
    """f(u) = u / (1 + |u|); f' = (1 - |y|)^2."""

    activation = "softsign"
    forms = Forms(
        c="""const real most = (real)1e30;
    x = x < -most ? -most : x > most ? most : x;
    return x / (1 + fabs(x));""",
        onnx=lambda g, x, _: g.add("Div", x, g.add("Add", g.add("Abs", x), g.constant(1))),
        torch=TorchForm("Softsign"),
    )


class ScaledTanh(Activation):
    """f(u) = 1.7159 tanh(2u/3); f' = (2/3) (1.7159 - y^2/1.7159).

    f(1) = 1 and f(-1) = -1, and f'' is largest there.  From LeCun, Bottou, Bengio and Haffner,
    *Gradient-based learning applied to document recognition* (1998), appendix A.
    """

    activation = "scaled_tanh"
    forms = Forms(
        c="return (real)1.7159 * tanh((real)(2.0 / 3.0) * x);",
        onnx=lambda g, x, _: g.add(
            "Mul", g.constant(1.7159), g.add("Tanh", g.add("Mul", x, g.constant(2.0 / 3.0)))
        ),
        torch=None,
    )


class Step(Activation):
    """f(u) = 1 for u >= 0, else 0.  For prediction: training through it is an error."""

    activation = "step"
    forms = Forms(
        c="return x < 0 ? 0 : x >= 0 ? 1 : x;",
        onnx=lambda g, x, _: g.cast(g.add("GreaterOrEqual", x, g.constant(0)), g.dtype),
        torch=None,
    )


class Softmax(Activation):
    """f_i(u) = exp(u_i) / sum_k exp(u_k) over each row."""

    activation = "softmax"
    forms = Forms(
        c="""real high = y[0], sum = 0;
    for (int i = 1; i < n; i++)
        high = y[i] > high ? y[i] : high;
    for (int i = 0; i < n; i++) {
        y[i] = exp(y[i] - high);
        sum += y[i];
    }
    for (int i = 0; i < n; i++)
        y[i] /= sum;""",
        onnx=lambda g, x, _: g.add("Softmax", x, axis=-1),
        torch=TorchForm("Softmax", fixed={"dim": (-1, 1, None)}),
    )

    def shape_after(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ValueError("expected rows of numbers; put a Flatten before it")
        return shape


KINDS: dict[str, type[Activation]] = {kind.activation: kind for kind in Activation.__subclasses__()}
"""The classes of this file by the names of their functions."""


def activation_names() -> list[str]:
    """Names that `Dense` takes as ``activation``."""
    return list(_core.activations())
