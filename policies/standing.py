"""How each promise stands, and since when: met, at risk, breached or unknown. A summary for people;
the ladder does not read it."""

from collections.abc import Mapping

from contracts.control import HeldAction, IntentStatus, MeasuredObjective, Standing
from policies.flight import Flight
from policies.ladder import AT_RISK, Ladder
from policies.rungs import label
from policies.signals import IntentSignals

RATE_SPAN_S = 30


class Standings:
    """The last standing of each intent, and when it began."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._known: dict[str, tuple[Standing, float]] = {}

    def note(
        self, name: str, ladder: Ladder, measured: tuple[MeasuredObjective, ...], now_s: float
    ) -> None:
        """Once a tick. An action takes the evidence of before it away, and not the breach: a promise
        stays broken until the action is judged."""
        standing = _standing(ladder, measured)
        before = self._known.get(name)
        if before is not None and before[0] == "breached" and ladder.pending is not None:
            return
        if before is None or before[0] != standing:
            self._known[name] = (standing, now_s)

    def status(
        self,
        name: str,
        ladder: Ladder,
        signals: IntentSignals,
        flights: Mapping[int, Flight],
        now_s: float,
    ) -> IntentStatus:
        """All about one intent, measured now."""
        standing, since_s = self._known.get(name, ("unknown", self._began_s))
        mine = [flight for flight in flights.values() if flight.intent == name]
        running = sum(flight.dispatched_s is not None for flight in mine)
        return IntentStatus(
            intent=name,
            standing=standing,
            standing_s=max(now_s - since_s, 0.0),
            objectives=tuple(signals.measured(now_s)),
            rung=len(ladder.held),
            ladder=tuple(label(rung) for rung in ladder.rungs),
            actions=tuple(
                HeldAction(
                    id=action.number,
                    rung=label(action.rung),
                    words=action.words,
                    held_s=now_s - action.since_s,
                    verdict=action.verdict,
                    dry_run=action.dry_run,
                )
                for action in ladder.held
            ),
            requests_per_s=signals.arrivals.per_second(now_s, RATE_SPAN_S),
            refused_per_s=signals.refused.per_second(now_s, RATE_SPAN_S),
            shed_per_s=signals.shed.per_second(now_s, RATE_SPAN_S),
            inflight=running,
            waiting=len(mine) - running,
        )


def _standing(ladder: Ladder, measured: tuple[MeasuredObjective, ...]) -> Standing:
    if any(ladder.breached(one) for one in measured):
        return "breached"
    severities = [one.severity for one in measured if one.severity is not None]
    if not severities:
        return "unknown"
    return "at_risk" if max(severities) >= AT_RISK else "met"
