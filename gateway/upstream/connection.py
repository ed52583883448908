"""One socket to an endpoint, from dialling it to losing it; one exchange on it at a time.

Bytes go from `data_received` through the parser to the sink in one call: no task, no future, no
queue. The one task here is the dial; the connection holds it and it reports every failure.

    dialling -> carrying <-> idle       any of them -> closed, and then for good

Must stay true: a connection is only handed back for reuse when the answer ended exactly where the
read did, the request was written in full, and the peer wishes to go on.
"""

import asyncio
import select
import ssl
from typing import Protocol, cast

from contracts.errors import ConnectFailed, StreamBroken, UpstreamFault
from gateway.afterwards import Afterwards
from gateway.upstream.dial import dial
from gateway.upstream.exchange import HttpExchange
from gateway.upstream.response import ResponseReader
from gateway.upstream.response_head import ResponseRefused
from gateway.upstream.target import Target


class Owner(Protocol):
    """What a connection tells its pool. Each is called before the exchange hears of it."""

    def released(self, connection: "Connection") -> None:
        """It is idle, and may carry another exchange."""

    def closed(self, connection: "Connection") -> None:
        """It is of no more use. Said once."""

    def redial(self, exchange: HttpExchange) -> None:
        """A reused connection died unread: carry this on a fresh one. Said at most once each."""


class Connection(asyncio.Protocol):
    """See the module. `where` names the endpoint in errors, without an address."""

    def __init__(self, owner: Owner, where: str) -> None:
        self._owner = owner
        self._where = where
        self._transport: asyncio.Transport | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._exchange: HttpExchange | None = None
        self._reader = ResponseReader()
        self._reused = False
        self._unsent = False
        """It carries an exchange whose request will be written soon."""
        self._poll: select.poll | None = None
        self._closed = False
        self._lost = asyncio.Event()

    # -- called by the pool -------------------------------------------------------------

    def dial(
        self,
        exchange: HttpExchange,
        target: Target,
        *,
        timeout_s: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Connect, then carry `exchange`. Returns at once."""
        self._exchange = exchange
        exchange.carrier = self
        self._dialling = asyncio.get_running_loop().create_task(
            self._dial_and_send(target, timeout_s, tls)
        )

    def carry(self, exchange: HttpExchange, afterwards: Afterwards) -> None:
        """Carry one more exchange on this idle connection. Returns at once; its request may be written a little later,
        with others'."""
        self._exchange = exchange
        exchange.carrier = self
        self._reused = self._unsent = True
        self._reader.expect(exchange)
        afterwards.write(self._send)

    def is_quiet(self) -> bool:
        """Nothing waits to be read: neither stray bytes nor the end of an idle connection.

        One system call. It catches most peers that promised keep-alive and closed (llama-server
        after a stream), and answers that nobody asked for, before they meet a request.
        """
        if self._closed or self._transport is None or self._transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    def abort(self) -> None:
        """Close the socket now, whatever it is doing. Its exchange hears nothing. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._exchange = None
        self._reader.release()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._owner.closed(self)

    def fail(self, error: UpstreamFault) -> None:
        """`abort`, and tell the exchange why."""
        exchange = self._exchange
        self.abort()
        if exchange is not None:
            exchange.fail(error)

    def shut_down(self) -> None:
        """The transport is closing down: `fail` what is carried."""
        why = f"{self._where}: the gateway closed the connection"
        if self._exchange is not None and self._reader.begun:
            self.fail(StreamBroken(why, fault="stream_broken", where=self._where))
        else:
            self.fail(UpstreamFault(why, fault="unavailable", where=self._where))

    async def wait_closed(self) -> None:
        """After `abort`: until the socket is gone."""
        if self._dialling is not None:
            await asyncio.wait([self._dialling])
        if self._transport is not None:
            await self._lost.wait()

    # -- called by the exchange ---------------------------------------------------------

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- called by the event loop -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._closed:  # given up on while the loop was about to say so
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        reader, exchange = self._reader, self._exchange
        if exchange is None:
            why = f"{self._where} spoke before it was asked"
            self.fail(UpstreamFault(why, fault="upstream_bug", where=self._where))
            return
        if self._unsent:  # what it says is no answer, and whom it carries has asked nothing yet
            self.abort()
            self._owner.redial(exchange)
            return
        try:
            reader.feed(data)
        except ResponseRefused as refused:
            why = f"{self._where} sent a response that is refused: {refused}"
            self.fail(UpstreamFault(why, fault="upstream_bug", where=self._where))
            return
        if reader.complete and not self._closed:  # as it is if cancelled from within `feed`
            self._complete(exchange)

    def eof_received(self) -> None:
        self._peer_closed(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer_closed(clean=exc is None)
        self._lost.set()

    # -- inside -------------------------------------------------------------------------

    async def _dial_and_send(
        self, target: Target, timeout_s: float, tls: ssl.SSLContext | None
    ) -> None:
        try:
            await dial(target, lambda: self, timeout_s=timeout_s, tls=tls, where=self._where)
        except ConnectFailed as error:
            self._dialling = None
            self.fail(error)
        except Exception:  # a bug: the exchange must end all the same, and the loop logs it
            self._dialling = None
            self.fail(ConnectFailed(f"{self._where}: the gateway failed to connect"))
            raise
        else:
            self._dialling = None
            if not self._closed:  # the peer may have left in the meantime
                assert self._exchange is not None, "nothing to send"
                self._reader.expect(self._exchange)
                self._send()

    def _send(self) -> None:
        """What it carries, unless that was cancelled or the peer has left."""
        exchange, transport = self._exchange, self._transport
        self._unsent = False
        if exchange is None or transport is None or transport.is_closing():
            return
        if exchange.paused:
            transport.pause_reading()
        # One write, so that head and body leave in one segment. It is not bounded here: the
        # body's limit at the edge is.
        transport.write(exchange.wire)
        if not self._reused:
            exchange.wire = b""

    def _complete(self, exchange: HttpExchange) -> None:
        transport = self._transport
        assert transport is not None, "complete without a socket"
        if (
            self._reader.reusable
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0  # answered before it had read the request
        ):
            self._exchange = None
            if exchange.paused:
                transport.resume_reading()
            self._owner.released(self)
        else:
            self.abort()
        exchange.end()

    def _peer_closed(self, *, clean: bool) -> None:
        exchange = self._exchange
        self.abort()
        if exchange is None:
            return
        where = self._where
        match self._reader.at_close(clean=clean):
            case "ended":
                exchange.end()
            case "no_answer" if self._reused:
                # It may have closed for idleness while the request was on its way.
                self._owner.redial(exchange)
            case "no_answer":
                why = f"{where} closed the connection without an answer"
                exchange.fail(UpstreamFault(why, fault="unavailable", where=where))
            case "head_cut":
                why = f"{where} closed the connection inside the head of its answer"
                exchange.fail(UpstreamFault(why, fault="unavailable", where=where))
            case "body_cut":
                why = f"{where} closed the connection before the end of its answer"
                exchange.fail(StreamBroken(why, fault="stream_broken", where=where))
