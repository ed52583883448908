"""Who works where, and whether a rung has anything to act on: each reason, and when it goes away."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog, ModelCard
from contracts.control import MeasuredObjective
from contracts.policy import Rung
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.ladder import Action, Ladder
from policies.lines import Ticket
from policies.objectives import Objective, objectives_of
from policies.reach import MAX_SETTLE_S, MODELS_KEPT, RECENT_S, Reach
from policies.rung_memory import LOAD_SPAN_S
from policies.signals import Signals
from tests.policies.scenarios import CATALOG, policy_set

POLICY = policy_set(
    """
intents:
  - name: interactive
    match: {header: {x-intent: interactive}, default: true}
    objectives: {ttft_p95: 1s, tpot_p95: 40ms, cost_per_minute: 1 USD}
    priority: 10
    quality_floor: 0.6
  - name: quick
    match: {header: {x-intent: quick}}
    objectives: {ttft_p95: 500ms, tpot_p95: 60ms}
    priority: 20
  - name: rehearsed
    match: {header: {x-intent: rehearsed}}
    objectives: {ttft_p95: 10ms, tpot_p95: 1ms}
    dry_run: true
  - name: batch
    match: {header: {x-intent: batch}}
    objectives: {ttft_p95: 60s}
    priority: -10
"""
)
TTFT, TPOT, COST = objectives_of(POLICY.intents["interactive"])
SIM, FAR = ("sim", "big"), ("far", "big")
SMALL = ("sim", "small")


class Scene:
    """A pool `sim`, and who has asked for it."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.signals.declare(
            {name: (objectives_of(intent), 30.0) for name, intent in POLICY.intents.items()}
        )
        self.reach = Reach(POLICY, self.signals)
        told = AdmissionSettings(limit=50, max_waiting=50, timeout_s=60.0)
        self.pools = {"sim": AdmissionQueue(told)}
        self.ladders: dict[str, Ladder] = {}
        self.catalog = CATALOG
        self.now_s = 100.0

    def went(
        self, intent: str, lane: tuple[str, str] = SIM, *, times: int = 1, **more: Any
    ) -> None:
        told = {"model": lane[1], "priority": POLICY.intent(intent).priority, **more}
        for _ in range(times):
            self.reach.went(intent, lane, now_s=self.now_s, **told)

    def why_not(
        self, rung: object, objective: Objective = TTFT, intent: str = "interactive"
    ) -> str:
        return self.reach.why_not(
            intent,
            Rung.parse(rung),
            objective,
            self.catalog,
            self.ladders,
            self.pools,
            self.now_s,
        )

    def pending(self, intent: str, rung: object, *pools: str) -> Action:
        """An action of another intent that is still to be judged."""
        parsed = Rung.parse(rung)
        ladder = Ladder([parsed], [TTFT], count(1).__next__)
        action = Action(1, 0, parsed, TTFT, self.now_s)
        action.pools = frozenset(pools)
        ladder.held.append(action)
        self.ladders[intent] = ladder
        return action


# -- where they go ------------------------------------------------------------------------


def test_where_an_intent_goes_is_known_for_a_minute() -> None:
    scene = Scene()
    scene.went("interactive", FAR)
    scene.now_s += 30.0
    scene.went("interactive", SIM)
    assert scene.reach.lanes_of("interactive", scene.now_s) == [FAR, SIM]
    assert scene.reach.pools_of("interactive", scene.now_s + 31.0) == {"sim"}
    assert scene.reach.lanes_of("interactive", scene.now_s + RECENT_S + 0.1) == []
    assert scene.reach.pools_of("batch", scene.now_s) == frozenset()


