"""The server's side of one client connection: its requests in turn, with the bounds that aiohttp lacks.

aiohttp waits for a slow header for as long as its keep-alive lasts, for a slow reader for ever, and
takes any number of connections. Here a request's head must arrive within `header_timeout_s`; a
client that does not read pauses what it is sent from, and is cut when it makes no progress;
connections are counted and capped; and a malformed request gets an OpenAI error object. What a
request is about is the edge's.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import http_exceptions, web

from contracts.errors import (
    ClientFault,
    ExpectationFailed,
    GatewayError,
    HeadersTooLarge,
    TooManyConnections,
)
from gateway import logs
from gateway.afterwards import Afterwards
from gateway.error_answers import headers_of
from gateway.http_request import HttpRequest
from gateway.ids import new_request_id
from gateway.turns import Direct, Turns

HOP, PEER = "x-setpoint-hop", "x-setpoint-peer"
"""Between the processes of one gateway: the request was handed on, and from where it came. Believed on
connections from these processes only."""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one connection. `write_buffer_bytes`: what may wait for a reader before its source
    is paused; half of it is the least that a slow reader must take every `slow_reader_s`."""

    header_timeout_s: float
    write_buffer_bytes: int
    slow_reader_s: float


class Connections:
    """How many client connections are open, and how many may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0
        self.served: set[EdgeProtocol] = set()
        """Those whose requests are answered, and those that are lost while one still is."""

    @property
    def serving(self) -> set[asyncio.Task[Any]]:
        """The tasks of connections that have a request whose answer is not complete."""
        return {one.task for one in self.served if one.answering and one.task is not None}

    async def quiet(self) -> None:
        """Returns when no request is being answered."""
        while answering := [one for one in self.served if one.answering]:
            await answering[0].answered()


class Source(Protocol):
    """Where a streamed answer comes from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class EdgeProtocol(Turns):
    """While handlers stream they set `source`."""

    __slots__ = (
        "_backlog",
        "_connections",
        "_counted",
        "_header_timer",
        "_limits",
        "_reader_timer",
        "_source",
        "_wire",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        connections: Connections,
        limits: ConnectionLimits,
        direct: Mapping[str, Direct],
        afterwards: Afterwards,
        inner: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(manager, direct=direct, afterwards=afterwards, inner=inner, **options)
        self._connections = connections
        self._limits = limits
        self._header_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._source: Source | None = None
        self._wire: asyncio.Transport | None = None
        self._backlog = 0
        self._counted = False

    # -- the connection -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self._wire = self.transport  # aiohttp forgets it as soon as it has asked it to close
        if self._connections.open >= self._connections.limit:
            self._turn_away()
            return
        self._connections.open += 1
        self._connections.served.add(self)
        self._counted = True
        high = self._limits.write_buffer_bytes
        self._wire.set_write_buffer_limits(high=high, low=high // 2)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted:
            self._counted = False
            self._connections.open -= 1
        if not self.answering:
            self._connections.served.discard(self)
        self._stop_header_timer()
        self._stop_reader_timer()
        self._source = self._wire = None
        super().connection_lost(exc)

    def left(self) -> None:
        """What it leaves in the buffer has its time as well: a closed transport waits for its reader for ever."""
        self._connections.served.discard(self)
        if self._wire is not None and self._wire.get_write_buffer_size() > 0:
            self._watch_reader()

    def _turn_away(self) -> None:
        error = TooManyConnections("too many connections", retry_after_s=1.0)
        request_id = new_request_id()
        head = "".join(f"{k}: {v}\r\n" for k, v in headers_of(error, request_id).items())
        body = error.encode(request_id)
        assert self.transport is not None
        self.transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            b"%bConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (head.encode("ascii"), len(body), body)
        )
        self.transport.close()

    # -- a request comes in -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        between = not self._in_turn  # the rest of a body that nobody wanted is not a head
        super().data_received(data)
        # aiohttp calls this with nothing as well, to go on with what it has. Heads that are complete wait
        # in `_messages` for the task that serves them: most come in one piece, and need no timer. Reading the
        # body has a clock of its own.
        if self._messages:
            if self._header_timer is not None:
                self._stop_header_timer()
        elif data and between and self._header_timer is None:
            loop = asyncio.get_running_loop()
            self._header_timer = loop.call_later(self._limits.header_timeout_s, self._head_is_late)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that HTTP itself cannot read, or a bug of ours; the connection closes after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; the connection can only be closed")
        error = _malformed(exc, status)
        if error is None:
            logging.getLogger("setpoint").error("bug", exc_info=exc)
            error = GatewayError("internal error")
        else:
            logs.event(logging.INFO, "malformed_request", error=error.code)
        return self._answer_to_nobody(error)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp's own refusals, made before any handler was asked, look like all others."""
        # Asked by status first: `isinstance` of one of aiohttp's responses takes 1 us, each time.
        if resp.status == 417 and isinstance(resp, web.HTTPExpectationFailed):
            resp = self._answer_to_nobody(
                ExpectationFailed("of Expect, only 100-continue can be met")
            )
        return await super().finish_response(request, resp, start_time)

    def _answer_to_nobody(self, error: GatewayError) -> web.Response:
        """For a request that no handler has seen; the connection closes after it."""
        request_id = new_request_id()
        response = web.Response(
            status=error.status,
            headers=headers_of(error, request_id),
            body=error.encode(request_id),
            content_type="application/json",
        )
        response.force_close()
        return response

    def _head_is_late(self) -> None:
        self._header_timer = None
        if not self._in_turn and self._wire is not None:
            logs.event(logging.INFO, "slow_header", seconds=self._limits.header_timeout_s)
            self._wire.abort()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    # -- an answer goes out -------------------------------------------------------------

    @property
    def reader_lags(self) -> bool:
        """More waits for the client than the write buffer may hold."""
        return self.writing_paused

    def read_from(self, source: Source | None) -> None:
        """`source` is paused while the reader lags; None: nothing is streamed any more."""
        self._source = source
        if source is not None and self.writing_paused:
            source.pause()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._source is not None:
            self._source.pause()
        self._watch_reader()

    def resume_writing(self) -> None:
        if self._wire is not None and not self._wire.is_closing():
            self._stop_reader_timer()  # one that closes must be read to the end
        super().resume_writing()
        if self._source is not None:
            self._source.resume()

    def _watch_reader(self) -> None:
        assert self._wire is not None
        self._stop_reader_timer()
        self._backlog = self._wire.get_write_buffer_size()
        self._reader_timer = asyncio.get_running_loop().call_later(
            self._limits.slow_reader_s, self._check_reader
        )

    def _check_reader(self) -> None:
        self._reader_timer = None
        assert self._wire is not None
        taken = self._backlog - self._wire.get_write_buffer_size()
        if taken >= min(self._backlog, self._limits.write_buffer_bytes // 2):
            self._watch_reader()
        else:
            logs.event(logging.WARNING, "slow_reader", seconds=self._limits.slow_reader_s)
            self._wire.abort()

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None


def came_from(request: HttpRequest) -> str | None:
    """The client's address. Another process of this gateway has none, and says whose request it hands on."""
    protocol = request.protocol
    return protocol.remote or (request.headers.get(PEER) if protocol.inner else None)


def _malformed(exc: BaseException | None, status: int) -> GatewayError | None:
    """What is wrong with a request that could not be read; None if the fault is ours."""
    if isinstance(exc, http_exceptions.LineTooLong):
        return HeadersTooLarge("the request line or a header is too long")
    if isinstance(exc, http_exceptions.HttpProcessingError) or status < 500:
        if "Too many headers" in str(exc):  # aiohttp has no class for it
            return HeadersTooLarge("the request has too many headers")
        return ClientFault("the request is not valid HTTP/1.1")
    return None
