"""Modules of PyTorch for what it has no module of its own; needs PyTorch to be imported."""

from __future__ import annotations

from typing import Any

import torch

from ..preprocessing import Standardizer


class Rescaling(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """(x - mean) / scale column by column, or x scale + mean if ``inverse``; in float64.

    Parameters
    ----------
    standardizer : Standardizer
    inverse : bool, default False
    """

    def __init__(self, standardizer: Standardizer, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        for name in ("mean", "scale"):
            values = torch.tensor(getattr(standardizer, name).copy(), dtype=torch.float64)
            self.register_buffer(name, values)

    def forward(self, x: Any) -> Any:
        wide = x.double()
        y = wide * self.scale + self.mean if self.inverse else (wide - self.mean) / self.scale
        return y.to(x.dtype)

    def standardizer(self) -> Standardizer:
        """What it does, in NumPy."""
        return Standardizer(*(a.detach().cpu().double().numpy() for a in (self.mean, self.scale)))

    def extra_repr(self) -> str:
        return f"{len(self.mean)}, inverse={self.inverse}"
