"""Independent float64 implementations in plain NumPy that the tests compare with."""

from __future__ import annotations

import numpy as np

LEAK, ALPHA = 0.01, 1.0


def _erf(x):
    from math import erf

    return np.vectorize(erf, otypes=[float])(x)


def sigmoid(u):
    return 0.5 * (1.0 + np.tanh(0.5 * u))


def softmax(u):
    e = np.exp(u - u.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


ACTIVATIONS = {
    "identity": lambda u: u,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda u: np.maximum(u, 0.0),
    "leaky_relu": lambda u: np.where(u > 0, u, LEAK * u),
    "elu": lambda u: np.where(u > 0, u, ALPHA * np.expm1(np.minimum(u, 0.0))),
    "gelu": lambda u: u * 0.5 * (1.0 + _erf(u / np.sqrt(2.0))),
    "silu": lambda u: u * sigmoid(u),
    "softplus": lambda u: np.logaddexp(0.0, u),
    "softsign": lambda u: u / (1.0 + np.abs(u)),
    "softmax": softmax,
}


def loss_value(name, y, t, w=None, param=None):
    """Mean loss of outputs or logits y against labels or rows t."""
    n = y.shape[1]
    if np.ndim(t) == 1:
        t = np.eye(n)[t]
    if name == "softmax_cross_entropy":
        smooth = param or 0.0
        t = (1.0 - smooth) * t + smooth / n
        shifted = y - y.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        each = -(t * log_p).sum(axis=1)
    elif name == "binary_cross_entropy":
        each = (np.logaddexp(0.0, y) - t * y).sum(axis=1)
    elif name == "squared_error":
        each = 0.5 * ((y - t) ** 2).sum(axis=1)
    elif name == "absolute_error":
        each = np.abs(y - t).sum(axis=1)
    elif name == "huber":
        d = np.abs(y - t)
        delta = 1.0 if param is None else param
        each = np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)).sum(axis=1)
    elif name == "poisson":
        each = (np.exp(y) - t * y).sum(axis=1)
    w = np.ones(len(y)) if w is None else np.asarray(w, float)
    return float((w * each).sum() / w.sum())


def numerical_gradient(function, x, h=1e-5):
    """Central differences of a function of an array, element by element."""
    x = np.array(x, float)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        above = function(x)
        x[i] = old - h
        below = function(x)
        x[i] = old
        gradient[i] = (above - below) / (2.0 * h)
    return gradient


def relative_error(a, b):
    """Largest difference in units of the larger array's size."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max(), 1e-12))


class Mlp:
    """tanh layers and a linear output under softmax cross-entropy, by the textbook's formulas."""

    def __init__(self, weights, biases):
        self.w = [np.array(w, float) for w in weights]
        self.b = [np.array(b, float) for b in biases]

    def gradients(self, x, labels, sample_weight=None):
        """Mean loss and the gradients (weights, biases)."""
        ys = [x]
        for i, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
            u = ys[-1] @ w.T + b
            ys.append(u if i == len(self.w) - 1 else np.tanh(u))
        s = np.ones(len(x)) if sample_weight is None else sample_weight
        t = np.eye(ys[-1].shape[1])[labels]
        loss = loss_value("softmax_cross_entropy", ys[-1], labels, s)
        delta = (softmax(ys[-1]) - t) * (s / s.sum())[:, None]
        dw, db = [], []
        for i in reversed(range(len(self.w))):
            dw.insert(0, delta.T @ ys[i])
            db.insert(0, delta.sum(axis=0))
            delta = (delta @ self.w[i]) * (1.0 - ys[i] ** 2)
        return loss, dw, db

    def parameters(self):
        """(array, is a weight) in the order of the flat vector."""
        for w, b in zip(self.w, self.b, strict=True):
            yield w, True
            yield b, False

    def flat(self):
        return np.concatenate([p.ravel() for p, _ in self.parameters()])


class Updates:
    """The optimizers' formulas, one array at a time."""

    def __init__(self, kind, lr, **settings):
        self.kind, self.lr, self.s = kind, lr, settings
        self.slots, self.t = {}, 0

    def step(self, net, dw, db, lr=None, momentum=None, mass=1.0):
        self.t += 1
        s, lr = self.s, self.lr if lr is None else lr
        gradients = [g for pair in zip(dw, db, strict=True) for g in pair]
        clip = s.get("clip_value")
        if clip:
            gradients = [np.clip(g, -clip, clip) for g in gradients]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        if s.get("clip_norm") and norm > s["clip_norm"]:
            gradients = [g * s["clip_norm"] / norm for g in gradients]
        for i, ((p, is_weight), g) in enumerate(zip(net.parameters(), gradients, strict=True)):
            decay, l1 = s.get("weight_decay", 0.0), s.get("l1", 0.0)
            if s.get("decay_over_batch"):
                decay, l1 = decay / mass, l1 / mass
            if is_weight and self.kind == "adamw":
                p -= lr * decay * p
            elif is_weight:
                g = g + decay * p
            if is_weight:
                g = g + l1 * np.sign(p)
            slots = self.slots.setdefault(i, [np.zeros_like(p), np.zeros_like(p)])
            p += self._change(
                g, slots, lr, s.get("momentum", 0.0) if momentum is None else momentum
            )

    def _change(self, g, slots, lr, momentum):
        s, (a, b) = self.s, slots
        if self.kind == "sgd":
            a[...] = momentum * a - lr * g
            return momentum * a - lr * g if s.get("nesterov") else a
        if self.kind in ("adam", "adamw"):
            b1, b2, eps = s.get("beta1", 0.9), s.get("beta2", 0.999), s.get("eps", 1e-8)
            a[...] = b1 * a + (1 - b1) * g
            b[...] = b2 * b + (1 - b2) * g * g
            m, v = a / (1 - b1**self.t), b / (1 - b2**self.t)
            return -lr * m / (np.sqrt(v) + eps)
        if self.kind == "rmsprop":
            rho, eps = s.get("rho", 0.9), s.get("eps", 1e-8)
            a[...] = rho * a + (1 - rho) * g * g
            b[...] = momentum * b - lr * g / (np.sqrt(a) + eps)
            return b
        a[...] = a + g * g
        return -lr * g / (np.sqrt(a) + s.get("eps", 1e-10))
