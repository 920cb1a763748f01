"""How the layers of a net follow one another: widths, and what a layer's outputs meet next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..initializers import Constant
from .base import Layer, width_after
from .dense import Dense
from .dropout import Dropout


def widths_of(found: Sequence[Any], n_in: int | None) -> list[int | None]:
    """Width before each layer and behind the last; ValueError where they do not fit."""
    widths: list[int | None] = [n_in]
    for i, layer in enumerate(found):
        wanted = getattr(layer, "n_in", None)
        if wanted is not None and widths[i] not in (None, wanted):
            raise ValueError(
                f"layers[{i}], {layer!r}, has n_in {wanted}; expected {widths[i]}, "
                "the outputs before it"
            )
        if widths[i] is None and wanted is not None:
            widths[i] = wanted
            _fill_back(found, widths, i)
        widths.append(width_after(layer, widths[i]))
    for i, layer in enumerate(found):
        if widths[i] is None and isinstance(layer, Layer):
            raise ValueError(
                f"the width of layers[{i}], {layer!r}, is not known; "
                "expected a Dense before it, or n_in"
            )
    return widths


def _fill_back(found: Sequence[Any], widths: list[int | None], i: int) -> None:
    """Widths before layers that keep the width, from one known behind them."""
    while i > 0 and widths[i - 1] is None and not callable(getattr(found[i - 1], "n_out", None)):
        widths[i - 1] = widths[i]
        i -= 1


def activation_behind(found: Sequence[Any], i: int) -> str:
    """The activation that a layer's outputs meet next; "identity" if there is none."""
    for layer in found[i + 1 :]:
        name = getattr(layer, "activation", None)
        if not isinstance(layer, Dropout):
            return name if isinstance(name, str) and not isinstance(layer, Dense) else "identity"
    return "identity"


def warn_of_symmetry(found: Sequence[Any]) -> None:
    """Warn of hidden layers whose units all start alike: they would stay alike."""
    dense = [layer for layer in found if isinstance(layer, Dense)]
    for layer in dense[:-1]:
        if isinstance(layer.weight_init, Constant) and layer.n_out > 1:
            import warnings

            warnings.warn(
                f"all units of the hidden layer {layer!r} start with the same weights and will "
                "stay alike; initialise it with Xavier() or He()",
                UserWarning,
                stacklevel=4,
            )
