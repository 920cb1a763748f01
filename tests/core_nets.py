"""Nets made of the compiled core's layers, and the same nets in float64 NumPy to compare with."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from formulas import activate, as_rows, backward, loss_delta, loss_value, targets_for
from oracle import Updates

from cmlp import _core

ISAS = _core.available_isas()
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
ELEMENTWISE = [name for name, facts in _core.activations().items() if facts["elementwise"]]
TRAINABLE = [name for name, facts in _core.activations().items() if facts["trainable"]]
LOSSES = list(_core.losses())
PAIRS = [(a, b) for a in TRAINABLE for b in LOSSES if _core.pair_mode(a, b) != "refused"]


@contextmanager
def using(isa):
    """Layers and kernels made inside use this instruction set."""
    before = _core.get_isa()
    _core.set_isa(isa)
    try:
        yield
    finally:
        _core.set_isa(before)


@contextmanager
def any_number_of_threads():
    """Threads asked for are started, on however few processors."""
    _core.limit_threads(False)
    try:
        yield
    finally:
        _core.limit_threads(True)


def _unaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)
    found = memory[1:].view(a.dtype).reshape(a.shape)
    found[...] = a
    return found


def _strided(a):
    wide = np.zeros([3 * n for n in a.shape], a.dtype)[tuple(slice(None, None, 3) for _ in a.shape)]
    wide[...] = a
    return wide


def _read_only(a):
    found = a.copy()
    found.flags.writeable = False
    return found


# Arrays of the same values in every layout.
LAYOUTS = {
    "fortran order": np.asfortranarray,
    "negative strides": lambda a: np.flip(np.flip(a).copy()),
    "every third": _strided,
    "unaligned": _unaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": _read_only,
    "list": lambda a: a.tolist(),
    "memoryview": lambda a: memoryview(a.copy()),
}


# ---- what is drawn at random ----


def philox(counter, key):
    """Philox4x32-10 of Salmon, Moraes, Dror and Shaw, words as numbers or arrays of uint64."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def random_bits(seed, layer, step, rows, columns):
    """What decides the factors of a layer that draws at random, as fractions: (rows, columns).

    A function of the seed, the layer's number in the plan, the number of the training step, the row
    of the minibatch and the column; four columns to a counter.
    """
    j, r = np.arange(columns, dtype=np.uint64), np.arange(rows, dtype=np.uint64)[:, np.newaxis]
    counter = (j // 4 + 0 * r, r + 0 * j, step & 0xFFFFFFFF, step >> 32)
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32 ^ (layer + 1) << 16))
    return np.choose(j.astype(int) % 4, words) * 2.0**-32


# ---- nets ----


def build(n_in, *specs, dtype="float64", seed=0):
    """Layers with random parameters.

    A spec is ("dense", n_out), ("dense", n_out, activation), ("plain", n_out) for a dense layer
    without bias, ("prelu", slope), ("rrelu", (lower, upper)), ("dropout", rate), or the name of an
    activation.
    """
    rng, layers = np.random.default_rng(seed), []
    for spec in specs:
        kind, *rest = (spec,) if isinstance(spec, str) else spec
        if kind in ("dense", "plain"):
            activation = rest[1] if len(rest) > 1 else "identity"
            layer = _core.Layer(
                "dense", n_in, rest[0], dtype, activation=activation, bias=kind == "dense"
            )
        elif kind in ("prelu", "rrelu", "dropout"):
            layer = _core.Layer(kind, n_in, n_in, dtype, param=rest[0])
        else:
            layer = _core.Layer("activation", n_in, n_in, dtype, activation=kind)
        for name, shape in layer.shapes.items():
            scale = n_in**-0.5 if name == "weight" else 0.1
            layer.set(name, scale * rng.normal(size=shape) + 0.2 * (name == "slope"))
        n_in = layer.n_out
        layers.append(layer)
    return layers


def flat(layers):
    """Every parameter in one float vector of the layers' type."""
    parts = [layer.get(name).ravel() for layer in layers for name in layer.shapes]
    return np.concatenate(parts) if parts else np.empty(0)


def set_flat(layers, values):
    """The other way."""
    at = 0
    for layer in layers:
        for name, shape in layer.shapes.items():
            size = int(np.prod(shape))
            layer.set(name, np.reshape(values[at : at + size], shape))
            at += size


