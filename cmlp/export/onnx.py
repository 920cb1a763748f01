"""ONNX files."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import numpy as np

from .. import _core
from .files import replace_file
from .model import Dense, Function, Head, Model, Rescaling, Step

OPSET, IR_VERSION = 17, 8
# The limit of protocol buffers, less some room for everything but the parameters.
_MOST_BYTES = 2**31 - 2**20


def write_onnx(path: str | PathLike[str], model: Model) -> None:
    """Write an ONNX file atomically, after ONNX's own checker has accepted it.

    The input is "x" (batch, n_in), of any number of rows.  Without a head the output is "y"
    (batch, n_out); with one there are "label" (batch,), for several questions (batch, n_out), and
    "probabilities" (batch, n_classes).  The names of the features are a JSON list in the file's
    metadata, under "feature_names".

    Parameters
    ----------
    path : str or path
    model : Model

    Raises
    ------
    ImportError
        Without the package onnx.
    ValueError
        If the net is larger than an ONNX file can be, or has an activation that ONNX lacks.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("writing ONNX files needs onnx: pip install cmlp[export]") from error
    if model.n_bytes > _MOST_BYTES:
        raise ValueError(f"the net has {model.n_bytes} bytes; ONNX files hold {_MOST_BYTES}")
    model.check_forms("onnx", "an ONNX file")
    graph = _Graph(model.dtype)
    y = "x"
    for step in model.steps:
        y = _add_step(graph, y, step)
    outputs = _add_head(graph, y, model.head) if model.head else {"y": y}
    made = graph.finish(model.n_in, outputs)
    if model.feature_names is not None:
        onnx.helper.set_model_props(made, {"feature_names": json.dumps(model.feature_names)})
    onnx.checker.check_model(made, full_check=True)
    replace_file(path, made.SerializeToString())


class _Graph:
    """A graph under construction; values are referred to by name."""

    def __init__(self, dtype: str) -> None:
        import onnx

        self.dtype = dtype
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its result."""
        name = f"{op.lower()}_{len(self._nodes)}"
        node = self._onnx.helper.make_node(op, list(inputs), [name], name, **attributes)
        self._nodes.append(node)
        return name

    def constant(self, value: Any, dtype: str | None = None) -> str:
        """Add an array, of the net's type by default; returns its name."""
        name = f"constant_{len(self._constants)}"
        a = np.asarray(value, object if dtype == "str" else dtype or self.dtype)
        self._constants.append(self._onnx.numpy_helper.from_array(a, name))
        return name

    def cast(self, x: str, dtype: str) -> str:
        return self.add("Cast", x, to=self._type(dtype))

    def _type(self, dtype: str) -> int:
        if dtype == "str":
            return int(self._onnx.TensorProto.STRING)
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def finish(self, n_in: int, outputs: dict[str, str]) -> Any:
        """The finished model; ``outputs`` maps names of outputs to names of values."""
        helper = self._onnx.helper
        for name, value in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name], name))
        x = helper.make_tensor_value_info("x", self._type(self.dtype), ["batch", n_in])
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self._nodes, "cmlp", [x], infos, self._constants)
        made = helper.make_model(
            graph,
            producer_name="cmlp",
            producer_version=_core.info()["version"],
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        return self._onnx.shape_inference.infer_shapes(made, strict_mode=True)


def _add_step(g: _Graph, x: str, step: Step) -> str:
    if isinstance(step, Dense):
        bias = [] if step.bias is None else [g.constant(step.bias)]
        return g.add("Gemm", x, g.constant(step.weight), *bias, transB=1)
    if isinstance(step, Rescaling):
        return _rescale(g, x, step)
    return _apply(g, x, step)


def _rescale(g: _Graph, x: str, step: Rescaling) -> str:
    wide = g.cast(x, "float64")
    mean, scale = (g.constant(a, "float64") for a in (step.mean, step.scale))
    if step.inverse:
        y = g.add("Add", g.add("Mul", wide, scale), mean)
    else:
        y = g.add("Div", g.add("Sub", wide, mean), scale)
    return g.cast(y, g.dtype)


def _apply(g: _Graph, x: str, function: Function) -> str:
    onnx = function.forms.onnx
    assert onnx is not None  # `write_onnx` has checked all of them
    return onnx(g, x, function.param)


def _add_head(g: _Graph, y: str, head: Head) -> dict[str, str]:
    """Outputs "label" and "probabilities" of a classifier."""
    p = y if head.link is None else _apply(g, y, Function(head.link))
    if head.kind == "multiclass":
        place = g.add("ArgMax", y, axis=1, keepdims=0)
    else:
        place = g.cast(g.add("Greater", p, g.constant(0.5)), "int64")
    if head.kind == "multilabel":
        return {"label": place, "probabilities": p}
    if head.kind == "binary":
        place = g.add("Squeeze", place, g.constant([1], "int64"))
        p = g.add("Concat", g.add("Sub", g.constant(1), p), p, axis=1)
    kinds = {str: "str", bool: "bool", int: "int64", float: "float64"}
    classes = g.constant(head.classes, kinds[head.label_type])
    return {"label": g.add("Gather", classes, place), "probabilities": p}
