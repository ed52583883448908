"""The closed loop against real queues and engines: what it does on the way up, and on the way down.

Each scene is one run in virtual time; several tests may look at the same one.
"""

from collections.abc import Callable, Sequence
from functools import cache

import pytest

from policies.held import HOLDOUT
from policies.ladder import LEASE_S
from policies.objectives import objectives_of
from policies.rung_memory import CALM_S
from policies.rungs import KINDS
from tests.policies.feed import Feed, Phase
from tests.policies.scenarios import CATALOG, FULL_RPS, Plant, arrivals, policy_set, steady

LADDER = "[order, hold_back, {switch_model: small}, {cap_tokens: 256}, shed, refuse]"
CALM_RPS, BUSY_RPS = 0.6 * FULL_RPS, 1.6 * FULL_RPS
TTFT_S, TPOT_S = 1.0, 0.04


def interactive(
    ladder: str = LADDER, promise: str = "ttft_p95: 1s, tpot_p95: 40ms", more: str = "priority: 10"
) -> str:
    return f"""
intents:
  - name: interactive
    match: {{header: {{x-intent: interactive}}, default: true}}
    objectives: {{{promise}}}
    quality_floor: 0.6
    ladder: {ladder}
    {more}
"""


def beside(name: str, priority: int, promise: str = "", ladder: str = "[]") -> str:
    return f"""  - name: {name}
    match: {{header: {{x-intent: {name}}}}}
    objectives: {{{promise}}}
    priority: {priority}
    ladder: {ladder}
"""


def step_up(from_s: float, to_s: float, until_s: float, low: float, high: float) -> list:
    return [(0.0, low), (from_s, low), (from_s, high), (to_s, high), (to_s, low), (until_s, low)]


def shown(plant: Plant) -> list[tuple[str, str | None]]:
    return [(decision.kind, decision.rung) for decision in plant.decisions]


def held_at(plant: Plant, at_s: float, intent: str = "interactive") -> list[str]:
    statuses = next(statuses for time_s, statuses in plant.looks if time_s >= at_s)
    return [action.rung for action in statuses[intent].actions]


def standing_at(plant: Plant, at_s: float, intent: str = "interactive") -> str:
    return next(statuses for time_s, statuses in plant.looks if time_s >= at_s)[intent].standing


# -- the usual day: a step, a ramp, a spike, silence ----------------------------------------


@cache
def a_step() -> Plant:
    """At 40 s more comes than can be served; at 140 s less than before."""
    knots = [(0.0, CALM_RPS), (40.0, CALM_RPS), (40.0, BUSY_RPS), (140.0, BUSY_RPS)]
    knots += [(140.0, 0.4 * FULL_RPS), (220.0, 0.4 * FULL_RPS)]
    return Plant(interactive()).run(arrivals(knots), until_s=220.0)


@pytest.mark.req("INT-5", "INT-6")
def test_a_step_up_is_answered_once_verified_and_given_back_after_the_step_down() -> None:
    assert shown(a_step()) == [
        ("climb", "switch_model small"),
        ("verdict", "switch_model small"),
        ("descend", "switch_model small"),
    ]
    climbed, judged, given_back = a_step().decisions
    assert 40.0 < climbed.at_s < 46.0, "proof takes a few seconds, and no more"
    assert judged.verdict == "confirmed"
    assert 140.0 < given_back.at_s < 140.0 + CALM_S, "a load is counted over half a minute"
    assert a_step().loop.flaps == 0


def test_after_a_step_the_promise_is_kept_again_within_seconds_and_ever_after() -> None:
    plant = a_step()
    assert plant.kept_share(TTFT_S, 0.0, 40.0) == 1.0
    assert plant.kept_share(TTFT_S, 47.0) > 0.99
    served = [r for r in plant.of("interactive", 47.0) if r.tpot_s is not None]
    assert sum(r.tpot_s is not None and r.tpot_s <= TPOT_S for r in served) > 0.99 * len(served)


def test_requests_go_to_the_other_model_exactly_while_the_rung_is_held() -> None:
    climbed, _, given_back = a_step().decisions
    for request in a_step().requests:
        switched = climbed.at_s <= request.at_s < given_back.at_s
        assert request.served_by == ("small" if switched else "big")


