"""Gradients by differences, and nets and optimizers by the textbook, to compare with."""

from __future__ import annotations

import numpy as np
from formulas import RULES, loss_value, softmax


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
        delta = (softmax(ys[-1]) - t) * (s / len(s))[:, None]
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
    """An optimizer's steps by its formula, one array at a time."""

    def __init__(self, kind, lr, **settings):
        self.rule, self.lr = RULES[kind], lr
        self.s = {"momentum": 0.0, **self.rule.defaults, **settings}
        self.slots, self.t = {}, 0

    def step(self, net, dw, db, lr=None, momentum=None, rows=1):
        self.t += 1
        s = {**self.s, "lr": self.lr if lr is None else lr, "t": self.t}
        if momentum is not None:
            s["momentum"] = momentum
        gradients = self._clipped([g for pair in zip(dw, db, strict=True) for g in pair])
        for i, ((p, is_weight), g) in enumerate(zip(net.parameters(), gradients, strict=True)):
            if is_weight:
                g = self._decayed(p, g, s["lr"], rows if s.get("decay_over_batch") else 1)
            slots = self.slots.setdefault(i, [np.zeros_like(p) for _ in self.rule.slots])
            p += self.rule.change(g, slots, s)

    def _clipped(self, gradients):
        clip, most = self.s.get("clip_value"), self.s.get("clip_norm")
        if clip:
            gradients = [np.clip(g, -clip, clip) for g in gradients]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        return [g * most / norm for g in gradients] if most and norm > most else gradients

    def _decayed(self, p, g, lr, over):
        """The gradient with the penalties' slopes; a decoupled decay changes p at once."""
        decay, l1 = self.s.get("weight_decay", 0.0) / over, self.s.get("l1", 0.0) / over
        g = g + l1 * np.sign(p)
        if self.rule.decoupled:
            p -= lr * decay * p
            return g
        return g + decay * p
