"""The server's side of one client connection: aiohttp's, with the bounds it lacks.

aiohttp waits for a slow header for as long as its keep-alive lasts and takes any number of
connections. Here a request's head must arrive within `header_timeout_s`, connections are counted
and capped, and a malformed request gets an OpenAI error object.
"""

import asyncio
import logging
from typing import Any

from aiohttp import http_exceptions, web

from contracts.errors import ClientFault, GatewayError, HeadersTooLarge, TooManyConnections
from gateway import logs


class Connections:
    """How many client connections are open, and how many may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0
        self.serving = 0
        """Requests whose answer is not complete."""
        self.quiet = asyncio.Event()
        """Set while there are none."""
        self.quiet.set()


class EdgeProtocol(web.RequestHandler):
    """Handlers call `began` when a request is theirs and `ended` when they have answered it."""

    __slots__ = ("_connections", "_counted", "_header_timeout_s", "_header_timer", "_serving")

    def __init__(
        self,
        manager: web.Server,
        *,
        connections: Connections,
        header_timeout_s: float,
        **options: Any,
    ) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._connections = connections
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None
        self._serving = 0
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._connections.open >= self._connections.limit:
            self._turn_away()
            return
        self._connections.open += 1
        self._counted = True

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted:
            self._counted = False
            self._connections.open -= 1
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._header_timer is None and self._serving == 0:
            loop = asyncio.get_running_loop()
            self._header_timer = loop.call_later(self._header_timeout_s, self._head_is_late)
        super().data_received(data)

    def began(self) -> None:
        """The head is complete; reading the body has a clock of its own."""
        self._serving += 1
        self._connections.serving += 1
        self._connections.quiet.clear()
        self._stop_timer()

    def ended(self) -> None:
        self._serving -= 1
        self._connections.serving -= 1
        if self._connections.serving == 0:
            self._connections.quiet.set()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that HTTP itself cannot read, or a bug of ours; the connection closes after it."""
        error: GatewayError
        if isinstance(exc, http_exceptions.LineTooLong):
            error = HeadersTooLarge("the request line or a header is too long")
        elif isinstance(exc, http_exceptions.HttpProcessingError) or status < 500:
            error = ClientFault("the request is not valid HTTP/1.1", param=None)
        else:
            logs.event(logging.ERROR, "bug", reason=repr(exc))
            error = GatewayError("internal error")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; the connection can only be closed")
        response = web.Response(
            status=error.status, body=error.encode(), content_type="application/json"
        )
        response.force_close()
        return response

    def _turn_away(self) -> None:
        error = TooManyConnections("too many connections", retry_after_s=1.0)
        body = error.encode()
        assert self.transport is not None
        self.transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        self.transport.close()

    def _head_is_late(self) -> None:
        self._header_timer = None
        if self._serving == 0 and self.transport is not None:
            logs.event(logging.INFO, "slow_header", seconds=self._header_timeout_s)
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
