"""The loop, call by call: what each step of a request counts for, what is held, and how it ends.

Whole runs in virtual time are in `test_loop_scenarios`, what holds for all of them in
`test_loop_properties`.
"""

from collections.abc import Callable, Sized
from itertools import pairwise
from typing import Any

import pytest

from contracts.control import LoopDecision, MeasuredObjective
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.fairness import OUTPUT_WEIGHT
from policies.flight import Flight
from policies.held import CALM
from policies.ladder import LEASE_S
from policies.lines import Ticket
from policies.loop import JUDGE_TPOT_S, JUDGE_TPOT_TOKENS, RECENT_DECISIONS, Loop
from policies.steering import PoolBounds
from tests.policies.scenarios import CATALOG, policy_set

POLICY = """
intents:
  - name: interactive
    match: {header: {x-intent: interactive}, default: true}
    objectives:
      {ttft_p50: 200ms, ttft_p95: 1s, tpot_p95: 40ms, e2e_p95: 20s, error_rate: 5%,
       cost_per_minute: 100 USD, cost_per_request: 1 USD}
    priority: 10
    ladder: [order, hold_back, {switch_model: small}, {cap_tokens: 64}, shed]
  - name: batch
    match: {header: {x-intent: batch}}
    priority: -10
"""
LANE = ("sim", "big")


class Scene:
    """A loop, one pool, and flights that are told of by hand."""

    def __init__(self, policy: str = POLICY) -> None:
        self.now_s = 100.0
        self.loop = Loop(policy_set(policy), CATALOG, self.now_s)
        told = AdmissionSettings(limit=100, max_waiting=100, timeout_s=60.0)
        self.queue = AdmissionQueue(told)
        self.loop.adopt("sim", self.queue, PoolBounds(endpoints=1, ceiling=100.0))
        self.requests = 0
        self.said: list[LoopDecision] = []

    def offered(self, intent: str = "interactive", **more: Any) -> Flight:
        self.requests += 1
        promised = self.loop.intent(intent)
        told: dict[str, Any] = {
            "intent": intent,
            "model": "big",
            "lane": LANE,
            "caller": "web",
            "priority": promised.priority,
            "prompt_tokens": 100,
            "arrived_s": self.now_s,
            "ttft_objective_s": promised.objectives.ttft_s,
            "tpot_objective_s": promised.objectives.tpot_s,
            "e2e_objective_s": promised.objectives.e2e_s,
        }
        flight = Flight(self.requests, **{**told, **more})
        self.loop.offered(flight)
        return flight

    def dispatched(self, intent: str = "interactive", **more: Any) -> Flight:
        flight = self.offered(intent, **more)
        self.loop.dispatched(flight, flight.lane, 0.0, self.now_s)
        return flight

    def streaming(self, ttft_s: float = 0.1, intent: str = "interactive", **more: Any) -> Flight:
        """One with its first token, `ttft_s` after it came."""
        flight = self.dispatched(intent, **more)
        self.loop.first_token(flight, self.now_s + ttft_s)
        return flight

    def served(self, ttft_s: float = 0.1, intent: str = "interactive", **more: Any) -> Flight:
        flight = self.streaming(ttft_s, intent, **more)
        self.loop.ended(flight, self.now_s + ttft_s + 6.0, output_tokens=200, finish_reason="stop")
        return flight

    def tick(
        self, after_s: float = 0.25, look: Callable[[Flight], None] | None = None
    ) -> list[LoopDecision]:
        self.now_s += after_s
        said = self.loop.tick(self.now_s, look)
        self.said += said
        return said

    def counts(self, objective: str, intent: str = "interactive") -> tuple[int, int]:
        measured = self.measured(objective, intent)
        return measured.samples, measured.bad

    def measured(self, objective: str, intent: str = "interactive") -> MeasuredObjective:
        seen = self.loop.signals.intent(intent).measured(self.now_s)
        return next(m for m in seen if m.objective == objective)

    def break_promise(self, rung: str = "hold_back") -> LoopDecision:
        """So many late first tokens that something is done."""
        self.dispatched("batch")
        for _ in range(60):
            self.served()
        for _ in range(40):
            self.served(ttft_s=3.0)
        self.now_s += 9.2
        self.tick()
        (climbed,) = self.tick()
        assert (climbed.kind, climbed.rung) == ("climb", rung)
        return climbed


