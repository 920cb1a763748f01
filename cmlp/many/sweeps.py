"""`sweep`: settings tried side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import ceil
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from .. import checks
from ..errors import FormatError
from ..export.files import replace_file
from ..training import Runs, Trainer, fit_many

__all__ = ["Sweep", "sweep"]

Choice = Sequence[Any] | Callable[[Generator], Any]

# Settings that are trained in one call where the file is kept up to date between calls.
_AT_ONCE = 64
_OF_FIT = ("epochs", "batch_size")
_METHODS = ("grid", "random", "halving", "hyperband")


@dataclass(frozen=True)
class Sweep:
    """A table of settings and what came of them, in the order in which they were drawn.

    Attributes
    ----------
    settings : list of dict
    losses : list of float
        As in `Runs`; infinite for a net that diverged.
    epochs : list of int
        That each was trained for: fewer where it was stopped early or given up.
    seconds : list of float
    trainers : list of Trainer or None
        None for settings that an earlier process has tried, from the file.
    """

    settings: list[dict[str, Any]]
    losses: list[float]
    epochs: list[int]
    seconds: list[float]
    trainers: list[Trainer | None] = field(repr=False)

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def best_index(self) -> int:
        """Number of the settings with the lowest loss."""
        return int(np.argmin(self.losses))

    @property
    def best_settings(self) -> dict[str, Any]:
        """The settings with the lowest loss."""
        return self.settings[self.best_index]

    @property
    def best(self) -> Trainer | None:
        """The trainer with the lowest loss."""
        return self.trainers[self.best_index]

    def to_dict(self) -> dict[str, list[Any]]:
        """The table by columns: each setting's, "loss", "epochs_done" and "seconds"."""
        names = dict.fromkeys(name for settings in self.settings for name in settings)
        columns: dict[str, list[Any]] = {
            name: [settings.get(name) for settings in self.settings] for name in names
        }
        columns.update(
            loss=list(self.losses), epochs_done=list(self.epochs), seconds=list(self.seconds)
        )
        return columns

    def to_frame(self) -> Any:
        """The table as a DataFrame of pandas."""
        from pandas import DataFrame

        return DataFrame(self.to_dict())

    def plot(self, ax: Any = None) -> Any:
        """Draw the settings as parallel coordinates; see `cmlp.plots`."""
        from .. import plots

        return plots.parallel_coordinates(self.to_dict(), ax=ax)


def sweep(
    build: Callable[..., Trainer],
    space: Mapping[str, Choice],
    x: ArrayLike,
    y: ArrayLike,
    method: str = "grid",
    n: int = 20,
    epochs: int = 10,
    factor: int = 3,
    seed: int = 0,
    path: str | PathLike[str] | None = None,
    **fit: Any,
) -> Sweep:
    """Try settings side by side, in one call of compiled code or a few.

    Parameters
    ----------
    build : callable
        ``build(**settings) -> Trainer``: a new net and trainer for some settings.
    space : mapping
        For each setting the choices that there are, or a function ``f(rng)`` that draws one.
        "epochs" and "batch_size" are arguments of `fit_many`, all others of ``build``.
    x : array_like of shape (n_samples, n_in)
    y : array_like of shape (n_samples,) or (n_samples, n_out)
    method : {"grid", "random", "halving", "hyperband"}, default "grid"
        "grid": every combination.  "random": ``n`` draws.  "halving": ``n`` draws, of which the
        best ``1 / factor`` go on each time, to ``factor`` times the epochs, at last to ``epochs``,
        as in Jamieson and Talwalkar, *Non-stochastic best arm identification and hyperparameter
        optimization* (2016).  "hyperband": such rounds from many draws and few epochs to few
        draws and all epochs, as in Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar,
        *Hyperband* (2018); ``n`` is not looked at.
    n : int, default 20
    epochs : int, default 10
        Most epochs of a net.
    factor : int, default 3
    seed : int, default 0
        Of the draws.
    path : str or path, optional
        A file that keeps the table as it grows, whole at any time.  A later call with the same
        arguments goes on where it ends.
    **fit
        Further arguments of `fit_many`, such as ``validation``.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError, TypeError
        Before anything is trained.
    FormatError
        If the file is damaged, or that of another sweep.
    """
    if not callable(build):
        raise TypeError(f"build is {build!r}; expected a function of settings -> Trainer")
    checks.choice(method, "method", _METHODS)
    epochs = checks.positive_int(epochs, "epochs")
    factor = checks.positive_int(factor, "factor", 2)
    choices = _checked_space(space, method)
    if method in ("halving", "hyperband") and "epochs" in choices:
        raise ValueError(f"space has epochs; expected none with {method}, which chooses them")
    rng = np.random.default_rng(checks.seed(seed))
    tries = _tries(choices, method, checks.positive_int(n, "n"), epochs, factor, rng)
    table = _Table(tries, path)
    for chunk in _chunks(tries, table, method):
        fitted = dict(fit)
        settings = [tries[i].settings for i in chunk]
        fitted["epochs"] = [s.get("epochs", epochs) for s in settings]
        if "batch_size" in choices:
            fitted["batch_size"] = [s["batch_size"] for s in settings]
        trainers = [build(**{k: v for k, v in s.items() if k not in _OF_FIT}) for s in settings]
        if method in ("halving", "hyperband"):
            rounds = _Rounds([tries[i] for i in chunk], epochs, factor)
            fitted.update(rung=rounds.every, on_rung=rounds)
        table.add(chunk, fit_many(trainers, x, y, **fitted))
    return table.result()


