"""Between the attempts at one streamed answer and its client: one seamless stream, or one error at its end.
It is the client's sink to the attempts, and the one attempt to the client's sink.

What must stay true: the client never reads a piece twice, and never one that does not follow from what it has
read; a fault reaches it only when nobody is left to go on. `policies.resume` compares; the executor chooses who
goes on; this holds the fault back meanwhile.
"""

from collections.abc import Callable

import msgspec

from contracts.errors import GatewayError
from contracts.events import End, Event, Fault, Usage, UsageReport
from contracts.inference import InferRequest, RoutingPlan
from gateway.attempt import Upstream
from gateway.entry import Entry
from gateway.progress import Progress
from gateway.sinks import AnswerSink
from policies.flight import Flight
from policies.resume import Diverged, Replay, Sent, continued


def may_resume(infer: InferRequest, plan: RoutingPlan, sink: AnswerSink) -> bool:
    """Whether a broken stream of this request may be gone on with. A client that sees nothing before the end
    needs no such thing: its answer begins anew."""
    if plan.resume == "off" or sink.keeps_back:
        return False
    return infer.operation != "embedding" and infer.facts.n == 1


class Resumable:
    """An AnswerSink in front of the client's own. `begin` before each attempt that is to go on; what those say
    that is new to the client is counted on `flight`."""

    keeps_back = False

    def __init__(self, sink: AnswerSink, flight: Flight, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._flight = flight
        self._clock = clock
        self.sent = Sent()
        self.fault: GatewayError | None = None
        """What broke the running stream, kept back."""
        self.complete = False
        self.usage: Usage | None = None
        """Of the whole answer, as the client was told."""
        self.continued: InferRequest | None = None
        """What the next attempt is asked, where it continues the text; None: it begins anew."""
        self.diverged = False
        """The newest attempt said something else than what the client has."""
        self.lacks_blanks = False
        """It did in nothing but the blanks at the end."""
        self._replay: Replay | None = None
        self._earlier = 0
        """Pieces that came from earlier attempts, where the running one continues them."""
        self._attempt: Upstream | None = None
        self._paused = self._over = False

    @property
    def patience_s(self) -> float | None:
        return self._sink.patience_s

    def entered(self, entry: Entry) -> None:
        self._sink.entered(entry)

    async def open(self, progress: Progress) -> None:
        await self._sink.open(progress)

    async def waiting(self, progress: Progress) -> None:
        await self._sink.waiting(progress)

    # -- for the attempts ---------------------------------------------------------------

    def attach(self, attempt: Upstream, model: str) -> None:
        """To the client's sink all attempts that go on are one; it keeps the name of the model that began."""
        self._attempt = attempt
        if not self.sent.deltas:
            self._sink.attach(self, model)
        elif self._paused:
            attempt.pause()

    def pause(self) -> None:
        self._paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._paused = False
        if self._attempt is not None:
            self._attempt.resume()

    def cancel(self) -> None:
        """The client's sink has had enough, or its client is gone."""
        self._over = True
        if self._attempt is not None:
            self._attempt.cancel()

    def begin(
        self, infer: InferRequest, *, continues: bool, repeats: bool = True, exact: bool = False
    ) -> bool:
        """Another attempt is to go on: by saying all of it again, or from where the client is. One that
        continues may say first what it was shown (`repeats`); else it says the blanks first, that it was
        not shown. It is shown them where it is to be `exact`. False: this request cannot be continued, or its client wants no more."""
        text = self.sent.content
        shown = text if exact else text.rstrip()
        self.continued = continued(infer, shown) if continues else None
        if self._over or (continues and self.continued is None):
            return False
        self.fault, self.diverged, self.lacks_blanks = None, False, False
        self._earlier = self.sent.deltas if continues else 0
        again = (
            {"content": text[len(shown) :]} if continues and not repeats else self.sent.channels()
        )
        self._replay = Replay(again)
        return True

    def events(self, events: list[Event]) -> None:
        if self._replay is not None:
            try:
                events = self._replay.pass_on(events)
            except Diverged as exc:
                self.diverged, self.lacks_blanks = True, exc.left.isspace()
                if self._attempt is not None:
                    self._attempt.cancel()
                return
        if events and isinstance(events[-1], Fault):
            self.fault = events[-1].error
            events = events[:-1]
        elif events and isinstance(events[-1], End):
            self.complete = True
            events = [self._counted(event) for event in events]
        if events:
            self.sent.note(events)
            if self._replay is not None:
                self._flight.tokens, self._flight.last_s = self.sent.deltas, self._clock()
            self._sink.events(events)

    def give_up(self, error: GatewayError) -> None:
        """Nobody goes on: the client's last event is the fault that broke its stream."""
        self._sink.events([Fault(error=error)])

    def told_so_far(self, prompt_tokens: int) -> Usage:
        """What the client got, where no engine has counted the whole."""
        return Usage(
            prompt_tokens=prompt_tokens, completion_tokens=self.sent.deltas, estimated=True
        )

    def _counted(self, event: Event) -> Event:
        """Usage of the whole answer, where its engine counted a part: the text that it was given to
        continue is prompt to the engine, and answer to the client."""
        if not isinstance(event, UsageReport):
            return event
        self.usage = event.usage
        if self._earlier:
            self.usage = msgspec.structs.replace(
                event.usage,
                prompt_tokens=max(1, event.usage.prompt_tokens - self._earlier),
                completion_tokens=event.usage.completion_tokens + self._earlier,
                estimated=True,
            )
        return UsageReport(usage=self.usage)
