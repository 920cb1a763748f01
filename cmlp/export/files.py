"""Model files: safetensors, with the architecture as JSON in the metadata.

Layout: the length of the header (8 bytes, little-endian), the header as JSON, the tensors.
The header maps each tensor's name to its dtype, shape and offsets; its ``__metadata__`` holds one
entry "cmlp", the JSON text of what `model_about` gives.  Tensors of layer i are called
"layers.i.weight" and so on, means and scales of a net's preprocessing
"preprocessing.inputs.mean" and so on.  Format 2 is format 1 with a preprocessing; a net without
one is written in format 1, which every version reads.

Reading executes no code from the file and imports nothing by name.  Everything in the header is
checked before memory is allocated for it.  A bad file raises `FormatError` and nothing else; one
that cannot be read at all raises OSError.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import EINVAL
from math import prod
from typing import Any

import numpy as np

from .. import checks
from ..checks import Array
from ..encoding import TableEncoder
from ..errors import FormatError, one_line
from ..layers import Layer
from ..layers.base import is_trainable
from ..layers.chain import shapes_of
from ..layers.registry import from_config, to_config
from ..layers.shapes import as_shape, plain
from ..network import Sequential
from ..preprocessing import Preprocessing, Standardizer

FORMATS = (1, 2)
MAX_PARAMETERS = 1 << 31
_MOST_HEADER = 2 << 20
_MOST_LAYERS = 4096
_LEFT_AFTER = 3600.0  # seconds since the last byte
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}

# What a preprocessing standardises, and what `cmlp train` called it in the metadata of format 1.
_SCALED = ("inputs", "targets")
_OLD_NAMES = ("standardizer", "target_standardizer", "features")

PathLike = str | os.PathLike[str]


# ---- writing ----


def save_model(path: PathLike, net: Sequential) -> None:
    """Write a net; the file at ``path`` is replaced atomically."""
    write(path, "model", model_about(net), model_tensors(net))


def model_about(net: Sequential) -> dict[str, Any]:
    """A net without its parameters, as JSON values."""
    classes = None if net.classes is None else net.classes.tolist()
    frozen = [i for i, layer in enumerate(net.layers) if not is_trainable(layer)]
    return {
        "dtype": net.dtype,
        "seed": net.seed,
        "n_in": None if net.in_shape is None else plain(net.in_shape),
        "layers": [_layer_about(layer) for layer in net.layers],
        **({"frozen": frozen} if frozen else {}),
        "classes": classes,
        "link": net.link,
        "metadata": net.metadata,
        **_preprocessing_about(net.preprocessing),
    }


def _preprocessing_about(preprocessing: Preprocessing) -> dict[str, Any]:
    """JSON form of a preprocessing but for its numbers; nothing where it does nothing."""
    scaled = [name for name in _SCALED if isinstance(getattr(preprocessing, name), Standardizer)]
    about: dict[str, Any] = dict.fromkeys(scaled, True)
    if preprocessing.table is not None:
        about["table"] = preprocessing.table.to_dict()
    elif preprocessing.feature_names is not None:
        about["feature_names"] = list(preprocessing.feature_names)
    return {"preprocessing": about} if about else {}


def _layer_about(layer: Any) -> dict[str, Any]:
    about = to_config(layer)
    if not isinstance(layer, Layer) and hasattr(layer, "parameters"):
        about["tensors"] = list(layer.parameters())
    return about


def model_tensors(net: Sequential) -> dict[str, Array]:
    """Parameters, means and scales by their names in the file."""
    tensors = {
        f"layers.{i}.{name}": np.ascontiguousarray(a)
        for i, layer in enumerate(net.layers)
        if hasattr(layer, "parameters")
        for name, a in layer.parameters().items()
    }
    for name in _SCALED:
        standardizer = getattr(net.preprocessing, name)
        if isinstance(standardizer, Standardizer):
            tensors[f"preprocessing.{name}.mean"] = standardizer.mean
            tensors[f"preprocessing.{name}.scale"] = standardizer.scale
    return tensors


def write(path: PathLike, kind: str, about: dict[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write a file of this package atomically."""
    from safetensors.numpy import save

    number = FORMATS[1 if "preprocessing" in about else 0]
    text = json.dumps({"format": number, "kind": kind, **about}, allow_nan=False)
    content = save(dict(tensors), metadata={"cmlp": text})
    length = int.from_bytes(content[:8], "little")
    if length > _MOST_HEADER:  # it could not be read again
        raise ValueError(
            f"names and metadata take {length} bytes; expected {_MOST_HEADER} at most in a file"
        )
    replace_file(path, content)


