"""`History`: what happened in each epoch."""

from __future__ import annotations

from typing import Any

__all__ = ["History"]

Row = dict[str, float]


class History:
    """A row of numbers for each epoch.

    Attributes
    ----------
    interrupted : bool
        Whether training was cut short by Ctrl-C.

    Notes
    -----
    Columns: ``epoch`` (from 1), ``loss`` (the mean over the epoch, while its weights changed),
    ``lr`` (of its last step), ``seconds``; with validation data ``validation_loss`` and one for
    each metric, such as ``validation_accuracy``.  ``history["loss"]`` is a column,
    ``len(history)`` the number of epochs.
    """

    __slots__ = ("_columns", "_interrupted", "_n")

    def __init__(self) -> None:
        self._interrupted = False
        self._columns: dict[str, list[float]] = {}
        self._n = 0

    @property
    def interrupted(self) -> bool:
        """Whether training was cut short by Ctrl-C."""
        return self._interrupted

    def mark_interrupted(self) -> None:
        """Note that training was cut short by Ctrl-C."""
        self._interrupted = True

    def add(self, row: Row) -> None:
        """Append the numbers of one epoch; what a row lacks is NaN."""
        self.extend({name: [value] for name, value in row.items()})

    def extend(self, columns: dict[str, list[float]]) -> None:
        """Append the numbers of some epochs by columns; those that are not given are NaN."""
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns has lengths {sorted(lengths)}; expected the same for all")
        n = lengths.pop() if lengths else 0
        for name in columns:
            if name not in self._columns:
                self._columns[name] = [float("nan")] * self._n
        for name, column in self._columns.items():
            found = columns.get(name)
            # over what Ctrl-C has left of a row
            column[self._n :] = [float("nan")] * n if found is None else found
        self._n += n

    def head(self, n: int) -> History:
        """A copy of the first ``n`` rows."""
        history = History()
        if n:
            history.extend({name: column[:n] for name, column in self._columns.items()})
        return history

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, name: str) -> list[float]:
        try:
            return list(self._columns[name])
        except KeyError:
            known = ", ".join(self._columns) or "none yet"
            raise KeyError(f"no column {name!r}; there are: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._columns)

    def last(self) -> Row:
        """The numbers of the last epoch; empty before the first."""
        return {name: column[-1] for name, column in self._columns.items()}

    def to_dict(self) -> dict[str, list[float]]:
        """Name -> list of the column's numbers; copies."""
        return {name: list(column) for name, column in self._columns.items()}

    @classmethod
    def from_dict(cls, columns: dict[str, list[float]]) -> History:
        """The history that `to_dict` gave."""
        history = cls()
        history.extend(columns)
        return history

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss curves; see `cmlp.plots`."""
        from .. import plots

        return plots.loss_curves(self, ax=ax)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items())
        cut = ", interrupted" if self.interrupted else ""
        return f"History({self._n} epochs{': ' if shown else ''}{shown}{cut})"
