"""What comes of one attempt: bytes in, well-formed events out.

No coroutine runs per token: the transport calls `on_data`, which decodes, normalises and hands the
events to the sink in the same call. Nothing reaches the sink before the first content, so that
until then another attempt can take over; that moment is the commit. After it, a fault is an event.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from adapters.dialect import AttemptContext, Decoder, Dialect, WireHead
from adapters.normalise import Normaliser
from adapters.openai_decoders import StreamDecoder
from adapters.splice import Splice, TextSink
from adapters.transport import Exchange
from contracts.errors import GatewayError, UpstreamFault, UpstreamTimeout
from contracts.events import Delta, End, Event, Fault, Usage
from contracts.inference import InferRequest
from gateway.alarms import EARLY_S, AlarmLine
from gateway.slot import Slot
from policies import pace
from policies.flight import Flight

ERROR_BODY_BYTES = 64 * 1024
"""How much of an engine's error answer is read; the rest adds nothing to a message."""
LINGER_S = 1.0
"""After the last event, how long the connection may take to end properly and so be reused; and after
the last finish marker, how long usage and the end marker are waited for."""


class EventSink(Protocol):
    """Where a committed attempt's events go. Must not raise, must not block."""

    def events(self, events: list[Event]) -> None: ...


class Watch(Protocol):
    """Who is told how an attempt goes, as it goes. Must not raise, must not block."""

    flight: Flight

    def head(self, queue_s: float | None) -> None:
        """A good answer begins; `queue_s` is what the backend says it waited in its own queue."""
        ...

    def first_token(self, at_s: float) -> None: ...


class _Nobody:
    """The sink of an attempt that is over. The real one knows the attempt: two that know each other are left
    to the garbage collector, with all that hangs on them."""

    def events(self, events: list[Event]) -> None:
        pass


_NOBODY = _Nobody()


