"""RReLU: a rectifier whose slopes are drawn."""

from __future__ import annotations

from typing import Any

from .. import _core, checks
from .base import Layer


class RReLU(Layer):
    """Leaky ReLU whose slope is drawn anew in training, and is the mean in prediction.

    From Xu, Wang, Chen and Li, *Empirical evaluation of rectified activations in convolutional
    network* (2015).

    Parameters
    ----------
    lower, upper : float, default 1/8 and 1/3
        The slope of each element and step is uniform between them.
    """

    activation = "rrelu"
    rectifies = True
    draws = True
    lower: float
    upper: float

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        super().__init__()
        self.lower = checks.number(lower, "lower", 0.0)
        self.upper = checks.number(upper, "upper", self.lower)

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("rrelu", n_in, n_in, dtype, param=(self.lower, self.upper))]

    def config(self) -> dict[str, Any]:
        return {"lower": self.lower, "upper": self.upper}