# -- what counts, and once ------------------------------------------------------------------


@pytest.mark.req("INT-4", "ADM-1")
def test_how_long_a_task_waits_and_takes_is_no_evidence_and_its_errors_are() -> None:
    scene = Scene()
    task = {"patient": True, "ttft_objective_s": None, "e2e_objective_s": None}
    scene.served(ttft_s=900.0, **task)
    scene.loop.refused(scene.offered(**task), scene.now_s)
    failed = scene.dispatched(**task)
    for objective in ("ttft_p50", "ttft_p95", "e2e_p95"):
        assert scene.counts(objective) == (0, 0)
    scene.tick(after_s=1000.0)
    scene.loop.ended(failed, scene.now_s, failed=True)
    for objective in ("ttft_p50", "ttft_p95", "e2e_p95"):
        measured = scene.measured(objective)
        assert (measured.samples, measured.value, measured.severity) == (0, None, None)
    assert scene.counts("error_rate") == (1, 1)
    scene.served(**task)
    assert scene.counts("error_rate") == (2, 1)
    assert scene.counts("tpot_p95") == (1, 0)
    assert scene.counts("cost_per_request") == (1, 0)
    assert scene.counts("ttft_p95") == (0, 0)


@pytest.mark.req("INT-4")
def test_a_request_is_judged_once_for_each_signal_whatever_happens_to_it() -> None:
    scene = Scene()
    flight = scene.dispatched()
    scene.tick(after_s=1.1)  # it waits past its objective: it is late already
    assert scene.counts("ttft_p95") == (1, 1)
    scene.loop.first_token(flight, scene.now_s)
    assert scene.counts("ttft_p95") == (1, 1)
    scene.tick(after_s=20.0)
    assert scene.counts("e2e_p95") == (1, 1), "and so is an answer that is not complete in time"
    scene.loop.ended(flight, scene.now_s, output_tokens=5)
    assert scene.counts("e2e_p95") == (1, 1)
    assert scene.counts("ttft_p95") == (1, 1)
    assert scene.counts("error_rate") == (1, 0)


@pytest.mark.req("INT-4")
def test_one_that_was_in_time_is_no_longer_waited_for() -> None:
    scene = Scene()
    scene.streaming(ttft_s=0.5)
    scene.tick(after_s=5.0)
    assert scene.counts("ttft_p95") == (1, 0)
    assert scene.counts("ttft_p50") == (1, 1)


def test_who_tightened_its_promise_is_late_by_its_own_measure() -> None:
    scene = Scene()
    scene.dispatched(ttft_objective_s=0.3)
    scene.tick(after_s=0.5)
    assert scene.counts("ttft_p95") == (1, 1)
    scene.streaming(ttft_s=0.4, ttft_objective_s=0.3)
    assert scene.counts("ttft_p95") == (2, 2)


@pytest.mark.req("INT-4")
def test_turned_away_for_want_of_capacity_is_late_and_shed_is_no_evidence() -> None:
    scene = Scene()
    scene.loop.refused(scene.offered(), scene.now_s)
    assert scene.counts("ttft_p95") == (1, 1)
    assert scene.counts("e2e_p95") == (1, 1)
    assert scene.counts("error_rate") == (0, 0)
    scene.loop.refused(scene.offered(), scene.now_s, shed=True)
    assert scene.counts("ttft_p95") == (1, 1)
    seen = scene.loop.signals.intent("interactive")
    assert (seen.refused.sum(scene.now_s, 30), seen.shed.sum(scene.now_s, 30)) == (1.0, 1.0)
    scene.tick(after_s=30.0)
    assert scene.counts("ttft_p95") == (0, 0), "nobody waits for them any more"


def test_who_left_is_no_evidence_and_pays_for_what_was_generated() -> None:
    scene = Scene()
    flight = scene.streaming(input_usd=0.001, output_usd=0.01)
    flight.tokens = 20
    scene.loop.cancelled(flight, scene.now_s)
    assert flight.cost_usd == pytest.approx(100 * 0.001 + 20 * 0.01)
    assert scene.counts("error_rate") == (0, 0)
    scene.tick(after_s=25.0)
    assert scene.counts("e2e_p95") == (0, 0)


