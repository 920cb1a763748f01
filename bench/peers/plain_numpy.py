"""Pure NumPy as one would write it for speed: whole arrays, results into buffers made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..limits import copy_bandwidth
from ..nets import LEARNING_RATE, MOMENTUM, Array, Net
from . import Task
from .arrays import activate, kernel_arrays, summary


def times_derivative(name: str, dy: Array, y: Array, scratch: Array) -> None:
    """Multiply dy by f'(u), from the output y = f(u), in place."""
    if name == "relu":
        np.multiply(dy, y > 0, out=dy)
    elif name == "tanh":
        np.multiply(y, y, out=scratch)
        np.subtract(1, scratch, out=scratch)
        dy *= scratch
    elif name == "sigmoid":
        np.subtract(1, y, out=scratch)
        scratch *= y
        dy *= scratch


def softmax_delta(y: Array, labels: Array, rows: Array) -> float:
    """Replace logits y by softmax(y) - onehot(labels), undivided; the mean loss."""
    y -= y.max(axis=1, keepdims=True)
    picked = y[rows, labels]
    np.exp(y, out=y)
    total = y.sum(axis=1, keepdims=True)
    y /= total
    y[rows, labels] -= 1
    return float(np.mean(np.log(total[:, 0]) - picked))


class Train:
    """Epochs over the minibatches of a net."""

    def __init__(self, net: Net, dtype: str, threads: int) -> None:
        self.net = net
        self.minibatches = net.minibatches(dtype)
        weights = net.weights(dtype)
        self.w = [np.ascontiguousarray(w.T) for w, _ in weights]  # (n_in, n_out)
        self.b = [b for _, b in weights]
        self.parameters = [*self.w, *self.b]
        self.gradients = [np.empty_like(p) for p in self.parameters]
        self.scratch = [np.empty_like(p) for p in self.parameters]
        self.states = [(np.zeros_like(p), np.zeros_like(p)) for p in self.parameters]
        self.y = [np.empty((net.batch, n), dtype) for n in net.widths[1:]]
        self.d = [np.empty_like(y) for y in self.y]
        self.s = [np.empty_like(y) for y in self.y]
        self.rows = np.arange(net.batch)
        self.steps = 0

    def check(self) -> list[float]:
        """Mean loss of the first two epochs."""
        return [float(np.mean([self.step(x, t) for x, t in self.minibatches])) for _ in range(2)]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        for _ in range(n):
            for x, t in self.minibatches:
                self.step(x, t)

    def step(self, x: Array, t: Array) -> float:
        """One minibatch; its mean loss before the update."""
        last = len(self.w) - 1
        inputs = [x, *self.y[:-1]]
        for layer, y in enumerate(self.y):
            np.matmul(inputs[layer], self.w[layer], out=y)
            y += self.b[layer]
            if layer < last:
                activate(self.net.activation, y)
        loss = self.delta(self.y[-1], t)
        self.d[-1] = self.y[-1]
        for layer in range(last, -1, -1):
            d = self.d[layer]
            np.matmul(inputs[layer].T, d, out=self.gradients[layer])
            np.sum(d, axis=0, out=self.gradients[len(self.w) + layer])
            if layer > 0:
                np.matmul(d, self.w[layer].T, out=self.d[layer - 1])
                y = self.y[layer - 1]
                times_derivative(self.net.activation, self.d[layer - 1], y, self.s[layer - 1])
        self.update()
        return loss

    def delta(self, y: Array, t: Array) -> float:
        """Replace outputs by the gradient of the mean loss; the mean loss."""
        if self.net.loss == "softmax":
            loss = softmax_delta(y, t, self.rows)
        elif self.net.loss == "binary":
            loss = float(np.mean(np.logaddexp(0, y) - t * y))
            activate("sigmoid", y)
            y -= t
        else:
            y -= t
            loss = 0.5 * float(np.vdot(y, y)) / len(y)
        y *= 1 / len(y)
        return loss

    def update(self) -> None:
        """One step of the optimizer."""
        self.steps += 1
        lr = LEARNING_RATE[self.net.optimizer]
        groups = zip(self.parameters, self.gradients, self.states, self.scratch, strict=True)
        for p, g, (m, v), s in groups:
            if self.net.optimizer == "sgd":
                m *= MOMENTUM
                m += g
                np.multiply(m, lr, out=s)
            else:
                self.adam(g, m, v, s, lr)
            p -= s

    def adam(self, g: Array, m: Array, v: Array, s: Array, lr: float) -> None:
        """Write Adam's step for gradient g and moments m, v into s."""
        beta1, beta2, eps = 0.9, 0.999, 1e-8
        m *= beta1
        np.multiply(g, 1 - beta1, out=s)
        m += s
        v *= beta2
        np.multiply(g, g, out=s)
        s *= 1 - beta2
        v += s
        np.multiply(v, 1 / (1 - beta2**self.steps), out=s)
        np.sqrt(s, out=s)
        s += eps
        np.divide(m, s, out=s)
        s *= lr / (1 - beta1**self.steps)


