"""`Sequential`: a list of layers as one net."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core, checks
from .attributes import Declared
from .checks import Array
from .layers import Activation, Dense, Layer, PReLU, RReLU
from .layers.base import (
    fresh_seed,
    is_trainable,
    make_generator,
    own_parameters,
)
from .layers.chain import activation_behind, shapes_of, summary_of, warn_of_symmetry
from .layers.flat import Flat
from .layers.passes import InPython, Part, run_backward, run_forward, run_predict
from .layers.segment import Segment
from .layers.shapes import Shape, as_shape, shaped
from .preprocessing import Preprocessing, Standardizer

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Sequential"]

WRITERS: dict[str, Callable[..., None]] = {}
"""What writes a net as a file of some kind, ``f(net, path, ...)``: `cmlp.export` enters its own."""

_MADE_ANEW = frozenset({"_parts", "_whole", "_fast", "_flat"})
_LINKS = ("softmax", "sigmoid", "exp")


class Sequential(Declared):
    """A net: layers one after the other.

    Parameters
    ----------
    *layers : Layer, object with forward and backward, or Sequential
        Or one list of them.  Widths must chain.  The layers of a net among them are taken one by
        one; layers that have values already keep them, and are then shared.
    dtype : {"float32", "float64"}, default "float32"
    seed : int, optional
        Of the initial values, the order of samples, dropout.  Drawn from the system if None.
    n_in : int or (int, int, int), optional
        Width of the input, or (channels, height, width), where no layer tells it.
    n_threads : int, optional
        Threads of ``predict``, ``forward`` and ``backward``; all that the process may use if None.

    Attributes
    ----------
    layers : tuple of layers
    dtype : {"float32", "float64"}
    seed : int
    n_in, n_out : int or None
        Numbers in an input and an output; None where layers in Python do not tell them.
    in_shape, out_shape : tuple of int or None
        Their shapes: (n,), or (channels, height, width) for images.

    Examples
    --------
    >>> net = Sequential(Dense(2, 3, activation="tanh"), Dense(3, 1), seed=0)
    >>> net.n_parameters
    13
    >>> net.predict([[0.0, 1.0], [1.0, 0.0]]).shape
    (2, 1)
    >>> len(net), net[0].n_out
    (2, 3)
    """

    layers: tuple[Any, ...]
    dtype: str
    seed: int
    n_in: int | None
    n_out: int | None
    in_shape: Shape | None
    out_shape: Shape | None

    def __init__(
        self,
        *layers: Any,
        dtype: str = "float32",
        seed: int | None = None,
        n_in: int | tuple[int, int, int] | None = None,
        n_threads: int | None = None,
    ) -> None:
        layers = tuple(checks.unwrapped(layers))
        self.layers = _flatten(layers)
        self.dtype = checks.float_dtype(dtype)
        self.seed = fresh_seed() if seed is None else checks.seed(seed)
        self._n_threads = checks.threads(n_threads)
        shapes = shapes_of(self.layers, None if n_in is None else as_shape(n_in, "n_in"))
        new = all(layer.core is None for layer in self.layers if isinstance(layer, Layer))
        self._shapes = shapes
        self._build()
        self.in_shape, self.out_shape = shapes[0], shapes[-1]
        self.n_in, self.n_out = (None if s is None else prod(s) for s in shapes[:: len(shapes) - 1])
        self._classes: Array | None = None
        self._preprocessing = _carried(layers)
        self._link: str | None = None
        self._metadata: dict[str, Any] = {}
        self._passes = 0  # in training, by ``forward``
        self._batch: int | None = None
        self._prepare()
        if new:
            self._flat.join()

    def _build(self) -> None:
        """Give the layers their shapes and values, all from one generator."""
        rng = make_generator(self.seed)
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                continue
            layer.build(self._shapes[i], self.dtype, rng, activation_behind(self.layers, i))
        warn_of_symmetry(self.layers)

    def _prepare(self) -> None:
        """Split the layers into runs of built-in ones; nothing is compiled before it is needed."""
        self._parts = self.split()
        self._flat = Flat(self._parts, self.dtype)
        first = self._parts[0]
        self._whole = first if len(self._parts) == 1 and isinstance(first, Segment) else None
        self._fast: Callable[..., Array] | None = None

    def split(self, **settings: Any) -> list[Part]:
        """The layers with each run of built-in ones as a `Segment`; ``settings`` are its own.

        ``without_output`` holds for the last one alone.
        """
        without_output = settings.pop("without_output", False)
        settings = {"n_threads": self.n_threads, "seed": self.seed, **settings}
        parts: list[Part] = []
        shapes = iter(pairwise(self._shapes))
        place = 0  # of a run's first packed layer: random layers draw by it
        for built_in, run in groupby(self.layers, lambda layer: isinstance(layer, Layer)):
            found = list(run)
            around = [next(shapes) for _ in found]
            last = without_output and found[-1] is self.layers[-1]
            if built_in:
                parts.append(Segment(found, without_output=last, first_layer=place, **settings))
                place += sum(len(layer.cores) for layer in found)
            else:
                parts += [InPython(layer, *a) for layer, a in zip(found, around, strict=True)]
        return parts

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, place: int | slice) -> Any:
        """One layer, or a net of some in a row, which shares their parameters."""
        if isinstance(place, slice):
            return Sequential(*self.layers[place], dtype=self.dtype, seed=self.seed)
        return self.layers[place]

    # ---- computing ----

    def __call__(self, x: ArrayLike) -> Array:
        """Outputs of the net, as `predict` gives them."""
        return self.predict(x)

    def predict(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Outputs of the net; `Dropout` and `RReLU` as in prediction.

        Any number of threads may call it at once.  NaN and infinity pass through.

        Parameters
        ----------
        x : array_like of shape (batch, n_in), (batch, channels, height, width), or one sample
            As they are in the data, if the net has a ``preprocessing``.  No rows give no rows.
        out : ndarray of the shape of the outputs, optional
            C-contiguous, of the net's dtype; overwritten and returned.  With x of that dtype too
            nothing is allocated, but for a ``preprocessing`` that scales.

        Returns
        -------
        ndarray of shape (batch, n_out) or (batch, channels, height, width), without the batch for
        a single sample
        """
        if self._fast is not None:
            try:
                y: Array = self._fast(x, out)
                return y
            except (TypeError, ValueError):
                pass  # not an array as the core wants it: convert, or say what is wrong
        return self._predict(x, out)

    def _predict(self, x: ArrayLike, out: Array | None) -> Array:
        if self.preprocessing.table is None:
            self.preprocessing.check_names(x)
            x = checks.as_array(x, "x")
            if x.size and (x.shape == self.in_shape or (x.ndim == 1 and self.in_shape is None)):
                rows = None if out is None else out[np.newaxis]
                row: Array = self._predict(x[np.newaxis], rows)[0]
                return row
        rows = self._rows(x, allow_empty=True)
        if out is not None:
            checks.output(out, (len(rows), *(self.out_shape or (None,))), self.dtype, rows)
        if not len(rows):
            shape = shapes_of(self.layers, self.in_shape or rows.shape[1:])[-1]
            assert shape is not None  # that of the input is known
            return np.empty((0, *shape), self.dtype) if out is None else out
        if self._whole is not None and not self.preprocessing.scales:
            predictor = self._whole.predictor
            if self._shapes[0] == (self.n_in,) and self._shapes[-1] == (self.n_out,):
                self._fast = predictor.predict
            y = predictor.predict(rows, None if out is None else out.reshape(len(rows), -1))
            return shaped(y, self.out_shape) if out is None else out
        y = shaped(self.preprocessing.values(run_predict(self._parts, rows)), self.out_shape)
        if out is None:
            return y
        out[...] = y
        return out

    def _rows(self, x: ArrayLike, allow_empty: bool = False) -> Array:
        """Samples as the layers take them."""
        return self.preprocessing.rows(x, "x", self.dtype, self.in_shape, False, allow_empty)

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probabilities.

        Outputs that are probabilities already (the net ends with softmax or sigmoid) are returned
        as they are; others pass through ``link``, by default softmax, or sigmoid for one output.

        Parameters
        ----------
        x : array_like of shape (batch, n_in)

        Returns
        -------
        ndarray of shape (batch, n_out)
            With one output the probability of the second class.
        """
        link = self.probability_link()
        if self.preprocessing.targets is not None:
            raise ValueError("the net was trained on standardised numbers; it has no probabilities")
        y = self.predict(x)
        if link is None or not y.size:
            return y
        rows = np.atleast_2d(y)
        p = _core.softmax(rows) if link == "softmax" else _core.activation_forward(rows, link)
        return p.reshape(y.shape)

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        """Outputs of a batch, keeping what ``backward`` needs.

        Parameters
        ----------
        x : array_like of shape (batch, n_in)
        training : bool, default False
            Whether `Dropout` drops and `RReLU` draws.

        Returns
        -------
        ndarray of shape (batch, n_out)
        """
        self.preprocessing.check_names(x)
        y = run_forward(self._parts, self._rows(x), training, self._passes)
        self._passes += training
        return shaped(self.preprocessing.values(y), self.out_shape)

    def backward(self, dy: ArrayLike, need_dx: bool = True) -> Array:
        """Gradients of the last ``forward``.

        Parameters
        ----------
        dy : array_like of shape (batch, n_out)
            dL/dy.
        need_dx : bool, default True
            Whether dL/dx is wanted; otherwise what is returned has no meaning.

        Returns
        -------
        ndarray of shape (batch, n_in)
            dL/dx.  dL/dw and dL/db are in the layers' ``grad_weight`` and ``grad_bias``.
        """
        rows = checks.as_rows(dy, "dy", self.dtype, self.out_shape, finite=False)
        outputs, inputs = self.preprocessing.targets, self.preprocessing.inputs
        if outputs is not None:
            rows = (rows * outputs.scale).astype(rows.dtype)
        dx = run_backward(self._parts, rows, need_dx)
        self._batch = len(rows)
        if isinstance(inputs, Standardizer):
            dx = (dx / inputs.scale).astype(dx.dtype)
        return shaped(dx, self.in_shape)

    @property
    def last_batch(self) -> int | None:
        """Rows of the last ``backward``; None before one."""
        return self._batch

    # ---- parameters ----

    @property
    def n_parameters(self) -> int:
        """Number of values, the length of `get_flat`."""
        return sum(_size(layer) for layer in self.layers)

    @property
    def n_trainable(self) -> int:
        """Number of values that training changes: those of layers that are not frozen."""
        return sum(_size(layer) for layer in self.layers if is_trainable(layer))

    @property
    def trainable(self) -> bool:
        """Whether training changes any parameter.

        Assigning it freezes all layers (False), or lets all be trained; see `Layer.trainable`.
        """
        return self.n_trainable > 0

    @trainable.setter
    def trainable(self, value: bool) -> None:
        on = checks.flag(value, "trainable")
        for layer in self.layers:
            layer.trainable = on

    @property
    def classes(self) -> Array | None:
        """Labels of a classifier, sorted, in the order of its outputs; None where 0, 1, 2, ..."""
        return self._classes

    @classes.setter
    def classes(self, value: ArrayLike | None) -> None:
        labels = None if value is None else checks.classes_array(value)
        if labels is not None:
            labels = labels.copy()
            labels.flags.writeable = False
        self._classes = labels

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to samples before the layers and to outputs behind them; None is nothing."""
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, value: Preprocessing | None) -> None:
        found = Preprocessing() if value is None else value
        if not isinstance(found, Preprocessing):
            raise TypeError(f"preprocessing is {value!r}; expected a Preprocessing or None")
        found.check_fits(self.n_in, self.n_out)
        if found.targets is not None and self.output_activation in ("softmax", "sigmoid"):
            raise ValueError(
                f"preprocessing has targets and the net ends with {self.output_activation}; "
                "expected a net for regression"
            )
        self._preprocessing, self._fast = found, None

    @property
    def link(self) -> str | None:
        """What turns outputs into probabilities or rates: "softmax", "sigmoid", "exp" or None.

        Training sets it by the loss.
        """
        return self._link

    @link.setter
    def link(self, value: str | None) -> None:
        self._link = None if value is None else checks.choice(value, "link", _LINKS)

    @property
    def metadata(self) -> dict[str, Any]:
        """Anything of JSON's types that is to be saved with the net."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        if not isinstance(value, dict):
            raise TypeError(f"metadata is {value!r}; expected a dict")
        self._metadata = value

    @property
    def n_threads(self) -> int | None:
        """Threads of ``predict``, ``forward`` and ``backward``; None for all that there are."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, value: int | None) -> None:
        self._n_threads = checks.threads(value)
        self._prepare()

    @property
    def output_activation(self) -> str:
        """Name of the activation at the end of the net; "identity" if there is none."""
        last = self.layers[-1]
        return (
            str(last.activation)
            if isinstance(last, (Dense, Activation, PReLU, RReLU))
            else "identity"
        )

    def probability_link(self) -> str | None:
        """What turns outputs into probabilities: "softmax", "sigmoid", None if they are some.

        Raises
        ------
        ValueError
            For a net that was trained for counts.
        """
        if self.output_activation in ("softmax", "sigmoid"):
            return None
        if self.link == "exp":
            raise ValueError("the net was trained for counts; its outputs are logarithms of rates")
        return self.link or ("softmax" if self.n_out != 1 else "sigmoid")

    def get_flat(self) -> Array:
        """All parameters as one vector: layer after layer, each row by row, weight before bias.

        Returns
        -------
        ndarray of shape (n_parameters,)
            A copy, of the net's dtype.
        """
        return self._flat.get()

    def get_flat_grad(self) -> Array:
        """All gradients of the last backward pass, in the order of `get_flat`.

        Those of frozen layers are zeros.
        """
        return self._flat.get(gradients=True)

    def set_flat(self, values: ArrayLike) -> None:
        """Take all parameters from one vector in the order of `get_flat`.

        Parameters
        ----------
        values : array_like of shape (n_parameters,)
        """
        self._flat.set(values)

    def set_flat_grad(self, values: ArrayLike) -> None:
        """Take all gradients from one vector (n_parameters,), for an optimizer's next step."""
        self._flat.set(values, gradients=True)

    def lerp_(self, other: Sequential, tau: float) -> Sequential:
        """Move the parameters towards those of another net: w <- (1 - tau) w + tau w_other.

        Parameters
        ----------
        other : Sequential
            Of the same layers.
        tau : float in [0, 1]

        Returns
        -------
        Sequential
            Itself.
        """
        if not isinstance(other, Sequential):
            raise TypeError(f"other is {other!r}; expected a Sequential")
        t = checks.number(tau, "tau", 0.0, 1.0)
        if other.n_parameters != self.n_parameters:
            raise ValueError(
                f"other has {other.n_parameters} parameters; expected {self.n_parameters}"
            )
        if other._flat.shapes() != self._flat.shapes():
            raise ValueError("other has layers of other shapes; expected the same")
        self._flat.lerp(other._flat, t)
        return self

    def copy(self) -> Sequential:
        """A net of the same values that shares nothing with this one."""
        from copy import deepcopy

        return deepcopy(self)

    # ---- text and files ----

    def save(self, path: str | PathLike[str]) -> None:
        """Write the net to a safetensors file, whole or not at all; see `cmlp.load`."""
        WRITERS["safetensors"](self, path)

    def to_onnx(self, path: str | PathLike[str], task: str | None = None) -> None:
        """Write the net as an ONNX file of opset 17, whole or not at all.

        The input is ``x`` (batch, n_in), of any number of rows and the net's dtype.

        Parameters
        ----------
        path : str or path
        task : {None, "classifier", "multilabel"}
            None: the output is ``y`` (batch, n_out), what ``predict`` gives.  "classifier":
            ``label`` (batch,), from ``classes`` or 0, 1, 2, ..., and ``probabilities`` (batch,
            n_classes); a net with one output has two classes.  "multilabel": ``label``
            (batch, n_out) is 1 where ``probabilities`` (batch, n_out) is above 1/2.

        Raises
        ------
        ImportError
            Without onnx (``pip install cmlp[export]``).
        ValueError
            If a layer is written in Python.
        """
        WRITERS["onnx"](self, path, task)

    def to_c(
        self, path: str | PathLike[str], task: str | None = None, name: str = "predict"
    ) -> None:
        """Write the net as one C99 file with a function, whole or not at all.

        The function is ``void predict(const float *x, float *y)``, with double for a net of
        float64; ``int predict(const float *x, float *p)`` for a classifier, which returns the
        place of the label in ``predict_classes``.  It allocates nothing and keeps nothing.

        Parameters
        ----------
        path : str or path
        task : {None, "classifier", "multilabel"}
            Outputs or probabilities, as in `to_onnx`.
        name : str, default "predict"
            Of the function; all names in the file begin with it.

        Raises
        ------
        ValueError
            If a layer is written in Python, or the name is none of C.
        """
        WRITERS["c"](self, path, task, name)

    def summary(self) -> str:
        """A table of the layers with their output shapes and numbers of parameters.

        Where layers are frozen, they are marked, and the last line has the number of values that
        training changes.
        """
        sizes = [_size(layer) for layer in self.layers]
        return summary_of(self.layers, self._shapes, sizes, self.dtype)

    def __repr__(self) -> str:
        inner = "".join(f"    {layer!r},\n" for layer in self.layers)
        return f"Sequential(\n{inner}    dtype={self.dtype!r}, seed={self.seed})"

    def __getstate__(self) -> dict[str, Any]:
        made_anew = ("_batch", "_parts", "_flat", "_whole", "_fast")
        return {k: v for k, v in vars(self).items() if k not in made_anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _batch=None)
        self._prepare()
        self._flat.join()