def test_a_broken_answer_is_an_error_and_says_nothing_of_its_pace() -> None:
    scene = Scene()
    flight = scene.streaming()
    flight.tokens, flight.last_s = 50, scene.now_s + 9.0
    scene.loop.ended(flight, scene.now_s + 9.0, failed=True)
    assert scene.counts("error_rate") == (1, 1)
    assert scene.counts("tpot_p95") == scene.counts("e2e_p95") == (0, 0)
    assert scene.counts("cost_per_request") == (0, 0)
    assert scene.loop.signals.intent("interactive").served.sum(scene.now_s + 9, 30) == 0.0


def test_a_short_answers_pace_is_judged_at_its_end() -> None:
    scene = Scene()
    flight = scene.streaming(ttft_s=0.0)
    scene.loop.ended(flight, scene.now_s + 1.0, output_tokens=11)
    assert scene.measured("tpot_p95").value == pytest.approx(0.1, rel=0.02)
    assert scene.counts("tpot_p95") == (1, 1)
    single = scene.streaming(ttft_s=0.0)
    scene.loop.ended(single, scene.now_s + 1.0, output_tokens=1)
    assert scene.counts("tpot_p95") == (1, 1), "one token has no pace"


@pytest.mark.req("INT-4")
def test_a_long_answers_pace_is_judged_while_it_lives_every_few_seconds() -> None:
    scene = Scene()
    flight = scene.streaming(ttft_s=0.0)
    gap_s, judged = 0.05, []

    def look(one: Flight) -> None:
        one.tokens = 1 + int((scene.now_s - 100.0) / gap_s)
        one.last_s = 100.0 + (one.tokens - 1) * gap_s

    for _ in range(4 * 60):
        scene.tick(look=look)
        samples = scene.counts("tpot_p95")[0]
        if samples > len(judged):
            judged.append(scene.now_s - 100.0)
        if len(judged) == 5:
            break
    assert judged[0] >= JUDGE_TPOT_TOKENS * gap_s
    gaps = [later - earlier for earlier, later in pairwise(judged)]
    assert all(JUDGE_TPOT_S <= gap <= JUDGE_TPOT_S + 1.0 for gap in gaps)
    assert scene.counts("tpot_p95") == (5, 5)
    scene.loop.ended(flight, scene.now_s, output_tokens=flight.tokens)
    assert scene.counts("tpot_p95") == (5, 5), "its end is nothing new"


def test_a_body_is_asked_for_the_tokens_of_streams_that_are_due() -> None:
    scene = Scene()
    flight = scene.streaming(ttft_s=0.0)
    asked = []

    def look(one: Flight) -> None:
        asked.append(scene.now_s - 100.0)
        one.tokens, one.last_s = one.tokens + 20, scene.now_s

    for _ in range(8):
        scene.tick(look=look)
    assert asked == [0.75, 1.5]
    assert list(scene.loop.live.values()) == [flight]
    assert scene.loop.signals.lane(LANE).tpot_p95_s(scene.now_s) == pytest.approx(0.75 / 20)


def test_a_pace_takes_enough_tokens_to_be_one() -> None:
    scene = Scene()
    scene.streaming(ttft_s=0.0)
    lane = scene.loop.signals.lane(LANE)

    def crawl(one: Flight) -> None:
        one.tokens, one.last_s = one.tokens + 4, scene.now_s

    for _ in range(5):
        scene.tick(look=crawl)
        assert lane.tpot_p95_s(scene.now_s) is None
    scene.tick(look=crawl)
    assert lane.tpot_p95_s(scene.now_s) == pytest.approx(1.5 / 16)


@pytest.mark.req("INT-1")
def test_tokens_are_counted_charged_and_paid_once() -> None:
    scene = Scene()
    flight = scene.streaming(input_usd=0.001, output_usd=0.01)
    assert flight.cost_usd == pytest.approx(0.1), "its prompt, with the first token"
    flight.tokens, flight.last_s = 40, scene.now_s + 1.0
    for _ in range(4):
        scene.tick()
    scene.loop.ended(flight, scene.now_s, output_tokens=50)
    assert flight.cost_usd == pytest.approx(0.1 + 0.5)
    seen = scene.loop.signals.intent("interactive")
    assert seen.tokens.sum(scene.now_s, 30) == 50.0
    assert seen.cost.sum(scene.now_s, 30) == pytest.approx(0.6)
    assert scene.queue.counters(10).of("web") == pytest.approx(50 * OUTPUT_WEIGHT)
    assert scene.counts("cost_per_request") == (1, 0)


