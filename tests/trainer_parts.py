"""What the tests of training share: a net, parts written in Python, Ctrl-C."""

import itertools
import signal
import threading

import numpy as np

import cmlp


def build(dtype="float64", sizes=(2, 5, 3), seed=0):
    layers = [cmlp.Dense(a, b, activation="tanh") for a, b in itertools.pairwise(sizes[:-1])]
    return cmlp.Sequential(*layers, cmlp.Dense(*sizes[-2:]), dtype=dtype, seed=seed)


def ctrl_c_after(seconds):
    """A timer that sends SIGINT to the main thread, as a terminal does."""
    main = threading.main_thread().ident
    return threading.Timer(seconds, signal.pthread_kill, [main, signal.SIGINT])


class PythonTanh:
    def forward(self, x, training=False):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


class PythonLoss:
    def forward(self, y, t, sample_weight=None):
        w = np.ones(len(y)) if sample_weight is None else sample_weight
        shifted = y - y.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.dy = (np.exp(log_p) - np.eye(y.shape[1])[t]) * (w / len(w))[:, None]
        return -(w * log_p[np.arange(len(t)), t]).sum() / len(w)

    def backward(self):
        return self.dy

    def metrics(self, y, t):
        return {"hits": (y.argmax(axis=1) == t).sum()}


class PythonSgd:
    def __init__(self, lr):
        self.lr = lr

    def step(self, net):
        net.set_flat(net.get_flat() - self.lr * net.get_flat_grad())


X, Y = np.ones((6, 2)), np.zeros(6, int)


class PythonIdentity:
    """A layer in Python that changes nothing."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


@cmlp.register_layer
class Gain:
    """A layer as a user may write it."""

    def __init__(self, n):
        self.n, self.gain, self.grad = n, np.ones(n, "f"), np.zeros(n, "f")

    def forward(self, x, training=False):
        self.x = x
        return x * self.gain

    def backward(self, dy):
        self.grad = (dy * self.x).sum(axis=0)
        return dy * self.gain

    def parameters(self):
        return {"gain": self.gain}

    def gradients(self):
        return {"gain": self.grad}

    def config(self):
        return {"n": self.n}


class Stopped(Exception):
    pass


class SaveAndEnd(cmlp.Callback):
    """Saves a checkpoint at one step and ends the call of fit there."""

    def __init__(self, step, path):
        self.every_steps, self.path = step, path

    def on_steps(self, trainer):
        trainer.save_checkpoint(self.path)
        return True


class Cut(SaveAndEnd):
    """Saves a checkpoint at one step and breaks the call of fit off."""

    def on_steps(self, trainer):
        super().on_steps(trainer)
        raise Stopped
