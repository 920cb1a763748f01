"""What the conversations with all open pages have in common: `Conversation`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from .. import checks
from ..errors import FormatError
from . import messages

__all__ = ["Conversation"]

_LONGEST_MESSAGE = 300  # characters of a refusal


class Conversation:
    """Commands of one open page, and what is done beside them, until the page goes.

    A command "name" is carried out by the method `name`, with the other entries of the message as
    arguments, and then, but for "drawn", answered by {"is": "done"}.  What makes no sense is
    answered by {"is": "refused", "why": text}, and changes nothing.

    Parameters
    ----------
    socket : WebSocket
    commands : sequence of str
        The methods that are commands.

    Attributes
    ----------
    turn : asyncio.Lock
        Held while a command is carried out.
    """

    def __init__(self, socket: WebSocket, commands: Sequence[str]) -> None:
        self.socket, self.turn = socket, asyncio.Lock()
        self._commands: dict[str, Callable[..., Any]] = {
            name: getattr(self, name) for name in commands
        }

    async def greet(self) -> None:
        """Send what the page has to know first."""
        raise NotImplementedError

    async def work(self) -> None:
        """What is done beside the commands, without an end."""
        raise NotImplementedError

    async def end(self) -> None:
        """What is done when the page has gone."""
        raise NotImplementedError

    def _there_is(self) -> Any:
        """The training, which has ``file(kind)``; ValueError before there is one."""
        raise NotImplementedError

    async def save(self, kind: Any) -> None:
        """Ask for the net as a file, "model", "onnx" or "c"; answered by a binary "file"."""
        checks.choice(kind, "kind", ("model", "onnx", "c"))
        try:
            name, content = await asyncio.to_thread(self._there_is().file, kind)
        except ImportError as error:
            raise ValueError(str(error)) from None
        part = {"content": np.frombuffer(content, np.uint8)}
        await self.socket.send_bytes(messages.pack({"is": "file", "name": name}, part))

    async def run(self) -> None:
        """Talk and work until the page goes."""
        await self.greet()
        tasks = [asyncio.create_task(self.work()), asyncio.create_task(self._listen())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self.end()
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
                raise error

    async def tell(self, kind: str, **values: Any) -> None:
        """Send a text."""
        await self.socket.send_json({"is": kind, **values})

    async def _listen(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                await self._obey(await self.socket.receive_text())

    async def _obey(self, text: str) -> None:
        try:
            message = messages.read(text)
            name = message.pop("do")
            command = self._commands.get(name)
            if command is None:
                raise ValueError(f"do is {name!r}; expected one of {', '.join(self._commands)}")
            async with self.turn:
                await command(**message)
            if name != "drawn":
                await self.tell("done")
        except (ValueError, TypeError, FormatError, IndexError, ArithmeticError) as error:
            text = " ".join(str(error).split())
            await self.tell("refused", why=text[:_LONGEST_MESSAGE])
