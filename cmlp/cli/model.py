"""A net and what its model file says of its data: from samples to labels and values.

What stands between data and net is the net's own (``net.preprocessing``).  What more the command
line needs to know of the data is in the net's metadata, and so in the model file:

target        column of the table
test_share    share of the samples held out, where it was given
image_shape   rows and columns of the pictures that the inputs unroll
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.dataset import Dataset
from ..errors import FormatError
from ..network import Sequential
from . import data

Array = NDArray[Any]


@dataclass(frozen=True)
class Origin:
    """What a model file says of the data that its net was trained on; see the module."""

    target: str | None = None
    test_share: float | None = None
    image_shape: tuple[int, int] | None = None

    def metadata(self) -> dict[str, Any]:
        """As JSON values, those that are not None."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value is not None
        }

    @classmethod
    def of(cls, net: Sequential) -> Origin:
        """What the metadata of a net say; FormatError where they make no sense."""
        m = net.metadata
        return cls(
            _of_type(m, "target", str),
            _of_type(m, "test_share", float),
            _image_shape(m, net.n_in),
        )


def _of_type(metadata: Mapping[str, Any], name: str, kind: type) -> Any:
    value = metadata.get(name)
    if value is not None and type(value) is not kind:
        raise FormatError(f"the model's metadata have {name} {value!r}; expected a {kind.__name__}")
    return value


def _image_shape(metadata: Mapping[str, Any], n_in: int | None) -> tuple[int, int] | None:
    shape = _of_type(metadata, "image_shape", list)
    if shape is None:
        return None
    if len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise FormatError(f"the model's metadata have image_shape {shape!r}; expected two sizes")
    if shape[0] * shape[1] != n_in:
        raise FormatError(f"the model's metadata have image_shape {shape!r} for {n_in} inputs")
    return (shape[0], shape[1])


def classes_of(net: Sequential) -> list[Any] | None:
    """The labels in the order of the outputs; None for a net of regression."""
    if net.classes is not None:
        found: list[Any] = net.classes.tolist()
        return found
    if net.n_out is not None and {net.link, net.output_activation} & {"softmax", "sigmoid"}:
        return list(range(max(2, net.n_out)))
    return None


def load_for(net: Sequential, origin: Origin, source: str, target: str | None = None) -> Dataset:
    """The data to evaluate a net on or to go on training it: the same columns and classes."""
    classes = classes_of(net)
    if data.is_table(source):
        dataset = data.load(
            source,
            target=target or origin.target,
            features=net.preprocessing.feature_names,
            task="regression" if classes is None else "classification",
            classes=classes,
        )
    else:
        dataset = data.load(source, target=target)
    check_inputs(net, dataset.n_in, source)
    if (dataset.classes is None) != (classes is None):
        kinds = ("classes", "numbers") if classes is None else ("numbers", "classes")
        raise ValueError(f"{source} is of {kinds[0]}, the model of {kinds[1]}")
    if classes is not None and list(map(str, classes)) != list(map(str, dataset.classes or ())):
        raise ValueError(f"{source} has the classes {dataset.classes}, the model has {classes}")
    if classes is None and dataset.n_out != net.n_out:
        raise ValueError(f"{source} has {dataset.n_out} targets a row, the model has {net.n_out}")
    return dataset


def check_inputs(net: Sequential, n_in: int, source: str) -> None:
    """Refuse data of another width than the net's."""
    if n_in != net.n_in:
        raise ValueError(f"{source} has {n_in} inputs a row, the model takes {net.n_in}")


def predictions(net: Sequential, x: Array) -> Array:
    """Labels (n,), or numbers (n, n_out) as in the data."""
    classes = classes_of(net)
    if classes is None:
        y = net.predict(x)
        return np.exp(y) if net.link == "exp" else y
    if net.n_out == 1:
        codes = (net.predict_proba(x)[:, 0] > 0.5).astype(np.int64)
    else:
        codes = net.predict(x).argmax(axis=1)
    return np.asarray(classes)[codes]


def probabilities(net: Sequential, x: Array) -> Array:
    """Probabilities (n, n_classes)."""
    if classes_of(net) is None or not {net.link, net.output_activation} & {"softmax", "sigmoid"}:
        raise ValueError("--proba: the model was not trained to give probabilities")
    p = net.predict_proba(x)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


def scores(y: Array, predicted: Array) -> dict[str, str]:
    """How good predictions are: of labels (n,), or of numbers (n, n_out)."""
    if y.ndim == 1:
        return {"accuracy": f"{100 * np.mean(y == predicted):.2f} %"}
    error = predicted.astype(np.float64) - y
    spread = np.square(y - y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.mean(1 - np.square(error).sum(axis=0) / spread)
    return {
        "r2": f"{r2:.4f}",
        "root mean squared error": f"{np.sqrt(np.square(error).mean()):.4g}",
        "mean absolute error": f"{abs(error).mean():.4g}",
    }
