"""One attempt at one endpoint: the request as its engine is told it, and the clocks that bound it.

What comes of it is received in `gateway.receiving`.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from adapters.dialect import AttemptContext, Dialect, WireRequest
from adapters.normalise import Normaliser
from contracts.errors import GatewayError, UpstreamTimeout
from contracts.events import Usage
from contracts.inference import InferRequest, Timeouts
from gateway.alarms import EARLY_S
from gateway.receiving import LINGER_S, EventSink, Receiving, Watch
from gateway.slot import Slot
from policies import pace


class Upstream(Protocol):
    """What an answer comes from, for its sink. Each may be called at any time, and more than once."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None: ...


def expected_choices(infer: InferRequest) -> int:
    """How many answers the request asks for: `n`, times the prompts of a text completion."""
    prompts = 1
    if infer.operation == "completion":
        told = memoryview(infer.members.get("prompt", b'""'))
        prompt = msgspec.json.decode(told) if told[0] == ord("[") else ()
        if prompt and isinstance(prompt[0], str | list):
            prompts = len(prompt)
    return infer.facts.n * prompts


class Attempt(Receiving):
    """Create, `prepare`, `start`, await `committed`, then `finished`, and `let_go` in any case; `cancel` at any time.

    `committed` is done when the first content (or the end of an empty answer) is there, or holds
    the fault that came instead. `finished` is done when the last event has been handed on, or none comes any more:
    who needs nothing before the end waits for that alone, and looks at `fault` and `first_token_s`.
    Times are seconds on the gateway's clock, which is finer than the event loop's (uvloop: whole ms).
    """

    __slots__ = ("_headers", "_is_last", "_timeouts", "_wire", "dispatched_s", "dropped")

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
        at_s: float | None = None,
    ) -> None:
        """`is_last`: no other attempt will follow, so its first content is waited for. `may_be_slow`: and
        none can go on with its stream, so a slow one is better than a broken one. `headers` go beside the
        dialect's own. `at_s` is now, where the clock was read already."""
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
        self._decoder = self._splice = self._exchange = self._alarms = None
        self._flight = self._committed = self._error_head = None
        self._wire: WireRequest | None = None
        self._error_body = b""
        self._held, self._timers = [], []
        self._paused = self._closed = self._concluding = False
        self._loop = slot.endpoint.alarms.loop
        self.finished = self._loop.create_future()
        self.dispatched_s = self._progress_s = clock() if at_s is None else at_s
        self.first_token_s = self.ended_s = self.usage = self.fault = None
        self.quiet_s = 0.0
        self.dropped: tuple[str, ...] = ()
        self.finish_reasons = []

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

    # -- clocks -------------------------------------------------------------------------

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

    def _time_out(self, which: str) -> None:
        limit_s = getattr(self._timeouts, f"{which}_s")
        said = {
            "first_token": f"the engine sent no token within {limit_s:g} s",
            "idle": f"the engine was silent for {limit_s:g} s",
            "total": f"the answer was not complete within {limit_s:g} s",
        }[which]
        self.on_error(UpstreamTimeout(said, fault="timeout", code=f"upstream_{which}_timeout"))
