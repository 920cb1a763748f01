"""Callbacks: what happens between epochs besides training.

A callback is any object with some of the methods of `Callback`.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from math import isnan
from os import fspath
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..checks import Array
from .contract import Training
from .history import Row

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "Callback",
    "Converged",
    "EarlyStopping",
    "GradientMonitor",
    "ModelCheckpoint",
    "ProgressBar",
]


class Callback:
    """Base of the callbacks; each method does nothing until overridden.

    Each is given the `Trainer`.  ``on_steps`` and ``on_epoch_end`` stop the training by returning
    True.

    Attributes
    ----------
    every_steps : int or None
        Call ``on_steps`` whenever the trainer's number of steps is a multiple of it.
    every_seconds : float or None
        Call ``on_steps`` about that often, between two steps.
    lasting : bool
        Whether later calls of ``fit`` with the same trainer and net, in other processes too, begin
        with the state that the last one left, and not only those that go on with it.
    """

    every_steps: int | None = None
    every_seconds: float | None = None
    lasting: bool = False

    def on_train_begin(self, trainer: Any) -> None:
        """Called once, before the first epoch; ``trainer.fitting`` tells what is being done."""

    def on_epoch_begin(self, trainer: Any) -> None:
        """Called before each epoch."""

    def on_steps(self, trainer: Any) -> bool | None:
        """Called within epochs, as often as the attributes say."""

    def on_epoch_end(self, trainer: Any, row: Row) -> bool | None:
        """Called after each epoch with its row of the history."""

    def on_train_end(self, trainer: Any) -> None:
        """Called once at the end, after Ctrl-C and divergence too."""

    def state(self) -> dict[str, Any]:
        """What an exact resume needs: numbers, strings and arrays by name.

        Asked for between steps and within other callbacks' methods as well.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what ``state`` gave; called after ``on_train_begin``."""


class _Checked(Callback):
    """Base of the callbacks here: settings are checked when they are assigned."""

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        check = self._checks.get(name)
        if check is None and not name.startswith("_") and type(self).__module__ == __name__:
            settings = ", ".join(self._checks)
            raise AttributeError(f"{name} cannot be set; {type(self).__name__} has {settings}")
        super().__setattr__(name, value if check is None else check(value))


def _column(monitor: object) -> str | None:
    if monitor is not None and not isinstance(monitor, str):
        raise TypeError(f"monitor is {monitor!r}; expected the name of a column, or None")
    # Keras's names
    return monitor and re.sub("^val_", "validation_", monitor)


def _path(path: Any) -> str:
    name = fspath(path) if hasattr(path, "__fspath__") else path
    if not isinstance(name, str):
        raise TypeError(f"path is {path!r}; expected a string or a path")
    return name


class _Monitor(_Checked):
    """Base of the callbacks that follow one column of the history."""

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {"monitor": _column}

    def __init__(self, monitor: str | None) -> None:
        self.monitor = monitor
        self._best = float("nan")

    @property
    def best(self) -> float:
        """The best score so far, lower being better; NaN before the first."""
        return self._best

    def score(self, row: Row) -> float:
        """The column's value, its sign changed where more is better."""
        name = self.monitor or ("validation_loss" if "validation_loss" in row else "loss")
        if name not in row:
            raise ValueError(f"monitor is {name!r}; expected one of {', '.join(row)}")
        return -row[name] if name.endswith("accuracy") else row[name]

    def improved(self, score: float, min_delta: float = 0.0) -> bool:
        """Take note of a score; tell whether it is the best so far."""
        if isnan(score) or not (isnan(self._best) or score < self._best - min_delta):
            return False
        self._best = score
        return True


