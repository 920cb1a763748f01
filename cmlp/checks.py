"""Checks of arguments and arrays: one clear error that names what came and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, isinf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_BLOCK = 1 << 16  # elements looked at together when a NaN is searched for

_MOST = (1 << 63) - 1
_LABELS = "strings, booleans, integers from -2**63 to 2**63 - 1 or finite floats"
# The kinds of labels in an array of objects, and the types that hold them.
_KINDS_OF_LABELS: tuple[tuple[Any, Any], ...] = (
    (str, str),
    ((bool, np.bool_), np.bool_),
    ((int, np.integer), np.int64),
    ((int, float, np.number), np.float64),
)


def positive_int(value: object, name: str, minimum: int = 1, bits: int = 63) -> int:
    """Return ``value`` as an int from ``minimum`` to 2^bits - 1; booleans are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}; expected an integer >= {minimum}")
    result = int(value)
    if result.bit_length() > bits:
        raise ValueError(f"{name} is of {result.bit_length()} bits; expected less than 2**{bits}")
    if result < minimum:
        raise ValueError(f"{name} is {result}; expected an integer >= {minimum}")
    return result


def number(
    value: object,
    name: str,
    low: float = -float("inf"),
    high: float = float("inf"),
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return ``value`` as a finite float between ``low`` and ``high``."""
    expected = f"a number in {'(' if open_low or isinf(low) else '['}{low:g}, {high:g}"
    expected += ")" if open_high or isinf(high) else "]"
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} is {value!r}; expected {expected}")
    try:
        result = float(value)
    except OverflowError:  # an integer beyond every float
        result = float("inf")
    inside = low <= result <= high and not (open_low and result == low)
    if not isfinite(result) or not inside or (open_high and result == high):
        raise ValueError(f"{name} is {value!r}; expected {expected}")
    return result


def flag(value: object, name: str) -> bool:
    """Return ``value`` as a bool; anything but a boolean is refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; expected True or False")
    return bool(value)


def choice(value: object, name: str, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of the names in ``options``."""
    options = list(options)
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; expected one of {', '.join(options)}")
    if value not in options:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(options)}")
    return value


def float_dtype(value: object, name: str = "dtype") -> str:
    """Return "float32" or "float64" for anything NumPy takes as one of the two."""
    try:
        result = np.dtype(value).name  # type: ignore[call-overload]
    except TypeError:
        result = None
    if value is None or result not in ("float32", "float64"):
        raise ValueError(f"{name} is {value!r}; expected 'float32' or 'float64'")
    return str(result)


def dtype_for(a: Array) -> str:
    """Return the type to compute with: "float64" for it in any byte order, or wider, or objects."""
    wide = a.dtype.kind == "f" and a.dtype.itemsize >= 8
    return "float64" if wide or a.dtype.kind == "O" else "float32"


def seed(value: object, name: str = "seed") -> int:
    """Return a seed of 64 bits."""
    return positive_int(value, name, 0, bits=64)


def threads(value: object, name: str = "n_threads") -> int | None:
    """Return a number of threads, or None for the default."""
    return None if value is None else positive_int(value, name)


def is_text(a: Array) -> bool:
    """Tell whether an array holds strings, as such or as objects."""
    if a.dtype.kind in "US" or a.dtype.kind == "T":
        return True
    return a.dtype.kind == "O" and all(isinstance(v, str) for v in a.ravel())


def as_array(value: Any, name: str) -> Array:
    """Return a plain ndarray of an array-like: NumPy, buffers, ``__array__``, DLPack, sequences.

    Nothing is copied that is an array already.  Masked arrays with masked entries are refused.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(f"{name} is a masked array with masked entries; fill them first")
        return np.asarray(value.data)
    try:
        if not isinstance(value, np.ndarray) and _wants_dlpack(value):
            array: Array = np.from_dlpack(value)
            return array
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        what = type(value).__name__
        raise kind(f"{name} cannot be read as an array ({what}): {error}") from error


def _wants_dlpack(value: Any) -> bool:
    return hasattr(value, "__dlpack__") and not hasattr(value, "__array__")


def as_float(value: object, name: str, dtype: str, finite: bool = True) -> Array:
    """Return numbers as a C-contiguous array of ``dtype``, the very same one where it already is.

    Raises TypeError for anything but real numbers, ValueError for NaN or infinity if ``finite``.
    """
    a = as_array(value, name)
    if a.dtype.kind == "O":
        a = _from_objects(a, name)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {a.dtype}; expected real numbers")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result = np.require(a, dtype=np.dtype(dtype), requirements=("C", "A"))
    if finite:
        check_finite(result, name)
    return result


def _from_objects(a: Array, name: str) -> Array:
    if not all(isinstance(v, (int, float, np.number, np.bool_)) for v in a.ravel()):
        raise TypeError(f"{name} has dtype object; expected real numbers")
    try:
        return a.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} holds an integer beyond float64; expected less") from None


def check_finite(a: Array, name: str) -> None:
    """Raise ValueError with the position of the first NaN or infinity."""
    with np.errstate(all="ignore"):
        if isfinite(a.sum()):
            return
    flat = a.reshape(-1)
    for start in range(0, flat.size, _BLOCK):  # no mask of the size of the whole array
        bad = ~np.isfinite(flat[start : start + _BLOCK])
        if bad.any():
            where = np.unravel_index(start + int(bad.argmax()), a.shape)
            place = ", ".join(str(int(i)) for i in where)
            raise ValueError(
                f"{name} holds {flat[start + int(bad.argmax())]} at [{place}] "
                f"(as {a.dtype}); expected finite numbers"
            )


def as_rows(
    value: object,
    name: str,
    dtype: str,
    width: int | tuple[int, ...] | None,
    finite: bool = True,
    allow_empty: bool = False,
) -> Array:
    """Return a (batch, width) array of ``dtype``; any width if None.

    Where ``width`` is (channels, height, width) samples have that shape; rows are returned.
    Raises ValueError for another shape, or no rows unless ``allow_empty``.
    """
    a = as_array(value, name)
    if isinstance(width, tuple) and len(width) == 3:
        expected = f"(batch, {', '.join(map(str, width))})"
        if a.ndim != 4 or a.shape[1:] != width:
            raise ValueError(f"{name} has shape {a.shape}; expected {expected}")
        a, width = a.reshape(len(a), -1) if len(a) else a.reshape(0, prod(width)), prod(width)
    elif isinstance(width, tuple):
        width = width[0]
    expected = f"(batch, {'n_in' if width is None else width})"
    if a.ndim != 2 or (width is not None and a.shape[1] != width):
        raise ValueError(f"{name} has shape {a.shape}; expected {expected}")
    if (a.shape[0] == 0 and not allow_empty) or a.shape[1] == 0:
        raise ValueError(f"{name} is empty, shape {a.shape}; expected {expected}, batch >= 1")
    return as_float(a, name, dtype, finite)


def as_weights(value: object, name: str, n: int, dtype: str, all_zero: bool = False) -> Array:
    """Return sample weights: (n,) finite numbers >= 0, not all zero unless ``all_zero``."""
    w = as_float(value, name, dtype)
    if w.shape != (n,) or n == 0:
        raise ValueError(f"{name} has shape {w.shape}; expected ({n or 'n'},)")
    if w.min() < 0 or (w.max() == 0 and not all_zero):
        raise ValueError(f"{name} has values in [{w.min()}, {w.max()}]; expected >= 0, not all 0")
    return w


def as_labels(value: object, name: str, n_classes: int, classes: Array | None = None) -> Array:
    """Return int64 labels 0..n_classes-1 of integer labels, or of the values in ``classes``.

    Parameters
    ----------
    value : array_like of shape (batch,) or (batch, 1)
        Integers of any type, floats with integer values; with ``classes`` anything it holds.
    n_classes : int
        Number of outputs of the net.
    classes : ndarray of shape (n_classes,), optional
        Sorted labels of the user; position i is class i.
    """
    y = label_values(value, name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.size == 0:
        raise ValueError(f"{name} has shape {y.shape}; expected labels of shape (batch,)")
    if classes is not None:
        return _positions(y, name, classes)
    if y.dtype.kind == "f":
        check_finite(y, name)
        if (y != np.floor(y)).any():
            raise ValueError(f"{name} has dtype {y.dtype} with fractions; expected integer labels")
    elif y.dtype.kind == "U":
        raise TypeError(f"{name} has dtype {y.dtype}; expected integer labels")
    low, high = y.min(), y.max()
    if low < 0 or high >= n_classes:
        raise ValueError(f"{name} has labels {low}..{high}; expected 0..{n_classes - 1}")
    return np.require(y, dtype=np.int64, requirements=("C", "A"))


def _positions(y: Array, name: str, classes: Array) -> Array:
    """Positions of labels in the sorted ``classes``."""
    if is_text(y) != is_text(classes):
        first = y.tolist()[0]
        raise ValueError(f"{name} has labels such as {first!r}; expected some of {_some(classes)}")
    found = np.searchsorted(classes, y).clip(0, len(classes) - 1)
    wrong = classes[found] != y
    if wrong.any():
        label = y[int(wrong.argmax())].item()
        raise ValueError(f"{name} holds the label {label!r}; expected one of {_some(classes)}")
    return np.ascontiguousarray(found, dtype=np.int64)


def _some(classes: Array) -> str:
    shown = ", ".join(repr(v) for v in classes[:10].tolist())
    return shown + (", ..." if len(classes) > 10 else "")


def label_values(value: object, name: str) -> Array:
    """Return labels as an array of a kind that every file and library can hold.

    Raises ValueError for all but strings, booleans, integers of 64 bits with a sign, and floats.
    """
    if isinstance(value, (list, tuple)):  # of which NumPy would make one kind: text, or floats
        value = np.array(value, dtype=object)
    a = as_array(value, name)
    if a.dtype.kind in "OT":
        a = _labels_from_objects(a, name)
    if a.dtype.kind not in "Ubiuf":
        raise ValueError(f"{name} has labels of dtype {a.dtype}; expected {_LABELS}")
    if a.dtype.kind == "u" and a.dtype.itemsize == 8 and a.size and a.max() > _MOST:
        raise ValueError(f"{name} has the label {a.max()}; expected {_LABELS}")
    if a.dtype.kind == "U" and a.dtype.itemsize and _half_characters(a):
        raise ValueError(f"{name} has labels with halves of characters; expected {_LABELS}")
    return a


def _half_characters(text: Array) -> bool:
    """Tell whether there are surrogates, which no file can hold as text."""
    codes = np.ascontiguousarray(text).view(np.dtype(np.uint32).newbyteorder(text.dtype.byteorder))
    return bool(((codes >= 0xD800) & (codes < 0xE000)).any())


def _labels_from_objects(a: Array, name: str) -> Array:
    """Labels that are Python objects, all of one kind, as an array of that kind."""
    values = a.ravel().tolist()
    for types, dtype in _KINDS_OF_LABELS:
        # a timedelta64 counts as an integer of NumPy
        if all(isinstance(v, types) and not isinstance(v, np.timedelta64) for v in values):
            try:
                return np.array(values, dtype).reshape(a.shape)
            except OverflowError:
                values.sort(key=abs, reverse=True)
                break
    odd = next(v for v in values if not isinstance(v, str))
    raise ValueError(f"{name} has labels such as {odd!r}; expected {_LABELS}")


def classes_array(value: object, name: str = "classes") -> Array:
    """Return the labels of a classifier: (n_classes,), all different, in ascending order."""
    labels = label_values(value, name)
    if labels.ndim != 1 or not np.array_equal(labels, np.unique(labels)):
        raise ValueError(f"{name} is {value!r}; expected different labels in ascending order")
    if labels.dtype.kind == "f":
        check_finite(labels, name)
        return labels.astype(np.float64)
    return labels


def find_classes(value: object, name: str) -> Array | None:
    """The sorted labels of strings or booleans, which need a table; None for numbers."""
    y = label_values(value, name)
    if not y.size:
        return None
    if y.dtype.kind == "U":
        return np.unique(y)
    if y.dtype.kind == "b":
        return np.array([False, True])
    return None


def output(out: Any, shape: tuple[int, int | None], dtype: str, x: Array) -> None:
    """Refuse an ``out`` that cannot be written as it is."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {type(out).__name__}; expected an ndarray")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out is {out.dtype} {out.shape}; expected {dtype} {shape}")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError("out is not a writeable C-contiguous array; expected one")
    if np.may_share_memory(out, x):
        raise ValueError("out overlaps x; expected memory of its own")


def unwrapped(given: Sequence[Any]) -> Sequence[Any]:
    """Arguments that may also be given as one list."""
    return given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