def replace_file(path: PathLike, content: bytes) -> None:
    """Replace a file atomically: write a temporary one beside it, sync it, rename it."""
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(EINVAL, "not a regular file", os.fspath(path))
    _remove_leftovers(folder, name)
    temporary = os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        _remove(temporary)
        reason = error.strerror or str(error)
        raise type(error)(
            error.errno, f"{reason}; what was at the path before is unchanged", os.fspath(path)
        ) from error
    except BaseException:
        _remove(temporary)
        raise
    _sync_folder(folder)


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove temporary files of killed processes, those too old to be still in use."""
    ours = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.tmp")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > _LEFT_AFTER:
                _remove(entry.path)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.remove(path)


def _sync_folder(folder: str) -> None:
    """Make the renaming durable, on systems where folders can be synced."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse; the file itself is safe
    finally:
        os.close(descriptor)


# ---- reading ----


def load(path: PathLike, max_parameters: int = MAX_PARAMETERS) -> Sequential:
    """Read a net from a file that `Sequential.save` or `Trainer.save_checkpoint` wrote.

    Parameters
    ----------
    path : str or path
    max_parameters : int, default 2**31
        Limit for parameters, and for the width of a layer.

    Returns
    -------
    Sequential

    Raises
    ------
    FormatError
        If the file is damaged, is something else, or is beyond the limit.
    OSError
        If it cannot be read.
    """
    return read_model(read(path, ("model", "checkpoint")), max_parameters)