def test_a_lane_is_steered_closer_to_its_objective_by_what_became_of_whole_requests() -> None:
    scene = Scene()
    scene.queue.lane(LANE[1])
    theta = scene.loop.steering.trim(LANE).theta
    for _ in range(60):  # 30 ms a token, where 40 are promised
        scene.served()
    scene.tick(after_s=7.0)
    assert scene.loop.steering.trim(LANE).theta > theta


@pytest.mark.parametrize("claimed", [10**400, 10**300])
def test_an_engine_that_claims_absurd_numbers_spoils_no_other_requests_count(claimed: int) -> None:
    scene = Scene()
    scene.loop.ended(scene.streaming(output_usd=2.0), scene.now_s + 1.0, output_tokens=claimed)
    scene.loop.ended(scene.streaming(output_usd=2.0), scene.now_s + 1.0, output_tokens=8)
    scene.tick(2.0)
    assert scene.loop.signals.intent("interactive").served.sum(scene.now_s, 30) == 2.0


def test_a_prefill_is_learned_from_its_first_token() -> None:
    scene = Scene()
    flight = scene.offered()
    flight.ticket = 7
    scene.queue.offer(Ticket(request=7, lane="big", prompt_tokens=100), scene.now_s)
    scene.loop.dispatched(flight, LANE, 0.3, scene.now_s + 0.3)
    scene.loop.first_token(flight, scene.now_s + 0.5)
    assert scene.queue.lane("big").prefill.samples == 1
    seen = scene.loop.signals
    assert seen.intent("interactive").queue.mean(scene.now_s + 0.5, 30) == pytest.approx(0.3)
    assert seen.lane(LANE).upstream_ttft.mean(scene.now_s + 0.5, 30) == pytest.approx(0.2)
    scene.loop.flow_queued(flight, 0.05, scene.now_s + 0.5)
    assert seen.lane(LANE).flow_queue.mean(scene.now_s + 0.5, 30) == pytest.approx(0.05)


def test_a_refusal_of_the_backend_cuts_the_limit_and_the_next_attempt_begins_anew() -> None:
    scene = Scene()
    flight = scene.streaming()
    scene.tick()
    limit = scene.queue.lane("big").limit if "big" in scene.queue.lanes else None
    assert limit is None, "nobody has asked for a place yet"
    scene.queue.offer(Ticket(request=99, lane="big"), scene.now_s)
    scene.tick()
    before = scene.queue.lane("big").limit
    scene.loop.dispatched(flight, LANE, 0.0, scene.now_s)
    scene.loop.attempt_failed(flight, "capacity", scene.now_s)
    assert scene.queue.lane("big").limit == before / 2
    assert flight.dispatched_s is None
    assert not scene.loop.live
    scene.tick(after_s=5.0)
    other = scene.dispatched()
    scene.loop.attempt_failed(other, "none", scene.now_s)
    assert scene.queue.lane("big").limit == before / 2


def test_nobody_is_remembered_after_his_fate() -> None:
    scene = Scene()
    ends: list[Callable[[Flight], None]] = [
        lambda flight: scene.loop.ended(flight, scene.now_s),
        lambda flight: scene.loop.ended(flight, scene.now_s, failed=True),
        lambda flight: scene.loop.cancelled(flight, scene.now_s),
        lambda flight: scene.loop.refused(flight, scene.now_s),
        lambda flight: scene.loop.refused(flight, scene.now_s, shed=True),
    ]
    for end in ends:
        flight = scene.streaming()
        end(flight)
    assert not scene.loop.live
    (status, _) = scene.loop.statuses(scene.now_s)
    assert (status.inflight, status.waiting) == (0, 0)


# -- what is held -----------------------------------------------------------------------------


def test_a_promise_that_nothing_speaks_against_costs_a_look_a_second() -> None:
    scene = Scene()
    looked = []
    standings = scene.loop._standings
    original = standings.note
    standings.note = lambda *told: looked.append(told) or original(*told)
    for _ in range(40):
        scene.served()
        scene.tick()
    assert len([told for told in looked if told[0] == "interactive"]) in (10, 11)


