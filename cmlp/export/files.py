"""Model files: safetensors, with the architecture as JSON in the metadata.

Layout: 8 bytes with the length of the header (little-endian), the header as JSON, the tensors.
The header maps each tensor's name to its dtype, shape and offsets; its ``__metadata__`` holds one
entry "cmlp", the JSON text of what `model_about` gives.  Tensors of layer i are called
"layers.i.weight" and so on.

Reading executes nothing and looks nothing up by import.  Everything that the header states is
checked before memory is taken for it; whatever is wrong raises `FormatError` and nothing else,
apart from OSError where the file cannot be read at all.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

import numpy as np

from .. import checks
from ..checks import Array
from ..errors import FormatError, one_line
from ..layers import Layer
from ..layers.registry import from_config, to_config
from ..network import Sequential, _chain

FORMAT = 1
MAX_PARAMETERS = 1 << 31
_MOST_HEADER = 2 << 20
_MOST_LAYERS = 4096
_LEFT_AFTER = 3600.0  # seconds since the last byte
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}

PathLike = str | os.PathLike[str]


# ---- writing ----


def save_model(path: PathLike, net: Sequential) -> None:
    """Write a net; the file at ``path`` is replaced whole or not at all."""
    write(path, "model", model_about(net), model_tensors(net))


def model_about(net: Sequential) -> dict[str, Any]:
    """JSON form of a net without its parameters."""
    classes = None if net.classes is None else net.classes.tolist()
    return {
        "dtype": net.dtype,
        "seed": net.seed,
        "n_in": net.n_in,
        "layers": [_layer_about(layer) for layer in net.layers],
        "classes": classes,
        "link": net.link,
        "metadata": net.metadata,
    }


def _layer_about(layer: Any) -> dict[str, Any]:
    about = to_config(layer)
    if not isinstance(layer, Layer) and hasattr(layer, "parameters"):
        about["tensors"] = list(layer.parameters())
    return about


def model_tensors(net: Sequential) -> dict[str, Array]:
    """Parameters by their names in the file."""
    return {
        f"layers.{i}.{name}": np.ascontiguousarray(a)
        for i, layer in enumerate(net.layers)
        if hasattr(layer, "parameters")
        for name, a in layer.parameters().items()
    }


def write(path: PathLike, kind: str, about: dict[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write a file of this package: to a temporary file beside it, synced, then renamed."""
    from safetensors.numpy import save

    text = json.dumps({"format": FORMAT, "kind": kind, **about}, allow_nan=False)
    replace_file(path, save(dict(tensors), metadata={"cmlp": text}))


def replace_file(path: PathLike, content: bytes) -> None:
    """Put ``content`` at ``path``; after a failure or a kill the old file is still whole."""
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
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
    """Temporary files of writes that were killed: older than one under way can be."""
    ours = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.tmp")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > _LEFT_AFTER:
                _remove(entry.path)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.remove(path)


def _sync_folder(folder: str) -> None:
    """Make the renaming itself last; systems without folders as files have no need of it."""
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
    """A checked file: what it says of itself, and where its tensors are.

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
    """Turn what is found wrong in a file into one line that names it; `OSError` stays."""
    from safetensors import SafetensorError

    wrong = (ValueError, TypeError, KeyError, OverflowError, RecursionError, SafetensorError)
    try:
        yield
    except wrong as error:
        raise FormatError(f"{path}: {one_line(error)}") from error


def read(path: PathLike, kinds: Sequence[str]) -> Contents:
    """Check a file of this package, of one of these kinds, without reading its tensors."""
    name = os.fspath(path)
    with naming(name):
        header, metadata = read_header(name)
        about = _object(metadata.get("cmlp", ""), "description of a net")
        if about.get("format") != FORMAT:
            raise FormatError(f"format {about.get('format')!r}; expected {FORMAT}")
        if str(about.get("kind")) not in kinds:
            raise FormatError(f"a {about.get('kind')!r}; expected a {' or '.join(kinds)}")
        return Contents(name, about, header)


def read_header(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Entries and metadata of a safetensors file whose tensors fill it without gap or overlap."""
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
    """A JSON object without duplicate keys, NaN or endless nesting."""
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
    "n_in": (int, type(None)),
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
    n_in: int | None,
    dtype: str,
    limit: int,
) -> None:
    """The file must hold exactly the tensors that the layers need, before anything is made."""
    if n_in is not None and not 0 < n_in <= limit:
        raise ValueError(f"n_in is {n_in}; expected 1..{limit}")
    needed: dict[str, tuple[int, ...] | None] = {}
    for i, (layer, width) in enumerate(zip(found, _chain(found, n_in), strict=False)):
        if isinstance(layer, Layer):
            assert width is not None  # _chain refuses unknown widths
            for name, shape in layer.shapes(width).items():
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
    return net


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
