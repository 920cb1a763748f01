"""scikit-learn's multilayer perceptron: `fit` over many epochs, with finite inputs assumed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from ..nets import LEARNING_RATE, MOMENTUM, Array, Net
from . import Task
from .arrays import EPOCH_NET, read_epoch, read_small_set

sklearn.set_config(assume_finite=True)
warnings.simplefilter("ignore", ConvergenceWarning)


def estimator(net: Net, dtype: str, regressor: bool, x: Array, t: Array, **options: Any) -> Any:
    """An estimator with the net's weights that `fit` will go on from."""
    kind = MLPRegressor if regressor else MLPClassifier
    model = kind(
        hidden_layer_sizes=net.widths[1:-1],
        activation=net.activation,
        solver=net.optimizer,
        alpha=0.0,
        batch_size=net.batch,
        learning_rate_init=LEARNING_RATE[net.optimizer],
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        tol=0.0,
        n_iter_no_change=2**31,
        warm_start=True,
        max_iter=1,
        **options,
    )
    model.fit(x, t)  # lays out the parameters, whose values are replaced
    weights = net.weights(dtype)
    model.coefs_ = [np.ascontiguousarray(w.T) for w, _ in weights]
    model.intercepts_ = [b for _, b in weights]
    return model


class Train:
    """Epochs over the minibatches of a net."""

    def __init__(self, net: Net, dtype: str, threads: int) -> None:
        self.net = net
        self.x, t = net.data(dtype)
        self.t = t.ravel() if net.loss == "binary" else t
        regressor = net.loss == "squared"
        self.model = estimator(net, dtype, regressor, self.x, self.t, shuffle=False)

    def check(self) -> list[float]:
        """Mean loss of the first two epochs."""
        self.model.loss_curve_ = []
        self.run(2)
        # its squared error is a mean over outputs, too, but its gradient is not
        scale = self.net.widths[-1] if self.net.loss == "squared" else 1
        return [scale * float(loss) for loss in self.model.loss_curve_[-2:]]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        self.model.max_iter = n
        self.model.fit(self.x, self.t)


class Inference:
    """Outputs of some rows, by the regressor, whose last layer has no activation."""

    def __init__(self, net: Net, rows: int, dtype: str, threads: int) -> None:
        self.x = net.inputs(rows, dtype)
        x = net.inputs(net.batch, dtype)
        t = np.zeros((net.batch, net.widths[-1]), dtype)
        self.model = estimator(net, dtype, True, x, t.ravel() if t.shape[1] == 1 else t)

    def check(self) -> list[float]:
        """Every output of the first row."""
        return [float(v) for v in np.atleast_1d(self.model.predict(self.x)[0])]

    def run(self, n: int) -> None:
        """`predict`, n times."""
        for _ in range(n):
            self.model.predict(self.x)


class Epoch:
    """Epochs over MNIST by `fit`, shuffled."""

    def __init__(self, folder: str, dtype: str, threads: int) -> None:
        self.x, self.t = read_epoch(folder, dtype)
        self.model = estimator(EPOCH_NET, dtype, False, self.x, self.t, shuffle=False)

    def check(self) -> list[float]:
        """Mean loss of an epoch in order."""
        self.run(1)
        loss = float(self.model.loss_curve_[-1])
        self.model.set_params(shuffle=True)
        return [loss]

    def run(self, n: int) -> None:
        """Train for n epochs."""
        self.model.max_iter = n
        self.model.fit(self.x, self.t)


class SmallSet:
    """`fit` of the classifier with default settings on one of the small sets."""

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
        return MLPClassifier(**self.setting, random_state=0).fit(self.x, self.t)


TASKS: dict[tuple[str, str], Callable[..., Task]] = {
    ("train", "scikit-learn"): Train,
    ("inference", "scikit-learn"): Inference,
    ("epoch", "scikit-learn"): Epoch,
    ("small sets", "scikit-learn"): SmallSet,
}