@dataclass(frozen=True)
class _Try:
    """Settings, and the round of halving that they begin with."""

    settings: dict[str, Any]
    first_epochs: int
    bracket: int


def _checked_space(space: Mapping[str, Choice], method: str) -> dict[str, Choice]:
    if not isinstance(space, Mapping) or not space:
        raise TypeError(f"space is {space!r}; expected a dict of settings and their choices")
    found: dict[str, Choice] = {}
    for name, choices in space.items():
        if callable(choices):
            if method == "grid":
                raise ValueError(f"space[{name!r}] draws; expected choices with method 'grid'")
            found[name] = choices
            continue
        if isinstance(choices, str) or not isinstance(choices, Iterable) or not len(choices):
            raise TypeError(
                f"space[{name!r}] is {choices!r}; expected choices, or a function of rng"
            )
        found[name] = list(choices)
    return found


def _tries(
    choices: dict[str, Choice], method: str, n: int, epochs: int, factor: int, rng: Generator
) -> list[_Try]:
    """All settings that are tried."""
    if method == "grid":
        values = product(*(list(c) for c in choices.values() if not callable(c)))
        return [_Try(dict(zip(choices, chosen, strict=True)), epochs, 0) for chosen in values]
    if method == "random":
        return [_Try(_draw(choices, rng), epochs, 0) for _ in range(n)]
    rounds = 0  # after which one is left, or the first would have no epoch
    while factor ** (rounds + 1) <= epochs and (method == "hyperband" or factor**rounds < n):
        rounds += 1
    if method == "halving":
        first = max(1, epochs // factor**rounds)
        return [_Try(_draw(choices, rng), first, 0) for _ in range(n)]
    found = []
    for s in range(rounds, -1, -1):
        count = ceil((rounds + 1) / (s + 1) * factor**s)
        first = max(1, epochs // factor**s)
        found += [_Try(_draw(choices, rng), first, s) for _ in range(count)]
    return found


def _draw(choices: dict[str, Choice], rng: Generator) -> dict[str, Any]:
    return {
        name: choice(rng) if callable(choice) else choice[int(rng.integers(len(choice)))]
        for name, choice in choices.items()
    }


def _chunks(tries: list[_Try], table: _Table, method: str) -> list[list[int]]:
    """Numbers of the settings left, in the pieces between which the file is written."""
    left = [i for i in range(len(tries)) if not table.has(i)]
    if method in ("halving", "hyperband"):  # rounds are whole
        brackets = dict.fromkeys(tries[i].bracket for i in left)
        return [[i for i, t in enumerate(tries) if t.bracket == b] for b in brackets]
    at_once = len(left) if table.path is None else _AT_ONCE
    return [left[i : i + at_once] for i in range(0, len(left), max(at_once, 1))]


class _Rounds:
    """Successive halving of the settings of one bracket, as nets' rungs."""

    def __init__(self, tries: list[_Try], epochs: int, factor: int) -> None:
        self.every = tries[0].first_epochs
        self.epochs, self.factor = epochs, factor
        self._going = list(range(len(tries)))
        self._done, self._next = 0, self.every

    def __call__(self, runs: Runs) -> list[int]:
        """The nets that are given up."""
        self._done += self.every
        if self._done < self._next or self._done >= self.epochs:
            return []
        self._next *= self.factor
        kept = max(1, len(self._going) // self.factor)
        ranked = sorted(self._going, key=lambda i: runs.losses[i])
        self._going = ranked[:kept]
        return ranked[kept:]


class _Table:
    """What is known of the settings so far, and the file that keeps it."""

    def __init__(self, tries: list[_Try], path: str | PathLike[str] | None) -> None:
        self.path = None if path is None else Path(fspath(path))
        self._tries = tries
        self._rows: dict[int, tuple[float, int, float]] = {}
        self._trainers: dict[int, Trainer] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def has(self, i: int) -> bool:
        return i in self._rows

    def add(self, numbers: list[int], runs: Runs) -> None:
        """Take the results of some settings, and write the file."""
        for place, i in enumerate(numbers):
            trainer = runs.trainers[place]
            self._rows[i] = (runs.losses[place], len(trainer.history), runs.seconds[place])
            self._trainers[i] = trainer
        if self.path is not None:
            self._write(self.path)

    def _described(self) -> list[str]:
        return [repr(t.settings) for t in self._tries]

    def _write(self, path: Path) -> None:
        rows = {str(i): list(row) for i, row in self._rows.items()}
        text = json.dumps({"cmlp": "sweep", "settings": self._described(), "rows": rows})
        replace_file(path, text.encode())

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_bytes())
            known, rows = content["settings"], content["rows"]
            found = {int(i): (float(a), int(b), float(c)) for i, (a, b, c) in rows.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(f"{path} is no file of a sweep, or damaged") from error
        if known != self._described() or not all(0 <= i < len(self._tries) for i in found):
            raise FormatError(f"{path} is of a sweep with other settings; expected these ones")
        self._rows = found

    def result(self) -> Sweep:
        rows = [self._rows[i] for i in range(len(self._tries))]
        return Sweep(
            [t.settings for t in self._tries],
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            [self._trainers.get(i) for i in range(len(self._tries))],
        )
