"""What holds for every run of the loop, whatever the ladders, the traffic and the luck."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.control import LoopDecision
from contracts.policy import Rung
from policies.evidence import proves_violation
from policies.flight import Flight
from policies.held import CALM
from policies.ladder import LEASE_S
from policies.loop import Loop
from policies.objectives import objectives_of
from policies.policy_set import PolicySet
from policies.replay import replay
from policies.rung_rules import CLIMB_CONFIDENCE
from policies.rungs import KINDS
from tests.policies.feed import Feed, Phase
from tests.policies.scenarios import CATALOG, policy_set

FEW = settings(max_examples=max(settings.default.max_examples // 8, 5))
"""An example is minutes of traffic."""
RUNGS: list[dict[str, Any]] = [
    {"order": True},
    {"hold_back": True},
    {"switch_model": "small"},
    {"switch_model": "twin"},
    {"cap_tokens": 10},
    {"reduce_batching": 0.7},
    {"reroute": True},
    {"hedge": True},
    {"shed": True},
    {"refuse": True},
]
LADDERS = st.lists(
    st.tuples(st.sampled_from(RUNGS), st.sampled_from([False, False, False, True])),
    max_size=6,
    unique_by=lambda told: msgspec.json.encode(told[0]),
).map(lambda rungs: [{**rung, "dry_run": True} if dry else rung for rung, dry in rungs])
PROMISES = st.fixed_dictionaries(
    {"ttft_p95": st.just("1s")},
    optional={
        "ttft_p50": st.just("200ms"),
        "error_rate": st.sampled_from(["1%", "10%"]),
        "cost_per_minute": st.sampled_from(["0.05 USD", "0.5 USD"]),
        "cost_per_request": st.just("0.002 USD"),
    },
)
PHASES = st.lists(
    st.builds(
        Phase,
        seconds=st.sampled_from([5.0, 15.0, 40.0]),
        rps=st.fixed_dictionaries(
            {
                "interactive": st.sampled_from([0.0, 3.0, 8.0]),
                "batch": st.sampled_from([0.0, 3.0]),
                "bulk": st.sampled_from([0.0, 2.0]),
            }
        ),
        late=st.sampled_from([0.0, 0.05, 0.15, 0.4, 1.0]),
        failing=st.sampled_from([0.0, 0.0, 0.3]),
        tokens=st.sampled_from([5, 40]),
    ),
    min_size=1,
    max_size=4,
)
RELIEF = st.dictionaries(st.sampled_from(sorted(KINDS)), st.sampled_from([0.0, 0.5, 1.0, 1.6]))


@st.composite
def policies(draw: st.DrawFn) -> PolicySet:
    intents = [
        {
            "name": name,
            "match": {"header": {"x-intent": name}},
            "objectives": draw(PROMISES),
            "priority": draw(st.sampled_from(priorities)),
            "window": draw(st.sampled_from(["10s", "30s"])),
            "ladder": draw(LADDERS),
        }
        for name, priorities in (("interactive", [0, 10]), ("batch", [-10, 0]), ("bulk", [-20]))
    ]
    return policy_set(msgspec.json.encode({"intents": intents}).decode())


class Watch:
    """What must hold after every tick, asked of the loop itself and not of its log."""

    def __init__(self, policy: PolicySet) -> None:
        self.policy = policy
        self.allowed = {
            (name, objective.name): objective.allowed
            for name, intent in policy.intents.items()
            for objective in objectives_of(intent)
        }

    def __call__(self, feed: Feed, said: list[LoopDecision]) -> None:
        unjudged_pools: list[str] = []
        for status in feed.loop.statuses(feed.now_s):
            unjudged = [a for a in status.actions if a.verdict is None and not a.dry_run]
            assert len(unjudged) <= 1, "one unverified action a ladder"
            for action in unjudged:
                if not KINDS[action.rung.split()[0]].per_request:
                    unjudged_pools += self._pools(feed, action.id)
        assert len(unjudged_pools) == len(set(unjudged_pools)), "and a pool"
        assert feed.loop.holding.until_s > feed.now_s
        for decision in said:
            self._has_evidence(decision)

    def _pools(self, feed: Feed, number: int) -> list[str]:
        return next((d.pool or "").split(",") for d in feed.loop.decisions if d.action == number)

    def _has_evidence(self, decision: LoopDecision) -> None:
        if decision.kind not in ("climb", "pass_over"):
            return
        allowed = self.allowed[decision.intent, decision.objective or ""]
        if allowed is None:
            assert (decision.measured or 0.0) > (decision.target or 0.0)
            return
        sure = CLIMB_CONFIDENCE if decision.escalates is None else 0.95
        assert proves_violation(decision.samples or 0, decision.bad or 0, allowed, sure)


@pytest.mark.req("INT-2", "INT-4", "INT-6")
@FEW
@given(policy=policies(), phases=PHASES, relief=RELIEF, seed=st.integers(0, 99))
def test_what_holds_for_every_run(
    policy: PolicySet, phases: list[Phase], relief: dict[str, float], seed: int
) -> None:
    feed = Feed(policy, relief=relief, watch=Watch(policy), seed=seed).run(*phases)
    logged = [
        msgspec.json.decode(msgspec.json.encode(decision), type=LoopDecision)
        for decision in feed.said
    ]
    assert logged == feed.said
    replayed = replay(logged, policy)
    assert [(one.why, one.decision.words) for one in replayed if not one.agrees] == []
    statuses = feed.loop.statuses(feed.now_s)
    held = sorted(action.id for status in statuses for action in status.actions)
    assert list(replayed[-1].held if replayed else ()) == held
    assert [decision.seq for decision in logged] == list(range(1, len(logged) + 1))
    # Nobody ticks any more.
    assert feed.loop.held_now(feed.now_s + LEASE_S) is CALM
    assert all(not status.actions for status in feed.loop.statuses(feed.now_s + LEASE_S))


@pytest.mark.req("INT-2")
@FEW
@given(policy=policies(), phases=PHASES, relief=RELIEF)
def test_the_same_traffic_gives_the_same_decisions(
    policy: PolicySet, phases: list[Phase], relief: dict[str, float]
) -> None:
    one, other = (Feed(policy, relief=relief).run(*phases[:2]) for _ in range(2))
    assert one.said == other.said
    assert one.decided == other.decided


QUALITY = st.sampled_from([None, 0.1, 0.5, 0.6, 0.9])


@pytest.mark.req("INT-11")
@FEW
@given(
    qualities=st.tuples(QUALITY, QUALITY, QUALITY),
    floor=st.sampled_from([0.5, 0.6]),
    ladder=LADDERS,
    ceiling=st.booleans(),
)
def test_no_ladder_ever_leads_below_the_floor(
    qualities: tuple[float | None, ...], floor: float, ladder: list[object], ceiling: bool
) -> None:
    names = ("small", "twin", "tiny")
    models = dict(CATALOG.models)
    for name, quality in zip(names, qualities, strict=True):
        models[name] = msgspec.structs.replace(models[name], quality=quality)
    catalog = Catalog(
        models=models, pools=CATALOG.pools, routes={"big": ("big", "tiny", "twin", "small")}
    )
    promised = {"ttft_p95": "1s"} | ({"cost_per_minute": "0.01 USD"} if ceiling else {})
    intent = {
        "name": "interactive",
        "match": {"default": True},
        "objectives": promised,
        "quality_floor": floor,
        "ladder": [*ladder, {"switch_model": "tiny"}],
    }
    # What is listed later may be rated otherwise than what the policy was read against.
    text = msgspec.json.encode({"intents": [intent]}).decode()
    policy = policy_set(text, msgspec.structs.replace(CATALOG, models={}, discovering=True))
    busy = Phase(seconds=60.0, rps={"interactive": 8.0}, late=0.6, tokens=40)
    feed = Feed(policy, catalog=catalog).run(busy)
    for _, decision in feed.decided:
        for name in decision.models:
            quality = models[name].quality
            assert quality is not None
            assert quality >= floor


# -- a single request, whatever happens to it ------------------------------------------------

EVENTS = st.lists(
    st.sampled_from(["wait", "dispatched", "attempt_failed", "first_token", "tokens"]), max_size=12
)
FATES = st.sampled_from(["served", "failed", "cancelled", "refused", "shed"])
LIFE = policy_set(
    """
