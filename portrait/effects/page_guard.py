"""Protects a local web page from requests by other web pages and other computers.

A browser lets any web page send requests to 127.0.0.1, and a name server can make any name point
there (DNS rebinding). A request is therefore answered only if its Host header is this server and
its Origin header, if there is one, is this server, too.
"""

import asyncio
from collections.abc import Awaitable, Callable

LARGEST = 64 << 20
"""The largest request in bytes, above the size of photographs."""
SECONDS = 60.0
"""The time within which the body of a request must arrive."""

_Receive = Callable[[], Awaitable[dict]]
_Send = Callable[[dict], Awaitable[None]]


class LocalOnly:
    """ASGI middleware that refuses foreign, too large and too slow requests.

    The status codes are 403 (another host or origin), 413 (too large) and 408 (too slow).

    Args:
        app: the ASGI application to protect.
        port: the port that it is served at.
        largest: the largest request in bytes.
        seconds: the time within which the body of a request must arrive.
    """

    def __init__(self, app, port: int, largest: int = LARGEST, seconds: float = SECONDS):
        self.app = app
        self.largest = largest
        self.seconds = seconds
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        if port == 80:
            self.hosts |= {"127.0.0.1", "localhost", "[::1]"}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: dict, receive: _Receive, send: _Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        origin = headers.get("origin")
        if headers.get("host", "").lower() not in self.hosts or (
            origin is not None and origin.lower() not in self.origins
        ):
            await _refuse(scope, send, 403)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.largest:
            await _refuse(scope, send, 413)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, self.largest, self.seconds)
        begun = False

        async def watch(message: dict) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, body, watch)
        except _Refused as refusal:
            if not begun:
                await _refuse(scope, send, refusal.status)


class _Refused(Exception):
    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


class _Body:
    """Receives the body of a request within the limits."""

    def __init__(self, receive: _Receive, largest: int, seconds: float):
        self._receive = receive
        self._left = largest
        self._until = asyncio.get_running_loop().time() + seconds
        self._complete = False

    async def __call__(self) -> dict:
        if self._complete:  # now `receive` waits for the disconnection, without a limit
            return await self._receive()
        remaining = self._until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(remaining, 0))
        except TimeoutError:
            raise _Refused(408) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _Refused(413)
        self._complete = not message.get("more_body", False)
        return message


async def _refuse(scope: dict, send: _Send, status: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})
