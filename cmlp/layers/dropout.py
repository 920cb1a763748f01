"""Dropout."""

from __future__ import annotations

from typing import Any

from .. import _core, checks
from .base import Layer


class Dropout(Layer):
    """In training, zero each input with probability ``rate`` and divide the others by 1 - rate.

    In prediction it does nothing.  From Srivastava, Hinton, Krizhevsky, Sutskever and
    Salakhutdinov, *Dropout* (2014).

    Parameters
    ----------
    rate : float in [0, 1), default 0.5
    """

    activation = "identity"
    draws = True
    rate: float

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = checks.number(rate, "rate", 0.0, 1.0, open_high=True)

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("dropout", n_in, n_in, dtype, param=self.rate)]

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}