class Receiving(ABC):
    """The half of an attempt that its transport calls (a `ResponseSink`). What is only named here is set by the
    other half, `gateway.attempt`, which sends it and watches its clocks."""

    # More than Python keeps cheaply in an instance's dictionary (29).
    __slots__ = (
        "_alarms",
        "_clock",
        "_closed",
        "_committed",
        "_concluding",
        "_context",
        "_decoder",
        "_dialect",
        "_error_body",
        "_error_head",
        "_exchange",
        "_flight",
        "_held",
        "_infer",
        "_loop",
        "_normaliser",
        "_pace",
        "_paused",
        "_progress_s",
        "_sink",
        "_slot",
        "_splice",
        "_timers",
        "_watch",
        "ended_s",
        "fault",
        "finish_reasons",
        "finished",
        "first_token_s",
        "quiet_s",
        "usage",
    )

    _dialect: Dialect
    _infer: InferRequest
    _context: AttemptContext
    _slot: Slot
    _sink: EventSink
    _watch: Watch | None
    _clock: Callable[[], float]
    _loop: asyncio.AbstractEventLoop
    _pace: pace.Pace | None
    _normaliser: Normaliser
    _decoder: Decoder | None
    _splice: Splice | None
    _held: list[Event]
    _exchange: Exchange | None
    _alarms: AlarmLine | None
    """Set while all goes well; timers of its own it has only after that has rung."""
    _timers: list[asyncio.TimerHandle]
    _closed: bool
    _concluding: bool
    _progress_s: float
    _error_head: WireHead | None
    _error_body: bytes
    _paused: bool
    _flight: Flight | None
    """What its watch counts on, once an answer has begun."""
    _committed: "asyncio.Future[None] | None"
    """Made when somebody asks for it."""
    finished: "asyncio.Future[None]"
    first_token_s: float | None
    ended_s: float | None
    usage: Usage | None
    finish_reasons: list[str]
    fault: GatewayError | None
    quiet_s: float
    """How long nothing had come when its connection ended, or a clock ended it, before the last event."""

    @property
    def committed(self) -> "asyncio.Future[None]":
        if self._committed is None:
            self._committed = self._loop.create_future()
            self._tell_commit()
        return self._committed

    def _tell_commit(self) -> None:
        """Whoever waits for the first content hears of what came: it, the fault, or the end."""
        waited = self._committed
        if waited is None or waited.done():
            return
        if self.first_token_s is not None:
            waited.set_result(None)
        elif self.fault is not None:
            waited.set_exception(self.fault)
            waited.exception()  # in a race, nobody may ask for it any more
        elif self._closed:
            waited.cancel()

    def cancel(self) -> None:
        """The client left, or another attempt took over: stop the engine, free the slot."""
        if not self._closed:
            if self._exchange is not None:
                self._exchange.cancel()
            self._close()

    @abstractmethod
    def ring(self) -> None:
        """One of the clocks that are set for it in `_alarms` has run out."""
        ...

    # -- ResponseSink -------------------------------------------------------------------

    def on_head(self, head: WireHead) -> None:
        self._progress_s = self._clock()
        limits = self._dialect.rate_limits(head)
        if limits is not None:
            self._slot.endpoint.told_limits(limits, self._progress_s)
        if head.status == 200:
            decoder = self._decoder = self._dialect.decoder(self._infer, self._context, head)
            # Nobody reads along what is joined, and a pace is measured by events.
            if not self._context.joins and self._pace is None:
                sink = self._sink
                if isinstance(sink, TextSink) and isinstance(decoder, StreamDecoder):
                    self._splice = Splice(decoder, self._normaliser, sink)
            if self._watch is not None:
                self._flight = self._watch.flight
                self._watch.head(self._dialect.queue_s(head))
        else:
            self._error_head = _dated(head)

    def on_data(self, data: bytes) -> None:
        splice = self._splice
        if splice is not None and (frames := splice.frames(data)):
            now_s = self._progress_s = self._clock()
            flight = self._flight
            if flight is not None:
                flight.tokens += splice.pieces
                flight.last_s = now_s
            splice.sink.send(frames, now_s)
            return
        if self._decoder is not None:
            self._deliver(self._decoder.feed(data))
            if splice is not None:
                splice.renew()
            return
        room = ERROR_BODY_BYTES - len(self._error_body)
        self._error_body += data[:room]
        if len(data) >= room:
            self._fail(self._refusal())

    def on_end(self) -> None:
        if not self._normaliser.over:
            self.quiet_s = self._clock() - self._progress_s
            if self._decoder is None:
                self._fail(self._refusal())
            else:
                self._deliver([*self._decoder.close(), End()])
        self._close()

    def on_error(self, error: UpstreamFault) -> None:
        self.quiet_s = self._clock() - self._progress_s
        # An engine that had refused by then has said why, better than a socket or a clock can.
        self._fail(error if self._error_head is None else self._refusal())

    def _refusal(self) -> UpstreamFault:
        """What the engine's error answer means, as far as it has come."""
        head = self._error_head or WireHead(status=502, headers={})
        fault = self._dialect.fault(head, self._error_body)
        if fault.fault == "rate_limit" and fault.retry_after_s is None:
            limits = self._dialect.rate_limits(head)
            fault.retry_after_s = None if limits is None else limits.wait_s
        return fault

    # -- events -------------------------------------------------------------------------

    def _deliver(self, said: list[Event]) -> None:
        """What the engine has said, well-formed, to the sink; nothing before the first content."""
        normaliser = self._normaliser
        known = normaliser.deltas
        events = normaliser.push(said)
        if not events:
            if self.first_token_s is None:
                self._progress_s = self._clock()  # pings count until the first token, not after
            if normaliser.complete and not normaliser.over:
                self._await_farewell()  # a finish may be held back for the usage that judges it
            return
        now_s = self._progress_s = self._clock()
        if self.first_token_s is None:
            self._held += events
            if not self._begins(now_s):
                return
            events, self._held = self._held, []
        if self._flight is not None and normaliser.deltas > known:
            self._flight.tokens += normaliser.deltas - known
            self._flight.last_s = now_s
        if self._pace is not None:
            for event in events:
                if isinstance(event, Delta):
                    self._pace.note(event)
        if normaliser.fault is not None:
            self.fault = normaliser.fault
        self._sink.events(events)
        if self._closed:
            return  # the sink has had enough
        if self.fault is not None:
            self.cancel()  # what a broken stream may still send is of no use
        elif normaliser.over:
            self._finish(now_s)
        elif normaliser.complete:
            self._await_farewell()

    def _begins(self, now_s: float) -> bool:
        """Whether the answer begins with what has just come, or is empty and over. Headers, role-only deltas and
        comments are no content."""
        normaliser = self._normaliser
        if not (normaliser.deltas or normaliser.document):
            if normaliser.fault is not None:
                self._fail(normaliser.fault)
                return False
            if not normaliser.over:
                if normaliser.complete:
                    self._await_farewell()
                return False
        self.first_token_s = now_s
        if self._pace is not None:
            self._pace.begin(now_s)
            self._arm(pace.WINDOW_S, self._check_pace)
        if self._committed is not None:
            self._tell_commit()
        if self._watch is not None:
            self._watch.first_token(now_s)
        return True

    def _await_farewell(self) -> None:
        """All choices have finished: usage and the end marker have only so long."""
        if not self._concluding:
            self._concluding = True
            self._arm(LINGER_S, self._conclude)

    def _conclude(self) -> None:
        """All choices have finished and nothing more comes: the answer is whole without it."""
        if not self._normaliser.over:
            self._deliver([End()])
            self.cancel()

    def _fail(self, error: GatewayError) -> None:
        """The attempt is lost: before the commit the executor hears of it, after it the client."""
        begun = self.first_token_s is not None
        if self._closed or (self._normaliser.over and begun):
            self.cancel()
            return
        if self._normaliser.complete and not self._normaliser.over:
            self._conclude()  # what failed is only the farewell
            return
        if isinstance(error, UpstreamFault) and error.where is None:
            error.where = self._slot.endpoint.where
        self.fault = error
        if not begun:
            self._tell_commit()
        else:
            self._deliver([Fault(error=error)])
        if self._exchange is not None:
            self._exchange.cancel()
        self._close()

    def _finish(self, now_s: float) -> None:
        """The last event is out. The client need not wait for the connection to end; the slot does."""
        self.ended_s = now_s
        normaliser = self._normaliser
        if self.first_token_s is not None:
            self.usage, self.finish_reasons = normaliser.usage, normaliser.finish_reasons
        if self.fault is not None or normaliser.over:
            self._slot.ended(self.fault)
        if not self.finished.done():
            self.finished.set_result(None)

    def _close(self) -> None:
        if self._closed:
            return
        if self.ended_s is None:
            self._finish(self._clock())
        self._closed = True
        self._sink, self._splice = _NOBODY, None
        self._disarm()
        self._slot.release()
        if self._committed is not None:
            self._tell_commit()

    def _arm(self, delay_s: float, action: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(delay_s, action))

    def _disarm(self) -> None:
        if self._alarms is not None:
            self._alarms.unset(self)
        if self._timers:
            for timer in self._timers:
                timer.cancel()
            self._timers = []

    def _check_pace(self) -> None:
        """One timer a window. A reader who paused has made the window begin anew."""
        assert self._pace is not None
        now_s = self._clock()
        if self._normaliser.complete:
            return
        if self._paused:
            self._pace.begin(now_s)
        left_s = self._pace.left_s(now_s)
        if left_s > 0:
            self._arm(max(left_s, EARLY_S), self._check_pace)
        elif self._pace.is_too_slow(now_s):
            said = f"the engine sent fewer than {self._pace.floor:g} tokens a second"
            self.on_error(UpstreamTimeout(said, fault="timeout", code="upstream_too_slow"))
        else:
            self._pace.begin(now_s)
            self._arm(pace.WINDOW_S, self._check_pace)


def _dated(head: WireHead) -> WireHead:
    """With the time of its receipt, where it has none (RFC 9110, section 6.6.1): a `Retry-After` may be a date."""
    if "date" in head.headers:
        return head
    return WireHead(status=head.status, headers={**head.headers, "date": formatdate(usegmt=True)})