class Contents:
    """A checked file: its description and the types and shapes of its tensors.

    Attributes
    ----------
    path : str
    about : dict
    tensors : dict of name -> (dtype, shape)
    """

    def __init__(self, path: str, about: dict[str, Any], header: dict[str, Any]) -> None:
        self.path, self.about = path, about
        self.tensors = {
            name: (_DTYPES[entry["dtype"]], tuple(entry["shape"])) for name, entry in header.items()
        }

    def get(self, names: Iterable[str]) -> dict[str, Array]:
        """Read tensors."""
        from safetensors import safe_open

        with safe_open(self.path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn errors about a file's contents into a one-line `FormatError` that names the file."""
    from safetensors import SafetensorError

    wrong = (ValueError, TypeError, KeyError, OverflowError, RecursionError, SafetensorError)
    try:
        yield
    except wrong as error:
        raise FormatError(f"{path}: {one_line(error)}") from error


def read(path: PathLike, kinds: Sequence[str]) -> Contents:
    """Check that a file is one of these kinds and is sound, without reading its tensors."""
    name = os.fspath(path)
    with naming(name):
        header, metadata = read_header(name)
        about = _object(metadata.get("cmlp", ""), "description of a net")
        if about.get("format") not in FORMATS or isinstance(about["format"], bool):
            raise FormatError(f"format {about.get('format')!r}; expected 1 or 2")
        if str(about.get("kind")) not in kinds:
            raise FormatError(f"a {about.get('kind')!r}; expected a {' or '.join(kinds)}")
        return Contents(name, about, header)


def read_header(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensor entries and metadata of a safetensors file without gaps or overlaps."""
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= size - 8:
            raise FormatError(f"not a safetensors file (header of {length} bytes in {size})")
        if length > _MOST_HEADER:
            raise FormatError(f"header of {length} bytes; expected {_MOST_HEADER} at most")
        text = file.read(length)
    header = _object(text.decode("utf-8"), "header")
    metadata = header.pop("__metadata__", {})
    _check_metadata(metadata)
    _check_entries(header, size - 8 - length)
    return header, metadata


def _object(text: str, what: str) -> dict[str, Any]:
    """A JSON object; duplicate keys, NaN and excessive nesting are errors."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"bad JSON in the {what}: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{what} of type {type(value).__name__}; expected a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise FormatError("a key stands twice")
    return result


def _no_constant(text: str) -> None:
    raise FormatError(f"{text} is no number of JSON")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("metadata is not a map of strings")


def _check_entries(header: dict[str, Any], size: int) -> None:
    spans = sorted(_span(name, entry) for name, entry in header.items())
    end = 0
    for first, last, name in spans:
        if first != end:
            raise FormatError(f"tensor {name!r} starts at {first}; expected {end}")
        end = last
    if end != size:
        raise FormatError(f"tensors take {end} bytes; the file has {size} for them")


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    """(start, end, name) of a tensor whose size agrees with its shape and type."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(f"tensor {name!r} has type {dtype!r}; expected one of {list(_DTYPES)}")
    if not _sizes(shape) or len(shape) > 8 or not _sizes(offsets) or len(offsets) != 2:
        raise FormatError(f"tensor {name!r} has shape {shape!r} and offsets {offsets!r}")
    wanted = prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != wanted:
        raise FormatError(
            f"tensor {name!r} takes {offsets[1] - offsets[0]} bytes; expected {wanted}"
        )
    return offsets[0], offsets[1], name


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**63 for v in value
    )


def read_model(contents: Contents, max_parameters: int = MAX_PARAMETERS) -> Sequential:
    """The net in a checked file."""
    limit = checks.positive_int(max_parameters, "max_parameters")
    with naming(contents.path):
        return _read_model(contents, limit)


_ABOUT: dict[str, tuple[type, ...]] = {
    "dtype": (str,),
    "seed": (int,),
    "n_in": (int, list, type(None)),
    "layers": (list,),
    "classes": (list, type(None)),
    "link": (str, type(None)),
    "metadata": (dict,),
}


def _read_model(contents: Contents, limit: int) -> Sequential:
    about = contents.about
    for name, types in _ABOUT.items():
        if name not in about or not isinstance(about[name], types):
            raise FormatError(f"{name} is missing or of a wrong type")
    if not 0 < len(about["layers"]) <= _MOST_LAYERS:
        raise FormatError(f"{len(about['layers'])} layers; expected 1..{_MOST_LAYERS}")
    dtype = checks.choice(about["dtype"], "dtype", ("float32", "float64"))
    found, own = [], {}
    for i, config in enumerate(about["layers"]):
        if not isinstance(config, dict):
            raise FormatError(f"layer {i} is {config!r}; expected an object")
        arguments = dict(config)
        names = arguments.pop("tensors", None)
        _check_widths(arguments, limit)
        layer = from_config(arguments)
        if not isinstance(layer, Layer):
            own[i] = names or []
        found.append(layer)
    _check_tensors(contents, found, own, about["n_in"], dtype, limit)
    return _assemble(contents, found, own, dtype)


def _check_widths(config: dict[str, Any], limit: int) -> None:
    for name in ("n_in", "n_out"):
        width = config.get(name, 1)
        if isinstance(width, int) and width > limit:
            raise ValueError(f"{name} is over max_parameters={limit}: {width}")


def _check_tensors(
    contents: Contents,
    found: list[Any],
    own: dict[int, list[str]],
    n_in: Any,
    dtype: str,
    limit: int,
) -> None:
    """Check, before any layer is built, that the file has exactly the tensors that they need."""
    first = None if n_in is None else as_shape(n_in, "n_in")
    if first is not None and prod(first) > limit:
        raise ValueError(f"n_in is {n_in}; expected 1..{limit}")
    needed: dict[str, tuple[int, ...] | None] = {}
    for i, (layer, before) in enumerate(zip(found, shapes_of(found, first), strict=False)):
        if isinstance(layer, Layer):
            assert before is not None  # shapes_of refuses unknown shapes
            for name, shape in layer.shapes(plain(before)).items():
                needed[f"layers.{i}.{name}"] = shape
        else:
            needed.update({f"layers.{i}.{name}": None for name in own[i]})
    given = {k: v for k, v in contents.tensors.items() if k.startswith("layers.")}
    if set(given) != set(needed):
        odd = sorted(set(given) ^ set(needed))
        raise ValueError(f"tensors do not fit the layers: {odd[:3]}")
    total = 0
    for name, wanted in needed.items():
        found_dtype, shape = given[name]
        if wanted is not None and (shape != wanted or found_dtype != dtype):
            raise ValueError(f"{name} is {found_dtype} {shape}; expected {dtype} {wanted}")
        total += prod(shape)
    if total > limit:
        raise ValueError(f"{total} parameters, over max_parameters={limit}")


def _assemble(
    contents: Contents, found: list[Any], own: dict[int, list[str]], dtype: str
) -> Sequential:
    about = contents.about
    values: list[dict[str, Array]] = [{} for _ in found]
    for name, a in contents.get(k for k in contents.tensors if k.startswith("layers.")).items():
        _, number, parameter = name.split(".", 2)
        values[int(number)][parameter] = a
    for layer, given in zip(found, values, strict=True):
        if isinstance(layer, Layer):
            layer.preset(given)
    net = Sequential(*found, dtype=dtype, seed=about["seed"], n_in=about["n_in"])
    for i, names in own.items():
        parameters = found[i].parameters() if names else {}
        if set(parameters) != set(names):
            raise ValueError(f"layer {i} has parameters {list(parameters)}; expected {names}")
        for name, a in values[i].items():
            if parameters[name].shape != a.shape:
                raise ValueError(
                    f"layers.{i}.{name} has shape {a.shape}; expected {parameters[name].shape}"
                )
            parameters[name][...] = a
    net.classes = _classes(about["classes"])
    net.link, net.metadata = about["link"], about["metadata"]
    for i in _frozen(about.get("frozen", []), len(found)):
        found[i].trainable = False
    if about["format"] == 1:
        net.preprocessing = _from_metadata(net)
    else:
        net.preprocessing = _read_preprocessing(contents)
    return net


def _read_preprocessing(contents: Contents) -> Preprocessing:
    about = contents.about.get("preprocessing")
    if not isinstance(about, dict) or not set(about) <= {*_SCALED, "feature_names", "table"}:
        raise ValueError(f"preprocessing is {about!r}; expected an object")
    found: dict[str, Any] = {}
    if "table" in about:
        found["inputs"] = TableEncoder.from_dict(about["table"])
    for name in _SCALED:
        if name in about and name not in found:
            keys = [f"preprocessing.{name}.{what}" for what in ("mean", "scale")]
            if not set(keys) <= set(contents.tensors):
                raise ValueError(f"{keys[0]} or {keys[1]} is missing")
            if any(len(contents.tensors[key][1]) != 1 for key in keys):
                raise ValueError(f"{keys[0]} or {keys[1]} is no vector")
            arrays = contents.get(keys)
            found[name] = Standardizer(*(arrays[key] for key in keys))
    names = about.get("feature_names")
    if names is not None and not isinstance(names, list):
        raise ValueError(f"feature_names is {names!r}; expected a list")
    return Preprocessing(**found, feature_names=None if names is None else tuple(names))


def _from_metadata(net: Sequential) -> Preprocessing:
    """The preprocessing of a net that `cmlp train` wrote in format 1, out of its metadata."""
    if "training" not in net.metadata:  # the user's own, which nothing is known of
        return Preprocessing()
    old = {name: net.metadata.pop(name, None) for name in _OLD_NAMES}
    inputs, targets = (
        None if old[name] is None else Standardizer.from_dict(old[name])
        for name in ("standardizer", "target_standardizer")
    )
    names = old["features"]
    if names is not None and not isinstance(names, list):
        raise ValueError(f"features is {names!r}; expected a list")
    return Preprocessing(inputs, targets, None if names is None else tuple(names))


def _frozen(values: Any, n: int) -> list[int]:
    """Positions of the layers that training leaves alone."""
    if not isinstance(values, list) or not all(type(i) is int and 0 <= i < n for i in values):
        raise FormatError(f"frozen is {values!r}; expected positions of layers")
    return values


def _classes(values: list[Any] | None) -> Array | None:
    """The labels of a classifier: all strings, all booleans or all numbers."""
    if values is None:
        return None
    for types in ((str,), (bool,), (int, float)):
        if all(isinstance(v, types) for v in values):
            classes = np.array(values)
            if classes.ndim == 1 and len(classes) and classes.dtype.kind != "O":
                return classes
    raise ValueError(f"classes is {values[:3]!r}...; expected strings, booleans or numbers")
