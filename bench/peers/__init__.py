"""One module for each library that is timed.

Every module has a table ``TASKS`` from (section, variant) to a class of tasks, which it makes from
the keywords of a job, and may have a table ``FUNCTIONS`` of other things to ask it for.  Modules
import their library at the top: a missing one shows as an ImportError.
"""

from __future__ import annotations

from typing import Protocol

# Library -> module of this package, distributions to install.  The first is what others must equal.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "numpy": ("plain_numpy", "numpy"),
    "cmlp": ("ours", "cmlp"),
    "sklearn": ("sklearn_mlp", "scikit-learn"),
    "torch": ("pytorch", "torch"),
    "jax": ("xla", "jax", "jaxlib"),
}


class Task(Protocol):
    """Something to time."""

    def check(self) -> list[float]:
        """Numbers on which all libraries must agree; called once, before anything is timed."""

    def run(self, n: int) -> None:
        """Do the work n times; return when it is done."""