@pytest.mark.req("INT-7")
def test_the_log_reads_like_a_story() -> None:
    climbed, judged, given_back = (decision.words for decision in a_step().decisions)
    assert climbed.startswith("switched model big -> small for interactive: ttft_p95 ")
    assert " late or refused); expect ttft_p95 < 1 s for all but " in climbed
    assert judged.startswith("confirmed: 0 of ")
    assert judged.endswith(" late since: switched model big -> small for interactive")
    assert given_back.startswith("no longer needed after ")


def test_a_standing_follows_what_happens() -> None:
    plant = a_step()
    assert standing_at(plant, 39.0) != "breached"
    assert standing_at(plant, 44.0) in ("at_risk", "breached")
    assert standing_at(plant, 100.0) == "met"
    assert [held_at(plant, at_s) for at_s in (39.0, 100.0, 219.0)] == [
        [],
        ["switch_model small"],
        [],
    ]


def test_a_ramp_is_answered_once_on_the_way_up_and_once_on_the_way_down() -> None:
    knots = [(0.0, 2.0), (100.0, 1.8 * FULL_RPS), (200.0, 1.0), (280.0, 1.0)]
    plant = Plant(interactive()).run(arrivals(knots), until_s=280.0)
    assert [kind for kind, _ in shown(plant)] == ["climb", "verdict", "descend"]
    climbed, judged, given_back = plant.decisions
    assert judged.verdict == "confirmed"
    assert FULL_RPS * 0.7 < 2.0 + 8.8 * climbed.at_s / 100.0 < 1.6 * FULL_RPS
    assert given_back.at_s > 130.0
    assert plant.kept_share(TTFT_S, climbed.at_s + 3.0) > 0.98


@pytest.mark.req("INT-4")
def test_a_spike_that_is_over_before_anything_is_proven_changes_nothing() -> None:
    knots = step_up(60.0, 60.6, 120.0, CALM_RPS, 3.0 * FULL_RPS)
    plant = Plant(interactive()).run(arrivals(knots), until_s=120.0)
    assert plant.decisions == []
    assert plant.kept_share(TTFT_S, 0.0) > 0.95


@pytest.mark.req("INT-6")
def test_when_traffic_stops_everything_is_given_back() -> None:
    plant = Plant(interactive()).run(steady(BUSY_RPS, 60.0), until_s=160.0)
    assert [kind for kind, _ in shown(plant)] == ["climb", "verdict", "descend"]
    assert 60.0 < plant.decisions[-1].at_s < 60.0 + CALM_S + 10.0
    status = plant.looks[-1][1]["interactive"]
    assert (status.standing, status.rung) == ("unknown", 0), "nothing is known of nobody"
    assert plant.loop.holding.until_s == float("inf")


# -- what is no reason to act -----------------------------------------------------------------


@pytest.mark.req("INT-4")
def test_a_promise_that_is_just_kept_is_left_alone_for_ten_minutes() -> None:
    told = Phase(seconds=600.0, rps={"interactive": 10.0}, late=0.05)
    feed = Feed(policy_set(interactive())).run(told)
    assert feed.said == []
    assert feed.ends > 5000


@pytest.mark.req("INT-4")
def test_a_few_latencies_of_ten_to_ninety_times_the_objective_are_left_alone() -> None:
    calm = Phase(seconds=60.0, rps={"interactive": 10.0})
    poison = Phase(seconds=2.0, rps={"interactive": 10.0}, late=0.7)
    feed = Feed(policy_set(interactive()), late_ttft_s=lambda nth: 10.0 + 4.0 * (nth % 21))
    feed.run(calm, poison, calm, calm)
    assert feed.said == []
    seen = feed.loop.signals.intent("interactive")
    assert max(m.severity or 0.0 for m in seen.measured(feed.now_s)) <= 2.0


@pytest.mark.req("INT-4")
def test_where_tokens_are_not_seen_the_limit_is_held_and_nothing_is_done() -> None:
    policy = interactive("[{switch_model: small}, {reduce_batching: 70%}]", "tpot_p95: 40ms")
    plant = Plant(policy)

    def go_blind() -> None:
        plant.blind = True
        plant.slow_down(1.2)  # which nobody can know

    plant.at(30.0, go_blind)
    # Answers too long to end meanwhile: nothing but the tokens themselves could tell their pace.
    plant.run(steady(0.3, 60.0, output_tokens=4000), until_s=60.0)
    assert plant.decisions == []
    assert len({limit for at_s, limit in plant.limits if at_s > 34.0}) == 1


