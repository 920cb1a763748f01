"""Data that several libraries work on: arguments of kernels, MNIST."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..nets import Array, find

EPOCH_NET = find("784-512-512-10")  # what is trained on MNIST


def activate(name: str, y: Array) -> None:
    """Replace y by f(y), in place."""
    if name == "relu":
        np.maximum(y, 0, out=y)
    elif name == "tanh":
        np.tanh(y, out=y)
    elif name == "sigmoid":
        np.negative(y, out=y)
        np.exp(y, out=y)
        y += 1
        np.reciprocal(y, out=y)


def kernel_arrays(op: str, shape: list[int], activation: str, dtype: str) -> dict[str, Array]:
    """Arguments of an operation: the same for every library.

    shape is (batch, n_in, n_out) for the dense operations and (batch, n) for the others; y is an
    output of the activation.
    """
    rng = np.random.default_rng(3)

    def normal(*size: int) -> Array:
        return rng.standard_normal(size, dtype=np.float32).astype(dtype)

    batch, n_in, n_out = shape[0], shape[1], shape[-1]
    arrays = {"x": normal(batch, n_in), "dy": normal(batch, n_out), "y": normal(batch, n_out)}
    activate(activation, arrays["y"])
    if op.startswith("dense"):
        arrays["w"] = normal(n_out, n_in) / np.sqrt(n_in).astype(dtype)
        arrays["b"] = normal(n_out)
    if op == "softmax_delta":
        arrays["labels"] = rng.integers(0, n_out, batch)
    return arrays


def summary(results: list[Array]) -> list[float]:
    """A few numbers that tell whether two libraries computed the same arrays."""
    return [f for r in results for f in (float(np.mean(np.abs(r))), float(r.flat[-1]))]


def read_epoch(folder: str, dtype: str) -> tuple[Array, Array]:
    """Inputs (n, 784) and int64 labels (n,) that the driver left in a folder."""
    x, t = (np.load(Path(folder) / name) for name in ("x.npy", "t.npy"))
    return x.astype(dtype, copy=False), t.astype(np.int64, copy=False)


def read_small_set(name: str, dtype: str) -> tuple[Array, Array]:
    """One of scikit-learn's small sets, each input brought to mean 0 and deviation 1."""
    from sklearn import datasets, preprocessing

    x, t = getattr(datasets, f"load_{name}")(return_X_y=True)
    return preprocessing.StandardScaler().fit_transform(x).astype(dtype), t