def test_what_it_usually_asks_for_is_what_most_of_its_last_requests_went_to() -> None:
    scene = Scene()
    assert scene.reach.usual_model("interactive", scene.now_s) == ""
    scene.went("interactive", SIM, times=500)
    scene.went("interactive", SMALL, times=MODELS_KEPT // 2 + 1)
    assert scene.reach.usual_model("interactive", scene.now_s) == "small"
    scene.went("interactive", SIM, times=MODELS_KEPT // 2 + 1)
    assert scene.reach.usual_model("interactive", scene.now_s) == "big", "soon forgotten"
    assert scene.reach.usual_model("interactive", scene.now_s + RECENT_S + 0.1) == ""


def test_the_strictest_promise_of_those_in_a_lane_counts_and_rehearsals_do_not() -> None:
    scene = Scene()
    scene.went("interactive")
    scene.went("rehearsed")
    scene.went("batch")
    assert scene.reach.tightest(SIM, "ttft", scene.now_s) == 1.0
    assert scene.reach.tightest(SIM, "tpot", scene.now_s) == pytest.approx(0.04)
    scene.went("quick")
    assert scene.reach.tightest(SIM, "ttft", scene.now_s) == 0.5
    assert scene.reach.tightest(SIM, "tpot", scene.now_s) == pytest.approx(0.04)
    assert scene.reach.tightest(FAR, "ttft", scene.now_s) is None
    assert scene.reach.tightest(SIM, "ttft", scene.now_s + RECENT_S + 0.1) is None


def test_load_is_what_all_offer_who_share_a_pool() -> None:
    scene = Scene()
    for intent, lane, rps in (("interactive", SIM, 3), ("batch", SMALL, 2), ("quick", FAR, 7)):
        for second in range(100 - LOAD_SPAN_S, 101):
            scene.signals.intent(intent).arrivals.add(float(second), float(rps))
        scene.went(intent, lane)
    assert scene.reach.load_rps("interactive", 100.9) == pytest.approx(5.0, rel=0.05)
    assert scene.reach.load_rps("quick", 100.9) == pytest.approx(7.0, rel=0.05)


def test_what_is_served_is_a_share_of_what_comes() -> None:
    scene = Scene()
    assert scene.reach.served_share("interactive", 100.0) == 1.0
    assert scene.reach.served_share("nobody", 100.0) == 1.0
    seen = scene.signals.intent("interactive")
    seen.arrivals.add(100.0, 4.0)
    seen.served.add(100.0, 1.0)
    assert scene.reach.served_share("interactive", 100.0) == 0.25
    seen.served.add(100.0, 9.0)
    assert scene.reach.served_share("interactive", 100.0) == 1.0


def test_new_policies_do_not_change_where_requests_go() -> None:
    scene = Scene()
    scene.went("interactive")
    scene.went("batch")
    scene.went("")
    scene.reach.follow(policy_set("intents: [{name: interactive, objectives: {ttft_p95: 2s}}]"))
    assert scene.reach.lanes_of("interactive", scene.now_s) == [SIM]
    assert scene.reach.usual_model("interactive", scene.now_s) == "big"
    assert scene.reach.lanes_of("batch", scene.now_s) == []
    assert scene.reach.lanes_of("", scene.now_s) == [SIM]
    assert scene.reach.tightest(SIM, "ttft", scene.now_s) == 2.0, "the new promise"


# -- what a rung could do -------------------------------------------------------------------


def test_nothing_can_be_done_for_who_is_not_there() -> None:
    scene = Scene()
    assert scene.why_not("shed") == "no request of it was seen lately"


def test_order_needs_two_callers_that_wait_in_its_class() -> None:
    scene = Scene()
    scene.went("interactive")
    queue = scene.pools["sim"]
    queue.lane("big").limit = 1.0
    queue.offer(Ticket(request=0, lane="big", priority=10, caller="a"), 100.0)
    queue.offer(Ticket(request=1, lane="big", priority=10, caller="a"), 100.0)
    queue.offer(Ticket(request=2, lane="big", priority=-10, caller="b"), 100.0)
    assert scene.why_not("order") == "no two callers wait"
    queue.offer(Ticket(request=3, lane="big", priority=10, caller="b"), 100.0)
    assert scene.why_not("order") == ""


@pytest.mark.parametrize("rung", ["hold_back", "refuse", "shed"])
def test_others_can_be_turned_away_only_where_lower_ones_share_a_pool(rung: str) -> None:
    scene = Scene()
    scene.went("interactive")
    scene.went("quick")
    scene.went("batch", FAR)
    assert "shares its pools" in scene.why_not(rung)
    scene.went("batch", SMALL)
    assert scene.why_not(rung) == ""
    scene.now_s += RECENT_S + 0.1
    scene.went("interactive")
    assert "shares its pools" in scene.why_not(rung)


def test_only_those_below_zero_are_sheddable() -> None:
    scene = Scene()
    scene.went("interactive")
    scene.went("", priority=0)
    assert scene.why_not("shed") == "nothing sheddable shares its pools"
    assert scene.why_not("refuse") == ""
    scene.went("", priority=-1)
    assert scene.why_not("shed") == ""


@pytest.mark.req("INT-11")
@pytest.mark.parametrize(
    ("target", "objective", "reason"),
    [
        ("small", TTFT, ""),
        ("small", COST, ""),
        ("twin", TTFT, ""),
        ("tiny", TTFT, "tiny has quality 0.3; the floor of intent interactive is 0.6"),
        ("nobody", TTFT, "no backend lists nobody"),
        ("big", TTFT, "big serves it already"),
        ("twin", COST, ""),  # unpriced is free
        ("best", TTFT, "best is rated above big"),
        ("dear", COST, "dear is no cheaper"),
        ("dear", TTFT, ""),
        ("unrated", TTFT, "unrated is unrated; the floor of intent interactive is 0.6"),
    ],
)
def test_another_model_must_be_there_good_enough_and_other(
    target: str, objective: Objective, reason: str
) -> None:
    scene = Scene()
    more = [
        ModelCard(name="best", pool="sim", upstream="best", quality=0.95),
        ModelCard(name="dear", pool="sim", upstream="d", quality=0.8, output_price=24.0),
        ModelCard(name="unrated", pool="sim", upstream="u"),
    ]
    scene.catalog = Catalog(
        models={**CATALOG.models, **{card.name: card for card in more}}, pools=CATALOG.pools
    )
    scene.went("interactive")
    assert scene.why_not({"switch_model": target}, objective) == reason


def test_a_model_that_is_given_back_can_be_switched_to_again_at_once() -> None:
    scene = Scene()
    scene.went("interactive", SMALL, times=5000)
    assert scene.why_not({"switch_model": "small"}) == "small serves it already"
    scene.now_s += 3.0
    scene.went("interactive", SIM, times=MODELS_KEPT)
    assert scene.why_not({"switch_model": "small"}) == ""


def test_a_cap_is_of_no_use_above_the_length_of_answers() -> None:
    scene = Scene()
    scene.went("interactive")
    assert scene.why_not({"cap_tokens": 256}) == "", "unknown lengths may be long"
    for _ in range(100):
        scene.signals.intent("interactive").output.add(scene.now_s, 0.2)
    assert scene.why_not({"cap_tokens": 256}) == "answers are shorter than that already"
    assert scene.why_not({"cap_tokens": 128}) == ""


def test_batches_can_be_reduced_only_where_two_run_at_once() -> None:
    scene = Scene()
    scene.went("interactive")
    scene.went("interactive", FAR)
    scene.went("interactive", SMALL)  # always turned away by a rule: its lane does not exist yet
    assert scene.why_not({"reduce_batching": "70%"}, TPOT) == "nothing runs at once"
    scene.pools["sim"].lane("big").inflight = 1
    assert scene.why_not({"reduce_batching": "70%"}, TPOT) == "nothing runs at once"
    scene.pools["sim"].lane("big").inflight = 2
    assert scene.why_not({"reduce_batching": "70%"}, TPOT) == ""


@pytest.mark.parametrize("rung", ["reroute", "hedge"])
def test_elsewhere_means_a_good_model_of_its_route_in_another_pool(rung: str) -> None:
    scene = Scene()
    scene.went("interactive", SMALL)
    assert scene.why_not(rung) == "its route has no model in another pool"
    scene.went("interactive", SIM, times=2)
    assert scene.why_not(rung) == ""
    routes = {"big": ("big", "near", "worse")}
    cards = [
        ModelCard(name="near", pool="sim", upstream="n", quality=0.9),
        ModelCard(name="worse", pool="far", upstream="w", quality=0.3),
    ]
    scene.catalog = Catalog(
        models={**CATALOG.models, **{card.name: card for card in cards}}, routes=routes
    )
    assert scene.why_not(rung) == "its route has no model in another pool"


@pytest.mark.req("INT-6")
def test_one_unjudged_action_at_a_time_changes_a_pool() -> None:
    scene = Scene()
    for intent in ("interactive", "batch", "quick"):
        scene.went(intent)
    # A per-request one first: it is no reason, and hides none that comes after it.
    scene.pending("rehearsed", {"switch_model": "small"}, "sim")
    assert scene.why_not("shed") == ""
    action = scene.pending("quick", "hold_back", "sim")
    assert scene.why_not("shed") == "another action is being judged in its pool"
    assert scene.why_not({"switch_model": "small"}) == "", "that changes no pool"
    action.pools = frozenset({"far"})
    assert scene.why_not("shed") == ""
    action.pools, action.verdict = frozenset({"sim"}), "confirmed"
    assert scene.why_not("shed") == ""


# -- preparing to judge -----------------------------------------------------------------------


def prepared(scene: Scene, rung: object, objective: Objective = TTFT, **seen: Any) -> Action:
    action = Action(1, 0, Rung.parse(rung), objective, scene.now_s)
    told = {"value": 2.0, "samples": 100, "bad": 20, "severity": 2.0, **seen}
    measured = MeasuredObjective(objective=objective.name, target=objective.target, **told)
    scene.reach.prepare("interactive", action, measured, 12.0, scene.now_s)
    return action


@pytest.mark.req("INT-6")
def test_what_things_are_like_is_written_down_before_an_action_is_judged() -> None:
    scene = Scene()
    scene.went("interactive")
    seen = scene.signals.intent("interactive")
    for nth in range(20):
        at_s = 81.0 + nth
        seen.arrivals.add(at_s, 4.0)
        seen.served.add(at_s, 3.0)
        seen.failed.add(at_s, 1.0)
        seen.pay(at_s, 0.03)
    action = prepared(scene, "order")
    assert action.pools == {"sim"}
    assert action.trial is not None
    before = action.trial.before
    assert (before.late_share, before.load_rps) == (0.2, 12.0)
    assert before.own_rps == pytest.approx(4.0, rel=0.06)
    assert before.error_share == pytest.approx(0.25)
    assert before.usd_per_request == pytest.approx(0.01)
    assert action.trial.counts_from_s == scene.now_s + 1.0


def test_a_pool_is_another_one_only_when_a_long_answer_of_before_has_ended() -> None:
    scene = Scene()
    scene.went("interactive")
    for nth in range(100):
        scene.signals.lane(SIM).service.add(scene.now_s, 1.0 + nth / 10)
    action = prepared(scene, "shed")
    assert action.trial is not None
    assert action.trial.counts_from_s - scene.now_s == pytest.approx(2.0 + 10.0, abs=0.3)
    for _ in range(2000):
        scene.signals.lane(SIM).service.add(scene.now_s, 500.0)
    action = prepared(scene, "shed")
    assert action.trial is not None
    assert action.trial.counts_from_s - scene.now_s == 2.0 + MAX_SETTLE_S


def test_what_only_rehearses_is_not_judged() -> None:
    scene = Scene()
    scene.went("interactive")
    action = prepared(scene, {"shed": True, "dry_run": True})
    assert action.trial is None
    assert action.pools == {"sim"}


def test_a_promise_of_cost_is_foretold_at_the_price_of_before() -> None:
    scene = Scene()
    scene.went("interactive")
    seen = scene.signals.intent("interactive")
    for second in range(70, 101):
        seen.arrivals.add(float(second), 2.0)
        seen.served.add(float(second), 2.0)
        seen.pay(float(second), 0.02)
    switched = prepared(scene, {"switch_model": "small"}, COST, samples=0, bad=0)
    predict = scene.reach.cost_without
    assert predict("interactive", switched, 100.9) == pytest.approx(1.2, rel=0.05)
    assert predict("interactive", prepared(scene, "order"), 100.9) is None
    rehearsed = prepared(scene, {"switch_model": "small", "dry_run": True}, COST)
    assert predict("interactive", rehearsed, 100.9) is None


@given(
    went=st.lists(
        st.tuples(
            st.integers(0, 200),
            st.sampled_from(["interactive", "batch", "quick", ""]),
            st.sampled_from([SIM, SMALL, FAR]),
        ),
        max_size=60,
    ),
    later_s=st.integers(0, 100),
)
def test_only_the_last_minute_counts_whatever_came(
    went: list[tuple[int, str, tuple[str, str]]], later_s: int
) -> None:
    scene = Scene()
    went.sort(key=lambda told: told[0])
    for at_s, intent, lane in went:
        scene.now_s = float(at_s)
        scene.went(intent, lane)
    now_s = scene.now_s + later_s
    for intent in ("interactive", "batch", "quick", ""):
        recent = {lane for at_s, who, lane in went if who == intent and at_s >= now_s - RECENT_S}
        assert set(scene.reach.lanes_of(intent, now_s)) == recent
        assert scene.reach.pools_of(intent, now_s) == {pool for pool, _ in recent}
        assert (scene.reach.usual_model(intent, now_s) != "") == bool(recent)
