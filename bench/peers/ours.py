"""cmlp itself: training in the loop in C and by `train_step`, inference, kernels, threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cmlp
from cmlp import _core, datasets, kernels

from ..nets import LEARNING_RATE, MOMENTUM, Array, Net
from . import Task
from .arrays import EPOCH_NET, kernel_arrays, read_epoch, read_small_set, summary
from .turns import compare_turns

CORE_LOSSES = {
    "softmax": "softmax_cross_entropy",
    "binary": "binary_cross_entropy",
    "squared": "squared_error",
}
LOSSES: dict[str, Callable[[], Any]] = {
    "softmax": cmlp.SoftmaxCrossEntropy,
    "binary": cmlp.BinaryCrossEntropy,
    "squared": cmlp.SquaredError,
}


def core_plan(net: Net, dtype: str, threads: int | None) -> _core.Plan:
    """The net with its initial weights, as `Trainer.fit` hands it to the core."""
    layers = []
    weights = net.weights(dtype)
    for number, (w, b) in enumerate(weights):
        activation = "identity" if number == len(weights) - 1 else net.activation
        layer = _core.Layer("dense", w.shape[1], w.shape[0], dtype, activation)
        layer.set("weight", w)
        layer.set("bias", b)
        layers.append(layer)
    options = {"momentum": MOMENTUM} if net.optimizer == "sgd" else {}
    state = _core.State(layers, net.optimizer, **options)
    loss = (CORE_LOSSES[net.loss], None)
    return _core.Plan(layers, net.batch, loss=loss, state=state, n_threads=threads)


def sequential(net: Net, dtype: str) -> cmlp.Sequential:
    """The net with its initial weights."""
    weights = net.weights(dtype)
    last = len(weights) - 1
    layers = [
        cmlp.Dense(w.shape[1], w.shape[0], activation=net.activation if i < last else "identity")
        for i, (w, _) in enumerate(weights)
    ]
    model = cmlp.Sequential(*layers, dtype=dtype, seed=0)
    for layer, (w, b) in zip(layers, weights, strict=True):
        layer.weight = w
        layer.bias = b
    return model


def trainer(net: Net, dtype: str, threads: int) -> cmlp.Trainer:
    """A trainer of `sequential` with the net's loss and optimizer."""
    lr = LEARNING_RATE[net.optimizer]
    optimizer = cmlp.Adam(lr=lr) if net.optimizer == "adam" else cmlp.SGD(lr=lr, momentum=MOMENTUM)
    return cmlp.Trainer(
        sequential(net, dtype), loss=LOSSES[net.loss](), optimizer=optimizer, n_threads=threads
    )


class TrainFit:
    """Epochs over the minibatches of a net, all in one call of the loop in C."""

    def __init__(self, net: Net, dtype: str, threads: int | None) -> None:
        self.plan = core_plan(net, dtype, threads)
        self.lr = LEARNING_RATE[net.optimizer]
        self.x, self.t = net.data(dtype)

    def check(self) -> list[float]:
        """Mean loss of the first two epochs."""
        return [float(loss) for loss in self.fit(2)]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        self.fit(n)

    def fit(self, epochs: int) -> Array:
        """Train; the mean loss of each epoch."""
        losses, status = self.plan.fit(self.x, self.t, None, epochs, False, self.lr)
        if status != "done":
            raise RuntimeError(f"training {status}")
        return losses


class TrainStep:
    """The same, one call of `train_step` for each minibatch."""

    def __init__(self, net: Net, dtype: str, threads: int) -> None:
        self.trainer = trainer(net, dtype, threads)
        self.minibatches = net.minibatches(dtype)

    def check(self) -> list[float]:
        """Mean loss of the first two epochs."""
        return [
            float(np.mean([self.trainer.train_step(x, t) for x, t in self.minibatches]))
            for _ in range(2)
        ]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        step = self.trainer.train_step
        for _ in range(n):
            for x, t in self.minibatches:
                step(x, t)


class Inference:
    """Outputs of some rows into a new array."""

    def __init__(self, net: Net, rows: int, dtype: str, threads: int) -> None:
        self.model = sequential(net, dtype)
        self.x = net.inputs(rows, dtype)
        self.out = np.empty((rows, net.widths[-1]), dtype)

    def check(self) -> list[float]:
        """Every output of the first row."""
        return [float(v) for v in self.model.predict(self.x)[0]]

    def run(self, n: int) -> None:
        """`predict`, n times."""
        predict, x = self.model.predict, self.x
        for _ in range(n):
            predict(x)


class InferenceOut(Inference):
    """The same into a given array."""

    def check(self) -> list[float]:
        """Every output of the first row."""
        self.run(1)
        return [float(v) for v in self.out[0]]

    def run(self, n: int) -> None:
        """`predict` with `out`, n times."""
        predict, x, out = self.model.predict, self.x, self.out
        for _ in range(n):
            predict(x, out=out)


class Kernel:
    """One operation on arrays, as named in `kernels.CASES`."""

    def __init__(
        self, op: str, shape: list[int], activation: str, dtype: str, threads: int
    ) -> None:
        self.call = kernel_call(
            op, kernel_arrays(op, shape, activation, dtype), activation, threads
        )

    def check(self) -> list[float]:
        """Mean size and last element of every result."""
        return summary(self.call())

    def run(self, n: int) -> None:
        """The operation, n times."""
        for _ in range(n):
            self.call()