class EarlyStopping(_Monitor):
    """Stop when a number has not improved for some epochs, and go back to the best weights.

    Epochs are counted within a call of ``fit``, and in one that goes on with it.

    Parameters
    ----------
    patience : int, default 3
        Epochs in a row without improvement after which training stops.
    min_delta : float, default 0
        A smaller change is no improvement.
    monitor : str, optional
        Column of the history; the validation loss if there is one, else the training loss.
        A column that ends with "accuracy" is to rise, any other to fall.
    restore_best : bool, default True
        Put the best epoch's weights back at the end of training, however it ends.
    """

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {
        **_Monitor._checks,
        "patience": lambda value: checks.positive_int(value, "patience"),
        "min_delta": lambda value: checks.number(value, "min_delta", 0.0),
        "restore_best": lambda value: checks.flag(value, "restore_best"),
    }

    def __init__(
        self,
        patience: int = 3,
        min_delta: float = 0.0,
        monitor: str | None = None,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor)
        self.patience, self.min_delta = patience, min_delta
        self.restore_best = restore_best
        self._begin()

    def _begin(self) -> None:
        self._best, self._best_epoch, self._waited = float("nan"), 0, 0
        self._weights: Array | None = None

    @property
    def best_epoch(self) -> int:
        """The epoch of the best score, counted from 1; 0 before the first."""
        return self._best_epoch

    def on_train_begin(self, trainer: Training) -> None:
        self._begin()

    def on_epoch_end(self, trainer: Training, row: Row) -> bool | None:
        if self.improved(self.score(row), self.min_delta):
            self._best_epoch, self._waited = int(row["epoch"]), 0
            self._weights = trainer.net.get_flat() if self.restore_best else None
            return None
        self._waited += 1
        return self._waited >= self.patience

    def on_train_end(self, trainer: Training) -> None:
        if self._weights is not None and self.restore_best:
            trainer.net.set_flat(self._weights)

    def state(self) -> dict[str, Any]:
        state = {"best": self._best, "best_epoch": self._best_epoch, "waited": self._waited}
        return state if self._weights is None else {**state, "weights": self._weights}

    def set_state(self, state: dict[str, Any]) -> None:
        self._best, self._best_epoch = float(state["best"]), int(state["best_epoch"])
        self._waited, self._weights = int(state["waited"]), state.get("weights")


class Converged(_Checked):
    """Stop when the weights change little in an epoch: ||w - w_before|| <= tol * ||w||.

    Parameters
    ----------
    tol : float, default 1e-4
    """

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "tol": lambda value: checks.number(value, "tol", 0.0)
    }

    def __init__(self, tol: float = 1e-4) -> None:
        self.tol = tol
        self._before: Array | None = None

    def on_epoch_begin(self, trainer: Training) -> None:
        self._before = trainer.net.get_flat()

    def on_epoch_end(self, trainer: Training, row: Row) -> bool | None:
        if self._before is None:  # it was not there when the epoch began
            return None
        w = trainer.net.get_flat().astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # in a run that diverges
            change, size = np.linalg.norm(w - self._before), np.linalg.norm(w)
        return bool(np.isfinite(change) and change <= self.tol * size)

    def state(self) -> dict[str, Any]:
        return {} if self._before is None else {"before": self._before}

    def set_state(self, state: dict[str, Any]) -> None:
        self._before = state.get("before")


class ModelCheckpoint(_Monitor):
    """Save a checkpoint now and then, from which training resumes exactly.

    Parameters
    ----------
    path : str or path
        Replaced each time, whole or not at all; "{epoch}" and "{step}" in it are filled in.
    every : int or str, default 1
        A number of epochs, or "500 steps", "30s", "10min", "2h".
    save_best_only : bool, default False
        Save only after an epoch whose ``monitor`` is the best so far, in all calls of ``fit`` with
        the trainer and its net.
    monitor : str, optional
        As in `EarlyStopping`.
    """

    lasting = True

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {
        **_Monitor._checks,
        "path": _path,
        "every": lambda value: value,  # with save_best_only, below
        "save_best_only": lambda value: checks.flag(value, "save_best_only"),
    }

    def __init__(
        self,
        path: str | PathLike[str],
        every: int | str = 1,
        save_best_only: bool = False,
        monitor: str | None = None,
    ) -> None:
        super().__init__(monitor)
        self.path: str = path  # type: ignore[assignment]  # converted as it is assigned
        self._every: tuple[int | None, int | None, float | None] = (None, None, None)
        self.every, self.save_best_only = every, save_best_only

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("every", "save_best_only"):
            every = value if name == "every" else self.every
            epochs, steps, seconds = _parse_every(every)
            best = value if name == "save_best_only" else getattr(self, "save_best_only", False)
            if best is True and epochs is None:
                raise ValueError(f"every is {every!r}; expected epochs with save_best_only")
            super().__setattr__("_every", (epochs, steps, seconds))
        super().__setattr__(name, value)

    @property
    def every_steps(self) -> int | None:  # type: ignore[override]
        """The number of steps that ``every`` says."""
        return self._every[1]

    @property
    def every_seconds(self) -> float | None:  # type: ignore[override]
        """The time that ``every`` says."""
        return self._every[2]

    def on_train_begin(self, trainer: Training) -> None:
        self._best = float("nan")

    def on_steps(self, trainer: Training) -> bool | None:
        self.save(trainer)
        return None

    def on_epoch_end(self, trainer: Training, row: Row) -> bool | None:
        epochs = self._every[0]
        if epochs is None or trainer.epoch % epochs:
            return None
        if not self.save_best_only or self.improved(self.score(row)):
            self.save(trainer)
        return None

    def save(self, trainer: Training) -> None:
        """Save now."""
        path = self.path.replace("{epoch}", str(trainer.epoch))
        trainer.save_checkpoint(path.replace("{step}", str(trainer.step_count)))

    def state(self) -> dict[str, Any]:
        return {"best": self._best}

    def set_state(self, state: dict[str, Any]) -> None:
        self._best = float(state["best"])


