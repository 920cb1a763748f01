"""Minibatches whose rows are shared out among ranks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any

import numpy as np

from .. import _core
from ..checks import Array
from .data import Data
from .loops import Gradients, Parts, PythonLoop
from .parts import in_core
from .ranks import Ranks
from .stream import Samples, Stream


class Rows(Data):
    """Samples that are taken from others when they are looked at: each rank reads its own."""

    def __init__(self, data: Data, order: Array) -> None:
        super().__init__(data.x, data.y, data.weight, data.unit)
        object.__setattr__(self, "of", data)
        object.__setattr__(self, "order", order)

    of: Data
    order: Array

    def __len__(self) -> int:
        return len(self.order)

    def slice(self, start: int, stop: int) -> Data:
        return self.of.take(self.order[start:stop])


class SharedGradients(Gradients):
    """Loss and gradients of samples, each rank working on some groups of their rows."""

    def __init__(self, parts: Parts, batch_size: int, ranks: Ranks) -> None:
        super().__init__(parts, -(-batch_size // ranks.row_groups), parts.augment)
        self._net, self._ranks = parts.net, ranks

    def compute(self, data: Data, draw: int = 0) -> float:
        ranks, net, n = self._ranks, self._net, len(data)
        losses = np.zeros(ranks.row_groups)
        own = np.zeros((len(ranks.groups), net.n_parameters), net.dtype)
        shares = np.diff([ranks.rows(g, n)[0] for g in range(ranks.row_groups)] + [n]) / n
        for i, group in enumerate(ranks.groups):
            start, stop = ranks.rows(group, n)
            if start < stop:
                number = draw * ranks.row_groups + group  # dropout and views draw for each
                losses[group] = super().compute(data.slice(start, stop), number)
                np.multiply(net.get_flat_grad(), own.dtype.type(shares[group]), out=own[i])
        loss = float(sum(ranks.losses(losses) * shares))
        if isfinite(loss):
            net.set_flat_grad(self._sum(own, float(shares[ranks.groups].sum())))
        return loss

    def _sum(self, own: Array, share: float) -> Array:
        if self._ranks.local_steps == 1:
            return self._ranks.sum_of(own)
        total: Array = own.sum(axis=0) / own.dtype.type(share or 1.0)
        return total


class ParallelLoop(PythonLoop):
    """Minibatch by minibatch, the rows of each shared out among ranks."""

    def __init__(self, parts: Parts, batch_size: int, ranks: Ranks) -> None:
        super().__init__(parts, batch_size)
        self.gradients = SharedGradients(parts, batch_size, ranks)
        self._ranks = ranks

    def _minibatches(self, data: Samples, shuffle: bool) -> Callable[[int], Data]:
        if isinstance(data, Stream):
            return partial(self._from_window, data, shuffle)
        order, size = self.order_of(len(data), shuffle), self.batch_size
        return lambda start: Rows(data, order[start : start + size])

    def step(self, data: Data, lr: float, momentum: float | None) -> float:
        loss = super().step(data, lr, momentum)
        k = self._ranks.local_steps
        if k > 1 and isfinite(loss) and self.cursor.step_count % k == 0:
            self._average()
        return loss

    def _end_epoch(self, n: int) -> float:
        if self._ranks.local_steps > 1:
            self._average()
        return super()._end_epoch(n)

    def _average(self) -> None:
        """Have the mean of all ranks' parameters and running values."""
        net, ranks = self.net, self._ranks
        net.set_flat(ranks.mean_of(net.get_flat()))
        if in_core(self.optimizer):
            running = self.optimizer.state_for(net)
            running.set_slots({k: ranks.mean_of(a) for k, a in running.get_slots().items()})


def description(
    parts: Parts, running: Any, data: Samples, settings: dict[str, Any]
) -> dict[str, Any]:
    """What must be the same on all ranks, so that they compute the same."""
    some = data.slice(0, 256) if isinstance(data, Stream) else _some(data)
    arrays = [a for a in (some.x, some.y, some.weight) if a is not None]
    slots = [] if running is None else list(running.get_slots().values())
    info = _core.info()
    return {
        "version of cmlp": info["version"],
        "instruction set": info["isa"],
        "net": _text(parts.net),
        "loss": _text(parts.loss),
        "optimizer": _text(parts.optimizer),
        "schedule": _text(parts.schedule),
        "seed": parts.seed,
        "augment": repr(parts.augment),
        "n_samples": len(data),
        "data": _sum_of(arrays),
        "parameters": _sum_of([parts.net.get_flat()]),
        "running values": _sum_of(slots),
        "place": repr(parts.cursor),
        **settings,
    }


def _text(part: Any) -> str:
    """A part as text, without the address that objects of users show."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(part))


def _some(data: Data) -> Data:
    """Rows from all over the data."""
    n = len(data)
    return data.take(np.unique(np.linspace(0, n - 1, min(n, 1024)).astype(np.int64)))


def _sum_of(arrays: list[Array]) -> int:
    found = 0
    for a in arrays:
        found = zlib.crc32(np.ascontiguousarray(a).tobytes(), found)
    return found
