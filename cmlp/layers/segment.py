"""Runs of built layers as compiled plans.

Layers that draw (`Dropout`, `RReLU`) do so by the seed, their place in the net and the number of
the draw, so a pass can be repeated, and two layers never draw alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from numpy.typing import ArrayLike

from .. import _core, checks
from ..checks import Array


class Built(Protocol):
    """What a run asks of a layer: its packed layers, the first of which has its parameters."""

    @property
    def core(self) -> _core.Layer | None: ...
    @property
    def cores(self) -> list[_core.Layer]: ...


class Segment:
    """A run of built layers as one compiled plan.

    It is made anew when a larger batch comes, or other layers are frozen.

    Parameters
    ----------
    layers : sequence of Layer
        All built, of one dtype, widths that chain.
    n_threads : int, optional
    seed : int
        Seed of dropout masks and drawn slopes.
    rows : int
        Rows of a batch for which room is made at first.
    without_output : bool
        Leave the last layer's activation out, so that logits come out.
    first_layer : int
        Place of the first packed layer in the net: random layers draw by their place.
    """

    def __init__(
        self,
        layers: Sequence[Built],
        n_threads: int | None = None,
        seed: int = 0,
        rows: int = 1,
        without_output: bool = False,
        first_layer: int = 0,
    ) -> None:
        self.layers = list(layers)
        self.cores = [core for layer in layers for core in layer.cores]
        if without_output:
            self.cores.pop()
        self.n_in, self.n_out = self.cores[0].n_in, self.cores[-1].n_out
        self.dtype = self.cores[0].dtype
        self._n_threads, self._seed, self._room = n_threads, seed, rows
        self._first_layer = first_layer
        self._plan: _core.Plan | None = None
        self._trained: list[bool] = []
        self._predictor: _core.Plan | None = None
        self._rows = 0

    def plan(self, rows: int) -> _core.Plan:
        """The plan for batches of up to ``rows`` rows."""
        trained = [core.trainable for core in self.cores]
        if self._plan is None or self._plan.batch_size < rows or self._trained != trained:
            self._room, self._trained = max(rows, self._room), trained
            self._plan = _core.Plan(
                self.cores,
                self._room,
                n_threads=self._n_threads,
                seed=self._seed,
                first_layer=self._first_layer,
            )
        return self._plan

    @property
    def predictor(self) -> _core.Plan:
        """A plan for ``predict``, which any number of threads may use at once."""
        if self._predictor is None:
            self._predictor = _core.Plan(self.cores, 1, n_threads=self._n_threads)
        return self._predictor

    def forward(self, x: ArrayLike, training: bool = False, draw: int = 0) -> Array:
        """Outputs of some rows; in training the layers draw for the ``draw``-th time."""
        rows = checks.as_rows(x, "x", self.dtype, self.n_in, finite=False)
        self._rows = len(rows)
        plan = self.plan(len(rows))
        plan.seek(draw)
        return plan.forward(rows, training)

    @property
    def is_trained(self) -> bool:
        """Whether any of its parameters is to be trained."""
        return any(core.trainable and core.n_parameters for core in self.cores)

    def backward(self, dy: ArrayLike, need_dx: bool = True) -> Array:
        """dL/dx, which has no meaning without ``need_dx``; gradients are left in the layers."""
        if self._plan is None or self._rows == 0:
            raise RuntimeError("backward before forward")
        if any(core.activation == "step" for core in self.cores):
            raise ValueError("a step has no slope; there is no backward through it")
        rows = checks.as_rows(dy, "dy", self.dtype, self.n_out, finite=False)
        if len(rows) != self._rows:
            raise ValueError(
                f"dy has shape {rows.shape}; expected {(self._rows, self.n_out)}, "
                "the rows of the last forward"
            )
        dx = self._plan.backward(rows, need_dx)
        return rows if dx is None else dx

    def deltas(self) -> list[float]:
        """Norm of dL/du of each layer in the last ``backward``; NaN where it was left out."""
        found = [] if self._plan is None else self._plan.deltas()
        norms = dict(zip(map(id, self.cores), found, strict=False))
        return [norms.get(id(layer.core), float("nan")) for layer in self.layers]