# -- the backend changes ------------------------------------------------------------------------


@cache
def a_drift(ladder: str) -> Plant:
    """From 60 s to 140 s the engine is slower: of 16 at once inside TPOT, it can do 7."""
    plant = Plant(interactive(ladder))
    plant.at(60.0, lambda: plant.slow_down(1.4))
    plant.at(140.0, lambda: plant.slow_down(1.0))
    return plant.run(steady(0.9 * FULL_RPS, 200.0), until_s=200.0)


def test_a_limit_follows_its_engine_down_and_up_again() -> None:
    plant = a_drift("[order]")
    limits = dict(plant.limits)
    assert limits[55.0] == pytest.approx(16.0, abs=2.0)
    assert max(limits[at_s] for at_s in (100.0, 110.0, 120.0, 130.0)) < 9.0
    assert min(limits[at_s] for at_s in (100.0, 110.0, 120.0, 130.0)) > 4.0
    assert limits[195.0] == pytest.approx(16.0, abs=2.0)
    slow = [r for r in plant.of("interactive", 75.0, 135.0) if r.tpot_s is not None]
    assert sum((r.tpot_s or 0.0) > 1.05 * TPOT_S for r in slow) < 0.05 * len(slow)


def test_a_drift_is_answered_by_the_ladder_and_its_answer_is_verified() -> None:
    plant = a_drift("[order, {switch_model: small}]")
    climbed, judged = plant.decisions[:2]
    assert (climbed.kind, climbed.rung) == ("climb", "switch_model small")
    assert 60.0 < climbed.at_s < 75.0
    assert judged.verdict == "confirmed"
    assert plant.kept_share(TTFT_S, climbed.at_s + 3.0) > 0.99


@cache
def a_loss() -> Plant:
    """Of two endpoints one is gone between 60 s and 120 s."""
    plant = Plant(interactive("[]"), replicas=2)
    plant.at(60.0, lambda: plant.lose(0))
    plant.at(120.0, lambda: plant.lose())
    return plant.run(steady(1.4 * FULL_RPS, 180.0), until_s=180.0)


def test_a_lost_endpoint_halves_the_limit_at_once_and_its_return_doubles_it() -> None:
    limits = dict(a_loss().limits)
    both = limits[59.75]
    assert limits[60.25] == pytest.approx(both / 2, rel=0.1)
    assert limits[119.75] == pytest.approx(both / 2, rel=0.2)
    assert limits[120.25] == pytest.approx(2 * limits[119.75], rel=0.1)


def test_while_an_endpoint_is_gone_those_who_are_served_are_served_in_time() -> None:
    plant = a_loss()
    assert sum(r.fate == "failed" for r in plant.requests) > 0, "those that were in it"
    during = [r for r in plant.of("interactive", 66.0, 118.0) if r.fate == "served"]
    assert sum(r.ttft_s is not None and r.ttft_s <= TTFT_S for r in during) > 0.95 * len(during)
    after = plant.of("interactive", 125.0, 175.0)
    assert sum(r.fate == "served" for r in after) > 0.99 * len(after)
    kinds = [(decision.kind, decision.words.rsplit("(", 1)[-1]) for decision in plant.decisions]
    assert kinds == [("pass_over", "its ladder is empty)")]


# -- classes that share a pool --------------------------------------------------------------------

SHARED = interactive("[hold_back]", "ttft_p95: 600ms, tpot_p95: 40ms")
BUSY_BATCH = step_up(40.0, 140.0, 240.0, 0.3, 3.0)


def shared(ladder: str) -> Plant:
    policy = SHARED.replace("[hold_back]", ladder) + beside("batch", -10, "ttft_p95: 4s")
    batch = arrivals(BUSY_BATCH, "batch", seed=2, output_tokens=200)
    return Plant(policy).run(steady(0.5 * FULL_RPS, 240.0), batch, until_s=240.0)


shared = cache(shared)


