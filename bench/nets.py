"""The nets that are timed, their data and how much arithmetic they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEARNING_RATE = {"sgd": 0.01, "adam": 0.001}
MOMENTUM = 0.9


@dataclass(frozen=True)
class Net:
    """A multilayer perceptron with its training step.

    Attributes
    ----------
    widths : tuple of int
        Width of the input, of every hidden layer and of the output.
    batch : int
        Rows of a minibatch.
    activation : str
        "relu" or "tanh", of the hidden layers; the output layer has none.
    loss : str
        "softmax" (cross-entropy of integer labels), "binary" (cross-entropy of one logit) or
        "squared" (half the sum over outputs); all are means over the batch and computed on the
        output layer.
    optimizer : str
        "sgd" (momentum 0.9) or "adam".
    batches : int
        Different minibatches that training goes through again and again.
    heavy : bool
        Left out of a quick run.
    """

    widths: tuple[int, ...]
    batch: int
    activation: str = "relu"
    loss: str = "softmax"
    optimizer: str = "sgd"
    batches: int = 8
    heavy: bool = False

    @property
    def name(self) -> str:
        """Widths joined by hyphens, shortened where all are equal."""
        if len(self.widths) > 3 and len(set(self.widths)) == 1:
            return f"{self.widths[0]}x{len(self.widths)}"
        return "-".join(map(str, self.widths))

    @property
    def title(self) -> str:
        """Name with what differs from ReLU and SGD."""
        parts = [self.name]
        if self.activation != "relu":
            parts.append(self.activation)
        if self.optimizer != "sgd":
            parts.append(self.optimizer.capitalize())
        return ", ".join(parts)

    @property
    def n_weights(self) -> int:
        """Weights P, without biases."""
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    @property
    def step_flops(self) -> int:
        """Operations of a training step: 2 b (3 P - P_first).

        A product of b rows with P weights needs 2 b P.  There are three of them (forward, dx, dw),
        but the first layer needs no dx.
        """
        return 2 * self.batch * (3 * self.n_weights - self.widths[0] * self.widths[1])

    def forward_flops(self, batch: int) -> int:
        """Operations of an inference of `batch` rows."""
        return 2 * batch * self.n_weights

    def step_bytes(self, itemsize: int) -> int:
        """Bytes that a training step must move at least, were nothing cached between steps.

        Weights are read and written, and so is each optimizer state (one vector for momentum, two
        for Adam); inputs are read, activations and deltas written and read once.
        """
        states = {"sgd": 1, "adam": 2}[self.optimizer]
        parameters = 2 * (1 + states) * self.n_weights
        rows = self.batch * (self.widths[0] + 4 * sum(self.widths[1:]))
        return itemsize * (parameters + rows)

    def weights(self, dtype: str, seed: int = 0) -> list[tuple[Array, Array]]:
        """Initial (w, b) of each layer, w of shape (n_out, n_in) with deviation 1/sqrt(n_in)."""
        rng = np.random.default_rng(seed)
        layers = []
        for n_in, n_out in zip(self.widths, self.widths[1:], strict=False):
            w = rng.standard_normal((n_out, n_in), dtype=np.float32) / np.float32(np.sqrt(n_in))
            b = 0.1 * rng.standard_normal(n_out, dtype=np.float32)
            layers.append((w.astype(dtype), b.astype(dtype)))
        return layers

    def inputs(self, rows: int, dtype: str, seed: int = 1) -> Array:
        """Standard normal inputs of shape (rows, n_in)."""
        rng = np.random.default_rng(seed)
        return rng.standard_normal((rows, self.widths[0]), dtype=np.float32).astype(dtype)

    def data(self, dtype: str) -> tuple[Array, Array]:
        """All minibatches in one piece.

        Returns
        -------
        x : (batches * batch, n_in) array
        t : array
            int64 labels (batches * batch,) for "softmax", else (batches * batch, n_out) targets,
            which are 0 or 1 for "binary".
        """
        rows, n_out = self.batch * self.batches, self.widths[-1]
        x = self.inputs(rows, dtype)
        rng = np.random.default_rng(2)
        if self.loss == "softmax":
            t = rng.integers(0, n_out, rows)
            t[:n_out] = np.arange(n_out)[:rows]  # scikit-learn wants to see every class
            return x, t
        if self.loss == "binary":
            return x, rng.integers(0, 2, (rows, n_out)).astype(dtype)
        return x, rng.standard_normal((rows, n_out), dtype=np.float32).astype(dtype)

    def minibatches(self, dtype: str) -> list[tuple[Array, Array]]:
        """The minibatches one by one, as views of `data`."""
        x, t = self.data(dtype)
        starts = range(0, len(x), self.batch)
        return [(x[i : i + self.batch], t[i : i + self.batch]) for i in starts]


NETS = (
    Net((2, 4, 1), 4, loss="binary"),
    Net((8, 64, 64, 4), 64, activation="tanh"),
    Net((64, 100, 10), 32),
    Net((4, 32, 16, 4), 10_000, activation="tanh", loss="squared", optimizer="adam"),
    Net((64, 64, 64, 10), 200, optimizer="adam", heavy=True),
    Net((784, 128, 10), 64),
    Net((784, 512, 512, 10), 128),
    Net((1024,) * 5, 512, batches=2, heavy=True),
    Net((4096, 4096, 4096, 10), 1024, batches=2, heavy=True),
)


def find(name: str) -> Net:
    """The net of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    for net in NETS:
        if net.name == name:
            return net
    raise ValueError(f"net: got {name!r}, expected one of {', '.join(n.name for n in NETS)}")
