"""One attempt at one endpoint: bytes in, well-formed events out, and the clocks that bound it.

No coroutine runs per token: the transport calls `on_data`, which decodes, normalises and hands the
events to the sink in the same call. Nothing reaches the sink before the first content, so that
until then another attempt can take over; that moment is the commit. After it, a fault is an event.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

import msgspec

from adapters.dialect import AttemptContext, Decoder, Dialect, WireHead, WireRequest
from adapters.normalise import Normaliser
from adapters.openai_decoders import StreamDecoder
from adapters.splice import Splice, TextSink
from adapters.transport import Exchange
from contracts.errors import GatewayError, UpstreamFault, UpstreamTimeout
from contracts.events import Delta, Document, End, Event, Fault, Finish, Usage, UsageReport
from contracts.inference import InferRequest, Timeouts
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


class Upstream(Protocol):
    """What an answer comes from, for its sink. Each may be called at any time, and more than once."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None: ...


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


def expected_choices(infer: InferRequest) -> int:
    """How many answers the request asks for: `n`, times the prompts of a text completion."""
    prompts = 1
    if infer.operation == "completion":
        told = memoryview(infer.members.get("prompt", b'""'))
        prompt = msgspec.json.decode(told) if told[0] == ord("[") else ()
        if prompt and isinstance(prompt[0], str | list):
            prompts = len(prompt)
    return infer.facts.n * prompts