@pytest.mark.req("INT-5", "INT-6")
@pytest.mark.parametrize("rung", ["hold_back", "shed", "refuse"])
def test_for_a_class_above_those_below_make_room_and_get_it_back(rung: str) -> None:
    plant = shared(f"[{rung}]")
    mine = plant.told("climb", "verdict", "descend", "rollback", intent="interactive")
    assert [decision.kind for decision in mine][:2] == ["climb", "verdict"]
    assert mine[-1].kind == "descend"
    assert mine[0].at_s > 40.0
    assert mine[-1].at_s > 140.0
    assert held_at(plant, 239.0) == []
    before = plant.kept_share(0.6, 41.0, mine[0].at_s)
    assert plant.kept_share(0.6, mine[1].at_s, 140.0) > max(before, 0.85)
    assert plant.kept_share(0.6, mine[-1].at_s + 5.0) > 0.97


@pytest.mark.req("INT-5")
def test_what_is_shed_is_a_share_that_grows_and_shrinks_and_of_the_sheddable_only() -> None:
    plant = shared("[shed]")
    taken = plant.told("climb", intent="interactive")[0].at_s
    assert {r.intent for r in plant.requests if r.fate == "shed"} == {"batch"}

    def shed(since_s: float, until_s: float) -> float:
        asked = plant.of("batch", since_s, until_s)
        return sum(r.fate == "shed" for r in asked) / len(asked)

    assert shed(40.0, taken) == 0.0
    assert 0.0 < shed(taken + 10.0, 140.0) < 1.0
    ended = plant.told("descend", intent="interactive")[0].at_s
    assert shed(ended, 240.0) == 0.0


@pytest.mark.req("INT-5")
def test_refusing_turns_away_all_lower_classes_and_nobody_else() -> None:
    plant = shared("[refuse]")
    taken = plant.told("climb", intent="interactive")[0].at_s
    ended = plant.told("descend", intent="interactive")[0].at_s
    assert all(r.fate == "shed" for r in plant.of("batch", taken, ended))
    assert not any(r.fate == "shed" for r in plant.of("interactive"))
    assert not any(r.fate == "shed" for r in plant.of("batch", ended))


@pytest.mark.req("INT-6")
def test_two_intents_change_their_pool_one_after_the_other() -> None:
    policy = interactive("[hold_back, shed]", "ttft_p95: 600ms, tpot_p95: 40ms")
    policy += beside("batch", 0, "ttft_p95: 3s", "[hold_back, refuse]") + beside("bulk", -20)
    plant = Plant(policy).run(
        steady(3.0, 100.0),
        steady(2.0, 100.0, "batch", seed=2, output_tokens=100),
        steady(2.0, 100.0, "bulk", seed=3, output_tokens=200),
        until_s=100.0,
    )
    waited = [d.words for d in plant.told("pass_over", intent="batch")]
    assert any("another action is being judged in its pool" in words for words in waited)
    open_since: dict[int, float] = {}
    for decision in plant.decisions:
        assert len(open_since) <= 1
        if decision.kind == "climb" and decision.action is not None:
            open_since[decision.action] = decision.at_s
        elif decision.verdict is not None:
            open_since.pop(decision.action or 0)
    assert len(plant.told("climb", intent="batch")) >= 1, "its turn comes"


# -- verified ---------------------------------------------------------------------------------------


@pytest.mark.req("INT-6")
def test_what_has_no_effect_is_rolled_back_and_the_next_rung_is_taken_in_the_same_tick() -> None:
    policy = policy_set(interactive("[{switch_model: small}, {cap_tokens: 10}, reroute]"))
    busy = Phase(seconds=60.0, rps={"interactive": 10.0}, late=0.4)
    feed = Feed(policy, relief={"cap_tokens": 0.0}).run(busy)
    kinds = [(d.kind, d.rung, d.verdict) for d in feed.said]
    assert kinds[:3] == [
        ("climb", "switch_model small", None),
        ("rollback", "switch_model small", "no_effect"),
        ("climb", "cap_tokens 10", None),
    ]
    _, rolled_back, climbed = feed.said[:3]
    assert climbed.at_s == rolled_back.at_s
    assert climbed.escalates == rolled_back.action
    assert climbed.passed_over == ("switch_model small: did not help lately",)
    after = [decision for _, decision in feed.decided if climbed.action in decision.treated]
    assert after
    assert {decision.shaping.model for decision in after} == {"big"}


