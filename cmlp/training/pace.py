"""How far a session trains, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .history import History
from .snapshot import Snapshot

Until = float | Callable[[Snapshot], Any] | None


@dataclass
class Goal:
    """Where a training is to end: steps and epochs left, and what else is asked after an epoch."""

    steps: int | None
    epochs: int | None
    until: Until
    epoch_ended: bool = False

    def most(self, step: int, per_epoch: int) -> int | None:
        """Steps to make at once at most, from a step of an epoch on."""
        limits = [self.steps]
        if self.epochs is not None:
            limits.append(self.epochs * per_epoch - step)
        if self.until is not None:
            limits.append(per_epoch - step)
        return min((n for n in limits if n is not None), default=None)

    def count(self, steps: int, epochs: int) -> None:
        """Note that so many have been made."""
        self.epoch_ended = epochs > 0
        if self.steps is not None:
            self.steps -= steps
        if self.epochs is not None:
            self.epochs -= epochs

    def is_reached(self, history: History) -> bool:
        """Whether the training is to end, functions apart."""
        if self.steps == 0 or self.epochs == 0:
            return True
        if not self.epoch_ended or self.until is None or callable(self.until):
            return False
        row = history.last()
        return row.get("validation_loss", row["loss"]) <= self.until


class Turn:
    """A lock that nobody gets twice while another waits for it."""

    def __init__(self) -> None:
        self._lock, self._next = threading.Lock(), threading.Lock()
        self.owner: int | None = None

    def __enter__(self) -> None:
        with self._next:
            self._lock.acquire()
        self.owner = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self.owner = None
        self._lock.release()
