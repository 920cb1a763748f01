"""Samples of a source, window after window, checked as `data` checks those in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..augment import Augment
from ..checks import Array
from ..data import Source
from ..data.blocks import Chunk
from ..data.feed import Feed
from ..network import Sequential
from . import data
from .data import Data

# Rows that are looked at before anything is changed.
_FIRST_ROWS = 256
_PREFIX = "the source's "


class Window(NamedTuple):
    """Some samples of an epoch: rows of some data in order, the first of them number ``first``."""

    data: Data
    order: Array
    first: int


class Stream:
    """The samples of a source.

    Parameters
    ----------
    source : Source
    check : function of a Chunk
        Gives its rows as they are trained on; called by the threads that read.
    seed : int, optional
        Of the order of samples; the trainer's if None.

    Attributes
    ----------
    last_epoch : int
        Up to where epochs are read ahead.
    unit : float
        What the weights have been divided by: the mean of all.
    """

    def __init__(
        self, source: Source, check: Callable[[Chunk], Data], seed: int | None = None
    ) -> None:
        self.source, self.last_epoch = source, 0
        self._check, self._seed = check, seed
        self._feed: Feed | None = None
        self._settings: tuple[Any, ...] = ()
        self._example = self.slice(0, _FIRST_ROWS)
        self.unit = self._example.unit

    def __len__(self) -> int:
        return self.source.n_rows

    def slice(self, start: int, stop: int) -> Data:
        """Samples by their numbers in the first block."""
        found: list[Data] = []
        for chunk in self.source.blocks.chunks(0, start):
            found.append(self._check(chunk.slice(0, stop - start - sum(map(len, found)))))
            if sum(map(len, found)) == stop - start:
                break
        x, y, weight = zip(*((d.x, d.y, d.weight) for d in found), strict=True)
        weights = None if weight[0] is None else np.concatenate(weight)
        return Data(np.concatenate(x), np.concatenate(y), weights, found[0].unit)

    def window(self, epoch: int, row: int, batch_size: int, shuffle: bool, seed: int) -> Window:
        """Samples with this row of an epoch among them, where a minibatch begins."""
        seed = seed if self._seed is None else self._seed
        settings = batch_size, shuffle, seed
        goes_on = epoch + 1 < self.last_epoch
        found = None
        if self._feed is not None and settings == self._settings:
            found = self._feed.at(epoch, row, goes_on)
        if found is None:
            self.close()
            self._settings, order = settings, self.source.order(shuffle, seed)
            example = self._example.x, self._example.y, self._example.weight
            self._feed = Feed(
                self.source.blocks, order, self._prepare, example, batch_size,
                self.source.n_readers, epoch, row,
            )  # fmt: skip
            found = self._feed.at(epoch, row, goes_on)
            assert found is not None
        x, y, weight = found.arrays
        return Window(Data(x, y, weight, self.unit), found.order, found.first)

    def close(self) -> None:
        """Read no further."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _prepare(self, chunk: Chunk) -> Sequence[Array | None]:
        found = self._check(chunk)
        return found.x, found.y, found.weight


Samples = Data | Stream


def samples_for(
    net: Sequential,
    loss: Any,
    known: Array | None,
    x: ArrayLike | Source,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    validation: data.Validation,
    seed: int,
    augment: Augment | None,
) -> tuple[Samples, Data | None, Array | None]:
    """What is trained and validated on by arguments of ``fit``, and the classes of the labels."""
    if isinstance(x, Source):
        if y is not None or sample_weight is not None:
            raise TypeError("y or sample_weight is given; expected neither with a source")
        if isinstance(validation, float):
            raise TypeError(f"validation is {validation}; expected data, as x is a source")
        samples, classes = open_source(x, net, loss, known, augment)
        return samples, data.check_validation(net, loss, classes, validation, augment), classes
    if y is None:
        raise TypeError("y is None; expected labels or numbers, as x is not a cmlp.data.Source")
    classes = data.classes_for(net, loss, known, y)
    found = data.check(net, loss, classes, x, y, sample_weight, augment=augment)
    return *data.divide(net, loss, classes, found, validation, seed, augment), classes


def open_source(
    source: Source, net: Sequential, loss: Any, known: Array | None, augment: Augment | None
) -> tuple[Samples, Array | None]:
    """The samples of a source, and the classes of its labels.

    Arrays that are mapped to memory, and that the core can take as they are, are not copied.
    """
    source.blocks.check_unchanged()
    classes = _classes_of(source, net, loss, known)
    mapped = source.blocks.mapped() if source.shuffle == "full" else None
    if mapped is not None and not net.preprocessing.scales and mapped.x.dtype == net.dtype:
        return data.check(net, loss, classes, *mapped, augment=augment), classes
    net.preprocessing.check_names(source, "the source")
    return Stream(source, _check_for(source, net, loss, classes, augment)), classes


def _check_for(
    source: Source, net: Sequential, loss: Any, classes: Array | None, augment: Augment | None
) -> Callable[[Chunk], Data]:
    """What checks rows of a source as `data.check` does those in memory."""
    scale = _scale_of_weights(source, net, loss, classes)
    takes_tables = net.preprocessing.table is not None

    def check(chunk: Chunk) -> Data:
        x = getattr(chunk.x, "table", chunk.x) if takes_tables else chunk.x
        parts = net, loss, classes, x, chunk.y, chunk.weight
        return data.check(*parts, prefix=_PREFIX, relative=False, scale=scale, augment=augment)

    return check


def _scale_of_weights(
    source: Source, net: Sequential, loss: Any, classes: Array | None
) -> data.Scale | None:
    """The scale of all weights, by going through them if there are any."""
    highest, total = 0.0, 0.0
    for chunk in source.blocks.targets():
        if chunk.weight is None and getattr(loss, "class_weight", None) is None:
            return None
        target = data.check_targets(net, loss, classes, chunk.y, _PREFIX)
        weight = data.check_weights(net, loss, classes, target, chunk.weight, _PREFIX, True)
        if weight is None:
            return None
        most = max(highest, float(weight.max()))
        if most > 0.0:
            total = total * (highest / most) + float((weight / most).sum())
        highest = most
    if highest == 0.0:
        raise ValueError(f"{_PREFIX}weights are 0 for every sample; expected > 0")
    return highest, total / len(source)


def _classes_of(source: Source, net: Sequential, loss: Any, known: Array | None) -> Array | None:
    """The classes that are known; else those of all labels, unless they are numbers."""
    if known is not None or not data.classifies(loss):
        return known
    found: Array | None = None
    for chunk in source.blocks.targets():
        part = checks.find_classes(chunk.y, "the source's y")
        if part is None:
            return None
        found = part if found is None else np.union1d(found, part)
    return data.check_classes(net, loss, found)
