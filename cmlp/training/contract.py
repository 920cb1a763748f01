"""What callbacks and the parts of the trainer ask of it, as types.

The trainer is made of those parts, so that they can't import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import ArrayLike

from ..checks import Array
from ..network import Sequential
from .history import History
from .loops import Cursor, Data, Gradients, Rate

if TYPE_CHECKING:
    from os import PathLike


class Progress(Protocol):
    """A call of ``fit`` under way.

    Attributes
    ----------
    first_epoch, last_epoch : int
        Epochs of the trainer before and after the call.
    steps_per_epoch : int
    stopped : bool
        Whether a callback has asked to stop.
    """

    first_epoch: int
    last_epoch: int
    steps_per_epoch: int
    stopped: bool

    def samples_wanted(self) -> int: ...
    def samples_done(self) -> int: ...


class Training(Protocol):
    """What a callback is told by a `Trainer`."""

    net: Sequential
    loss: Any
    optimizer: Any
    schedule: Any
    history: History

    @property
    def fitting(self) -> Progress | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def step_count(self) -> int: ...
    def weighted_layers(self) -> Iterator[tuple[int, Any]]: ...
    def first_samples(self, n: int) -> tuple[Array, Array]: ...
    def gradient_norms(self, x: ArrayLike, y: ArrayLike) -> tuple[list[float], list[float]]: ...
    def save_checkpoint(self, path: str | PathLike[str]) -> None: ...


class Insides(Training, Protocol):
    """What fits, L-BFGS and checkpoints share with the trainer besides."""

    seed: int
    _cursor: Cursor
    _steps: int
    _resume: dict[str, Any] | None

    def _rates(self, first_step: int, n: int) -> Rate: ...
    def _scores(self, data: Data) -> dict[str, float]: ...
    def _gradients(self, batch_size: int) -> Gradients: ...
    def _run(self, fit: Any, work: Callable[[], None] | None = None) -> None: ...
    def _now(self) -> Cursor: ...
    def _unfinished(self) -> dict[str, Any] | None: ...
    def _forget_plans(self) -> None: ...
