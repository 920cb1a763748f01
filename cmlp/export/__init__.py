"""Nets in other forms: model files, ONNX and C files, scikit-learn's and PyTorch's objects.

`files` writes and reads the package's own model files; `model` is a net as plain steps, which
`onnx`, `c` and `sklearn` start from; `torch` goes layer by layer.  Of the package this imports
nets, layers and what those import.  A net knows nothing of it: the writers that its methods call
are entered here, and load what they need when they are called.
"""

from __future__ import annotations

from os import PathLike

from ..network import WRITERS, Sequential

Path = str | PathLike[str]


def save(net: Sequential, path: Path) -> None:
    """Write a model file; see `Sequential.save`."""
    from .files import save_model

    save_model(path, net)


def to_onnx(net: Sequential, path: Path, task: str | None = None) -> None:
    """Write an ONNX file; see `Sequential.to_onnx`."""
    from .model import Model
    from .onnx import write_onnx

    write_onnx(path, Model.of(net, task))


def to_c(net: Sequential, path: Path, task: str | None = None, name: str = "predict") -> None:
    """Write a C file; see `Sequential.to_c`."""
    from .c import write_c
    from .model import Model

    write_c(path, Model.of(net, task), name)


WRITERS.update(safetensors=save, onnx=to_onnx, c=to_c)
