"""`predict_many`: outputs of many nets for the same rows, with their mean and spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core, checks
from ..checks import Array
from ..layers import Layer
from ..network import Sequential

__all__ = ["Predictions", "predict_many"]


@dataclass(frozen=True)
class Predictions:
    """What many nets say of the same rows.

    Attributes
    ----------
    outputs : ndarray of shape (n_nets, batch, n_out), or None
        Of each net; None where they were not wanted.
    mean, spread : ndarray of shape (batch, n_out)
        Over the nets: mean and standard deviation (divided by n_nets).
    """

    outputs: Array | None
    mean: Array
    spread: Array


def predict_many(
    nets: Iterable[Sequential],
    x: ArrayLike,
    probabilities: bool = False,
    keep: bool = True,
    n_threads: int | None = None,
) -> Predictions:
    """Outputs of many nets for the same rows, in one call of compiled code.

    Each net has the bits that its ``predict`` gives.

    Parameters
    ----------
    nets : iterable of Sequential
        Of the same width of output.
    x : array_like of shape (batch, n_in)
    probabilities : bool, default False
        As by ``predict_proba``; mean and spread are then those of the probabilities.
    keep : bool, default True
        Keep the outputs of each net; without, only mean and spread take memory.
    n_threads : int, optional
        All that the process may use if None.

    Returns
    -------
    Predictions

    Raises
    ------
    ValueError, TypeError
        For no nets, nets of other widths, or data that make no sense.
    """
    found = checked_nets(nets)
    checks.flag(probabilities, "probabilities")
    checks.flag(keep, "keep")
    threads = checks.threads(n_threads)
    links = {"identity"}
    if probabilities:
        links = {net.probability_link() or "identity" for net in found}
    first = found[0]
    if len(links) == 1 and all(_alike(net, first) for net in found):
        rows = first.preprocessing.rows(x, "x", first.dtype, first.in_shape, False)
        specs, (link,) = specs_of(found), links
        values = [net.get_flat() for net in found]
        outputs, mean, spread = _core.predict_many(specs, values, rows, link, threads, keep)
        assert mean is not None and spread is not None  # both are asked for
        return Predictions(outputs, mean, spread)
    each = [net.predict_proba(x) if probabilities else net.predict(x) for net in found]
    outputs = np.stack(each)
    mean = outputs.mean(axis=0, dtype=np.float64).astype(outputs.dtype)
    spread = outputs.std(axis=0, dtype=np.float64).astype(outputs.dtype)
    return Predictions(outputs if keep else None, mean, spread)


def checked_nets(nets: Iterable[Sequential]) -> list[Sequential]:
    """The nets, one or more, of the same width of output."""
    if isinstance(nets, Sequential) or not isinstance(nets, Iterable):
        raise TypeError(f"nets is {nets!r}; expected a sequence of Sequential")
    found = list(nets)
    if not found:
        raise ValueError("nets is empty; expected one or more")
    for i, net in enumerate(found):
        if not isinstance(net, Sequential):
            raise TypeError(f"nets[{i}] is {net!r}; expected a Sequential")
        if net.out_shape != found[0].out_shape or net.in_shape != found[0].in_shape:
            raise ValueError(
                f"nets[{i}] takes {net.in_shape} and gives {net.out_shape}; expected "
                f"{found[0].in_shape} and {found[0].out_shape}, as nets[0]"
            )
    return found


def _alike(net: Sequential, first: Sequential) -> bool:
    """Whether the core can compute both in one call, from the same rows."""
    return (
        net.dtype == first.dtype
        and not net.preprocessing.scales
        and net.out_shape is not None
        and len(net.out_shape) == 1
        and all(isinstance(layer, Layer) for layer in net.layers)
    )


def specs_of(nets: Sequence[Sequential]) -> list[_core.NetSpec]:
    """What the core knows of each net; nets of the same layers share it."""
    known: dict[Any, _core.NetSpec] = {}
    specs = [_core.NetSpec([core for la in net.layers for core in la.cores]) for net in nets]
    return [known.setdefault(spec.key, spec) for spec in specs]
