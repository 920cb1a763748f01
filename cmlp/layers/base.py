"""What all layers have in common."""

from __future__ import annotations

from contextlib import suppress
from math import prod
from os import urandom
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks
from ..attributes import Declared
from ..checks import Array
from .segment import Segment
from .shapes import Shape, as_shape, plain, shaped, short

if TYPE_CHECKING:
    from numpy.random import Generator


class PythonLayer(Protocol):
    """What a layer written by a user must have."""

    def forward(self, x: Array, training: bool = False) -> Array: ...
    def backward(self, dy: Array) -> Array: ...


class Layer(Declared):
    """Base of the built-in layers.

    A layer has its values once it is built: by the `Sequential` it is put into, by its first
    ``forward``, or by ``build``.  Its settings are fixed.

    Attributes
    ----------
    draws : bool
        Whether it draws random numbers in training.
    """

    rectifies: ClassVar[bool] = False
    """It passes large positive inputs and limits negative ones: `He` weights suit it."""
    draws: ClassVar[bool] = False
    keeps_shape: ClassVar[bool] = True
    """Its outputs have the shape of its inputs, whatever that is."""

    def __init__(self) -> None:
        self._cores: list[_core.Layer] = []
        self._pending: dict[str, Any] = {}
        self._trainable = True
        self._stream: int | None = None  # seed of what it draws when it is used alone
        self._passes = 0  # in training, when it is used alone
        self._alone: Segment | None = None
        self._in_shape: Shape | None = None

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        """The packed layers of this width; what each kind of layer says for itself."""
        raise NotImplementedError

    def _initial(
        self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str, followed_by: str
    ) -> Array:
        """Initial values of the parameter ``name``."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Arguments that make the same layer again, its values apart; they go into model files."""
        return {}

    def shapes(self, n_in: int | Shape) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each parameter for inputs of this shape, in the flat order."""
        return {}

    def shape_after(self, shape: Shape) -> Shape:
        """Shape of the outputs for a shape of the inputs; ValueError where that does not fit."""
        return shape

    def preset(self, values: dict[str, Array]) -> None:
        """Values to be taken when the layer is built."""
        self._pending.update(values)

    @property
    def core(self) -> _core.Layer | None:
        """The packed layer that holds the parameters; None before it is built."""
        return self._cores[0] if self._cores else None

    @property
    def cores(self) -> list[_core.Layer]:
        """The same and, in a `Dense` with an activation, one for that: a plan joins the two."""
        return list(self._cores)

    @property
    def n_in(self) -> int | None:
        """Inputs, or None if not known yet."""
        return None if self.core is None else self.core.n_in

    @property
    def n_out(self) -> int | None:
        """Outputs, or None if not known yet."""
        return None if self.out_shape is None else prod(self.out_shape)

    @property
    def in_shape(self) -> Shape | None:
        """Shape of an input: (n,) or (channels, height, width); None before it is built."""
        return self._in_shape

    @property
    def out_shape(self) -> Shape | None:
        """Likewise, of an output."""
        return None if self._in_shape is None else self.shape_after(self._in_shape)

    def _at(self) -> Shape:
        """The shape that the layer is built for."""
        assert self._in_shape is not None
        return self._in_shape

    def _width_after(self) -> int:
        return prod(self.shape_after(self._at()))

    @property
    def dtype(self) -> str | None:
        """Name of its type, "float32" or "float64"; None before it is built."""
        return None if self.core is None else self.core.dtype

    @property
    def n_parameters(self) -> int:
        """Number of values; 0 before it is built."""
        return 0 if self.core is None else self.core.n_parameters

    @property
    def trainable(self) -> bool:
        """Whether training changes the parameters.

        Those of a frozen layer (False) cost no gradient, which is zero, and are left alone by
        every optimizer, decay included; prediction and the gradient by the inputs are the same.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = checks.flag(value, "trainable")
        for core in self._cores:
            core.trainable = self._trainable

    @property
    def last_batch(self) -> int | None:
        """Rows of the last backward pass, alone or in a net; None before one."""
        return None if self.core is None else self.core.rows or None

    def build(
        self,
        n_in: int | Shape | None = None,
        dtype: str = "float32",
        rng: Generator | int | None = None,
        followed_by: str = "identity",
    ) -> Self:
        """Give the layer its width, its type and its initial values.

        A layer that is built already keeps its values and must have that width and type.

        Parameters
        ----------
        n_in : int or (int, int, int), optional
            Inputs, or (channels, height, width); may be left out for `Dense`.
        dtype : {"float32", "float64"}
        rng : numpy.random.Generator or int, optional
            Source of the initial values, or a seed for one; fresh if None.
        followed_by : str, default "identity"
            The activation that the outputs of a `Dense` without one meet next; it decides the
            default initial weights.

        Returns
        -------
        Layer
            Itself.
        """
        dtype = checks.float_dtype(dtype)
        shape = self._shape_for(n_in)
        if self.core is not None:
            if self.core.dtype != dtype:
                raise ValueError(f"dtype is {dtype}; expected {self.core.dtype}, as {self!r} has")
            return self
        self.shape_after(shape)
        self._in_shape = shape
        cores = self._make(prod(shape), dtype)
        core = cores[0]
        missing = [name for name in core.shapes if name not in self._pending]
        generator = make_generator(rng) if missing else None
        for name, shape in core.shapes.items():
            if name in self._pending:
                core.set(name, checked_values(self._pending[name], name, shape, dtype))
            elif generator is not None:
                core.set(name, self._initial(name, shape, generator, dtype, followed_by))
        self._cores, self._pending = cores, {}
        self.trainable = self._trainable
        if self.draws:
            self._stream = _stream_from(rng)
        return self

    def _shape_for(self, n_in: int | Shape | None) -> Shape:
        """The shape that it is built for, checked."""
        if n_in is not None:
            shape = as_shape(n_in, "n_in")
        elif self._in_shape is not None:
            shape = self._in_shape
        elif self.n_in is not None:
            shape = (self.n_in,)
        else:
            raise ValueError(f"n_in is None; expected the width of {self!r}")
        if self._in_shape not in (None, shape) or self.n_in not in (None, prod(shape)):
            expected = self.n_in if self._in_shape is None else plain(self._in_shape)
            raise ValueError(f"n_in is {plain(shape)}; expected {expected}, as {self!r} has")
        return shape

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        """Outputs of a batch; what ``backward`` needs is kept.

        Parameters
        ----------
        x : array_like of shape (batch, n_in) or (batch, channels, height, width)
            A layer that is not built yet takes its type from x, float32 unless x is float64.
        training : bool, default False
            Whether `Dropout` drops and `RReLU` draws.

        Returns
        -------
        ndarray of shape (batch, n_out) or (batch, channels, height, width)
        """
        if self.core is None:
            a = checks.as_array(x, "x")
            if a.ndim == 4:
                self.build(a.shape[1:], checks.dtype_for(a))
            else:
                rows = checks.as_rows(a, "x", "float64", self.n_in, finite=False)
                self.build(rows.shape[1], checks.dtype_for(a))
        if self._alone is None:
            self._alone = Segment([self], seed=self._stream or 0)
        rows = checks.as_rows(x, "x", self.built().dtype, self._at(), finite=False)
        y = self._alone.forward(rows, training, self._passes)
        self._passes += training
        return shaped(y, self.out_shape)

    def backward(self, dy: ArrayLike) -> Array:
        """dL/dx of the last ``forward``; dL/dw and dL/db are kept as gradients.

        Parameters
        ----------
        dy : array_like of the shape of the outputs
            dL/dy.

        Returns
        -------
        ndarray of the shape of the inputs
        """
        if self._alone is None:
            raise RuntimeError(f"backward of {self!r} before forward")
        rows = checks.as_rows(dy, "dy", self.built().dtype, self.out_shape, finite=False)
        return shaped(self._alone.backward(rows), self._in_shape)

    def parameters(self) -> dict[str, Array]:
        """Name -> read-only copy of each parameter, in the order of the flat vector."""
        return {} if self.core is None else {k: self.core.get(k) for k in self.core.shapes}

    def gradients(self) -> dict[str, Array]:
        """Name -> read-only copy of each gradient of the last ``backward``; zeros before it."""
        return {} if self.core is None else {k: self.core.get_grad(k) for k in self.core.shapes}

    def _get(self, name: str) -> Array:
        return self.built().get(name)

    def _get_grad(self, name: str) -> Array:
        return self.built().get_grad(name)

    def _set(self, name: str, value: ArrayLike) -> None:
        if self.core is None:
            self._pending[name] = np.array(checks.as_array(value, name))
            return
        if name not in self.core.shapes:
            raise ValueError(f"{self!r} has no {name}")
        self.core.set(name, checked_values(value, name, self.core.shapes[name], self.core.dtype))

    def built(self) -> _core.Layer:
        """The packed layer; ValueError before there is one."""
        if self.core is None:
            raise ValueError(
                f"{self!r} has no values yet; put it into a Sequential or call its build method"
            )
        return self.core

    def __repr__(self) -> str:
        return f"{type(self).__name__}({short(self.config())})"

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in vars(self).items() if k not in ("_cores", "_alone")}
        if self.core is not None:
            state["_built_as"] = (self.core.n_in, self.core.dtype, self.parameters())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        built = state.pop("_built_as", None)
        vars(self).update(state, _cores=[], _alone=None)
        if built is not None:
            n_in, dtype, values = built
            self._cores = self._make(n_in, dtype)
            for name, value in values.items():
                self._cores[0].set(name, value)
            self.trainable = self._trainable


