"""A net as a list of plain steps, from which files for other programs are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import checks
from ..checks import Array
from ..layers import Layer
from ..network import Sequential

TASKS = ("classifier", "multilabel")


@dataclass(frozen=True)
class Dense:
    """x W^T + b.

    Attributes
    ----------
    weight : ndarray of shape (n_out, n_in)
    bias : ndarray of shape (n_out,) or None
    """

    weight: Array
    bias: Array | None


@dataclass(frozen=True)
class Function:
    """An activation, or "exp".

    Attributes
    ----------
    name : str
        As in `cmlp.layers.activation_names`; "leaky_relu" stands for all with a slope.
    param : float, ndarray of shape (n_in,) or None
        Its setting: one for all columns, or one for each.
    """

    name: str
    param: float | Array | None = None


@dataclass(frozen=True)
class Rescaling:
    """(x - mean) / scale column by column, or x scale + mean if ``inverse``; in float64.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_in,), float64
    inverse : bool
    """

    mean: Array
    scale: Array
    inverse: bool = False


Step = Dense | Function | Rescaling


@dataclass(frozen=True)
class Head:
    """What a classifier makes of the outputs.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel"}
        One output, the probability of the second class; an output for each class, of which the
        largest tells the label; or an output for each of several questions, yes above 1/2.
    link : {"softmax", "sigmoid"} or None
        From outputs to probabilities; None if they are probabilities.
    classes : list
        The labels, all strings, all booleans, all integers or all floats.
    """

    kind: str
    link: str | None
    classes: list[Any]

    @property
    def label_type(self) -> type:
        """Python's type of the labels."""
        types = {type(label) for label in self.classes}
        return types.pop() if len(types) == 1 else float


@dataclass(frozen=True)
class Model:
    """What is written to a file.

    Attributes
    ----------
    steps : tuple of Step
    n_in, n_out : int
    dtype : {"float32", "float64"}
    head : Head or None
        None where the outputs are to be given as they are.
    """

    steps: tuple[Step, ...]
    n_in: int
    n_out: int
    dtype: str
    head: Head | None = None

    @classmethod
    def of(
        cls, net: Sequential, task: str | None = None, classes: Sequence[Any] | None = None
    ) -> Model:
        """What ``net`` does in prediction.

        Parameters
        ----------
        net : Sequential
        task : {None, "classifier", "multilabel"}
            None for the outputs of ``predict``; otherwise labels and probabilities.
        classes : sequence, optional
            Labels; the net's, or 0, 1, 2, ..., if None.

        Raises
        ------
        ValueError
            For a layer written in Python, a parameter that is not finite, classes that do not fit.
        """
        steps = [step for i, layer in enumerate(net.layers) for step in _steps_of(layer, i)]
        assert net.n_in is not None and net.n_out is not None  # built-in layers know their widths
        head = None if task is None else _head_of(net, checks.choice(task, "task", TASKS), classes)
        return cls(tuple(steps), net.n_in, net.n_out, net.dtype, head)

    def between(self, before: Sequence[Step], after: Sequence[Step]) -> Model:
        """The same with more steps before and after it."""
        return replace(self, steps=(*before, *self.steps, *after))

    @property
    def n_bytes(self) -> int:
        """Size of the numbers in it."""
        values = [value for step in self.steps for value in vars(step).values()]
        return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def _steps_of(layer: Any, i: int) -> list[Step]:
    """The steps of one layer of a net, by what the compiled core makes of it."""
    if not isinstance(layer, Layer):
        raise ValueError(
            f"layers[{i}], {layer!r}, is written in Python; expected built-in layers, "
            "the only ones that can be exported"
        )
    for name, value in layer.parameters().items():
        checks.check_finite(value, f"{name} of layers[{i}]")
    steps: list[Step] = []
    for core in layer.cores:
        if core.kind == "dense":
            bias = core.get("bias") if "bias" in core.shapes else None
            steps.append(Dense(core.get("weight"), bias))
        elif core.kind == "prelu":
            steps.append(Function("leaky_relu", core.get("slope")))
        elif core.kind == "rrelu":
            steps.append(Function("leaky_relu", sum(core.param) / 2))
        elif core.kind == "activation" and core.activation != "identity":
            steps.append(Function(core.activation, core.param[0]))
    return steps


def _head_of(net: Sequential, task: str, classes: Sequence[Any] | None) -> Head:
    n_out = net.n_out
    assert n_out is not None
    link = net.probability_link()
    if task == "multilabel":
        if link == "softmax" or net.output_activation == "softmax":
            raise ValueError("task is 'multilabel'; expected a net trained for it, not by softmax")
        return Head(task, link, list(range(n_out)))
    known = net.classes if classes is None else classes
    count = max(2, n_out)
    labels = list(range(count)) if known is None else np.asarray(known).tolist()
    if len(labels) != count:
        raise ValueError(f"the net has {len(labels)} classes; expected {count} for {n_out} outputs")
    return Head("binary" if n_out == 1 else "multiclass", link, labels)