class Inference:
    """Outputs (before softmax) of some rows."""

    def __init__(self, net: Net, rows: int, dtype: str, threads: int) -> None:
        self.net = net
        self.x = net.inputs(rows, dtype)
        self.layers = [(np.ascontiguousarray(w.T), b) for w, b in net.weights(dtype)]
        self.y = [np.empty((rows, n), dtype) for n in net.widths[1:]]

    def check(self) -> list[float]:
        """Every output of the first row."""
        self.run(1)
        return [float(v) for v in self.y[-1][0]]

    def run(self, n: int) -> None:
        """Forward pass, n times."""
        last = len(self.layers) - 1
        for _ in range(n):
            x = self.x
            for layer, (w, b) in enumerate(self.layers):
                y = self.y[layer]
                np.matmul(x, w, out=y)
                y += b
                if layer < last:
                    activate(self.net.activation, y)
                x = y


class Kernel:
    """One operation on arrays, as named in `kernels.CASES`."""

    def __init__(
        self, op: str, shape: list[int], activation: str, dtype: str, threads: int
    ) -> None:
        self.arrays = kernel_arrays(op, shape, activation, dtype)
        self.call: Callable[[], list[Array]] = getattr(self, op)
        self.activation = activation
        a = self.arrays
        like = {"dense_backward_dx": "x", "dense_backward_dw": "w"}.get(op, "y")
        self.out = np.empty_like(a[like])
        self.scratch = np.empty_like(a["y"])
        self.row = np.empty_like(a["b"]) if "b" in a else self.scratch
        self.rows = np.arange(shape[0])

    def check(self) -> list[float]:
        """Mean size and last element of every result."""
        return summary(self.call())

    def run(self, n: int) -> None:
        """The operation, n times."""
        for _ in range(n):
            self.call()

    def dense_forward(self) -> list[Array]:
        """f(x w^T + b)."""
        a = self.arrays
        np.matmul(a["x"], a["w"].T, out=self.out)
        np.add(self.out, a["b"], out=self.out)
        activate(self.activation, self.out)
        return [self.out]

    def dense_backward_dx(self) -> list[Array]:
        """dy w."""
        np.matmul(self.arrays["dy"], self.arrays["w"], out=self.out)
        return [self.out]

    def dense_backward_dw(self) -> list[Array]:
        """dy^T x and the sum of dy over rows."""
        a = self.arrays
        np.matmul(a["dy"].T, a["x"], out=self.out)
        np.sum(a["dy"], axis=0, out=self.row)
        return [self.out, self.row]

    def activation_forward(self) -> list[Array]:
        """f(x)."""
        np.copyto(self.out, self.arrays["x"])
        activate(self.activation, self.out)
        return [self.out]

    def activation_backward(self) -> list[Array]:
        """dy f'(u), from the output y."""
        np.copyto(self.out, self.arrays["dy"])
        times_derivative(self.activation, self.out, self.arrays["y"], self.scratch)
        return [self.out]

    def softmax_delta(self) -> list[Array]:
        """(softmax(x) - onehot(labels)) / batch, and the mean loss."""
        np.copyto(self.out, self.arrays["x"])
        loss = softmax_delta(self.out, self.arrays["labels"], self.rows)
        self.out *= 1 / len(self.out)
        return [self.out, np.array([loss])]


TASKS: dict[tuple[str, str], Callable[..., Task]] = {
    ("train", "NumPy"): Train,
    ("inference", "NumPy"): Inference,
    ("kernels", "NumPy"): Kernel,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {"copy_bandwidth": copy_bandwidth}