def rectifies(activation: str) -> bool:
    """Whether the layers with this ``activation`` rectify."""
    kinds = [Layer]
    for kind in kinds:  # which grows
        kinds += kind.__subclasses__()
    return any(kind.rectifies and getattr(kind, "activation", "") == activation for kind in kinds)


def make_generator(rng: Generator | int | None) -> Generator:
    """The generator that was given, or a new one from a seed; fresh if None."""
    from numpy.random import Generator, Philox

    return rng if isinstance(rng, Generator) else Generator(Philox(rng))


def fresh_seed() -> int:
    """A seed from the system's entropy."""
    return int.from_bytes(urandom(8), "little")


def _stream_from(rng: Generator | int | None) -> int:
    """A seed of one's own, from a generator whose next numbers stay the same."""
    if rng is None:
        return fresh_seed()
    source = make_generator(rng)
    with suppress(TypeError):  # a seed that can't be split: draw from the generator itself
        source = source.spawn(1)[0]
    return int(source.integers(2**64, dtype=np.uint64))


def checked_values(value: ArrayLike, name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Finite numbers of this shape as an array of ``dtype``."""
    a = checks.as_float(value, name, dtype)
    if a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}; expected {shape}")
    return a


def is_trainable(layer: Any) -> bool:
    """Whether training changes a layer of any kind; those of users may say ``trainable``."""
    return bool(getattr(layer, "trainable", True))


def own_parameters(layer: Any) -> dict[str, Array]:
    """The arrays of a layer written by a user, which are changed in place; none if it has none."""
    found: dict[str, Array] = layer.parameters() if hasattr(layer, "parameters") else {}
    return found


def own_gradients(layer: Any) -> dict[str, Array]:
    """Their gradients, in the same order; zeros where the layer is frozen."""
    parameters = own_parameters(layer)
    if not is_trainable(layer):
        return {name: np.zeros_like(w) for name, w in parameters.items()}
    gradients = layer.gradients() if parameters else {}
    missing = [name for name in parameters if name not in gradients]
    if missing:
        raise ValueError(f"gradients() of {layer!r} has no {missing[0]!r}")
    return {name: gradients[name] for name in parameters}
