"""An activation as other programs have it: in C, in ONNX, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class OnnxGraph(Protocol):
    """What an activation needs to add its nodes to an ONNX graph; values go by their names."""

    dtype: str

    def add(self, op: str, *inputs: str, **attributes: Any) -> str: ...
    def constant(self, value: Any, dtype: str | None = None) -> str: ...
    def cast(self, x: str, dtype: str) -> str: ...


OnnxForm = Callable[[OnnxGraph, str, Any], str]


@dataclass(frozen=True)
class TorchForm:
    """A module of PyTorch that does what a layer does.

    Attributes
    ----------
    name : str
        In ``torch.nn``.
    settings : mapping
        Names of its settings -> attributes of the layer.
    fixed : mapping
        Names of settings that the layer lacks -> the values that mean what the layer does, the
        default first.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Forms:
    """What exports write for an activation; None where the other side cannot express it.

    Attributes
    ----------
    c : str or None
        Body of the C99 function ``real f(real x)``, or ``real f(real x, real p)`` if the activation
        has a parameter p; of ``void f(int n, real *y)``, in place, if it is one of whole rows.
        Functions of <math.h> go by their names for double.  Infinities and NaN must come out as
        they do in the core.
    onnx : callable or None
        ``(graph, x, p) -> y`` adds nodes of operator set 17 to a graph and returns the name of
        their result.  It has to avoid the operators that onnxruntime lacks in float64.  p is None,
        a number, or an array with one number for each column.
    torch : TorchForm or None
    """

    c: str | None
    onnx: OnnxForm | None
    torch: TorchForm | None
