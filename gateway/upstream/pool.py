"""The connections of one endpoint, and `HttpTransport`, which puts exchanges on them.

Must stay true: never more than `max_connections` in use, never a wait for one. The queue is the
gateway's admission, in front; here a request is carried now or refused now. Decides nothing about
retries but one: what a reused connection swallowed unread is sent again on a fresh one.
"""

import asyncio
import ssl as tls
from functools import cached_property

from adapters.dialect import WireRequest
from adapters.transport import Exchange, ResponseSink
from contracts.errors import UpstreamFault
from gateway.afterwards import Afterwards
from gateway.upstream.connection import Connection
from gateway.upstream.exchange import HttpExchange
from gateway.upstream.head import RequestEncoder
from gateway.upstream.target import Target


class HttpTransport:
    """HTTP/1.1 to one endpoint. See `adapters.transport.Transport`.

    `url` is the endpoint's, its path in front of every request's; `where` is how errors name it
    ("pool local, endpoint 1"). `ssl` replaces the default context of an https URL.
    `idle_timeout_s` must stay below the backend's own (llama-server: 5 s). `afterwards` says when requests are
    written; without it that is at once.
    Raises ValueError for a URL that names no endpoint.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        max_connections: int,
        idle_timeout_s: float = 4.0,
        ssl: tls.SSLContext | None = None,
        where: str,
        afterwards: Afterwards | None = None,
    ) -> None:
        self._target = Target.parse(url)
        self._encoder = RequestEncoder(self._target)
        self._tls = (ssl or tls.create_default_context()) if self._target.tls else None
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._where = where
        self._afterwards = afterwards or Afterwards()
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, float] = {}  # since when; longest idle first
        self._sweep: asyncio.TimerHandle | None = None
        self._shut = False

    @property
    def connections(self) -> int:
        """Sockets being dialled, in use, or idle. One that was aborted counts no more, although
        its file descriptor lives until the event loop's next round."""
        return len(self._connections)

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    def start(self, request: WireRequest, sink: ResponseSink) -> Exchange:
        """Begin an exchange. With all connections in use it fails with the fault `overload`.

        Raises ValueError for a request that HTTP cannot carry: a bug of the caller.
        """
        exchange = HttpExchange(sink, self._encoder.encode(request))
        connection = self._take_idle()
        if connection is not None:
            connection.carry(exchange, self._afterwards)
        else:
            self._dial(exchange)
        return exchange

    async def aclose(self) -> None:
        """Close all connections. What still runs fails: `unavailable`, or broken once begun."""
        self._shut = True
        if self._sweep is not None:
            self._sweep.cancel()
        closing = list(self._connections)
        for connection in closing:
            connection.shut_down()
        for connection in closing:
            await connection.wait_closed()

    # -- told by connections ------------------------------------------------------------

    def released(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._idle[connection] = self._loop.time()
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_timeout_s, self._close_expired)

    def closed(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)

    def redial(self, exchange: HttpExchange) -> None:
        """See `connection.Owner`."""
        self._dial(exchange)

    # -- inside -------------------------------------------------------------------------

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """That of the first request: to ask which one runs is a system call (getpid, up to Python 3.11)."""
        return asyncio.get_running_loop()

    def _take_idle(self) -> Connection | None:
        """The connection used last: the likeliest to live, and the others may expire."""
        oldest_use_s = self._loop.time() - self._idle_timeout_s
        while self._idle:
            connection, idle_since_s = self._idle.popitem()
            if idle_since_s > oldest_use_s and connection.is_quiet():
                return connection
            connection.abort()
        return None

    def _dial(self, exchange: HttpExchange) -> None:
        if self._shut:
            why = f"{self._where}: the gateway is closing down"
            error = UpstreamFault(why, fault="unavailable", status=503, where=self._where)
            self._loop.call_soon(exchange.fail, error)
        elif len(self._connections) >= self._max_connections:
            why = f"{self._where}: all {self._max_connections} connections are in use"
            error = UpstreamFault(why, fault="overload", status=503, where=self._where)
            self._loop.call_soon(exchange.fail, error)
        else:
            connection = Connection(self, self._where)
            self._connections.add(connection)
            connection.dial(
                exchange, self._target, timeout_s=self._connect_timeout_s, tls=self._tls
            )

    def _close_expired(self) -> None:
        """Close what has been idle too long; come back when the next one may have been."""
        self._sweep = None
        for connection, idle_since_s in list(self._idle.items()):
            expires_s = idle_since_s + self._idle_timeout_s
            if expires_s > self._loop.time():
                self._sweep = self._loop.call_at(expires_s, self._close_expired)
                return
            connection.abort()
