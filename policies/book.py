"""What the requests of one intent do in one lane: noted when it happens, counted when somebody looks.

A request moves some twenty sums and windows, each by one. Noted, it is an entry in four lists, and the loop
counts them four times a second: what belongs together is added once, however many requests it came from.
Must stay true: all that is noted between two counts happened in one second, and whoever reads a signal has
everything counted first, so that every number is what it would be if each request had been counted at once.
"""

from collections.abc import Callable, Sequence

import msgspec

from policies.flight import SPAN_TOKENS, Flight
from policies.ladder import Ladder
from policies.objectives import SignalName
from policies.signals import IntentSignals, LaneSignals
from policies.trim import Trim

Judged = tuple[Flight, float | None, float | None]
"""A request, its value of a signal (None: it will never have one), and its own objective for it."""


class Begun(msgspec.Struct, frozen=True, gc=False):
    """The first content came."""

    at_s: float
    flight: Flight
    ttft_s: float
    upstream_s: float | None
    usd: float
    """What its prompt costs."""
    judged_before: bool
    """It has been judged for that: it had waited longer than it should."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """An answer is complete, or broke. Its flight does not change any more."""

    at_s: float
    flight: Flight
    tokens: int
    """Those that were not counted before."""
    usd: float
    """What they cost."""
    failed: bool
    cut_short: bool
    judged_before: bool


class Book:
    """`arrived`, `waits`, `begun` and `ended` are to be appended to."""

    __slots__ = ("_ladder", "_lane", "_seen", "_trim", "arrived", "begun", "ended", "waits")

    def __init__(self, seen: IntentSignals, lane: LaneSignals, ladder: Ladder, trim: Trim) -> None:
        self._seen, self._lane = seen, lane
        self._ladder, self._trim = ladder, trim
        self.arrived: list[float] = []
        """When requests came."""
        self.waits: list[tuple[float, float]] = []
        """When attempts began, and what they had waited for their places."""
        self.begun: list[Begun] = []
        self.ended: list[Ended] = []

    def count(self, second_s: float) -> None:
        """Move everything into the signals. It happened in the second that begins at `second_s`; what is said
        to have happened earlier is counted there as well. Each list is let go of first, so that what cannot be
        counted is not tried again."""
        seen = self._seen
        if arrived := self.arrived:
            self.arrived = []
            seen.arrivals.add(max(arrived[0], second_s), len(arrived))
        if waits := self.waits:
            self.waits = []
            at_s = max(waits[0][0], second_s)
            seen.queue.add_all(at_s, [waited_s for _, waited_s in waits])
            self._lane.dispatched.add(at_s, len(waits))
        if begun := self.begun:
            self.begun = []
            self._count_begun(begun, second_s)
        if ended := self.ended:
            self.ended = []
            self._count_ended(ended, second_s)

    # -- what is counted at once: it is seldom, or of many requests already -----------------

    def spend(self, tokens: int, usd: float, now_s: float) -> None:
        """Tokens were generated, and something was paid."""
        if tokens:
            self._seen.tokens.add(now_s, tokens)
            self._lane.tokens.add(now_s, tokens)
        if usd:
            self._seen.pay(now_s, usd)

    def judge(self, signal: SignalName, requests: Sequence[Judged], now_s: float) -> None:
        """Requests are good or bad for each objective of a signal, and for the actions that are on trial for
        its sake. Where nothing was promised, nothing was done either."""
        if not requests or signal not in self._seen.judged:
            return
        missed = self._seen.judge(now_s, signal, [(value, own) for _, value, own in requests])
        for action in self._ladder.held:
            if action.trial is not None and action.unjudged and action.objective.signal == signal:
                for (flight, _, _), bad in zip(
                    requests, missed[action.objective.name], strict=True
                ):
                    held_out = action.number in flight.held_out
                    action.trial.saw(bad, arrived_s=flight.arrived_s, held_out=held_out)

    # -- inside ---------------------------------------------------------------------------

    def _count_begun(self, begun: list[Begun], second_s: float) -> None:
        at_s = _first_s(begun, second_s)
        hasty = [one for one in begun if not one.flight.patient]
        self._seen.ttft.add_all(at_s, [one.ttft_s for one in hasty])
        first = [
            (b.flight, b.ttft_s, b.flight.ttft_objective_s) for b in hasty if not b.judged_before
        ]
        self.judge("ttft", first, at_s)
        upstream = [one.upstream_s for one in begun if one.upstream_s is not None]
        self._lane.upstream_ttft.add_all(at_s, upstream)
        self._count_paid(begun, second_s)

    def _count_paid(self, noted: Sequence[Begun | Ended], second_s: float) -> None:
        if paid := [one for one in noted if one.usd]:
            self.spend(0, sum([one.usd for one in paid]), _first_s(paid, second_s))

    def _count_ended(self, ended: list[Ended], second_s: float) -> None:
        self._count_paid(ended, second_s)
        if wrote := [one for one in ended if one.tokens]:
            self.spend(sum([one.tokens for one in wrote]), 0.0, _first_s(wrote, second_s))
        judged: list[Judged] = [(one.flight, float(one.failed), None) for one in ended]
        self.judge("error_rate", judged, _first_s(ended, second_s))
        if served := [one for one in ended if not one.failed]:
            self._count_served(served, _first_s(served, second_s))
        if failed := [one for one in ended if one.failed]:
            self._seen.failed.add(_first_s(failed, second_s), len(failed))
        for action in self._ladder.held:
            if (trial := action.trial) is not None and action.unjudged:
                for one in ended:
                    flight = one.flight
                    trial.ended(
                        arrived_s=flight.arrived_s,
                        failed=one.failed,
                        cut_short=one.cut_short and action.number in flight.treated and action.cuts,
                        usd=flight.cost_usd,
                        held_out=action.number in flight.held_out,
                    )

    def _count_served(self, served: list[Ended], at_s: float) -> None:
        seen = self._seen
        seen.served.add(at_s, len(served))
        seen.output.add_all(at_s, [one.flight.tokens / 1000 for one in served])
        hasty = [one for one in served if not one.flight.patient]
        seen.e2e.add_all(at_s, [one.at_s - one.flight.arrived_s for one in hasty])
        whole: list[Judged] = [
            (one.flight, one.at_s - one.flight.arrived_s, one.flight.e2e_objective_s)
            for one in hasty
            if not one.judged_before
        ]
        self.judge("e2e", whole, at_s)
        self.judge("cost_per_request", [(s.flight, s.flight.cost_usd, None) for s in served], at_s)
        services = [
            one.at_s - one.flight.dispatched_s
            for one in served
            if one.flight.dispatched_s is not None
        ]
        self._lane.service.add_all(at_s, services)
        self._count_pace(served, at_s)

    def _count_pace(self, served: list[Ended], at_s: float) -> None:
        paces: list[Judged] = []
        for one in served:
            flight, first_s = one.flight, one.flight.first_token_s
            if first_s is None or flight.tokens < 2:
                continue
            tpot_s, promised_s = (one.at_s - first_s) / (flight.tokens - 1), flight.tpot_objective_s
            if promised_s is not None and flight.dispatched_s is not None:
                self._trim.ended(tpot_s > promised_s, flight.dispatched_s)
                if flight.tokens <= SPAN_TOKENS:  # too short to be seen while it lived
                    self._lane.pace(one.at_s, tpot_s)
            if flight.judged_tpot_s < first_s:
                paces.append((flight, tpot_s, promised_s))
        self._seen.tpot.add_all(at_s, [tpot_s for _, tpot_s, _ in paces if tpot_s is not None])
        self.judge("tpot", paces, at_s)


def _first_s(noted: Sequence[Begun | Ended], second_s: float) -> float:
    """When the first of these happened: a rate is over the time since then."""
    return max(noted[0].at_s, second_s)


class Books(dict[tuple[str, tuple[str, str]], Book]):
    """By intent and lane; one that is not there yet is opened."""

    def __init__(self, open_one: Callable[[str, tuple[str, str]], Book]) -> None:
        super().__init__()
        self._open = open_one

    def __missing__(self, key: tuple[str, tuple[str, str]]) -> Book:
        book = self[key] = self._open(*key)
        return book
