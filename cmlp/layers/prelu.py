"""PReLU: a rectifier whose slopes are learnt."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks
from ..checks import Array
from .base import Layer
from .shapes import Shape, as_shape

if TYPE_CHECKING:
    from numpy.random import Generator


class PReLU(Layer):
    """f(u) = u for u >= 0, else slope_i * u with a slope for each unit, which is learnt.

    From He, Zhang, Ren and Sun, *Delving deep into rectifiers* (2015).  The slopes are not
    decayed.

    Parameters
    ----------
    init : float, default 0.25
        Slope before training.

    Attributes
    ----------
    slope, grad_slope : ndarray of shape (n_in,)
        Read-only copies; assign a whole array to ``slope`` to change it.
    """

    activation = "prelu"
    rectifies = True
    init: float

    def __init__(self, init: float = 0.25) -> None:
        super().__init__()
        self.init = checks.number(init, "init")

    def shapes(self, n_in: int | Shape) -> dict[str, tuple[int, ...]]:
        return {"slope": (prod(as_shape(n_in, "n_in")),)}

    def _make(self, n_in: int, dtype: str) -> list[_core.Layer]:
        return [_core.Layer("prelu", n_in, n_in, dtype, param=self.init)]

    def _initial(
        self, name: str, shape: tuple[int, ...], rng: Generator, dtype: str, followed_by: str
    ) -> Array:
        return np.full(shape, self.init, dtype)

    def config(self) -> dict[str, Any]:
        return {"init": self.init}

    @property
    def slope(self) -> Array:
        return self._get("slope")

    @slope.setter
    def slope(self, value: ArrayLike) -> None:
        self._set("slope", value)

    @property
    def grad_slope(self) -> Array:
        return self._get_grad("slope")