def flat_grad(layers):
    """The gradients of the last backward pass, in the order of flat."""
    parts = [layer.get_grad(name).ravel() for layer in layers for name in layer.shapes]
    return np.concatenate(parts)


def problem(net, loss="softmax_cross_entropy", n=90, dtype="float64", labels=True, seed=5):
    """Layers, x and y for them."""
    rng = np.random.default_rng(seed)
    layers = build(*net, dtype=dtype)
    x = rng.normal(size=(n, layers[0].n_in)).astype(dtype)
    if loss == "softmax_cross_entropy" and labels:
        return layers, x, rng.integers(0, layers[-1].n_out, n)
    return layers, x, targets_for(loss, rng, n, layers[-1].n_out, dtype)


class Chain:
    """Dense, activation and PReLU layers under a loss, by the textbook's formulas in float64."""

    def __init__(self, layers, loss, param=None):
        self.kinds = [(layer.kind, layer.activation) for layer in layers]
        self.p = [{n: layer.get(n).astype(float) for n in layer.shapes} for layer in layers]
        self.loss, self.param = loss, param
        self.fused = _core.pair_mode(layers[-1].activation, loss) == "fused"

    def forward(self, x):
        """Inputs of every layer, inputs of every activation, and the output that the loss sees."""
        xs, us = [], []
        for i, ((kind, activation), p) in enumerate(zip(self.kinds, self.p, strict=True)):
            xs.append(x)
            u = x @ p["weight"].T + p.get("bias", 0.0) if kind == "dense" else x
            us.append(u)
            if kind == "prelu":
                x = np.where(u < 0, p["slope"] * u, u)
            elif i == len(self.kinds) - 1 and self.fused:
                x = u
            else:
                x = activate(activation, u)
        return xs, us, x

    def gradients(self, x, t, w=None):
        """Mean loss, and the gradient of every parameter in flat order."""
        xs, us, y = self.forward(np.asarray(x, float))
        t = as_rows(t, y.shape[1])
        value = loss_value(self.loss, y, t, w, self.param)
        d, found = loss_delta(self.loss, y, t, w, self.param), []
        for i in reversed(range(len(self.kinds))):
            (kind, activation), p = self.kinds[i], self.p[i]
            if kind == "prelu":
                found.insert(0, (d * us[i] * (us[i] < 0)).sum(axis=0))
                d = d * np.where(us[i] < 0, p["slope"], 1.0)
                continue
            if not (i == len(self.kinds) - 1 and self.fused):
                d = backward(activation, d, us[i])
            if kind == "dense":
                found[:0] = [d.T @ xs[i], d.sum(axis=0)][: len(p)]
                d = d @ p["weight"]
        return value, found

    def parameters(self):
        """(array, is a weight) in flat order; what oracle.Updates changes."""
        for p in self.p:
            for name, values in p.items():
                yield values, name == "weight"

    def flat(self):
        return np.concatenate([p.ravel() for p, _ in self.parameters()])


def train_by_hand(
    chain, kind, settings, x, t, epochs, batch, lr, order=None, w=None, momentum=None
):
    """Mean loss of each epoch of minibatch training; chain's parameters change.

    order(epoch) gives the order of the samples.  lr and momentum: a number, or one for each step.
    All layers of chain are dense with a bias.
    """
    updates, losses, done = Updates(kind, None, **settings), [], 0
    for epoch in range(epochs):
        samples = np.arange(len(x)) if order is None else order(epoch)
        total = 0.0
        for start in range(0, len(x), batch):
            rows = samples[start : start + batch]
            weights = None if w is None else w[rows]
            loss, found = chain.gradients(x[rows], t[rows], weights)
            rate = lr if np.ndim(lr) == 0 else lr[done]
            push = momentum if momentum is None or np.ndim(momentum) == 0 else momentum[done]
            updates.step(chain, found[0::2], found[1::2], lr=rate, momentum=push, rows=len(rows))
            total, done = total + loss * len(rows), done + 1
        losses.append(total / len(x))
    return np.array(losses)


def snapshot(layers, state=None):
    """Bytes of everything that training changes."""
    found = [flat(layers).tobytes()]
    if state is not None:
        found += [state.step_count, *(v.tobytes() for v in state.get_slots().values())]
    return found
