"""The conversation with one open page of digits: `DigitsPage`."""

from __future__ import annotations

import asyncio
import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from .. import checks
from ..checks import Array
from . import messages
from .conversation import Conversation
from .digits import SETS, Digits, DigitsSettings, open_set, read_model
from .images import as_in_set
from .nets import read_net

__all__ = ["DigitsPage"]

_PERIOD = 0.1  # s between frames
_MOST_UNSEEN = 2  # frames sent and not drawn yet
_TESTS = 48  # test images on the page
_CANVAS = 112  # side of the drawing


class DigitsPage(Conversation):
    """One open page: its commands, and its training, which ends when the page goes.

    The training goes on in a thread of its own.  Ten times a second the page gets a frame, if it
    has drawn those before.

    Parameters
    ----------
    socket : WebSocket
    folder : Path, optional
        Where MNIST's files are.
    """

    def __init__(self, socket: WebSocket, folder: Path | None = None) -> None:
        super().__init__(
            socket,
            ("begin", "check", "change", "play", "pause", "step", "look", "draw", "others",
             "drawn", "save", "load"),
        )  # fmt: skip
        self._folder = folder
        self._digits: Digits | None = None
        self._places = np.arange(0)
        self._draw_of_others = 0
        self._image: tuple[Array, int | None] = np.empty(0), None
        self._unseen = 0
        self._told_end = True

    async def greet(self) -> None:
        """Say what there is."""
        sets = [name for name in SETS if name == "digits" or self._folder is not None]
        await self.tell("ready", sets=sets)

    async def work(self) -> None:
        """Send frames while the training goes on."""
        while True:
            await asyncio.sleep(_PERIOD)
            async with self.turn:
                digits = self._digits
                if digits is None or self._told_end:
                    continue
                if digits.session.running:
                    if self._unseen < _MOST_UNSEEN:
                        await self._show()
                    continue
                await self._show()
                await self._state()

    async def end(self) -> None:
        """End the training."""
        if self._digits is not None:
            await asyncio.to_thread(self._digits.close)

    # ---- what is told ----

    def _there_is(self) -> Digits:
        if self._digits is None:
            raise ValueError("there is no training; expected begin first")
        return self._digits

    async def _show(self) -> None:
        digits = self._there_is()
        frame = await asyncio.to_thread(self._frame, digits)
        self._unseen += 1
        await self.socket.send_bytes(frame)

    def _frame(self, digits: Digits) -> bytes:
        return messages.pack(*digits.picture(*self._image, self._places))

    async def _state(self) -> None:
        session = self._there_is().session
        playing = session.running
        self._told_end = not playing
        error = session.error
        await self.tell("state", playing=playing, stopped=None if error is None else str(error))

    async def _tests(self) -> None:
        """Send other test images."""
        digits = self._there_is()
        rng = np.random.default_rng(self._draw_of_others)
        self._places = np.sort(rng.permutation(len(digits.test))[:_TESTS])
        await self.socket.send_bytes(
            messages.pack(
                {"is": "tests", "places": self._places.tolist()}, digits.tests(self._places)
            )
        )

    # ---- commands ----

    async def begin(self, settings: Any) -> None:
        """Begin a training; answers with "training", "tests", a frame and "state"."""
        wanted = DigitsSettings.read(settings)
        await self._begin(await asyncio.to_thread(self._make, wanted, None))

    def _make(self, settings: DigitsSettings, content: bytes | None) -> Digits:
        net = None if content is None else read_model(content)
        return Digits(settings, open_set(settings.set, self._folder), net)

    async def _begin(self, digits: Digits) -> None:
        await self.end()
        same_images = self._digits is not None and self._digits.side == digits.side
        self._digits = digits
        if not same_images:
            self._image = digits.test[0], int(digits.labels[0])
        await self.tell("training", **digits.about())
        await self._tests()
        await self._show_image()
        await self._state()

    async def check(self, net: Any, side: Any) -> None:
        """Ask for the shapes of a text of layers; answered by "shapes"."""
        n = checks.positive_int(side, "side")
        plan = read_net(net, (1, min(n, 64), min(n, 64)))
        chain = [list(shape) for shape in plan.shapes]
        await self.tell("shapes", lines=plan.lines, shapes=chain)

    async def change(self, settings: Any) -> None:
        """Take over settings while it goes on."""
        wanted = DigitsSettings.read(settings)
        if not await asyncio.to_thread(self._there_is().change, wanted):
            raise ValueError("settings: these need a new start")
        await self._state()

    async def play(self, stop_accuracy: Any = None) -> None:
        """Train on, until an accuracy on all test images if given."""
        session = self._there_is().session
        limit = None
        if stop_accuracy is not None:
            limit = checks.number(stop_accuracy, "stop_accuracy", 0.0, 1.0)
        if session.running:
            return
        if limit is None:
            session.start()
        else:
            session.start(until=lambda s: s.validation.get("accuracy", 0.0) >= limit)
        await self._state()

    async def pause(self) -> None:
        """Stop for now."""
        await asyncio.to_thread(self._there_is().session.pause)
        await self._show()
        await self._state()

    async def step(self, steps: Any = 1) -> None:
        """Make some steps, and pause."""
        session = self._there_is().session
        n = min(checks.positive_int(steps, "steps"), 1000)
        await asyncio.to_thread(session.pause)
        await asyncio.to_thread(session.advance, n)
        await self._show()
        await self._state()

    async def look(self, place: Any) -> None:
        """Choose a test image by its number."""
        digits = self._there_is()
        n = checks.positive_int(place, "place", 0)
        if n >= len(digits.test):
            raise ValueError(f"place is {n}; expected 0 to {len(digits.test) - 1}")
        self._image = digits.test[n], int(digits.labels[n])
        await self._show_image()

    async def draw(self, pixels: Any) -> None:
        """Look at a drawing: its bytes in base64, row by row, 0 (paper) to 255 (ink)."""
        content = _bytes_of(pixels, "pixels")
        if len(content) != _CANVAS * _CANVAS:
            raise ValueError(f"pixels has {len(content)} bytes; expected {_CANVAS * _CANVAS}")
        drawn = np.frombuffer(content, np.uint8).reshape(_CANVAS, _CANVAS) / 255
        self._image = as_in_set(drawn, self._there_is().side).ravel(), None
        await self._show_image()

    async def _show_image(self) -> None:
        image, label = self._image
        part = {"pixels": np.round(image * 255).astype(np.uint8)}
        await self.socket.send_bytes(messages.pack({"is": "image", "label": label}, part))
        await self._show()

    async def others(self) -> None:
        """Ask for other test images."""
        self._draw_of_others += 1
        await self._tests()
        await self._show()

    async def drawn(self, frames: Any) -> None:
        """Some frames have been drawn."""
        self._unseen = max(0, self._unseen - checks.positive_int(frames, "frames"))

    async def load(self, settings: Any, content: Any) -> None:
        """Go on with a net that was saved: a model file in base64."""
        wanted = DigitsSettings.read(settings)
        await self._begin(
            await asyncio.to_thread(self._make, wanted, _bytes_of(content, "content"))
        )


def _bytes_of(text: Any, name: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}; expected base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name} is no base64") from None
