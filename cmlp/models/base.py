"""Settings that the models share, and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from ..initializers import Zeros
from ..layers import Dense
from ..network import Sequential
from ..optimizers import SGD
from ..preprocessing import Preprocessing, names_of
from ..training.callbacks import Callback, Converged
from ..training.history import History
from ..training.trainer import Trainer


@dataclass(eq=False, kw_only=True)
class Model:
    """Settings of all models, and what ``fit`` leaves."""

    lr: float | None = None
    batch_size: int | None = None
    shuffle: bool = True
    epochs: int = 10_000
    tol: float = 1e-6
    dtype: str = "float64"
    seed: int = 0
    n_iter: int = field(default=0, init=False, repr=False)
    converged: bool = field(default=False, init=False, repr=False)
    history: History = field(default_factory=History, init=False, repr=False)
    _net: Sequential | None = field(default=None, init=False, repr=False)
    # whether lr may be None where a step takes the whole data
    _finds_rate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            self.batch_size = checks.positive_int(self.batch_size, "batch_size")
        if self.lr is not None:
            self.lr = checks.number(self.lr, "lr", 0.0, open_low=True)
        elif not self._finds_rate or self.batch_size is not None:
            raise ValueError(f"lr is None; expected a number, with batch_size={self.batch_size}")
        self.shuffle = checks.flag(self.shuffle, "shuffle")
        self.epochs = checks.positive_int(self.epochs, "epochs")
        self.tol = checks.number(self.tol, "tol", 0.0)
        self.dtype = checks.float_dtype(self.dtype)
        self.seed = checks.seed(self.seed)

    @property
    def net(self) -> Sequential:
        """The net of one layer that ``fit`` trained."""
        if self._net is None:
            raise RuntimeError(f"{self!r} has no net yet; call fit first")
        return self._net

    @property
    def weight(self) -> Array:
        return np.asarray(self.net.layers[0].weight)

    @property
    def bias(self) -> Array:
        return np.asarray(self.net.layers[0].bias)

    def _rows(self, x: ArrayLike) -> Array:
        self.net.preprocessing.check_names(x)
        return checks.as_rows(x, "x", self.dtype, self.net.n_in)

    def _new_net(self, x: ArrayLike, n_in: int, n_out: int) -> Sequential:
        layer = Dense(n_in, n_out, weight_init=Zeros())
        net = Sequential(layer, dtype=self.dtype, seed=self.seed)
        net.preprocessing = Preprocessing(feature_names=names_of(x))
        return net

    def _optimizer(self, x: Array) -> SGD:
        assert self.lr is not None
        return SGD(self.lr)

    def _stop(self) -> Callback:
        return Converged(self.tol)

    def _train(self, net: Sequential, loss: Any, x: Array, y: Array) -> None:
        trainer = Trainer(net, loss, self._optimizer(x))
        several = self.batch_size is not None
        trainer.fit(
            x,
            y,
            epochs=self.epochs,
            batch_size=self.batch_size,
            shuffle=self.shuffle and several,
            callbacks=[self._stop()],
        )
        self._keep(net, trainer.history, len(trainer.history) < self.epochs)

    def _keep(self, net: Sequential, history: History, converged: bool) -> None:
        self._net, self.history = net, history
        self.n_iter, self.converged = len(history), converged


@dataclass(eq=False, kw_only=True)
class Descent(Model):
    """Models with a convex, smooth cost, for which gradient descent knows its rate."""

    momentum: float = 0.9
    weight_decay: float = 0.0
    _finds_rate: ClassVar[bool] = True
    # d^2 E / du^2 of one sample is at most this
    _curvature: ClassVar[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.momentum = checks.number(self.momentum, "momentum", 0.0, 1.0, open_high=True)
        self.weight_decay = checks.number(self.weight_decay, "weight_decay", 0.0)

    def _optimizer(self, x: Array) -> SGD:
        lr = self._safe_rate(x) if self.lr is None else self.lr
        return SGD(lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def _safe_rate(self, x: Array) -> float:
        """1 / L with L the largest eigenvalue that the second derivative of the cost can have."""
        with_bias = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
        wide = with_bias.shape[0] < with_bias.shape[1]
        gram = with_bias @ with_bias.T if wide else with_bias.T @ with_bias
        largest = float(np.linalg.eigvalsh(gram)[-1]) / len(x)
        return 1.0 / (self._curvature * largest + self.weight_decay)
