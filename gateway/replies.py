"""The two ways an answer goes to a client: as a stream while it grows, or folded when it is whole.

A streamed event costs one function call and one transport write, no coroutine: the bytes are framed
here as one HTTP chunk each. A slow reader pauses the engine instead of filling memory.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec
from aiohttp import HttpVersion11, web

from contracts.errors import GatewayError, UpstreamFault
from contracts.events import Event
from gateway import logs
from gateway.answers import HEARTBEAT, Fold, StreamWriter, error_frame
from gateway.attempt import Attempt
from gateway.executor import Progress

Headers = dict[str, str]
POLL_S = 0.02
"""How often a paused stream looks whether its reader has caught up."""


class FlowLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one streamed answer."""

    write_buffer_bytes: int
    slow_reader_s: float
    heartbeat_s: float


class StreamReply:
    """An AnswerSink that writes SSE. `headers` makes the response's own headers once it opens."""

    def __init__(
        self,
        request: web.Request,
        writer: StreamWriter,
        *,
        limits: FlowLimits,
        headers: Callable[[Progress], Headers],
    ) -> None:
        self._request = request
        self._writer = writer
        self._limits = limits
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._response: web.StreamResponse | None = None
        self._chunked = request.version >= HttpVersion11
        self._held: list[bytes] = []
        self._attempt: Attempt | None = None
        self._written_s = self._loop.time()
        self._beat: asyncio.TimerHandle | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._slow_since_s = 0.0

    @property
    def patience_s(self) -> float | None:
        return self._limits.heartbeat_s

    @property
    def opened(self) -> bool:
        return self._response is not None

    def attach(self, attempt: Attempt) -> None:
        self._attempt = attempt

    async def open(self, progress: Progress) -> None:
        if self._response is None:
            response = web.StreamResponse(headers=self._headers(progress))
            response.content_type = "text/event-stream"
            response.charset = "utf-8"
            if self._chunked:
                response.enable_chunked_encoding()
            await response.prepare(self._request)
            self._response = response
            self._beat = self._loop.call_later(self._limits.heartbeat_s, self._heartbeat)
        held, self._held = self._held, []
        for data in held:
            self._send(data)

    async def waiting(self, progress: Progress) -> None:
        await self.open(progress)
        self._send(HEARTBEAT)

    def events(self, events: list[Event]) -> None:
        data = self._writer.write(events)
        if not data:
            return
        if self._response is None:
            self._held.append(data)
        else:
            self._send(data)

    def fail(self, error: GatewayError, request_id: str) -> None:
        """The headers are out, so the error is the stream's last event."""
        self._send(error_frame(error, request_id))

    async def close(self) -> web.StreamResponse:
        """End the body. Call once, after the last event or `fail`."""
        self.stop()
        assert self._response is not None
        await self._response.write_eof()
        return self._response

    def stop(self) -> None:
        """Stop the clocks; safe to call more than once."""
        for timer in (self._beat, self._slow):
            if timer is not None:
                timer.cancel()
        self._beat = self._slow = None

    def _send(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return  # the client left; aiohttp is about to cancel this request
        self._written_s = self._loop.time()
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if transport.get_write_buffer_size() > self._limits.write_buffer_bytes:
            self._hold_back()

    def _hold_back(self) -> None:
        """The reader is slow: stop reading from the engine until it has caught up."""
        if self._slow is None and self._attempt is not None:
            self._slow_since_s = self._loop.time()
            self._attempt.pause()
            self._slow = self._loop.call_later(POLL_S, self._look_again)

    def _look_again(self) -> None:
        self._slow = None
        transport = self._request.transport
        if transport is None or transport.is_closing() or self._attempt is None:
            return
        if transport.get_write_buffer_size() <= self._limits.write_buffer_bytes // 2:
            self._attempt.resume()
        elif self._loop.time() - self._slow_since_s > self._limits.slow_reader_s:
            logs.event(logging.WARNING, "slow_reader", seconds=self._limits.slow_reader_s)
            transport.abort()
        else:
            self._slow = self._loop.call_later(POLL_S, self._look_again)

    def _heartbeat(self) -> None:
        """One timer a stream: it looks at the clock when it fires, not at every token."""
        quiet_s = self._loop.time() - self._written_s
        if quiet_s >= self._limits.heartbeat_s and self._slow is None:
            self._send(HEARTBEAT)
            quiet_s = 0.0
        delay_s = max(self._limits.heartbeat_s - quiet_s, POLL_S)
        self._beat = self._loop.call_later(delay_s, self._heartbeat)


class FoldReply:
    """An AnswerSink that keeps the answer until it is whole."""

    patience_s: float | None = None
    """A folded answer has no headers to send early: it waits in silence."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._attempt: Attempt | None = None
        self._too_large: UpstreamFault | None = None

    def attach(self, attempt: Attempt) -> None:
        self._attempt = attempt

    async def open(self, progress: Progress) -> None:
        """Nothing to say before the end."""

    async def waiting(self, progress: Progress) -> None:
        """Nothing to say before the end."""

    def events(self, events: list[Event]) -> None:
        try:
            self._fold.add(events)
        except UpstreamFault as exc:
            self._too_large = exc
            if self._attempt is not None:
                self._attempt.cancel()

    def body(self) -> bytes:
        """The whole answer. Raises UpstreamFault if it was too large."""
        if self._too_large is not None:
            raise self._too_large
        return self._fold.body()
