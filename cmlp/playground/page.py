"""The conversation with one open page of 2D points, and the pace of its training: `Page`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.websockets import WebSocket

from .. import checks
from . import messages, points
from .conversation import Conversation
from .experiment import DENSITY, THINNED, Experiment
from .program import program
from .settings import MOST_LAYERS, MOST_UNITS, Settings

__all__ = ["Page"]

_PERIOD = 1 / 30  # s between frames
_PAGE_SHARE = 0.5  # of its time that a page may take to draw
_MOST_UNSEEN = 2  # frames sent and not drawn yet
_MOST_AT_ONCE = 100  # epochs between frames


class Page(Conversation):
    """One open page: its commands, and its training, which ends when the page goes.

    The training advances by some epochs thirty times a second, whatever the page does.  Pictures
    are made beside it, in another thread, and only if the page has drawn those before.

    Parameters
    ----------
    socket : WebSocket
    table : Table, optional
        Of a file that was named when the server was started.
    """

    def __init__(self, socket: WebSocket, table: points.Table | None = None) -> None:
        super().__init__(
            socket,
            ("begin", "change", "play", "pause", "step", "back", "go_to", "edit", "look", "drawn",
             "table", "program", "save"),
        )  # fmt: skip
        self._table = table
        self._experiment: Experiment | None = None
        self._points: points.Points | None = None
        self._showing = asyncio.Lock()  # while a picture is made
        self._picture: asyncio.Task[None] | None = None  # that is made beside the training
        self._playing = asyncio.Event()
        self._epochs = 5
        self._stop_epoch: int | None = None
        self._stop_loss: float | None = None
        self._unseen = 0
        self._drawing = 0.0  # s that the page took for the last frame

    async def greet(self) -> None:
        """Say what there is."""
        await self.tell(
            "ready",
            thumbnails=points.thumbnails(),
            most_layers=MOST_LAYERS,
            most_units=MOST_UNITS,
            density=DENSITY,
            thinned=THINNED,
            table=None if self._table is None else self._about_table(self._table),
        )

    async def end(self) -> None:
        """End picture and training."""
        if self._picture is not None:
            self._picture.cancel()
            await asyncio.gather(self._picture, return_exceptions=True)
        if self._experiment is not None:
            self._experiment.close()

    # ---- talking ----

    async def _show(self) -> None:
        """Send a frame of how it stands now."""
        async with self._showing:
            experiment = self._there_is()
            frame = await asyncio.to_thread(lambda: messages.pack(*experiment.picture()))
            self._unseen += 1
            await self.socket.send_bytes(frame)

    async def _show_beside(self) -> None:
        """Send a frame while the training goes on, if the page waits for one."""
        if self._picture is not None:
            if not self._picture.done():
                return
            self._picture.result()
        if self._unseen < _MOST_UNSEEN:
            self._picture = asyncio.create_task(self._show())

    async def _state(self, stopped: str | None = None) -> None:
        settings = asdict(self._there_is().settings)
        playing = self._playing.is_set()
        await self.tell("state", playing=playing, stopped=stopped, settings=settings)

    def _there_is(self) -> Experiment:
        if self._experiment is None:
            raise ValueError("there is no experiment; expected begin first")
        return self._experiment

    # ---- training ----

    async def work(self) -> None:
        while True:
            await self._playing.wait()
            begun = time.perf_counter()
            async with self.turn:
                if self._playing.is_set():
                    await self._advance(self._epochs)
            spent = time.perf_counter() - begun
            period = max(_PERIOD, self._drawing / _PAGE_SHARE)
            await asyncio.sleep(max(0.0, period - spent))

    async def _advance(self, epochs: int) -> None:
        """Train on, and show it; pause where the training is to stop."""
        experiment = self._there_is()
        if self._stop_epoch is not None and self._stop_epoch > experiment.epoch:
            epochs = min(epochs, self._stop_epoch - experiment.epoch)
        stopped = await asyncio.to_thread(experiment.advance, epochs, self._stop_loss)
        if stopped is None and experiment.epoch == self._stop_epoch:
            stopped = "epochs"
        if stopped is None:
            await self._show_beside()
            return
        self._playing.clear()
        await self._show()
        await self._state(stopped)

    # ---- commands ----

    async def begin(self, settings: Any, drawn: Any = None) -> None:
        """Begin an experiment; answers with "experiment", a frame and "state".

        settings as `Settings.read` takes them; drawn: the points [x1, x2, target] of the set "own".
        """
        wanted = Settings.read(settings)
        found = await asyncio.to_thread(self._points_for, wanted, drawn)
        experiment = await asyncio.to_thread(Experiment, wanted, found)
        async with self._showing:
            if self._experiment is not None:
                self._experiment.close()
            self._experiment, self._points = experiment, found
            self._playing.clear()
            await self.tell("experiment", points=found.about(), settings=asdict(wanted))
        await self._show()
        await self._state()

    def _points_for(self, settings: Settings, drawn: Any) -> points.Points:
        if settings.set_name == "own":
            return points.own(settings, drawn)
        if settings.set_name == "file":
            if self._table is None:
                raise ValueError("there is no file; drop a CSV file onto the page")
            return self._table.points(settings)
        if self._points is not None and self._experiment is not None:
            before = self._experiment.begun_with
            if before.same_data(settings):
                return self._points
        return points.of_formula(settings)

    async def change(self, settings: Any) -> None:
        """Take over settings while it goes on, or begin anew where that is impossible."""
        if not self._there_is().change(Settings.read(settings)):
            raise ValueError("settings: these need a new start")
        await self._state()

    async def play(self, epochs: Any = 5, stop_epoch: Any = None, stop_loss: Any = None) -> None:
        """Train on, by some epochs between frames, until an epoch or a test loss if given."""
        self._there_is()
        checks.positive_int(epochs, "epochs")
        self._epochs = min(epochs, _MOST_AT_ONCE)
        if stop_epoch is not None:
            checks.positive_int(stop_epoch, "stop_epoch")
        if stop_loss is not None:
            checks.number(stop_loss, "stop_loss", 0.0)
        self._stop_epoch, self._stop_loss = stop_epoch, stop_loss
        self._playing.set()
        await self._state()

    async def pause(self) -> None:
        """Stop for now."""
        self._playing.clear()
        await self._show()
        await self._state()

    async def step(self, epochs: Any = 1) -> None:
        """Train on by some epochs, and pause."""
        checks.positive_int(epochs, "epochs")
        self._playing.clear()
        experiment = self._there_is()
        stopped = await asyncio.to_thread(experiment.advance, min(epochs, _MOST_AT_ONCE))
        await self._show()
        await self._state(stopped)

    async def back(self) -> None:
        """Go back to the frame before."""
        await self._go(self._there_is().back)

    async def go_to(self, epoch: Any) -> None:
        """Go back to an earlier epoch."""
        checks.positive_int(epoch, "epoch", 0)
        await self._go(self._there_is().go_to, epoch)

    async def _go(self, way: Callable[..., None], *arguments: Any) -> None:
        self._playing.clear()
        await asyncio.to_thread(way, *arguments)
        await self._show()
        await self._state()

    async def edit(self, layer: Any, part: Any, index: Any, value: Any) -> None:
        """Change a weight or a bias; see `Experiment.edit`."""
        checks.positive_int(layer, "layer", 0)
        checks.choice(part, "part", ("weight", "bias"))
        if not isinstance(index, list):
            raise TypeError(f"index is {index!r}; expected a list of numbers")
        place = tuple(checks.positive_int(i, "index", 0) for i in index)
        self._there_is().edit(layer, part, place, checks.number(value, "value"))
        await self._show()

    async def look(self, unit: Any = None) -> None:
        """Show a unit, [layer, unit], in the large map, or the output (null)."""
        if unit is not None and (not isinstance(unit, list) or len(unit) != 2):
            raise TypeError(f"unit is {unit!r}; expected [layer, unit] or null")
        for number in unit or []:
            checks.positive_int(number, "unit", 0)
        self._there_is().look_at(unit)
        await self._show()

    async def drawn(self, frames: Any, milliseconds: Any) -> None:
        """The last of some frames has been drawn, which took so long."""
        n = checks.positive_int(frames, "frames")
        self._drawing = checks.number(milliseconds, "milliseconds", 0.0) / 1000
        self._unseen = max(0, self._unseen - n)

    async def table(self, name: Any, text: Any) -> None:
        """A CSV file: read, and kept for the set "file"; answered by "table"."""
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError("table: expected name and text to be texts")
        self._table = await asyncio.to_thread(points.read_table, name, text.encode())
        self._points = None
        await self.tell("table", **self._about_table(self._table))

    @staticmethod
    def _about_table(table: points.Table) -> dict[str, Any]:
        problem = "classification" if table.classifies else "regression"
        return {"name": table.name, "rows": len(table.dataset), "problem": problem}

    async def program(self) -> None:
        """Ask for the program that does what has been done; answered by "program"."""
        await self.tell("program", text=program(self._there_is()))