@pytest.mark.req("INT-6")
def test_harm_is_rolled_back_as_soon_as_it_shows() -> None:
    """Answers that end by the cap are worse than a wait."""
    policy = policy_set(interactive("[{cap_tokens: 10}, reroute]"))
    busy = Phase(seconds=30.0, rps={"interactive": 10.0}, late=0.4)
    feed = Feed(policy, relief={"cap_tokens": 0.0}).run(busy)
    climbed, judged = feed.said[:2]
    assert (judged.kind, judged.verdict) == ("rollback", "harmful")
    assert "answers were cut short" in judged.words
    assert judged.at_s - climbed.at_s < 10.0
    assert all(d.at_s > judged.at_s for d in feed.said[2:]), "nothing takes its place at once"


@pytest.mark.req("INT-6")
def test_late_ones_are_harm_where_those_that_were_spared_do_better() -> None:
    policy = policy_set(interactive("[{switch_model: small}]", more="priority: 0"))
    busy = Phase(seconds=40.0, rps={"interactive": 40.0}, late=0.12)
    feed = Feed(policy, relief={"switch_model": 1.9}).run(busy)
    judged = next(d for d in feed.said if d.verdict)
    assert judged.verdict in ("no_effect", "harmful")
    assert judged.kind == "rollback"


@pytest.mark.req("INT-6")
def test_a_load_that_falls_explains_a_success_and_a_success_explains_nothing_then() -> None:
    policy = policy_set(interactive("[hold_back]") + beside("batch", -10))
    busy = Phase(seconds=5.0, rps={"interactive": 10.0, "batch": 5.0}, late=0.6)
    quiet = Phase(seconds=40.0, rps={"interactive": 2.0})
    feed = Feed(policy).run(busy, quiet)
    judged = next(d for d in feed.said if d.verdict)
    assert (judged.kind, judged.verdict) == ("verdict", "confounded")
    assert judged.words.startswith("confounded by a change of load: ")


@pytest.mark.req("INT-6")
@pytest.mark.parametrize(
    ("ladder", "kept"), [("[hold_back]", True), ("[order, reroute, shed]", False)]
)
def test_what_cannot_be_judged_in_time_is_kept_on_the_first_rungs_only(
    ladder: str, kept: bool
) -> None:
    policy = policy_set(interactive(ladder) + beside("batch", -10))
    catalog = type(CATALOG)(models=CATALOG.models, pools=CATALOG.pools)  # without a route elsewhere
    busy = Phase(seconds=5.0, rps={"interactive": 10.0, "batch": 5.0}, late=0.6)
    feed = Feed(policy, catalog=catalog).run(busy, Phase(seconds=60.0, rps={"interactive": 0.1}))
    judged = next(d for d in feed.said if d.verdict)
    assert judged.verdict == "inconclusive"
    assert judged.kind == ("verdict" if kept else "rollback")


@pytest.mark.req("INT-6")
@pytest.mark.parametrize("priority", [0, 1])
def test_only_unprotected_classes_are_experimented_with_and_evenly(priority: int) -> None:
    policy = policy_set(interactive("[{switch_model: small}]", more=f"priority: {priority}"))
    busy = Phase(seconds=6.0, rps={"interactive": 20.0}, late=0.4)
    calm = Phase(seconds=30.0, rps={"interactive": 20.0})
    feed = Feed(policy, relief={"switch_model": 0.6}).run(busy, calm)
    climbed = next(d for d in feed.said if d.kind == "climb")
    judged = next(d for d in feed.said if d.verdict)
    mine = [d for _, d in feed.decided if climbed.action in (*d.treated, *d.held_out)]
    spared = [d for d in mine if climbed.action in d.held_out]
    assert all(d.shaping.model == "big" for d in spared)
    assert all(o.verdict == "spared" for d in spared for o in d.rules)
    during = int((judged.at_s - climbed.at_s) * 20)
    assert len(spared) == (pytest.approx(HOLDOUT * during, abs=2) if priority <= 0 else 0)
    again = Feed(policy, relief={"switch_model": 0.6}).run(busy, calm)
    assert [d.held_out for _, d in again.decided] == [d.held_out for _, d in feed.decided]


# -- leases -----------------------------------------------------------------------------------------