class GradientMonitor(_Checked):
    """Record how large delta = dE/du and dE/dW are in each layer, after each epoch.

    In a deep net of sigmoids they shrink from the output to the input: the vanishing gradient of
    *Deep Learning, topic 3: Multi-layer Perceptron*.  `cmlp.plots.gradient_flow` draws them.

    Parameters
    ----------
    x, y : array_like, optional
        The probe: a fixed batch and its targets.  The first ``n`` training samples if None.
    n : int, default 256

    Attributes
    ----------
    layers : list of str
        The layers with weights, from the input to the output.
    epochs : list of int
    delta_norms, weight_norms : ndarray of shape (n_epochs, n_layers)
        Euclidean norms of delta (of the mean loss, over the whole batch) and of dE/dW.
    """

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "n": lambda value: checks.positive_int(value, "n")
    }

    def __init__(
        self, x: ArrayLike | None = None, y: ArrayLike | None = None, n: int = 256
    ) -> None:
        if (x is None) != (y is None):
            raise ValueError("x and y go together; expected both or none")
        self._given = None if x is None or y is None else (x, y)
        self.n = n
        self._layers: list[str] = []
        self._epochs: list[int] = []
        self._deltas: list[list[float]] = []
        self._weights: list[list[float]] = []

    @property
    def layers(self) -> list[str]:
        return list(self._layers)

    @property
    def epochs(self) -> list[int]:
        return list(self._epochs)

    @property
    def delta_norms(self) -> Array:
        return np.array(self._deltas).reshape(len(self._epochs), len(self._layers))

    @property
    def weight_norms(self) -> Array:
        return np.array(self._weights).reshape(len(self._epochs), len(self._layers))

    def on_train_begin(self, trainer: Training) -> None:
        self._epochs, self._deltas, self._weights = [], [], []
        self._layers = [f"{i}: {la!r}" for i, la in trainer.weighted_layers()]
        self._record(trainer)

    def on_epoch_end(self, trainer: Training, row: Row) -> bool | None:
        self._record(trainer)
        return None

    def _record(self, trainer: Training) -> None:
        x, y = self._given or (None, None)
        deltas, weights = trainer.gradient_norms(x, y, self.n)
        self._epochs.append(trainer.epoch)
        self._deltas.append(deltas)
        self._weights.append(weights)

    def state(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs, "deltas": self.delta_norms, "weights": self.weight_norms,
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        epochs = [checks.positive_int(epoch, "epochs", 0) for epoch in state["epochs"]]
        deltas, weights = state["deltas"], state["weights"]
        for norms in (deltas, weights):
            if norms.shape != (len(epochs), len(self._layers)):
                raise ValueError(f"norms have shape {norms.shape}")
        self._epochs, self._deltas, self._weights = epochs, deltas.tolist(), weights.tolist()


class ProgressBar(_Checked):
    """A line of progress: epoch, losses, samples per second, time left.

    Drawn by rich where it is installed (``pip install cmlp[cli]``), as plain text otherwise, and
    not at all where the output is not a terminal, unless ``force``.

    Parameters
    ----------
    force : bool, default False
    stream : text file, optional
        Standard error if None.
    """

    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "force": lambda value: checks.flag(value, "force"),
        "stream": lambda value: value,
    }

    def __init__(self, force: bool = False, stream: IO[str] | None = None) -> None:
        self.force, self.stream = force, stream
        self._line: _PlainLine | _RichLine | None = None

    @property
    def every_seconds(self) -> float | None:  # type: ignore[override]
        """How often the line is drawn anew."""
        return None if self._line is None else 0.1

    def on_train_begin(self, trainer: Training) -> None:
        stream = self.stream or sys.stderr
        self._line = None
        if trainer.fitting is not None and (self.force or stream.isatty()):
            self._line = make_line(stream, self.force)
            self._started, self._samples = time.perf_counter(), trainer.fitting.samples_done()

    def on_steps(self, trainer: Training) -> bool | None:
        self._show(trainer)
        return None

    def on_train_end(self, trainer: Training) -> None:
        self._show(trainer)
        if self._line is not None:
            self._line.close()
            self._line = None

    def _show(self, trainer: Training) -> None:
        if self._line is None or trainer.fitting is None:
            return
        seconds = max(time.perf_counter() - self._started, 1e-9)
        rate = (trainer.fitting.samples_done() - self._samples) / seconds
        total = trainer.fitting.samples_wanted()
        left = (total - trainer.fitting.samples_done()) / rate if rate > 0 else float("inf")
        row = trainer.history.last()
        shown = {k: v for k, v in row.items() if k not in ("epoch", "lr", "seconds")}
        text = f"epoch {trainer.epoch}/{trainer.fitting.last_epoch}"
        text += "".join(f"  {_short(k)} {v:.4g}" for k, v in shown.items())
        text += f"  {rate:,.0f}/s"
        self._line.show(trainer.fitting.samples_done() / max(total, 1), text, left)


