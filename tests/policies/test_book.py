"""What is noted and counted later is what would have been counted at once."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import policies.loop
from policies.flight import Flight
from policies.loop import TOGETHER, Loop
from policies.objectives import Objective
from policies.signals import LaneSignals
from policies.trial import Before, Trial
from policies.window import Rate, Tally, Window
from tests.policies.scenarios import CATALOG, policy_set

pytestmark = pytest.mark.req("INT-4", "OPS-4")
POLICY = policy_set(
    """
intents:
  - name: interactive
    match: {default: true}
    objectives:
      {ttft_p50: 500ms, ttft_p95: 1s, tpot_p95: 40ms, e2e_p95: 4s, error_rate: 5%,
       cost_per_minute: 100 USD, cost_per_request: 1 USD}
    ladder: [order, {cap_tokens: 64}]
  - name: batch
    match: {header: {x-intent: batch}}
    objectives: {e2e_p95: 8s}
"""
)
LANES = (("sim", "big"), ("sim", "small"))
HAPPENS = [
    "offered",
    "dispatched",
    "first_token",
    "tokens",
    "failed_attempt",
    "ended",
    "failed",
    "cancelled",
    "refused",
    "moved",
    "offered",
    "ended",
]
STEPS = st.lists(
    st.tuples(st.sampled_from(HAPPENS), st.integers(0, 5), st.sampled_from([0, 0, 1, 8, 64, 640])),
    max_size=40,
)
"""What happens, to which of the requests under way, and after how many 64ths of a second."""


def a_flight(number: int, **told: Any) -> Flight:
    return Flight(
        number, model="big", lane=LANES[0], caller="web", priority=0, prompt_tokens=16, **told
    )


class Scene:
    """One loop that is told of requests. `at_once`: everything is counted as soon as it has happened."""

    def __init__(self, *, at_once: bool) -> None:
        self.loop = Loop(POLICY, CATALOG, 0.0)
        self.now_s = 0.0
        self._at_once = at_once
        self._number = 0
        self._under_way: list[Flight] = []
        objective = Objective(name="ttft_p95", signal="ttft", target=1.0, allowed=0.05)
        before = Before(late_share=0.5, load_rps=1.0, own_rps=1.0, error_share=0, usd_per_request=0)
        self.trial = Trial(objective, before, now_s=0.0, settle_s=0.0)
        ladder = self.loop._ladder_of("interactive")
        ladder._climb(  # type: ignore[call-arg]
            self.loop.signals.intent("interactive").measured(0.0)[1],
            0.0,
            _Willing(),  # type: ignore[arg-type]
        )
        ladder.held[0].trial = self.trial

    def step(self, what: str, which: int, after: int) -> None:
        self.now_s += after / 64
        if what == "offered":
            self._offer()
        elif self._under_way:
            self._happens(what, self._under_way[which % len(self._under_way)])
        if self._at_once:
            assert self.loop.signals is not None

    def _offer(self) -> None:
        self._number += 1
        flight = a_flight(
            self._number,
            intent="batch" if self._number % 3 == 0 else "interactive",
            arrived_s=self.now_s,
            ttft_objective_s=1.0,
            tpot_objective_s=0.04,
            e2e_objective_s=0.5 if self._number % 4 == 0 else 4.0,
            input_usd=0.25,
            output_usd=0.125,
            held_out=(1,) if self._number % 5 == 0 else (),
            patient=self._number % 7 == 0,
        )
        self._under_way.append(flight)
        self.loop.offered(flight)

    def _happens(self, what: str, flight: Flight) -> None:
        loop, now_s = self.loop, self.now_s
        match what:
            case "dispatched":
                loop.dispatched(flight, LANES[flight.request % 2], 0.25, now_s)
            case "moved":
                flight.lane, flight.dispatched_s = LANES[1], now_s
            case "first_token":
                loop.first_token(flight, now_s)
            case "tokens":
                flight.tokens, flight.last_s = flight.tokens + 20, now_s
            case "failed_attempt":
                loop.attempt_failed(flight, "none", now_s)
            case _:
                self._under_way.remove(flight)
                self._ends(what, flight)

    def _ends(self, what: str, flight: Flight) -> None:
        match what:
            case "cancelled":
                self.loop.cancelled(flight, self.now_s)
            case "refused":
                self.loop.refused(flight, self.now_s)
            case _:
                self.loop.ended(flight, self.now_s, failed=what == "failed", finish_reason="length")

    def known(self) -> dict[str, Any]:
        """Every number that anybody could read."""
        signals, now_s = self.loop.signals, self.now_s + 0.25
        found: dict[str, Any] = {"trial": {**vars(self.trial), "objective": 0, "before": 0}}
        for name, seen in {**signals.intents, **signals.lanes}.items():
            for what, signal in vars(seen).items():
                found[f"{name} {what}"] = list(_numbers(signal, now_s))
            if isinstance(seen, LaneSignals):
                found[f"{name} pace"] = seen.tpot_p95_s(now_s)
                found[f"{name} trim"] = vars(self.loop.steering.trim(name))
            else:
                found[f"{name} measured"] = (seen.measured(now_s), seen.evidence(now_s))
        reach = self.loop.reach
        found["reach"] = (reach._lanes, reach._models, reach._classes)
        return found


class _Willing:
    """A view under which any rung may be taken."""

    load_rps = 1.0

    def why_not(self, *_: object) -> str:
        return ""


def _numbers(signal: object, now_s: float) -> Iterator[object]:
    match signal:
        case Window():
            for span_s in signal._spans:
                yield signal.counts(now_s, span_s), signal.total(now_s, span_s)
        case Rate():
            for span_s in signal._marks:
                yield signal.sum(now_s, span_s), signal.per_second(now_s, span_s)
        case Tally():
            yield signal.read(now_s)


@given(steps=STEPS, together=st.sampled_from([2, 64]))
@example(  # the first that failed came later than the first that ended
    steps=[
        ("offered", 0, 0),
        ("offered", 0, 0),
        ("ended", 0, 0),
        ("failed", 0, 1),
        ("offered", 0, 64),
    ],
    together=2,
)
@example(  # what a failed attempt made is counted before what was noted before it
    steps=[
        ("offered", 0, 0),
        ("first_token", 0, 0),
        ("failed_attempt", 0, 1),
        ("offered", 0, 64),
    ],
    together=2,
)
def test_counted_later_it_is_what_it_would_have_been_at_once(
    steps: list[tuple[str, int, int]], together: int
) -> None:
    late, at_once = Scene(at_once=False), Scene(at_once=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies.loop, "TOGETHER", together)
        for step in steps:
            late.step(*step)
            at_once.step(*step)
    late_known, known = late.known(), at_once.known()
    assert {name: late_known.get(name, []) for name in known} == known


def test_what_is_said_to_have_happened_earlier_counts_for_the_second_that_has_begun() -> None:
    scene = Scene(at_once=False)
    for intent, at_s in (("batch", 5.0), ("interactive", 4.9), ("interactive", 5.5)):
        scene.loop.offered(a_flight(int(at_s * 10), intent=intent, arrived_s=at_s))
    assert scene.loop.signals.intent("interactive").arrivals.sum(9.9, 5) == 2.0


@pytest.mark.parametrize("rps", [8, 1000])
def test_a_loop_that_nobody_ticks_keeps_little(rps: int) -> None:
    scene = Scene(at_once=False)
    for number in range(500):
        scene.step("offered", 0, 64 // rps if number % 2 else 0)
        for what in ("dispatched", "first_token", "ended"):
            scene.step(what, 0, 0)
    noted = scene.loop._books.values()
    kept = [len(book.ended) + len(book.arrived) for book in noted]
    assert sum(kept) <= 2 * min(2 * rps, len(kept) * TOGETHER)