@pytest.mark.req("INT-6")
def test_what_a_dead_loop_held_lapses_for_requests_and_for_pools() -> None:
    plant = Plant(SHARED.replace("[hold_back]", "[hold_back, shed]") + beside("batch", -10))

    def die() -> None:
        plant.ticking = False

    plant.at(70.0, die)
    plant.run(
        steady(0.5 * FULL_RPS, 150.0),
        steady(4.0, 150.0, "batch", seed=2, output_tokens=200),
        until_s=150.0,
    )
    lane = plant.queues["sim"].lane("big")
    assert held_at(plant, 69.0) != []
    died_s = 69.75
    assert held_at(plant, died_s + LEASE_S - 2.0) != []
    assert held_at(plant, died_s + LEASE_S + 2.0) == []
    assert lane.places(-10) == int(lane.limit), "nobody is held back any more"
    assert not any(r.fate == "shed" for r in plant.of("batch", died_s + LEASE_S + 0.25))
    lapses = [d for d in plant.loop.decisions if d.kind == "lapse"]
    assert lapses
    assert all(died_s + LEASE_S <= d.at_s < died_s + LEASE_S + 2.0 for d in lapses)
    after = plant.of("interactive", died_s + LEASE_S + 2.0, 145.0)
    assert any(r.fate == "served" for r in after), "and traffic flows"


# -- money, and the floor -----------------------------------------------------------------------------

CEILING = interactive(
    "[order, {switch_model: tiny}, {switch_model: small}, {cap_tokens: 30}]",
    "ttft_p95: 1s, cost_per_minute: 0.30 USD",
)
SPENDING = step_up(40.0, 150.0, 230.0, 1.0, 0.75 * FULL_RPS)


@cache
def a_ceiling() -> Plant:
    return Plant(CEILING.replace("{switch_model: tiny}, ", "")).run(
        arrivals(SPENDING), until_s=230.0
    )


@pytest.mark.req("INT-1", "INT-5", "INT-11")
def test_a_ceiling_is_kept_by_a_cheaper_model_and_nothing_more_than_that() -> None:
    plant = a_ceiling()
    assert shown(plant) == [
        ("climb", "switch_model small"),
        ("verdict", "switch_model small"),
        ("descend", "switch_model small"),
    ]
    climbed, judged, given_back = plant.decisions
    assert climbed.objective == "cost_per_minute"
    assert climbed.passed_over == ("order: cannot help cost_per_minute",)
    assert climbed.at_s - 40.0 < 40.0
    assert judged.verdict == "confirmed"
    assert "USD a request" in judged.words
    assert given_back.at_s > 150.0


@pytest.mark.req("INT-1")
def test_a_saving_is_held_while_the_dear_model_would_break_the_ceiling_again() -> None:
    plant = a_ceiling()
    climbed, _, given_back = plant.decisions
    measured = {
        at_s: next(o for o in s["interactive"].objectives if o.objective == "cost_per_minute").value
        for at_s, s in plant.looks
    }
    assert all(usd is not None and usd < 0.15 for at_s, usd in measured.items() if 115 < at_s < 150)
    assert held_at(plant, 149.0) == ["switch_model small"], "however cheap it is now"
    assert (given_back.measured or 1.0) <= 0.9 * 0.30
    assert max(usd or 0.0 for at_s, usd in measured.items() if at_s > climbed.at_s + 30) < 0.30


@pytest.mark.req("INT-11")
def test_no_ceiling_is_a_reason_to_go_below_the_floor() -> None:
    policy = policy_set(CEILING.replace("{switch_model: tiny}, ", ""))
    with pytest.raises(Exception, match=r"tiny.*below the floor"):
        policy_set(CEILING)
    # The catalogue may change after the policy was read.
    worse = {**CATALOG.models, "small": CATALOG.models["tiny"]}
    catalog = type(CATALOG)(models=worse, pools=CATALOG.pools)
    dear = Phase(seconds=60.0, rps={"interactive": 10.0}, tokens=400)
    feed = Feed(policy, catalog=catalog).run(dear)
    assert {decision.shaping.model for _, decision in feed.decided} == {"big"}
    climbed = next(d for d in feed.said if d.kind == "climb")
    assert climbed.rung == "cap_tokens 30"
    assert climbed.passed_over[1].endswith("the floor of intent interactive is 0.6")


# -- flapping -----------------------------------------------------------------------------------------


@pytest.mark.req("INT-6")
def test_a_load_that_comes_and_goes_makes_the_loop_more_patient() -> None:
    knots = []
    for nth in range(3):
        start_s = 120.0 * nth
        knots += [(start_s, 2.0), (start_s + 30.0, 2.0), (start_s + 30.0, 12.0)]
        knots += [(start_s + 70.0, 12.0), (start_s + 70.0, 2.0), (start_s + 120.0, 2.0)]
    policy = interactive("[{switch_model: small}]")
    plant = Plant(policy).run(arrivals(knots), until_s=360.0)
    waited = [d.for_s or 0.0 for d in plant.told("descend")]
    assert waited[0] < 2 * CALM_S <= waited[1]
    assert plant.loop.flaps == len(plant.told("climb")) - 1