def _flatten(given: Sequence[Any]) -> tuple[Any, ...]:
    """The layers one by one, checked; nets among them opened."""
    found: list[Any] = []
    for layer in given:
        if isinstance(layer, Sequential):
            found.extend(layer.layers)
        elif isinstance(layer, type) or not (
            callable(getattr(layer, "forward", None)) and callable(getattr(layer, "backward", None))
        ):
            raise TypeError(
                f"layers[{len(found)}] is {layer!r}; expected an object with forward and backward"
            )
        else:
            found.append(layer)
    if not found:
        raise ValueError("layers is empty; expected at least one layer")
    if len({id(layer) for layer in found}) < len(found):
        raise ValueError("layers holds the same layer twice; expected different objects")
    return tuple(found)


def _carried(given: Sequence[Any]) -> Preprocessing:
    """The preprocessing of nets among the layers, which can stand at the ends alone."""
    found = Preprocessing()
    for i, net in enumerate(given):
        if not isinstance(net, Sequential):
            continue
        mine = net.preprocessing
        if (mine.inputs is not None and i > 0) or (mine.targets is not None and i < len(given) - 1):
            raise ValueError(
                f"layers[{i}] is a net that standardises; expected one at the beginning or, for "
                "outputs, at the end"
            )
        if i == 0:
            found = replace(found, inputs=mine.inputs, feature_names=mine.feature_names)
        if i == len(given) - 1:
            found = replace(found, targets=mine.targets)
    return found


def _size(layer: Any) -> int:
    if isinstance(layer, Layer):
        return layer.n_parameters
    return sum(int(a.size) for a in own_parameters(layer).values())
