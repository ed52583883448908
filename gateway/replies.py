"""The two ways an answer goes to a client: as a stream while it grows, or folded when it is whole.

A streamed event costs one function call and one transport write, no coroutine: the bytes are framed
here as one HTTP chunk each. A slow reader pauses the engine instead of filling memory: the
connection says when (`gateway.protocol`).
"""

import asyncio
from collections.abc import Callable

import msgspec

from adapters.repeated_chunk import Member
from adapters.splice import TextSink
from contracts.errors import GatewayError, UpstreamFault
from contracts.events import End, Event, Fault
from gateway.answers import Fold, Identity, StreamWriter
from gateway.attempt import Upstream
from gateway.entry import Entry
from gateway.http_answer import CHUNK, LAST_CHUNK, HttpAnswer, framed
from gateway.http_request import HttpRequest
from gateway.progress import Progress
from gateway.protocol import EdgeProtocol
from gateway.tongues import Folding, Writer

MakeFolding = Callable[..., Folding]
"""Called as a `Fold` is made."""
HEARTBEAT_MIN_S = 0.02


class StreamReply(TextSink):
    """An AnswerSink that writes SSE. `headers` makes the response's own, as lines, once it opens;
    `present` makes an error fit for the client."""

    def __init__(
        self,
        request: HttpRequest,
        writer: Writer,
        *,
        request_id: str,
        heartbeat_s: float,
        headers: Callable[[Progress], str],
        present: Callable[[GatewayError], GatewayError],
        clock: Callable[[], float],
    ) -> None:
        protocol = request.protocol
        assert isinstance(protocol, EdgeProtocol)
        self._request = request
        self._protocol = protocol
        self._writer = writer
        self._request_id = request_id
        self._heartbeat_s = heartbeat_s
        self._headers = headers
        self._present = present
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._response: HttpAnswer | None = None
        self._transport: asyncio.Transport | None = None
        self._chunked = framed(request)
        self._held: list[bytes] = []
        self._attempt: Upstream | None = None
        self._cut = False
        self.entry: Entry | None = None
        """Its newest place in a queue."""
        self.over = False
        """The last event has gone out: there is nothing left to cancel."""
        self._ended = False
        """And with it the body's end: nothing may follow."""
        self.fault: GatewayError | None = None
        self._missed = False
        """Something could not be sent any more."""
        self._written_s = clock()
        self._beat: asyncio.TimerHandle | None = None

    keeps_back = False

    @property
    def patience_s(self) -> float | None:
        return self._heartbeat_s

    @property
    def opened(self) -> bool:
        return self._response is not None

    @property
    def delivered(self) -> bool:
        """The whole answer has been sent. Clients may leave at the end marker, and not wait for HTTP's own."""
        return self.over and self.opened and self.fault is None and not self._missed

    def attach(self, attempt: Upstream, model: str) -> None:
        self._writer.served_by(model)
        self._attempt = attempt
        self._protocol.read_from(attempt)

    async def open(self, progress: Progress) -> None:
        if self._response is None:
            response = HttpAnswer(
                self._headers(progress), content_type="text/event-stream; charset=utf-8"
            )
            first, self._held = b"".join(self._held), []
            self._written_s = self._clock()
            if first and self._chunked:
                first = CHUNK % (len(first), first) + self._end()
            response.begin(self._request, first)
            self._response, self._transport = response, self._protocol.transport
            self._beat = self._loop.call_later(self._heartbeat_s, self._heartbeat)

    def entered(self, entry: Entry) -> None:
        """Its client is told nothing of queues; whoever asks for it by its id is."""
        self.entry = entry

    async def waiting(self, progress: Progress) -> None:
        if self._response is None:
            await self.open(progress)
            self.send(self._writer.heartbeat, self._clock())  # from here on the timer sends them

    def events(self, events: list[Event]) -> None:
        if self._cut:
            return
        data = self._frames(events)
        if not data:
            return
        if self._response is None:
            self._held.append(data)
        else:
            self.send(data, self._clock(), self._end())

    def around(self, choice: int, member: Member) -> tuple[bytes, bytes] | None:
        if self._cut or self._response is None or not isinstance(self._writer, StreamWriter):
            return None
        return self._writer.around(choice, member)

    def _frames(self, events: list[Event]) -> bytes:
        last = events[-1]
        self.over = isinstance(last, End | Fault)
        try:
            if not isinstance(last, Fault):
                return self._writer.write(events)
            self.fault = last.error
            return self._writer.write(events[:-1]) + self._told(last.error)
        except UpstreamFault as exc:
            self.over, self.fault = True, exc
            self.cut()
            return self._told(exc)

    def _end(self) -> bytes:
        """What goes out behind the last event of a good answer, in one write with it; nothing behind others."""
        self._ended = self.over and self.fault is None
        return LAST_CHUNK if self._ended else b""

    def _told(self, error: GatewayError) -> bytes:
        return self._writer.failed(self._present(error), self._request_id)

    def fail(self, error: GatewayError) -> None:
        """The headers are out, so the error is the stream's last event."""
        if not self._ended:
            self.send(self._told(error), self._clock())

    async def close(self) -> HttpAnswer:
        """End the body. Call once, after the last event or `fail`."""
        self.stop()
        assert self._response is not None
        self._response.ended = self._ended and not self._missed
        await self._response.write_eof()
        return self._response

    def cut(self) -> None:
        """Nothing more of the answer goes out, whoever still writes; an error still may, by `fail`."""
        self._cut = True
        self._held.clear()
        self.abandon()

    def abandon(self) -> None:
        """The client is gone: so must be what still works for it."""
        if self._attempt is not None:
            self._attempt.cancel()

    def stop(self) -> None:
        """Stop the clock and let go of the engine; safe to call more than once."""
        self._protocol.read_from(None)
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def send(self, frames: bytes, at_s: float, end: bytes = b"") -> None:
        """As one chunk, once it is open, and `end` behind it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            self._missed = True  # the client left; aiohttp is about to cancel this request
            return
        self._written_s = at_s
        transport.write(CHUNK % (len(frames), frames) + end if self._chunked else frames)

    def _heartbeat(self) -> None:
        """One timer a stream: it looks at the clock when it fires, not at every token."""
        if self._ended:
            return
        now_s = self._clock()
        quiet_s = now_s - self._written_s
        if quiet_s >= self._heartbeat_s and not self._protocol.reader_lags:
            self.send(self._writer.heartbeat, now_s)
            quiet_s = 0.0
        delay_s = max(self._heartbeat_s - quiet_s, HEARTBEAT_MIN_S)
        self._beat = self._loop.call_later(delay_s, self._heartbeat)


class FoldReply:
    """An AnswerSink that keeps the answer until it is whole."""

    patience_s: float | None = None
    """A folded answer has no headers to send early: it waits in silence."""

    keeps_back = True

    def __init__(self, identity: Identity, *, max_bytes: int, folding: MakeFolding = Fold) -> None:
        self._identity = identity
        self._max_bytes = max_bytes
        self._folding = folding
        self._fold = folding(identity, max_bytes=max_bytes)
        self._attempt: Upstream | None = None
        self.entry: Entry | None = None
        """Its newest place in a queue."""
        self.over = False
        """The answer is whole."""
        self.fault: GatewayError | None = None
        self._too_large: UpstreamFault | None = None

    def attach(self, attempt: Upstream, model: str) -> None:
        if self._attempt is not None or model != self._identity.model:
            identity = msgspec.structs.replace(self._identity, model=model)
            self._fold = self._folding(identity, max_bytes=self._max_bytes)
        self._attempt = attempt

    async def open(self, progress: Progress) -> None:
        """Nothing to say before the end."""

    def entered(self, entry: Entry) -> None:
        self.entry = entry

    def cut(self) -> None:
        """What works for it need not go on."""
        if self._attempt is not None:
            self._attempt.cancel()

    async def waiting(self, progress: Progress) -> None:
        """Nothing to say before the end."""

    def events(self, events: list[Event]) -> None:
        self.over = type(events[-1]) is End
        try:
            self._fold.add(events)
        except UpstreamFault as exc:
            self._too_large = exc
            self.cut()

    def body(self) -> bytes:
        """The whole answer. Raises UpstreamFault if it was too large."""
        if self._too_large is not None:
            raise self._too_large
        return self._fold.body()