# -- rehearsals ---------------------------------------------------------------------------------------

REHEARSALS: Sequence[tuple[str, Callable[[str], str]]] = (
    ("rungs", lambda text: text.replace(RUNGS, DRY_RUNGS)),
    ("file", lambda text: "dry_run: true\n" + text),
)
RUNGS = "[hold_back, {switch_model: small}, {cap_tokens: 30}, {reduce_batching: 50%}, shed, refuse]"
DRY_RUNGS = (
    "[{hold_back: true, dry_run: true}, {switch_model: small, dry_run: true}, "
    "{cap_tokens: 30, dry_run: true}, {reduce_batching: 50%, dry_run: true}, "
    "{shed: true, dry_run: true}, {refuse: true, dry_run: true}]"
)


def rehearsal(policy: str) -> Plant:
    return Plant(policy).run(
        steady(1.3 * FULL_RPS, 60.0),
        steady(1.0, 60.0, "batch", seed=2, output_tokens=150),
        until_s=70.0,
    )


@pytest.mark.req("INT-2", "INT-5")
@pytest.mark.parametrize("kind", [kind for kind, _ in REHEARSALS] + ["intent"])
def test_a_rehearsal_decides_and_logs_and_changes_nothing(kind: str) -> None:
    text = interactive(RUNGS) + beside("batch", -10)
    if kind == "intent":
        text = text.replace("priority: 10", "priority: 10\n    dry_run: true")
    else:
        text = dict(REHEARSALS)[kind](text)
    rehearsed = rehearsal(text)
    silent = rehearsal(text.replace(DRY_RUNGS, "[]").replace(RUNGS, "[]"))
    assert [r.key for r in rehearsed.requests] == [r.key for r in silent.requests]
    assert not any(r.treated or r.held_out for r in rehearsed.requests)
    said = rehearsed.told("climb", intent="interactive")
    assert len(said) >= 4
    assert all(decision.dry_run for decision in said)
    assert all(decision.words.startswith("would have ") for decision in said)
    assert not rehearsed.told("verdict", "rollback", intent="interactive")
    assert silent.told("climb") == []


@pytest.mark.req("INT-2")
def test_what_is_rehearsed_is_told_to_each_request_that_it_would_have_changed() -> None:
    policy = policy_set(interactive("[{cap_tokens: 10, dry_run: true}]"))
    feed = Feed(policy).run(Phase(seconds=20.0, rps={"interactive": 10.0}, late=0.4))
    climbed = next(d for d in feed.said if d.kind == "climb")
    told = [d for _, d in feed.decided if d.rules]
    assert len(told) == pytest.approx((20.0 - climbed.at_s) * 10, abs=2)
    assert {(o.rule, o.verdict, o.changes) for d in told for o in d.rules} == {
        ("rung cap_tokens", "dry_run", ("max_tokens unset -> 10",))
    }
    assert {d.shaping.max_tokens for d in told} == {None}


# -- one run is like another ---------------------------------------------------------------------------


@pytest.mark.req("INT-2")
def test_the_same_calls_at_the_same_times_give_the_same_decisions() -> None:
    policy = interactive() + beside("batch", -10, "ttft_p95: 4s", "[hold_back, shed]")
    one, other = (
        Plant(policy).run(steady(BUSY_RPS, 60.0), steady(1.0, 60.0, "batch", seed=2), until_s=90.0)
        for _ in range(2)
    )
    assert one.decisions
    assert one.decisions == other.decisions
    assert [r.key for r in one.requests] == [r.key for r in other.requests]
    assert one.limits == other.limits


def test_every_signal_that_is_promised_has_a_rung_that_helps() -> None:
    promise = "ttft_p95: 1s, tpot_p95: 40ms, e2e_p95: 9s, error_rate: 1%, cost_per_minute: 1 USD, cost_per_request: 1 USD"
    policy = policy_set(interactive(LADDER, promise)).intents["interactive"]
    for objective in objectives_of(policy):
        assert any(objective.signal in KINDS[rung.action].helps for rung in policy.ladder)