class Attempt:
    """Create, `prepare`, `start`, await `committed`, then `finished`, and `let_go` in any case; `cancel` at any time.

    `committed` is done when the first content (or the end of an empty answer) is there, or holds
    the fault that came instead. `finished` is done when the last event has been handed on, or none comes any more:
    who needs nothing before the end waits for that alone, and looks at `fault` and `first_token_s`.
    Times are seconds on the gateway's clock, which is finer than the event loop's (uvloop: whole ms).
    """

    # What nothing but trouble sets: with it in every instance there would be more than Python keeps cheaply.
    fault: GatewayError | None = None
    quiet_s = 0.0
    """How long nothing had come when its connection ended, or a clock ended it, before the last event."""
    _error_head: WireHead | None = None
    _error_body = b""
    _paused = False
    _committed: "asyncio.Future[None] | None" = None
    """Made when somebody asks for it."""

    def __init__(
        self,
        infer: InferRequest,
        context: AttemptContext,
        dialect: Dialect,
        slot: Slot,
        sink: EventSink,
        timeouts: Timeouts,
        is_last: bool,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        watch: Watch | None = None,
        may_be_slow: bool = True,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """`is_last`: no other attempt will follow, so its first content is waited for. `may_be_slow`: and
        none can go on with its stream, so a slow one is better than a broken one. `headers` go beside the
        dialect's own."""
        self._infer = infer
        self._context = context
        self._dialect = dialect
        self._slot = slot
        self._sink = sink
        self._timeouts = timeouts
        self._is_last = is_last
        self._headers = headers
        floor = None if may_be_slow else timeouts.min_tokens_per_s
        self._pace = None if floor is None else pace.Pace(floor)
        self._watch = watch
        self._clock = clock
        self._normaliser = Normaliser(
            expected_choices(infer), infer.facts.prompt_tokens, new_id, slot.endpoint.where
        )
        self._decoder: Decoder | None = None
        self._splice: Splice | None = None
        self._held: list[Event] = []
        self._wire: WireRequest | None = None
        self._exchange: Exchange | None = None
        self._alarms: AlarmLine | None = None
        """Set while all goes well; timers of its own it has only after that has rung."""
        self._timers: list[asyncio.TimerHandle] = []
        self._closed = False
        self._concluding = False
        self._loop = slot.endpoint.alarms.loop
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self.dispatched_s = self._progress_s = clock()
        self.first_token_s: float | None = None
        self.ended_s: float | None = None
        self.usage: Usage | None = None
        self.dropped: tuple[str, ...] = ()
        self.finish_reasons: list[str] = []

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

    def prepare(self) -> None:
        """Word the request for its engine; nothing is sent yet.

        Raises the dialect's ClientFault for what cannot be said there; then the attempt is over.
        """
        try:
            wire = self._dialect.request(self._infer, self._context)
        except GatewayError:
            self._close()
            raise
        if self._headers:
            wire = msgspec.structs.replace(wire, headers=(*wire.headers, *self._headers))
        self.dropped = wire.dropped if wire.native else (*self._infer.untold, *wire.dropped)
        self._wire = wire

    def start(self) -> None:
        """Dispatch; nothing happens once it is cancelled. Raises as `prepare`, if that is still to be done."""
        if self._closed:
            return
        if self._wire is None:
            self.prepare()
        wire, self._wire = self._wire, None
        assert wire is not None
        self._exchange = self._slot.endpoint.transport.start(wire, self)
        if self._paused:
            self._exchange.pause()
        if not self._closed:
            limits = self._timeouts
            first_s = limits.total_s if self._is_last else limits.first_token_s
            self._alarms = self._slot.endpoint.alarms.line(
                min(first_s, limits.idle_s, limits.total_s)
            )
            self._alarms.set(self)

    def ring(self) -> None:
        """The shortest of its clocks may have run out."""
        if not self._closed:
            self._watch_clocks()

    def cancel(self) -> None:
        """The client left, or another attempt took over: stop the engine, free the slot."""
        if not self._closed:
            if self._exchange is not None:
                self._exchange.cancel()
            self._close()

    def let_go(self) -> None:
        """Nobody waits for it any more. If it is not over it is cancelled; if only its connection has not
        ended yet, it may for a little while."""
        if self.ended_s is None:
            self.cancel()
        elif not self._closed:
            self._disarm()
            self._arm(LINGER_S, self.cancel)

    def counted(self) -> Usage | None:
        """What its answer came to, as far as there is one: the gateway's own count where it broke off."""
        if self.usage is not None or self.first_token_s is None:
            return self.usage
        return self._normaliser.estimate()

    def pause(self) -> None:
        """The reader is slow: read no more from the engine, and do not call it idle for that."""
        if not self._closed and not self._paused:
            self._paused = True
            if self._exchange is not None:
                self._exchange.pause()

    def resume(self) -> None:
        if not self._closed and self._paused:
            self._paused = False
            self._progress_s = self._clock()
            if self._pace is not None:
                self._pace.begin(self._progress_s)
            if self._exchange is not None:
                self._exchange.resume()

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
                self._watch.head(self._dialect.queue_s(head))
        else:
            self._error_head = _dated(head)

    def on_data(self, data: bytes) -> None:
        splice = self._splice
        if splice is not None and (frames := splice.frames(data)):
            self._progress_s = self._clock()
            if self._watch is not None:
                flight = self._watch.flight
                flight.tokens += len(frames)
                flight.last_s = self._progress_s
            splice.sink.send(b"".join(frames))
            return
        if self._decoder is not None:
            self._deliver(self._normaliser.push(self._decoder.feed(data)))
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
        elif not self._normaliser.over:
            events = self._normaliser.push(self._decoder.close())
            self._deliver(events + self._normaliser.close())
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

    def _deliver(self, events: list[Event]) -> None:
        begun = self.first_token_s is not None or self._closed
        if not events:
            if not begun:
                self._progress_s = self._clock()  # pings count until the first token, not after
            if self._normaliser.complete and not self._normaliser.over:
                self._await_farewell()  # a finish may be held back for the usage that judges it
            return
        self._progress_s = self._clock()
        if not begun:
            self._held += events
            if not self._begins(events):
                return
            events, self._held = self._held, []
        self._note(events)
        self._sink.events(events)
        if self._closed:
            return  # the sink has had enough
        if self.fault is not None:
            self.cancel()  # what a broken stream may still send is of no use
        elif self._normaliser.over:
            self._finish()
        elif self._normaliser.complete:
            self._await_farewell()

    def _begins(self, events: list[Event]) -> bool:
        """Whether the answer begins with these, or is empty and over."""
        for event in events:
            match event:  # headers, role-only deltas and comments are no content
                case Delta() | Document():
                    break
        else:
            match events[-1]:  # nothing comes after a terminal one
                case Fault(error=error):
                    self._fail(error)
                    return False
                case End():
                    pass
                case _:
                    if self._normaliser.complete:
                        self._await_farewell()
                    return False
        self.first_token_s = self._progress_s
        if self._pace is not None:
            self._pace.begin(self._progress_s)
            self._arm(pace.WINDOW_S, self._check_pace)
        if self._committed is not None:
            self._tell_commit()
        if self._watch is not None:
            self._watch.first_token(self._progress_s)
        return True

    def _note(self, events: list[Event]) -> None:
        flight = None if self._watch is None else self._watch.flight
        for event in events:
            match event:
                case Delta():
                    if flight is not None:
                        flight.tokens += event.pieces
                        flight.last_s = self._progress_s
                    if self._pace is not None:
                        self._pace.note(event)
                case UsageReport():
                    self.usage = event.usage
                case Finish():
                    self.finish_reasons.append(event.reason)
                case Fault():
                    if isinstance(event.error, UpstreamFault) and event.error.where is None:
                        event.error.where = self._slot.endpoint.where
                    self.fault = event.error
                case _:
                    pass

    def _await_farewell(self) -> None:
        """All choices have finished: usage and the end marker have only so long."""
        if not self._concluding:
            self._concluding = True
            self._arm(LINGER_S, self._conclude)

    def _conclude(self) -> None:
        """All choices have finished and nothing more comes: the answer is whole without it."""
        if not self._normaliser.over:
            self._deliver(self._normaliser.close())
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
            self._deliver(self._normaliser.push([Fault(error=error)]))
        if self._exchange is not None:
            self._exchange.cancel()
        self._close()

    def _finish(self) -> None:
        """The last event is out. The client need not wait for the connection to end; the slot does."""
        if self.ended_s is None:
            self.ended_s = self._clock()
            if self.fault is not None or self._normaliser.over:
                self._slot.ended(self.fault)
            if not self.finished.done():
                self.finished.set_result(None)

    def _close(self) -> None:
        if self._closed:
            return
        self._finish()
        self._closed = True
        self._sink, self._splice = _NOBODY, None
        self._disarm()
        self._slot.release()
        self._tell_commit()

    # -- clocks -------------------------------------------------------------------------

    def _arm(self, delay_s: float, action: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(delay_s, action))

    def _disarm(self) -> None:
        if self._alarms is not None:
            self._alarms.unset(self)
        if self._timers:
            for timer in self._timers:
                timer.cancel()
            self._timers = []

    def _watch_clocks(self) -> None:
        """One timer for all that bounds an attempt, and for the whole stream: it looks when it fires, and
        not at every token. The first is an alarm, at what is due first if nothing ever comes."""
        now_s, timeouts = self._clock(), self._timeouts
        spent_s = now_s - self.dispatched_s
        quiet_s = 0.0 if self._paused else now_s - self._progress_s
        left_s, which = timeouts.total_s - spent_s, "total"
        if (
            not self._is_last
            and self.first_token_s is None
            and timeouts.first_token_s - spent_s < left_s
        ):
            left_s, which = timeouts.first_token_s - spent_s, "first_token"
        if timeouts.idle_s - quiet_s < left_s:
            left_s, which = timeouts.idle_s - quiet_s, "idle"
        if left_s < EARLY_S:
            self._time_out(which)
        else:
            self._arm(left_s, self._watch_clocks)

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

    def _time_out(self, which: str) -> None:
        limit_s = getattr(self._timeouts, f"{which}_s")
        said = {
            "first_token": f"the engine sent no token within {limit_s:g} s",
            "idle": f"the engine was silent for {limit_s:g} s",
            "total": f"the answer was not complete within {limit_s:g} s",
        }[which]
        self.on_error(UpstreamTimeout(said, fault="timeout", code=f"upstream_{which}_timeout"))


def _dated(head: WireHead) -> WireHead:
    """With the time of its receipt, where it has none (RFC 9110, section 6.6.1): a `Retry-After` may be a date."""
    if "date" in head.headers:
        return head
    return WireHead(status=head.status, headers={**head.headers, "date": formatdate(usegmt=True)})
