"""What callbacks and a training's state ask of a trainer and a call of ``fit``, as types.

Both are made of those parts, so that the parts can't import them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import ArrayLike

from ..checks import Array
from ..network import Sequential
from .data import Data
from .history import History
from .stream import Samples

if TYPE_CHECKING:
    from os import PathLike


@dataclass
class Call:
    """A call of ``fit`` as it stands, which a copy or a checkpoint goes on with.

    Attributes
    ----------
    first_epoch : int
        Epochs of the trainer before it.
    batch_size, n_samples, shuffle
        What a call that goes on must have in common with it.
    stopped : bool
        Whether a callback has asked to stop.
    finished : bool
        Whether nothing is left to go on with.
    event : str or None
        What callbacks are being told; ``told`` in their states says who has been.
    callbacks : list of dict
        Their states, with the names of their classes.
    weights : ndarray or None
        The parameters, where the net's have been changed since it was cut short.
    order : str or None
        How a source's samples are ordered, where not as arrays in memory are.
    """

    first_epoch: int
    batch_size: int
    n_samples: int
    shuffle: bool
    stopped: bool = False
    finished: bool = False
    event: str | None = None
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    weights: Array | None = None
    order: str | None = None


class Progress(Protocol):
    """A call of ``fit`` under way.

    Attributes
    ----------
    data, held_out : Data or Stream
        What is trained and validated on.
    first_epoch, last_epoch : int
        Epochs of the trainer before and after the call.
    steps_per_epoch : int
    stopped : bool
        Whether a callback has asked to stop.
    """

    data: Samples
    held_out: Data | None
    first_epoch: int
    last_epoch: int
    steps_per_epoch: int
    stopped: bool

    def samples_wanted(self) -> int: ...
    def samples_done(self) -> int: ...
    def record(self) -> Call: ...


class Training(Protocol):
    """What a callback is told by a `Trainer`."""

    net: Sequential
    loss: Any
    optimizer: Any
    schedule: Any

    @property
    def history(self) -> History: ...
    @property
    def fitting(self) -> Progress | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def step_count(self) -> int: ...
    def weighted_layers(self) -> Iterator[tuple[int, Any]]: ...
    def first_samples(self, n: int) -> tuple[Array, Array]: ...
    def gradient_norms(
        self, x: ArrayLike | None = None, y: ArrayLike | None = None, n: int = 256
    ) -> tuple[list[float], list[float]]: ...
    def save_checkpoint(self, path: str | PathLike[str]) -> None: ...
