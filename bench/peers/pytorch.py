"""PyTorch on the CPU: eager, and compiled by `torch.compile`; optimizers in their fused form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..nets import LEARNING_RATE, MOMENTUM, Net
from . import Task
from .arrays import EPOCH_NET, read_epoch

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def squared(y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Half the squared error: sum over outputs, mean over rows."""
    return 0.5 * torch.sum((y - t) ** 2) / len(y)


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "softmax": functional.cross_entropy,
    "binary": functional.binary_cross_entropy_with_logits,
    "squared": squared,
}


def model(net: Net, dtype: str) -> nn.Sequential:
    """The net with its initial weights."""
    layers: list[nn.Module] = []
    for w, b in net.weights(dtype):
        dense = nn.Linear(w.shape[1], w.shape[0], dtype=getattr(torch, dtype))
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(w))
            dense.bias.copy_(torch.from_numpy(b))
        layers += [dense, ACTIVATIONS[net.activation]()]
    return nn.Sequential(*layers[:-1])


def optimizer(net: Net, parameters: Any) -> torch.optim.Optimizer:
    """The net's optimizer over these parameters."""
    lr = LEARNING_RATE[net.optimizer]
    if net.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, fused=True)
    return torch.optim.SGD(parameters, lr=lr, momentum=MOMENTUM, fused=True)


def compiled(function: Any) -> Any:
    """The function compiled for the shapes it will see.

    What was compiled before is forgotten: past a few nets, `torch.compile` would otherwise go back
    to eager mode without a word.
    """
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


class Train:
    """Epochs over the minibatches of a net."""

    compiled = False

    def __init__(self, net: Net, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model = model(net, dtype)
        self.optimizer = optimizer(net, self.model.parameters())
        self.minibatches = [
            (torch.from_numpy(x), torch.from_numpy(t)) for x, t in net.minibatches(dtype)
        ]
        self.criterion = LOSSES[net.loss]
        self.loss = compiled(self.forward) if self.compiled else self.forward

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Mean loss of a minibatch."""
        return self.criterion(self.model(x), t)

    def check(self) -> list[float]:
        """Mean loss of the first two epochs."""
        n = len(self.minibatches)
        return [sum(self.step(x, t).item() for x, t in self.minibatches) / n for _ in range(2)]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        for _ in range(n):
            for x, t in self.minibatches:
                self.step(x, t)

    def step(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """One minibatch."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(x, t)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class TrainCompiled(Train):
    """The same, forward, loss and backward compiled."""

    compiled = True


class Inference:
    """Outputs of some rows."""

    compiled = False

    def __init__(self, net: Net, rows: int, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.x = torch.from_numpy(net.inputs(rows, dtype))
        self.model: Any = model(net, dtype).eval()
        if self.compiled:
            self.model = compiled(self.model)

    def check(self) -> list[float]:
        """Every output of the first row."""
        with torch.inference_mode():
            return [float(v) for v in self.model(self.x)[0]]

    def run(self, n: int) -> None:
        """Forward pass, n times."""
        with torch.inference_mode():
            for _ in range(n):
                self.model(self.x)


class InferenceCompiled(Inference):
    """The same, compiled for this number of rows."""

    compiled = True


class Epoch(Train):
    """Epochs over MNIST, shuffled: a loop over tensors in memory."""

    def __init__(self, folder: str, dtype: str, threads: int) -> None:
        super().__init__(EPOCH_NET, dtype, threads)
        self.x, self.t = map(torch.from_numpy, read_epoch(folder, dtype))

    def check(self) -> list[float]:
        """Mean loss of an epoch in order."""
        parts = zip(self.x.split(EPOCH_NET.batch), self.t.split(EPOCH_NET.batch), strict=True)
        return [sum(self.step(x, t).item() * len(x) for x, t in parts) / len(self.x)]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        for _ in range(n):
            order = torch.randperm(len(self.x))
            for rows in order.split(EPOCH_NET.batch):
                self.step(self.x[rows], self.t[rows])


TASKS: dict[tuple[str, str], Callable[..., Task]] = {
    ("train", "PyTorch"): Train,
    ("train", "torch.compile"): TrainCompiled,
    ("inference", "PyTorch"): Inference,
    ("inference", "torch.compile"): InferenceCompiled,
    ("epoch", "PyTorch"): Epoch,
}
