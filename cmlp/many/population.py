"""`Population`: nets of one shape, whose parameters are the rows of one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core, checks
from ..checks import Array
from ..layers import Layer
from ..network import Sequential
from ..optimizers import SGD, Optimizer
from ..training import data as samples
from ..training.many import rows_for_each
from ..training.parts import check_loss, check_optimizer, check_pair, in_core
from .predict import Predictions

__all__ = ["Population"]


class Population:
    """Nets of one shape, whose parameters are the rows of one array.

    A net takes the memory of its parameters and, once it is trained, of the optimizer's running
    values: 10,000 nets of 2-4-1 a few megabytes.  For population-based training and evolution
    strategies ``values`` may be changed in place, at any time between two calls.

    Parameters
    ----------
    build : callable
        ``build(seed) -> Sequential``: a new net of built-in layers for a seed.
    n : int or sequence of int
        How many, with the seeds 0 .. n - 1; or the seeds.

    Attributes
    ----------
    values : ndarray of shape (n, n_parameters)
        Each net's parameters in the order of `Sequential.get_flat`; not a copy.
    seeds : ndarray of shape (n,), uint64
        Of each net's values, order of samples and random layers.

    Examples
    --------
    >>> population = Population(lambda seed: Sequential(Dense(2, 1), seed=seed), 3)
    >>> population.values.shape
    (3, 3)
    """

    def __init__(self, build: Callable[[int], Sequential], n: int | Sequence[int]) -> None:
        if not callable(build):
            raise TypeError(f"build is {build!r}; expected a function seed -> Sequential")
        given = range(checks.positive_int(n, "n")) if np.ndim(n) == 0 else n
        seeds = [checks.seed(seed, "n") for seed in given]  # type: ignore[union-attr]
        if not seeds:
            raise ValueError("n is empty; expected one seed or more")
        self._build, self._net = build, build(seeds[0])
        if not isinstance(self._net, Sequential):
            raise TypeError(f"build gave {self._net!r}; expected a Sequential")
        self._spec = self._spec_of(self._net)
        self._seeds = np.array(seeds, np.uint64)
        self._values = np.empty((len(seeds), self._net.n_parameters), self._net.dtype)
        for i, seed in enumerate(seeds):
            net = build(seed)
            if self._spec_of(net).key != self._spec.key:
                raise ValueError(f"build({seed}) gave {net!r}; expected the layers of the others")
            self._values[i] = net.get_flat()
        self._optimizer: Optimizer | None = None
        self._slots: Array = np.empty((0, len(seeds), 0))
        self._steps, self._epochs = 0, 0

    def _spec_of(self, net: Sequential, batch_size: int = 1, loss: Any = None) -> _core.NetSpec:
        built_in = all(isinstance(layer, Layer) for layer in net.layers)
        if not built_in or net.preprocessing.scales:
            raise ValueError(
                f"{net!r} is not of built-in layers alone, or standardises; expected one"
            )
        cores = [core for layer in net.layers for core in layer.cores]
        return _core.NetSpec(cores, batch_size, None if loss is None else loss.spec())

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> Array:
        return self._values

    @property
    def seeds(self) -> NDArray[np.uint64]:
        return self._seeds

    @property
    def epoch(self) -> int:
        """Epochs done so far."""
        return self._epochs

    def net(self, i: int) -> Sequential:
        """A net of its own with the values of number ``i``."""
        net = self._build(int(self._seeds[i]))
        net.set_flat(self._values[i])
        net.classes, net.link = self._net.classes, self._net.link
        return net

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        loss: Any,
        optimizer: Optimizer | str | None = None,
        epochs: int = 10,
        batch_size: int | None = 128,
        shuffle: bool = True,
        lr: ArrayLike | None = None,
        rows: Sequence[ArrayLike] | None = None,
        n_threads: int | None = None,
    ) -> NDArray[np.float64]:
        """Train all nets side by side, each with the bits of `Trainer.fit` alone.

        A later call with the same optimizer goes on with its running values.

        Parameters
        ----------
        x : array_like of shape (n, n_in)
        y : array_like of shape (n,) or (n, n_out)
        loss : Loss or str
        optimizer : Optimizer or str, optional
            ``SGD(lr=0.1)`` if None.  Its settings are those of all nets.
        epochs : int, default 10
        batch_size : int or None, default 128
            None: all samples.
        shuffle : bool, default True
        lr : array_like of shape (n_nets,), optional
            A learning rate for each net; the optimizer's if None.
        rows : sequence of array_like of int or bool, optional
            For each net the samples that it is trained on.
        n_threads : int, optional

        Returns
        -------
        ndarray of shape (n_nets, epochs)
            Mean loss of each net and epoch; NaN for epochs that a net that diverged has not done.

        Raises
        ------
        ValueError, TypeError
            Before anything is changed.
        """
        n, net = len(self), self._net
        loss = check_loss(loss)
        chosen: Any = check_optimizer(SGD() if optimizer is None else optimizer)
        check_pair(net, loss)
        if not in_core(chosen) or not in_core(loss) or chosen.momentum_values(0, 1) is not None:
            raise ValueError(f"optimizer is {chosen!r}, loss {loss!r}; expected built-in ones")
        epochs = checks.positive_int(epochs, "epochs")
        classes = samples.classes_for(net, loss, net.classes, y)
        data = samples.check(net, loss, classes, x, y, None)
        if data.weight is not None and rows is not None:
            raise ValueError("rows and class_weight are both given; expected one of them")
        rates = np.full(n, chosen.lr) if lr is None else checks.as_float(lr, "lr", "float64")
        if rates.shape != (n,) or rates.min() < 0.0:
            raise ValueError(f"lr has shape {rates.shape}; expected ({n},), numbers >= 0")
        own = rows_for_each(rows, n, "rows")
        sizes = [len(data) if one is None else len(one) for one in own]
        wanted = None if batch_size is None else checks.positive_int(batch_size, "batch_size")
        specs = {
            size: self._spec_of(net, min(wanted or size, size), loss) for size in sorted(set(sizes))
        }
        flag = checks.flag(shuffle, "shuffle")
        threads = checks.threads(n_threads)
        self._begin_with(chosen)
        cursor = _core.Cursor(self._epochs)
        jobs = [
            _core.Job(
                specs[sizes[i]], chosen.kind, chosen.options_for(data.unit),
                int(self._seeds[i]), self._values[i], list(self._slots[:, i]),
                (data.x, data.y, data.weight, own[i]), None, epochs, flag,
                float(rates[i]), None, cursor, self._steps,
            )
            for i in range(n)
        ]  # fmt: skip
        _core.fit_many(jobs, threads)
        net.classes = classes
        net.link = loss.link
        self._steps = max(job.steps for job in jobs)
        self._epochs += epochs
        found = np.full((n, epochs), np.nan)
        for i, job in enumerate(jobs):
            found[i, : job.n_epochs] = job.losses[: job.n_epochs]
        return found

    def _begin_with(self, optimizer: Optimizer) -> None:
        """Running values of an optimizer, zeros where it is another than last time."""
        if self._optimizer is optimizer:
            return
        n_slots = len(_core.optimizers()[optimizer.kind]["slots"])
        self._slots = np.zeros((n_slots, *self._values.shape), self._values.dtype)
        self._optimizer, self._steps = optimizer, 0

    def predict(
        self,
        x: ArrayLike,
        probabilities: bool = False,
        keep: bool = True,
        n_threads: int | None = None,
    ) -> Predictions:
        """Outputs of all nets for the same rows; see `predict_many`."""
        net = self._net
        link = (net.probability_link() or "identity") if probabilities else "identity"
        rows = net.preprocessing.rows(x, "x", net.dtype, net.in_shape, False)
        outputs, mean, spread = _core.predict_many(
            [self._spec] * len(self),
            list(self._values),
            rows,
            link,
            checks.threads(n_threads),
            keep,
        )
        assert mean is not None and spread is not None
        return Predictions(outputs, mean, spread)

    def __repr__(self) -> str:
        return f"Population({len(self)} nets of {self._net.n_parameters} parameters)"
