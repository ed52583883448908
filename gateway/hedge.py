"""Two attempts at one answer: the first content decides, and the other one never existed for the client.

What must stay true: events reach the client from one attempt only; the loser is cancelled in the very
call that brought the winner's first content; hedges are a bounded share of a route's requests, so that
a slow backend is never answered with twice the load.
"""

import msgspec

from contracts.events import Event
from contracts.inference import Target
from gateway.attempt import Attempt
from gateway.progress import AttemptRecord, Progress
from gateway.sinks import AnswerSink, Recorder
from gateway.slot import Slot
from policies.flight import Flight

BURST = 5.0
"""So many hedges may come at once."""


class HedgeBudget:
    """How many more hedges there may be on a route: each of its requests earns a part of one."""

    def __init__(self, share: float) -> None:
        """`share` of the requests may be hedged, from 0 to 1; 0: none at all."""
        self._share = share
        self._left = BURST if share else 0.0
        self.requests = 0
        """Those of the route that came since somebody asked: to be counted as they come."""

    def allowed(self) -> bool:
        self._left = min(self._left + self._share * self.requests, BURST)
        self.requests = 0
        return self._left >= 1.0

    def spend(self) -> None:
        self._left -= 1.0


class Entrant(msgspec.Struct, frozen=True, eq=False):
    """One attempt of a race."""

    attempt: Attempt
    target: Target
    slot: Slot
    record: AttemptRecord


class Gate:
    """One attempt's sink and watch: shut for all but the winner."""

    def __init__(self, race: "Race") -> None:
        self._race = race
        self.entrant: Entrant | None = None
        self.flight: Flight = race.recorder.flight

    def head(self, queue_s: float | None) -> None:
        self._race.recorder.head(queue_s)

    def first_token(self, at_s: float) -> None:
        if self._race.won_by(self):
            self._race.recorder.first_token(at_s)

    def events(self, events: list[Event]) -> None:
        if self._race.won_by(self):
            self._race.sink.events(events)


class Race:
    """The attempts at one answer, in the order they began."""

    def __init__(self, sink: AnswerSink, recorder: Recorder, progress: Progress) -> None:
        self.sink = sink
        self.recorder = recorder
        self.progress = progress
        self.entrants: list[Entrant] = []
        self.winner: Entrant | None = None

    def gate(self) -> Gate:
        return Gate(self)

    def enter(self, gate: Gate, entrant: Entrant) -> Entrant:
        gate.entrant = entrant
        self.entrants.append(entrant)
        return entrant

    def won_by(self, gate: Gate) -> bool:
        """Whether this attempt is the one; the first that asks wins, and the others are cancelled."""
        if self.winner is None and gate.entrant is not None:
            for entrant in self.entrants[: self.entrants.index(gate.entrant)]:
                entrant.slot.overtaken()
            self.settle_on(gate.entrant)
            if len(self.entrants) > 1:
                self.sink.attach(gate.entrant.attempt, gate.entrant.target.model)
        return self.winner is gate.entrant

    def settle_on(self, chosen: Entrant) -> None:
        """It is the one, whether it answered or what it failed with is told: the others are cancelled, and
        what is known of the request is of this one."""
        self.winner = chosen
        for entrant in self.entrants:
            if entrant is not chosen:
                entrant.record.fault = entrant.record.fault or "hedge_lost"
                entrant.attempt.cancel()
        if len(self.entrants) > 1:  # the second is what was told of last
            self.progress.target = chosen.target
            dispatched_s = chosen.attempt.dispatched_s
            self.recorder.chosen(chosen.target, chosen.slot, dispatched_s)
