"""The server of the page: `serve`.

It listens on 127.0.0.1 alone.  Every address begins with a token, drawn anew for each server; a
request that names another host is refused, and a WebSocket that another page opens.  The page may
load nothing from elsewhere.
"""

from __future__ import annotations

import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .digits_page import DigitsPage
from .page import Page
from .points import Table

__all__ = ["Server", "serve"]

MOST_PAGES = 8
"""Pages that one server trains for."""

MOST_BYTES = 8 << 20
"""Of a message: a table that is dropped onto the page, and a little."""

_HOST = "127.0.0.1"
_LEFT_TO_PAGES = 1  # s that open pages have to end when the server ends
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Server:
    """A server with a socket of its own.

    Parameters
    ----------
    port : int, default 0
        0 is any free one.
    table : Table, optional
        What the page opens with.
    mnist : Path, optional
        A folder with MNIST's files, for the page of digits.

    Attributes
    ----------
    address : str
        Of the page, token included.
    n_pages : int
        Pages that are open now.

    Raises
    ------
    OSError
        If the port is taken.
    """

    def __init__(
        self, port: int = 0, table: Table | None = None, mnist: Path | None = None
    ) -> None:
        self._socket = socket.create_server((_HOST, port), reuse_port=False)
        self._port = self._socket.getsockname()[1]
        self._token = secrets.token_urlsafe(16)
        self._table, self._mnist = table, mnist
        self.n_pages = 0
        self.address = f"http://{_HOST}:{self._port}/{self._token}/"
        config = uvicorn.Config(
            self.app(),
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws=WebSocketsSansIOProtocol,
            ws_max_size=MOST_BYTES,
            timeout_graceful_shutdown=_LEFT_TO_PAGES,
        )
        self._server = uvicorn.Server(config)

    def run(self, when_up: Callable[[], object] | None = None) -> None:
        """Serve until Ctrl-C or `stop`."""
        if when_up is not None:
            threading.Thread(target=when_up, daemon=True).start()
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True

    def app(self) -> ASGIApp:
        """The application: the page, its files, its WebSocket."""
        prefix = f"/{self._token}"
        routes = [
            Route(f"{prefix}/", self._file),
            Route(f"{prefix}/{{name}}", self._file),
            WebSocketRoute(f"{prefix}/points", self._points),
            WebSocketRoute(f"{prefix}/digits", self._digits),
        ]
        return _Guard(Starlette(routes=routes), self._port)

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        folder = resources.files(__package__) / "static"
        suffix = name[name.rfind(".") :]
        # One part of a path, as the route has it: there is no way out of the folder.
        if suffix not in _KINDS or "\\" in name or not (folder / name).is_file():
            return PlainTextResponse("not found", 404)
        return Response((folder / name).read_bytes(), media_type=_KINDS[suffix])

    async def _points(self, websocket: WebSocket) -> None:
        await self._page(websocket, lambda: Page(websocket, self._table).run())

    async def _digits(self, websocket: WebSocket) -> None:
        await self._page(websocket, lambda: DigitsPage(websocket, self._mnist).run())

    async def _page(self, websocket: WebSocket, talk: Callable[[], Awaitable[None]]) -> None:
        if self.n_pages >= MOST_PAGES:
            await websocket.close(1013, f"{MOST_PAGES} pages are open already")
            return
        self.n_pages += 1
        try:
            await websocket.accept()
            await talk()
        finally:
            self.n_pages -= 1


class _Guard:
    """Lets in what this server's own page asks for, and says what a page may load."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}
        self._origins = {f"http://{host}" for host in self._hosts}
        sockets = " ".join(sorted(f"ws://{host}" for host in self._hosts))
        self._headers = {
            "content-security-policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; "
                f"img-src 'self' data: blob:; connect-src 'self' {sockets}; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "cache-control": "no-store",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_own(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("not this server's own page", 403)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(k.encode(), v.encode()) for k, v in self._headers.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _is_own(self, scope: Scope) -> bool:
        headers = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return False
        if scope["type"] == "websocket":
            return origins == [f"http://{hosts[0]}"]
        return not origins or origins[0] in self._origins


def serve(
    port: int = 0,
    browser: bool = True,
    table: Table | None = None,
    experiment: str = "",
    tell: Callable[[str], None] = print,
    mnist: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    port : int, default 0
        0 is any free one.
    browser : bool, default True
        Open the page in the user's browser.
    table : Table, optional
        What the page opens with.
    experiment : str, optional
        The part of its address behind #.
    tell : callable
        Is told the address.
    mnist : Path, optional
        A folder with MNIST's files.
    """
    server = Server(port, table, mnist)
    address = f"{server.address}#{experiment}" if experiment else server.address
    tell(address)
    server.run((lambda: webbrowser.open(address)) if browser else None)