intents:
  - name: interactive
    match: {default: true}
    objectives:
      {ttft_p50: 500ms, ttft_p95: 1s, e2e_p95: 8s, error_rate: 1%, cost_per_request: 1 USD}
"""
)


@pytest.mark.req("INT-4")
@given(events=EVENTS, fate=FATES)
def test_every_request_counts_once_for_each_signal_at_most(events: list[str], fate: str) -> None:
    loop = Loop(LIFE, CATALOG, 0.0)
    seen = loop.signals.intent("interactive")
    judged: list[str] = []
    original = seen.judge
    seen.judge = lambda now_s, signal, values: (
        judged.extend([signal] * len(values)) or original(now_s, signal, values)
    )
    flight = Flight(
        1,
        intent="interactive",
        model="big",
        lane=("sim", "big"),
        caller="web",
        priority=0,
        prompt_tokens=10,
        arrived_s=0.0,
        ttft_objective_s=1.0,
        e2e_objective_s=8.0,
        output_usd=0.001,
    )
    loop.offered(flight)
    now_s = 0.0
    for event in events:
        now_s += 0.4
        match event:
            case "wait":
                now_s += 1.0
            case "dispatched":
                loop.dispatched(flight, flight.lane, 0.1, now_s)
            case "attempt_failed":
                loop.attempt_failed(flight, "capacity", now_s)
            case "first_token" if flight.first_token_s is None:
                loop.first_token(flight, now_s)
            case "tokens":
                flight.tokens, flight.last_s = flight.tokens + 20, now_s
        loop.tick(now_s)
    waited = flight.first_token_s is None and now_s > 1.0
    match fate:
        case "served" | "failed":
            usage = flight.tokens + 5
            loop.ended(flight, now_s, failed=fate == "failed", output_tokens=usage)
        case "cancelled":
            loop.cancelled(flight, now_s)
        case _:
            loop.refused(flight, now_s, shed=fate == "shed")
    loop.tick(now_s + 100.0)
    assert all(judged.count(signal) <= 1 for signal in ("ttft", "e2e", "error_rate"))
    assert judged.count("cost_per_request") == (fate == "served")
    assert judged.count("error_rate") == (fate in ("served", "failed"))
    assert ("ttft" in judged) >= (waited or flight.first_token_s is not None or fate == "refused")
    assert flight.reported_tokens <= flight.tokens
    assert flight.cost_usd == pytest.approx(flight.reported_tokens * 0.001)
    assert not loop.live


def test_the_rungs_of_these_runs_are_all_there_are() -> None:
    assert {Rung.parse(rung).action for rung in RUNGS} == set(KINDS)
