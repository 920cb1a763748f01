"""A net in prediction as a list of plain steps, which the exports start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _core, checks
from ..checks import Array
from ..layers import Layer
from ..layers.activations import KINDS
from ..layers.forms import Forms
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
    """An activation, or "exp", which a loss may apply to the outputs.

    Attributes
    ----------
    name : str
        As in `cmlp.layers.activation_names`, or "exp".
    param : float, ndarray of shape (n_in,) or None
        Its parameter: one for all columns, or one for each.
    """

    name: str
    param: float | Array | None = None

    @property
    def forms(self) -> Forms:
        """The function in other programs' terms."""
        if self.name == "exp":
            return _EXP
        kind = KINDS.get(self.name)
        return Forms(c=None, onnx=None, torch=None) if kind is None else kind.forms


@dataclass(frozen=True)
class Rescaling:
    """(x - mean) / scale for each column, or x scale + mean if ``inverse``, in float64.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_in,), float64
    inverse : bool
    """

    mean: Array
    scale: Array
    inverse: bool = False


Step = Dense | Function | Rescaling

_EXP = Forms(c="return exp(x);", onnx=lambda g, x, _: g.add("Exp", x), torch=None)


@dataclass(frozen=True)
class Head:
    """How a classifier interprets the outputs.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel"}
        One output, the probability of the second class; one for each class, the largest of which
        gives the label; or one for each of several yes-no questions, yes being above 1/2.
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
    """What is to be written to a file.

    Attributes
    ----------
    steps : tuple of Step
    n_in, n_out : int
    dtype : {"float32", "float64"}
    head : Head or None
        None for the outputs as they are.
    feature_names : tuple of str or None
    """

    steps: tuple[Step, ...]
    n_in: int
    n_out: int
    dtype: str
    head: Head | None = None
    feature_names: tuple[str, ...] | None = None

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
            For a layer that cannot be exported, such as one written in Python, a parameter that is
            not finite, or classes that do not fit.
        """
        inputs, targets = net.preprocessing.scaler("an export"), net.preprocessing.targets
        steps: list[Step] = [] if inputs is None else [Rescaling(inputs.mean, inputs.scale)]
        for i, layer in enumerate(net.layers):
            steps += _steps_of(layer, i)
        if targets is not None:
            steps.append(Rescaling(targets.mean, targets.scale, inverse=True))
        assert net.n_in is not None and net.n_out is not None  # built-in layers know their widths
        head = None if task is None else _head_of(net, checks.choice(task, "task", TASKS), classes)
        names = net.preprocessing.feature_names
        return cls(tuple(steps), net.n_in, net.n_out, net.dtype, head, names)

    def then(self, *after: Step) -> Model:
        """The same with more steps behind it."""
        return replace(self, steps=(*self.steps, *after))

    def functions(self) -> Iterator[Function]:
        """Every function in it, the head's link included."""
        yield from (step for step in self.steps if isinstance(step, Function))
        if self.head is not None and self.head.link is not None:
            yield Function(self.head.link)

    def check_forms(self, form: str, target: str) -> None:
        """Raise ValueError if an activation lacks the form that a file needs.

        Parameters
        ----------
        form : {"c", "onnx"}
        target : str
            What is to be written, for the message.
        """
        for function in self.functions():
            if getattr(function.forms, form) is None:
                raise ValueError(
                    f"the net has the activation {function.name!r}, which {target} cannot express"
                )

    @property
    def n_bytes(self) -> int:
        """Size of its arrays."""
        values = [value for step in self.steps for value in vars(step).values()]
        return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def _dense(core: _core.Layer) -> list[Step]:
    return [Dense(core.get("weight"), core.get("bias") if "bias" in core.shapes else None)]


def _activation(core: _core.Layer) -> list[Step]:
    if core.activation == "identity":
        return []
    has_param = _core.activations()[core.activation]["param"] is not None
    return [Function(core.activation, core.param[0] if has_param else None)]


# What each kind of layer in the core does in prediction.
STEPS: dict[str, Callable[[_core.Layer], list[Step]]] = {
    "dense": _dense,
    "activation": _activation,
    "prelu": lambda core: [Function("leaky_relu", core.get("slope"))],
    "rrelu": lambda core: [Function("leaky_relu", sum(core.param) / 2)],
    "dropout": lambda core: [],
}


def _steps_of(layer: Any, i: int) -> list[Step]:
    """The steps of one layer of a net."""
    if not isinstance(layer, Layer):
        raise ValueError(
            f"layers[{i}], {layer!r}, is written in Python; expected built-in layers, "
            "the only ones that can be exported"
        )
    for name, value in layer.parameters().items():
        checks.check_finite(value, f"{name} of layers[{i}]")
    if any(core.kind not in STEPS for core in layer.cores):
        raise ValueError(f"layers[{i}], {layer!r}, is of a kind that cannot be exported")
    return [step for core in layer.cores for step in STEPS[core.kind](core)]


def _head_of(net: Sequential, task: str, classes: Sequence[Any] | None) -> Head:
    n_out = net.n_out
    assert n_out is not None
    if net.preprocessing.targets is not None:
        raise ValueError(f"task is {task!r}; expected None, as the net was trained on numbers")
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