@pytest.mark.req("INT-6")
def test_a_trial_is_about_its_own_objective_and_no_stricter_one() -> None:
    """Half of the requests may miss the median, which says nothing about the 95th percentile."""
    scene = Scene(POLICY.replace("[order, hold_back,", "[hold_back,"))
    climbed = scene.break_promise()
    assert climbed.objective == "ttft_p95"
    for _ in range(40):
        scene.tick(after_s=0.5)
        scene.served(ttft_s=0.5)
        scene.served(ttft_s=0.3)
    (judged,) = [d for d in scene.said if d.verdict]
    assert judged.trial is not None
    assert judged.trial.bad == 0
    assert judged.kind == "verdict"


@pytest.mark.req("INT-6")
def test_only_answers_that_an_action_cut_short_are_held_against_it() -> None:
    """Those of clients who wanted no more tokens end by length as well."""
    scene = Scene(POLICY.replace("[order, hold_back, {switch_model: small}, ", "["))
    climbed = scene.break_promise("cap_tokens 64")
    assert climbed.action is not None
    treated = (climbed.action,)
    scene.tick(after_s=15.0)
    for nth in range(30):
        flight = scene.streaming(ttft_s=0.5, treated=treated if nth < 10 else ())
        scene.loop.ended(flight, scene.now_s + 1.0, output_tokens=8, finish_reason="length")
    scene.now_s += 1.0
    (judged,) = scene.tick()
    assert judged.verdict != "harmful"
    assert judged.trial is not None
    assert (judged.trial.cut_short, judged.trial.ended) == (10, 30)


@pytest.mark.req("INT-6")
def test_those_that_were_spared_are_counted_apart() -> None:
    scene = Scene(POLICY.replace("[order, hold_back, ", "["))
    climbed = scene.break_promise("switch_model small")
    assert climbed.action is not None
    for nth in range(40):
        scene.served(ttft_s=0.5, held_out=(climbed.action,) if nth % 4 == 0 else ())
    scene.now_s += 1.0
    (judged,) = scene.tick()
    assert judged.trial is not None
    assert (judged.trial.samples, judged.trial.spared) == (30, 10)
    assert judged.trial.ended == 30, "and so are their ends"


@pytest.mark.req("INT-6")
def test_an_action_that_cuts_nothing_is_not_blamed_for_answers_that_end_by_length() -> None:
    scene = Scene(POLICY.replace("[order, hold_back, ", "["))
    climbed = scene.break_promise("switch_model small")
    assert climbed.action is not None
    for _ in range(30):
        flight = scene.streaming(ttft_s=0.5, treated=(climbed.action,))
        scene.loop.ended(flight, scene.now_s + 1.0, output_tokens=8, finish_reason="length")
    scene.now_s += 1.0
    (judged,) = scene.tick()
    assert judged.verdict != "harmful"
    assert judged.trial is not None
    assert (judged.trial.ended, judged.trial.cut_short) == (30, 0)


@pytest.mark.req("INT-6")
def test_what_is_held_is_looked_at_and_renewed_with_every_tick() -> None:
    scene = Scene(POLICY.replace("cost_per_minute: 100 USD, ", ""))
    scene.break_promise()
    for _ in range(3):
        scene.tick()
        assert scene.loop.holding.until_s == scene.now_s + LEASE_S


@pytest.mark.req("INT-6")
@pytest.mark.parametrize("rung", ["hold_back", "shed"])
def test_a_loop_that_nobody_ticks_any_more_lets_go_of_what_it_held(rung: str) -> None:
    others = ("order", "hold_back", "{switch_model: small}", "{cap_tokens: 64}", "shed")
    ladder = f"[{', '.join(others)}]"
    scene = Scene(POLICY.replace(ladder, f"[{rung}]"))
    scene.queue.lane("big").limit = 20.0
    scene.break_promise(rung)
    ticked_s, lane = scene.now_s, scene.queue.lane("big")
    held = scene.loop.held_now(ticked_s + LEASE_S - 0.01)
    assert held is not CALM
    assert (lane.places(-10) < 20) is (rung == "hold_back")
    assert bool(held.declines) is (rung == "shed")
    assert scene.loop.held_now(ticked_s + LEASE_S) is CALM
    assert lane.places(-10) == 20
    (status, _) = scene.loop.statuses(scene.now_s)
    assert status.actions == ()
    (lapse,) = scene.tick(after_s=LEASE_S + 1.0)
    assert lapse.kind == "lapse"
    assert lapse.at_s == ticked_s + LEASE_S


