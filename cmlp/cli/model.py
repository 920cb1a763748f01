"""A net and what its model file says of its data: from samples to labels and values.

What stands between data and net is the net's own (``net.preprocessing``).  What more the command
line needs to know of the data is in the net's metadata, and so in the model file:

target        column of the table, or list of columns
reading       how its text was read: those of header, delimiter, decimal, encoding and na_values
              that were given, and the header in any case
test_share    share of the samples held out, where it was given
image_shape   rows and columns of the pictures that the inputs unroll
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..datasets.tables import inputs_of
from ..errors import FormatError
from ..network import Sequential
from ..table import Table, listed
from . import data
from .data import Loaded

Array = NDArray[Any]


@dataclass(frozen=True)
class Origin:
    """What a model file says of the data that its net was trained on; see the module."""

    target: tuple[str, ...] | None = None
    test_share: float | None = None
    image_shape: tuple[int, int] | None = None
    reading: dict[str, Any] | None = None

    def metadata(self) -> dict[str, Any]:
        """As JSON values, those that are not None."""
        found = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value is not None
        }
        if self.target is not None and len(self.target) == 1:
            found["target"] = self.target[0]
        return found

    @classmethod
    def of(cls, net: Sequential) -> Origin:
        """What the metadata of a net say; FormatError where they make no sense."""
        m = net.metadata
        return cls(
            _target(m),
            _of_type(m, "test_share", float),
            _image_shape(m, net.n_in),
            _reading(m),
        )


def _of_type(metadata: Mapping[str, Any], name: str, kind: type) -> Any:
    value = metadata.get(name)
    if value is not None and type(value) is not kind:
        raise FormatError(f"the model's metadata have {name} {value!r}; expected a {kind.__name__}")
    return value


def _target(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = metadata.get("target")
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(type(name) is str for name in names):
        raise FormatError(f"the model's metadata have target {value!r}; expected a str or strs")
    return tuple(names)


_READING = {"header": bool, "delimiter": str, "decimal": str, "encoding": str, "na_values": list}


def _reading(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    value = _of_type(metadata, "reading", dict)
    for name, held in (value or {}).items():
        if name not in _READING or type(held) is not _READING[name]:
            raise FormatError(f"the model's metadata have reading {name} {held!r}")
        if isinstance(held, list) and not all(type(text) is str for text in held):
            raise FormatError(f"the model's metadata have reading {name} {held!r}")
    found: dict[str, Any] | None = value
    return found


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


def load_for(
    net: Sequential,
    origin: Origin,
    source: str,
    target: Sequence[str] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Loaded:
    """The data to evaluate a net on or to go on training it: the same columns and classes."""
    classes = classes_of(net)
    if data.is_table(source):
        loaded = data.load(
            source,
            target=target or origin.target,
            features=net.preprocessing.feature_names,
            task="regression" if classes is None else "classification",
            classes=classes,
            reading=how_to_read(origin, source, reading),
            mixed=net.preprocessing.table is not None,
        )
    else:
        loaded = data.load(source, target=target, reading=reading)
    dataset = loaded.dataset
    check_inputs(net, loaded.dataset.x if loaded.table is None else loaded.table, source)
    if (dataset.classes is None) != (classes is None):
        kinds = ("classes", "numbers") if classes is None else ("numbers", "classes")
        raise ValueError(f"{source} is of {kinds[0]}, the model of {kinds[1]}")
    if classes is not None and list(map(str, classes)) != list(map(str, dataset.classes or ())):
        raise ValueError(f"{source} has the classes {dataset.classes}, the model has {classes}")
    if classes is None and dataset.n_out != net.n_out:
        raise ValueError(f"{source} has {dataset.n_out} targets a row, the model has {net.n_out}")
    return loaded


def table_of(net: Sequential, source: str, reading: Mapping[str, Any]) -> Table | None:
    """The table of a source, read as the model file says; None for anything else."""
    if not data.is_table(source) or data.is_arrays(source):
        return None
    return datasets.read_table(source, **how_to_read(Origin.of(net), source, reading))


def load_inputs(
    net: Sequential, source: str, reading: Mapping[str, Any], table: Table | None
) -> Any:
    """The inputs of data alone, a table's by their names: an array, or a table."""
    names = net.preprocessing.feature_names
    if table is not None:
        return table if net.preprocessing.table is not None else inputs_of(table, names)
    if data.is_table(source):
        return datasets.load_inputs(source, features=names)
    return data.load(source, reading=reading).dataset.x


def how_to_read(origin: Origin, source: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is given, and for text what the model file says besides."""
    kept = {} if data.is_arrays(source) else origin.reading or {}
    return {**kept, **(given or {})}


def check_inputs(net: Sequential, x: Any, source: str) -> None:
    """Refuse data of another width than the net's, and numbers for one that takes tables."""
    if isinstance(x, Table):
        return  # of which the net takes its columns
    if net.preprocessing.table is not None:
        raise ValueError(
            f"{source} has numbers alone, the model takes a table with the columns "
            f"{listed(net.preprocessing.table.names)}"
        )
    if x.shape[1] != net.n_in:
        raise ValueError(f"{source} has {x.shape[1]} inputs a row, the model takes {net.n_in}")


def predictions(net: Sequential, x: Any) -> Array:
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


def probabilities(net: Sequential, x: Any) -> Array:
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
