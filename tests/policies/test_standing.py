"""How a promise stands: met, at risk, breached or unknown, and since when."""

from itertools import count

import pytest

from contracts.control import MeasuredObjective, Standing
from contracts.policy import Rung
from policies.flight import Flight
from policies.ladder import AT_RISK, Action, Ladder
from policies.objectives import Objective
from policies.signals import IntentSignals
from policies.standing import Standings

pytestmark = pytest.mark.req("INT-4")

TTFT = Objective(name="ttft_p95", signal="ttft", target=1.0, allowed=0.05, quantile=0.95)
COST = Objective(name="cost_per_minute", signal="cost_per_minute", target=1.0, allowed=None)


def ladder(*rungs: Rung) -> Ladder:
    return Ladder(rungs, [TTFT, COST], count(1).__next__)


def ttft(samples: int, bad: int, severity: float | None) -> MeasuredObjective:
    return MeasuredObjective(
        objective="ttft_p95",
        target=1.0,
        value=severity,
        samples=samples,
        bad=bad,
        severity=severity,
    )


def cost(usd: float) -> MeasuredObjective:
    return MeasuredObjective(
        objective="cost_per_minute", target=1.0, value=usd, samples=0, bad=0, severity=usd
    )


def standing(standings: Standings, now_s: float) -> tuple[Standing, float]:
    status = standings.status("i", ladder(), IntentSignals((TTFT,), 30.0), {}, now_s)
    return status.standing, status.standing_s


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((), "unknown"),
        ((ttft(0, 0, None),), "unknown"),
        ((ttft(100, 0, 0.3),), "met"),
        ((ttft(100, 0, AT_RISK),), "at_risk"),
        ((ttft(100, 9, 1.8),), "at_risk"),  # likely broken, not proven
        ((ttft(100, 10, 1.2),), "breached"),
        ((ttft(19, 19, 2.0),), "at_risk"),
        ((ttft(100, 0, 0.3), cost(0.9)), "at_risk"),
        ((ttft(100, 0, 0.3), cost(1.01)), "breached"),
    ],
)
def test_a_standing_is_the_worst_of_what_was_promised(
    measured: tuple[MeasuredObjective, ...], expected: Standing
) -> None:
    standings = Standings(0.0)
    standings.note("i", ladder(), measured, 5.0)
    assert standing(standings, 5.0) == (expected, 0.0)


def test_it_is_known_since_when_it_stands_so() -> None:
    standings = Standings(2.0)
    assert standing(standings, 5.0) == ("unknown", 3.0)
    for now_s, severity in ((6.0, 0.2), (9.0, 0.3), (11.0, 0.9), (12.0, 0.95)):
        standings.note("i", ladder(), (ttft(100, 0, severity),), now_s)
    assert standing(standings, 15.0) == ("at_risk", 4.0)
    standings.note("i", ladder(), (ttft(100, 0, 0.2),), 15.0)
    assert standing(standings, 15.5) == ("met", 0.5)


def test_unknown_from_the_first_look_on_counts_from_that_look() -> None:
    standings = Standings(0.0)
    standings.note("i", ladder(), (ttft(0, 0, None),), 50.0)
    assert standing(standings, 60.0) == ("unknown", 10.0)


def flight(request: int, intent: str, *, dispatched: bool) -> Flight:
    made = Flight(
        request,
        intent=intent,
        model="m",
        lane=("p", "m"),
        caller="c",
        priority=0,
        prompt_tokens=1,
        arrived_s=0.0,
    )
    made.dispatched_s = 1.0 if dispatched else None
    return made


def test_a_status_tells_the_ladder_what_is_held_and_who_is_under_way() -> None:
    rungs = (Rung("order"), Rung("cap_tokens", 256, True))
    climbed, signals = ladder(*rungs), IntentSignals((TTFT,), 30.0)
    for index, rung in enumerate(rungs):
        action = Action(index + 1, index, rung, TTFT, 100.0)
        action.words, action.verdict = f"words {index}", "confirmed" if index == 0 else None
        climbed.held.append(action)
    for rate, amount in ((signals.arrivals, 60.0), (signals.refused, 6.0), (signals.shed, 3.0)):
        rate.add(90.0, amount)
    flights = {
        nth: flight(nth, intent, dispatched=dispatched)
        for nth, (intent, dispatched) in enumerate(
            [("i", True), ("i", True), ("i", False), ("other", True)]
        )
    }
    status = Standings(0.0).status("i", climbed, signals, flights, 110.0)
    assert (status.intent, status.rung) == ("i", 2)
    assert status.ladder == ("order", "cap_tokens 256")
    first, second = status.actions
    assert (first.id, first.rung, first.words, first.held_s) == (1, "order", "words 0", 10.0)
    assert (first.verdict, first.dry_run) == ("confirmed", False)
    assert (second.verdict, second.dry_run) == (None, True)
    assert (status.inflight, status.waiting) == (2, 1)
    assert (status.requests_per_s, status.refused_per_s, status.shed_per_s) == (3.0, 0.3, 0.15)
    assert [one.objective for one in status.objectives] == ["ttft_p95"]


def test_a_promise_stays_broken_until_the_action_for_it_is_judged() -> None:
    held, standings = ladder(Rung("order")), Standings(0.0)

    def stands(measured: MeasuredObjective, now_s: float) -> str:
        standings.note("a", held, (measured,), now_s)
        return standings._known["a"][0]

    assert stands(ttft(100, 50, 2.0), 1.0) == "breached"
    action = Action(1, 0, Rung("order"), TTFT, 1.0)
    held.held.append(action)
    assert stands(ttft(0, 0, 0.5), 2.0) == "breached"
    action.verdict = "confirmed"
    assert stands(ttft(0, 0, 0.5), 3.0) == "met"