def kernel_call(
    op: str, a: dict[str, Array], activation: str, threads: int
) -> Callable[[], list[Array]]:
    """The operation with its arguments and a result array."""
    out = np.empty_like(a["y"])
    common: dict[str, Any] = {"activation": activation, "n_threads": threads}
    if op == "dense_forward":
        return lambda: [kernels.dense_forward(a["x"], a["w"], a["b"], out=out, **common)]
    if op == "dense_backward_dx":
        dx = np.empty_like(a["x"])
        return lambda: [kernels.dense_backward_dx(a["dy"], a["w"], out=dx, n_threads=threads)]
    if op == "dense_backward_dw":
        dw, db = np.empty_like(a["w"]), np.empty_like(a["b"])
        options: dict[str, Any] = {"out": dw, "out_db": db, "n_threads": threads}
        return lambda: list(kernels.dense_backward_dw(a["dy"], a["x"], **options))
    if op == "activation_forward":
        return lambda: [kernels.activation_forward(a["x"], out=out, **common)]
    if op == "activation_backward":
        return lambda: [kernels.activation_backward(a["dy"], a["y"], out=out, **common)]
    name = CORE_LOSSES["softmax"]

    def softmax_delta() -> list[Array]:
        _, loss = kernels.loss_delta(name, a["x"], a["labels"], out=out)
        return [out, np.array([loss])]

    return softmax_delta


class Threads(TrainFit):
    """Epochs of a square net of two layers with a given number of threads."""

    def __init__(self, width: int, batch: int, dtype: str, threads: int | None) -> None:
        # a loss with bounded gradients: nothing diverges, however wide the net
        super().__init__(Net((width,) * 3, batch, loss="binary"), dtype, threads)


class Epoch:
    """Epochs over MNIST by `Trainer.fit`, shuffled."""

    def __init__(self, folder: str, dtype: str, threads: int) -> None:
        self.trainer = trainer(EPOCH_NET, dtype, threads)
        self.x, self.t = read_epoch(folder, dtype)

    def check(self) -> list[float]:
        """Mean loss of an epoch in order."""
        return [self.fit(1, shuffle=False)]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        self.fit(n, shuffle=True)

    def fit(self, epochs: int, shuffle: bool) -> float:
        """Train; the mean loss of the last epoch."""
        history = self.trainer.fit(
            self.x,
            self.t,
            epochs=epochs,
            batch_size=EPOCH_NET.batch,
            shuffle=shuffle,
            progress=False,
        )
        return float(history["loss"][-1])


class SmallSet:
    """`fit` of the classifier with default settings on one of scikit-learn's small sets."""

    def __init__(
        self, name: str, hidden: Sequence[int], epochs: int, dtype: str, threads: int
    ) -> None:
        self.x, self.t = read_small_set(name, dtype)
        self.setting: dict[str, Any] = {"hidden_layer_sizes": tuple(hidden), "max_iter": epochs}

    def check(self) -> list[float]:
        """The loss of the last epoch."""
        model = self.fit()
        if model.n_iter_ != self.setting["max_iter"]:
            raise RuntimeError(f"fit stopped after {model.n_iter_} epochs")
        return [float(model.loss_)]

    def run(self, n: int) -> None:
        """`fit`, n times."""
        for _ in range(n):
            self.fit()

    def fit(self) -> Any:
        """A fitted classifier."""
        return cmlp.MLPClassifier(**self.setting, random_state=0).fit(self.x, self.t)


def by_turns(
    width: int, batch: int, size: int, dtype: str, threads: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Training steps and NumPy's products of square matrices, alone and by turns."""
    net = Net((width, width, width, 10), batch, loss="softmax", batches=1)
    [(x, t)] = net.minibatches(dtype)
    step = trainer(net, dtype, threads).train_step
    a = np.random.default_rng(0).random((size, size)).astype(dtype)
    b, out = a.T.copy(), np.empty_like(a)
    calls = {"cmlp": lambda: step(x, t), "numpy": lambda: np.matmul(a, b, out=out)}
    return compare_turns(calls, seconds)


def write_mnist(folder: str, out: str, rows: int) -> None:
    """Write the first rows of MNIST from its files as x.npy and t.npy."""
    data = datasets.mnist(folder)
    np.save(Path(out) / "x.npy", data.x[:rows])
    np.save(Path(out) / "t.npy", data.y[:rows])


TASKS: dict[tuple[str, str], Callable[..., Task]] = {
    ("train", "cmlp fit"): TrainFit,
    ("train", "cmlp train_step"): TrainStep,
    ("inference", "cmlp"): Inference,
    ("inference", "cmlp out="): InferenceOut,
    ("kernels", "cmlp"): Kernel,
    ("threads", "cmlp"): Threads,
    ("epoch", "cmlp"): Epoch,
    ("small sets", "cmlp"): SmallSet,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "by_turns": by_turns,
    "fma_peak": _core.fma_peak,
    "info": cmlp.info,
    "write_mnist": write_mnist,
}
