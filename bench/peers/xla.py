"""JAX on the CPU: one compiled call for each step, and one compiled loop over all steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..nets import LEARNING_RATE, MOMENTUM, Net
from . import Task

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def outputs(net: Net, weights: Any, x: Any) -> Any:
    """The net's outputs, weights being a list of (w, b) with w of shape (n_in, n_out)."""
    for w, b in weights[:-1]:
        x = ACTIVATIONS[net.activation](x @ w + b)
    w, b = weights[-1]
    return x @ w + b


def mean_loss(net: Net, weights: Any, x: Any, t: Any) -> Any:
    """Mean loss of a minibatch."""
    y = outputs(net, weights, x)
    if net.loss == "softmax":
        picked = jnp.take_along_axis(y, t[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(y, axis=1) - picked)
    if net.loss == "binary":
        return jnp.mean(jnp.logaddexp(0, y) - t * y)
    return 0.5 * jnp.sum((y - t) ** 2) / len(y)


def step(net: Net, carry: Any, minibatch: Any) -> tuple[Any, Any]:
    """One minibatch: (weights, state, step count) after it, and its mean loss."""
    weights, state, count = carry
    loss, g = jax.value_and_grad(partial(mean_loss, net))(weights, *minibatch)
    lr = LEARNING_RATE[net.optimizer]
    tree = jax.tree_util.tree_map
    if net.optimizer == "sgd":
        state = tree(lambda v, d: MOMENTUM * v + d, state, g)
        return (tree(lambda p, v: p - lr * v, weights, state), state, count + 1), loss
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    m, v = state
    count = count + 1
    m = tree(lambda a, d: beta1 * a + (1 - beta1) * d, m, g)
    v = tree(lambda a, d: beta2 * a + (1 - beta2) * d * d, v, g)
    # the powers take the parameters' type, which keeps float32 weights float32
    c1, c2 = 1 - beta1**count, 1 - beta2**count
    weights = tree(lambda p, a, b: p - lr * (a / c1) / (jnp.sqrt(b / c2) + eps), weights, m, v)
    return (weights, (m, v), count), loss


class Train:
    """Epochs over the minibatches of a net, one call for each step."""

    def __init__(self, net: Net, dtype: str, threads: int) -> None:
        jax.config.update("jax_enable_x64", dtype == "float64")
        weights = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in net.weights(dtype)]
        zeros = jax.tree_util.tree_map(jnp.zeros_like, weights)
        copy = jax.tree_util.tree_map(jnp.zeros_like, weights)
        state = zeros if net.optimizer == "sgd" else (zeros, copy)
        self.carry = (weights, state, jnp.zeros((), dtype))
        self.minibatches = [(jnp.asarray(x), jnp.asarray(t)) for x, t in net.minibatches(dtype)]
        self.step = jax.jit(partial(step, net), donate_argnums=0)

    def check(self) -> list[float]:
        """Mean loss of the first two epochs."""
        return [float(np.mean(self.epoch())) for _ in range(2)]

    def epoch(self) -> list[Any]:
        """One epoch; the mean loss of each minibatch."""
        losses = []
        for minibatch in self.minibatches:
            self.carry, loss = self.step(self.carry, minibatch)
            losses.append(loss)
        return losses

    def run(self, n: int) -> None:
        """Train for n epochs."""
        for _ in range(n):
            self.epoch()
        jax.block_until_ready(self.carry)


class TrainScan(Train):
    """The same, `lax.scan` over the minibatches inside of a loop over epochs, all one call."""

    def __init__(self, net: Net, dtype: str, threads: int) -> None:
        super().__init__(net, dtype, threads)
        xs, ts = (jnp.stack(parts) for parts in zip(*self.minibatches, strict=True))
        self.data = (xs, ts)

        def epochs(carry: Any, data: Any, n: Any) -> tuple[Any, Any]:
            losses = jnp.zeros(net.batches, dtype)
            after: tuple[Any, Any] = jax.lax.fori_loop(
                0, n, lambda _, c: jax.lax.scan(partial(step, net), c[0], data), (carry, losses)
            )
            return after

        self.epochs = jax.jit(epochs, donate_argnums=0)

    def epoch(self) -> list[Any]:
        """One epoch; the mean loss of each minibatch."""
        self.carry, losses = self.epochs(self.carry, self.data, 1)
        return list(losses)

    def run(self, n: int) -> None:
        """Train for n epochs."""
        self.carry, _ = self.epochs(self.carry, self.data, n)
        jax.block_until_ready(self.carry)


class Inference:
    """Outputs of some rows."""

    def __init__(self, net: Net, rows: int, dtype: str, threads: int) -> None:
        jax.config.update("jax_enable_x64", dtype == "float64")
        self.x = jnp.asarray(net.inputs(rows, dtype))
        self.weights = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in net.weights(dtype)]
        self.outputs = jax.jit(partial(outputs, net))

    def check(self) -> list[float]:
        """Every output of the first row."""
        return [float(v) for v in self.outputs(self.weights, self.x)[0]]

    def run(self, n: int) -> None:
        """Forward pass, n times."""
        for _ in range(n):
            y = self.outputs(self.weights, self.x)
        jax.block_until_ready(y)


TASKS: dict[tuple[str, str], Callable[..., Task]] = {
    ("train", "JAX jit"): Train,
    ("train", "JAX scan"): TrainScan,
    ("inference", "JAX jit"): Inference,
}