def test_a_tick_after_a_long_pause_finds_the_lease_run_out() -> None:
    scene = Scene()
    scene.break_promise()
    said = scene.tick(after_s=LEASE_S)
    assert [decision.kind for decision in said] == ["lapse"]
    assert scene.loop.holding is CALM


# -- other policies ---------------------------------------------------------------------------


def test_new_policies_that_promise_the_same_change_nothing_that_is_held() -> None:
    scene = Scene()
    scene.break_promise()
    before = scene.loop.holding
    more = POLICY + "rules: [{name: r, when: request.stream, then: {max_tokens: 9}}]\n"
    scene.loop.replace(policy_set(more), CATALOG, scene.now_s)
    assert scene.loop.holding == before
    assert scene.loop.reach.load_rps("interactive", scene.now_s) > 0.0, "who goes where is known"
    assert scene.tick() == []
    (status, _) = scene.loop.statuses(scene.now_s)
    assert [action.rung for action in status.actions] == ["hold_back"]


@pytest.mark.req("INT-7")
def test_an_intent_whose_ladder_has_changed_begins_at_its_foot_and_says_so() -> None:
    scene = Scene()
    climbed = scene.break_promise()
    scene.loop.replace(policy_set(POLICY.replace("hold_back, ", "")), CATALOG, scene.now_s)
    assert scene.loop.holding is CALM
    (told,) = scene.tick()
    assert (told.kind, told.intent) == ("policy", "interactive")
    assert told.words.endswith("no longer in force: held back classes below interactive")
    assert told.seq == climbed.seq + 1


def test_a_catalogue_that_has_changed_counts_from_the_next_decision_on() -> None:
    scene = Scene(POLICY.replace("[order, hold_back, ", "["))
    models = {name: card for name, card in CATALOG.models.items() if name != "small"}
    scene.loop.replace_catalog(type(CATALOG)(models=models, pools=CATALOG.pools))
    climbed = scene.break_promise("cap_tokens 64")
    assert climbed.passed_over == ("switch_model small: no backend lists small",)


# -- what is told -------------------------------------------------------------------------------


def test_decisions_are_numbered_and_bounded() -> None:
    scene = Scene()
    climbed = scene.break_promise()
    assert climbed.seq == 1
    assert list(scene.loop.decisions) == [climbed]
    assert scene.loop.decisions.maxlen == RECENT_DECISIONS
    assert scene.tick() == [], "each is told once"


def test_a_status_has_its_name_its_standing_and_what_was_measured() -> None:
    scene = Scene()
    unknown, batch = scene.loop.statuses(scene.now_s)
    assert (unknown.intent, unknown.standing, batch.intent) == ("interactive", "unknown", "batch")
    scene.break_promise()
    scene.dispatched()
    scene.offered()
    status, _ = scene.loop.statuses(scene.now_s)
    assert status.rung == 1
    assert (status.inflight, status.waiting) == (1, 1)
    measured = {one.objective: one for one in status.objectives}
    assert measured["ttft_p95"].value == pytest.approx(3.0, rel=0.02)
    assert scene.loop.flaps == 0


def test_requests_of_no_intent_are_counted_and_nothing_is_promised_to_them() -> None:
    scene = Scene()
    scene.served(ttft_s=50.0, intent="")
    assert scene.loop.signals.intent("").served.sum(scene.now_s + 50.1, 30) == 1.0
    assert [status.intent for status in scene.loop.statuses(scene.now_s)] == [
        "interactive",
        "batch",
    ]


@pytest.mark.req("OPS-4")
def test_of_requests_that_are_over_nothing_is_kept_until_they_would_have_been_late() -> None:
    scene = Scene()
    for _ in range(200):
        scene.served()
    scene.tick()
    held = {name: len(kept) for name, kept in vars(scene.loop).items() if isinstance(kept, Sized)}
    assert max(held.values()) < 100, held


def test_who_waits_past_both_of_its_objectives_is_late_for_each_once() -> None:
    scene = Scene()
    scene.dispatched()
    scene.tick(after_s=1.0)
    assert scene.counts("ttft_p95") == (0, 0)  # it is due now, and not late yet
    scene.tick()
    assert (scene.counts("ttft_p95"), scene.counts("e2e_p95")) == ((1, 1), (0, 0))
    for _ in range(80):
        scene.tick()
    assert (scene.counts("ttft_p95"), scene.counts("e2e_p95")) == ((1, 1), (1, 1))
