"""What may change between two steps: settings of an optimizer, and single parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks import Array
from ..optimizers import Optimizer
from .state import TrainState


def with_settings(optimizer: Any, changes: dict[str, float]) -> Any:
    """An optimizer like this one but for some settings."""
    known = optimizer.config() if isinstance(optimizer, Optimizer) else {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"{name} is {value!r}; {optimizer!r} has none that can be changed")
    kind: Any = type(optimizer)
    return kind(**{**known, **changes})


def set_running(trainer: TrainState, slots: dict[str, Array], steps: int) -> None:
    """Give a built-in optimizer what it knows of the net's gradients so far."""
    running = trainer.running
    if running is not None:
        running.set_slots(slots)
        running.step_count = steps


def with_number(values: Array, index: Any, value: float) -> Array:
    """A copy of an array with another number in one place."""
    a = np.array(values)
    places = index if isinstance(index, tuple) else (index,)
    if len(places) != a.ndim:
        raise ValueError(f"index is {index!r}; expected a place in shape {a.shape}")
    for place, length in zip(places, a.shape, strict=True):
        if checks.positive_int(place, "index", 0) >= length:
            raise ValueError(f"index is {index!r}; expected a place in shape {a.shape}")
    with np.errstate(over="ignore"):
        number = a.dtype.type(value)
    if not np.isfinite(number):
        raise ValueError(f"value is {value!r}; expected a finite {a.dtype.name}")
    a[tuple(int(place) for place in places)] = number
    return a