class _PlainLine:
    """A line that overwrites itself."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._width = stream, 0

    def show(self, share: float, text: str, left: float) -> None:
        line = f"{share:4.0%}  {text}  {_clock(left)}"
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def close(self) -> None:
        self._stream.write("\n")
        self._stream.flush()


class _RichLine:
    """The same as a bar of rich, in notebooks too."""

    def __init__(self, stream: IO[str], force: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            BarColumn(bar_width=10),
            TextColumn("{task.description}"),
            console=Console(file=stream, force_terminal=True if force else None),
        )
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def show(self, share: float, text: str, left: float) -> None:
        line = f"{share:4.0%}  {text}  {_clock(left)}"
        self._bar.update(self._task, completed=share, description=line)

    def close(self) -> None:
        self._bar.stop()


def make_line(stream: IO[str], force: bool) -> _PlainLine | _RichLine:
    """A line of progress: a bar of rich where that is installed."""
    try:
        return _RichLine(stream, force)
    except ImportError:
        return _PlainLine(stream)


def _short(column: str) -> str:
    return column.replace("validation_", "val ").replace("accuracy", "acc")


def _clock(seconds: float) -> str:
    if not seconds < 360000:
        return "--:--"
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}


def _parse_every(every: int | str) -> tuple[int | None, int | None, float | None]:
    """(epochs, steps, seconds), one of them not None."""
    expected = 'a number of epochs, or "500 steps", "30s", "10min", "2h"'
    if not isinstance(every, str):
        if isinstance(every, bool) or not isinstance(every, (int, np.integer)):
            raise TypeError(f"every is {every!r}; expected {expected}")
        return checks.positive_int(every, "every"), None, None
    text = every.replace(" ", "")
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :]
    try:
        amount = float(digits)
    except ValueError:
        amount = -1.0
    if unit in ("step", "steps") and amount >= 1 and amount == int(amount):
        return None, int(amount), None
    if unit in _UNITS and 0 < amount < float("inf"):
        return None, None, amount * _UNITS[unit]
    raise ValueError(f"every is {every!r}; expected {expected}")
