"""The log decided again: what follows from its numbers agrees, and whatever was tampered with does not."""

from functools import cache
from typing import Any

import msgspec
import pytest
from msgspec import structs

from contracts.control import LoggedDecision, LoopDecision, TrialNumbers
from policies.loop import Loop
from policies.narrate import limit
from policies.objectives import objectives_of
from policies.replay import Replayed, replay
from policies.rung_memory import TRUST_S
from policies.trial import expectation
from tests.policies.feed import Feed, Phase
from tests.policies.scenarios import CATALOG, policy_set

pytestmark = pytest.mark.req("INT-2")

POLICY = policy_set(
    """
intents:
  - name: interactive
    match: {header: {x-intent: interactive}}
    objectives: {ttft_p95: 1s}
    priority: 10
    ladder: [order, {switch_model: small}, hold_back, {cap_tokens: 10, dry_run: true}, shed]
  - name: batch
    match: {header: {x-intent: batch}}
    objectives: {ttft_p95: 1s}
    priority: -10
    ladder: [{switch_model: small}, hold_back]
  - {name: bulk, match: {header: {x-intent: bulk}}, priority: -20}
"""
)


@cache
def log() -> tuple[LoopDecision, ...]:
    """Everything once: an escalation, a rehearsal, two held, both given back, and one that lapses."""
    calm = Phase(seconds=30.0, rps={"interactive": 8.0, "batch": 1.0, "bulk": 1.0})
    busy = Phase(seconds=60.0, rps=calm.rps, late=0.4)
    quiet = Phase(seconds=120.0, rps={"interactive": 1.0, "batch": 0.2, "bulk": 0.2})
    feed = Feed(POLICY, relief={"hold_back": 0.4, "shed": 0.0, "cap_tokens": 1.0})
    feed.run(calm, busy, quiet, calm, busy)
    feed.loop.held_now(feed.now_s + 61.0)
    lapsed = [d for d in feed.loop.decisions if d.kind == "lapse"]
    return (*feed.said, *lapsed)


def first(kind: str, **fields: Any) -> int:
    """Where the first such entry is."""
    for place, decision in enumerate(log()):
        if decision.kind == kind and all(getattr(decision, f) == v for f, v in fields.items()):
            return place
    raise AssertionError(f"no {kind} with {fields}")


def tampered(place: int, **fields: Any) -> Replayed:
    """What is said of an entry with other numbers in it."""
    entries = list(log())
    entries[place] = structs.replace(entries[place], **fields)
    return replay(entries, POLICY)[place]


def with_trial(place: int, **fields: Any) -> Replayed:
    trial = log()[place].trial
    assert trial is not None
    return tampered(place, trial=structs.replace(trial, **fields))


def test_every_kind_of_entry_is_in_this_log() -> None:
    kinds = {(decision.kind, decision.dry_run) for decision in log()}
    wanted = {"climb", "verdict", "rollback", "descend", "lapse", "pass_over"}
    assert {kind for kind, _ in kinds} == wanted
    assert ("climb", True) in kinds
    assert any(decision.escalates for decision in log())


def test_each_entry_follows_from_its_numbers() -> None:
    assert [(r.why, r.decision.words) for r in replay(log(), POLICY) if not r.agrees] == []


def test_a_log_that_was_written_and_read_again_says_the_same() -> None:
    dated = [
        LoggedDecision(**structs.asdict(decision), time="2026-01-01T00:00:00.000Z")
        for decision in log()
    ]
    lines = [msgspec.json.encode(decision) for decision in dated]
    read = [msgspec.json.decode(line, type=LoggedDecision) for line in lines]
    assert read == dated
    held = [one.held for one in replay(read, POLICY)]
    assert held == [one.held for one in replay(log(), POLICY)]
    assert all(one.agrees for one in replay(read, POLICY))


def test_what_is_in_force_follows_climbs_rollbacks_descents_and_lapses() -> None:
    held: set[int] = set()
    for one in replay(log(), POLICY):
        if one.decision.kind == "climb":
            held.add(one.decision.action or 0)
        elif one.decision.kind in ("rollback", "descend", "lapse"):
            held.remove(one.decision.action or 0)
        assert set(one.held) == held
    assert not held


def test_it_agrees_from_the_beginning_only() -> None:
    judged = first("verdict")
    (alone,) = replay([log()[judged]], POLICY)
    assert not alone.agrees
    assert alone.why == f"action {log()[judged].action} is not in force"


def test_entries_about_what_is_not_logged_are_taken_as_they_are() -> None:
    opened = limit(("sim", "big"), "unattainable", 9.0, 5.0)
    unhonoured = structs.replace(opened, kind="honour", intent="interactive")
    assert all(one.agrees for one in replay([opened, unhonoured], POLICY))


def test_new_policies_begin_a_new_book() -> None:
    climbed = first("climb", intent="interactive")
    entries = list(log()[: climbed + 1])
    loop = Loop(POLICY, CATALOG, 0.0)
    changed = policy_set("intents: [{name: batch, objectives: {ttft_p95: 2s}}]")
    loop.replace(changed, CATALOG, 500.0)
    told = loop.tick(500.25)
    assert {(decision.kind, decision.intent) for decision in told} == {
        ("policy", "interactive"),
        ("policy", "batch"),
        ("policy", "bulk"),
    }
    after = replay([*entries, *told], POLICY)[-1]
    assert after.agrees
    assert after.held == ()


# -- a climb ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"bad": 1}, "its evidence proves no violation"),
        ({"samples": 100, "bad": 10}, "its evidence proves no violation"),  # not to 99.5%
        ({"samples": 19, "bad": 19}, "its evidence proves no violation"),
        ({"target": 0.5}, "ttft_p95 was promised otherwise"),
        ({"allowed": 0.01}, "ttft_p95 was promised otherwise"),
        ({"objective": "tpot_p95"}, "tpot_p95 was not promised"),
        ({"rung": "refuse"}, "refuse is not on the ladder"),
        ({"intent": "nobody"}, "there is no intent 'nobody'"),
        ({"dry_run": True}, "the rung says otherwise of its dry run"),
        ({"passed_over": ()}, "its reasons are not those of the gentler rungs"),
        ({"passed_over": ("order: ",)}, "order: no reason, and not that"),
        ({"passed_over": ("order: held already",)}, "order: held already, and not that"),
        ({"passed_over": ("order",)}, "order: no reason, and not that"),
        ({"passed_over": ("order: shed proved necessary lately",)}, "order: shed proved necessary"),
        ({"passed_over": ("order: it proved necessary lately",)}, "order: it proved necessary"),
        ({"expected_share": 0.9}, "it would expect "),
        ({"escalates": 99}, "action 99 was not rolled back for want of effect just then"),
    ],
)
def test_a_climb_without_its_evidence_does_not_follow(fields: dict[str, Any], why: str) -> None:
    place = first("climb", rung="switch_model small", intent="interactive")
    assert tampered(place, **fields).why.startswith(why)


def test_an_escalation_is_proven_by_the_trial_before_it() -> None:
    place = next(n for n, d in enumerate(log()) if d.escalates is not None and d.kind == "climb")
    before = log()[place - 1]
    assert (before.kind, before.action) == ("rollback", log()[place].escalates)
    assert (
        tampered(place, samples=500, bad=400).why
        == "its evidence is not what the trial before it saw"
    )
    assert "not rolled back" in tampered(place, at_s=before.at_s + 1.0).why


def test_to_go_on_takes_less_proof_than_to_begin() -> None:
    """What the action before was taken for had been proven already."""
    policy = policy_set(
        "intents: [{name: i, objectives: {ttft_p50: 1s}, ladder: [{switch_model: small}, shed]}]"
    )
    expected, otherwise = expectation(objectives_of(policy.intents["i"])[0], 0.7)
    taken = LoopDecision(
        seq=1,
        kind="climb",
        intent="i",
        words="",
        at_s=10.0,
        action=1,
        rung="switch_model small",
        objective="ttft_p50",
        target=1.0,
        allowed=0.5,
        samples=100,
        bad=70,
        expected_share=expected,
        expected_within_s=20.0,
        load_rps=5.0,
    )
    trial = TrialNumbers(
        expected_share=expected,
        otherwise_share=otherwise,
        late_share_before=0.7,
        load_before_rps=5.0,
        load_rps=5.0,
        samples=40,
        bad=28,
    )
    fewer = structs.replace(taken, at_s=20.0, samples=40, bad=28)
    gone = structs.replace(fewer, kind="rollback", verdict="no_effect", trial=trial)
    after = structs.replace(
        fewer,
        action=2,
        rung="shed",
        escalates=1,
        passed_over=("switch_model small: did not help lately",),
    )
    assert [one.why for one in replay([taken, gone, after], policy)] == ["", "", ""]
    alone = structs.replace(after, escalates=None)
    assert replay([taken, gone, alone], policy)[-1].why == "its evidence proves no violation"


def test_a_reason_that_was_not_the_real_one_is_found_out() -> None:
    place = next(n for n, d in enumerate(log()) if "lately" in "".join(d.passed_over))
    told = [
        reason.replace("did not help lately", "no backend lists small")
        for reason in log()[place].passed_over
    ]
    why = tampered(place, passed_over=tuple(told)).why
    assert why == "switch_model small: no backend lists small, and not did not help lately"


def test_a_second_action_before_the_first_is_judged_does_not_follow() -> None:
    climbed = first("climb", intent="interactive")
    entries = [*log()[: climbed + 1]]
    again = structs.replace(
        entries[-1],
        action=99,
        at_s=entries[-1].at_s + 1.0,
        rung="hold_back",
        passed_over=(*entries[-1].passed_over, "switch_model small: held already"),
    )
    assert replay([*entries, again], POLICY)[-1].why == (
        f"action {entries[-1].action} was not judged yet"
    )


def test_a_second_unjudged_action_in_a_pool_does_not_follow() -> None:
    taken = first("climb", rung="hold_back", intent="interactive")
    entries = [*log()[: taken + 1]]
    mine = entries[-1]
    theirs = structs.replace(
        mine,
        action=99,
        intent="batch",
        escalates=None,
        samples=100,
        bad=60,
        expected_share=0.36,
        passed_over=("switch_model small: no backend lists small",),
    )
    entries = [d for d in entries if d.intent == "interactive"]
    why = replay([*entries, theirs], POLICY)[-1].why
    assert why == "another action was being judged in its pool"
    elsewhere = structs.replace(theirs, pool="far")
    assert replay([*entries, elsewhere], POLICY)[-1].agrees


def test_a_rung_that_was_of_no_use_lately_is_not_taken_again() -> None:
    climbed = first("climb", rung="switch_model small", intent="interactive")
    gone = first("rollback", intent="interactive")
    entries = [*log()[: gone + 1]]
    again = structs.replace(entries[climbed], action=99, at_s=entries[gone].at_s + 300.0)
    assert replay([*entries, again], POLICY)[-1].why == "did not help lately"
    later = structs.replace(again, at_s=entries[gone].at_s + 600.0)
    assert replay([*entries, later], POLICY)[-1].agrees


def test_that_nothing_can_be_done_needs_a_reason_for_every_rung() -> None:
    place = first("pass_over", escalates=None)
    assert tampered(place, passed_over=log()[place].passed_over[:-1]).why
    assert tampered(place, bad=0).why == "its evidence proves no violation"
    assert tampered(place, objective="e2e_p95").why == "e2e_p95 was not promised"


# -- a verdict ----------------------------------------------------------------------------


def test_a_verdict_follows_from_its_numbers_and_from_no_others() -> None:
    place = first("verdict", verdict="confirmed")
    assert tampered(place, verdict="confounded").why == "the verdict would be confirmed"
    assert tampered(place, kind="rollback").why == "it would be kept"
    assert tampered(place, samples=1).why == "it tells other numbers than it was judged by"
    assert tampered(place, trial=None).why == "it has no numbers"
    assert "the verdict would be None" in with_trial(place, ended=0).why
    assert with_trial(place, overdue=True).why == "it was not overdue"
    late = structs.replace(log()[place], at_s=log()[place].at_s + 500.0)
    assert replay([*log()[:place], late], POLICY)[-1].why == "it was overdue"


@pytest.mark.parametrize(
    "fields",
    [
        {"expected_share": 0.5},
        {"otherwise_share": 0.99},
        {"late_share_before": 0.9},
        {"load_before_rps": 0.1},
    ],
)
def test_a_verdict_is_about_the_action_as_it_was_taken(fields: dict[str, float]) -> None:
    why = with_trial(first("verdict", verdict="confirmed"), **fields).why
    assert why == "its numbers are not those that the action was taken with"


def test_an_action_is_judged_once() -> None:
    place = first("verdict", verdict="confirmed")
    entries = [*log()[: place + 1], log()[place]]
    assert replay(entries, POLICY)[-1].why == "it had been judged before"


def test_what_is_rolled_back_is_not_kept() -> None:
    place = first("rollback", verdict="no_effect")
    assert tampered(place, kind="verdict").why == "it would be rolled back"


# -- down ---------------------------------------------------------------------------------


CHANGES = ("climb", "rollback", "descend")


def descents() -> list[int]:
    return [n for n, d in enumerate(log()) if d.kind == "descend" and d.intent == "interactive"]


def test_a_descent_needs_calm_a_pause_and_less_load() -> None:
    newest, *_ = descents()
    assert tampered(newest, for_s=29.0).why == "calm for less than 30 s"
    rehearsed = next(n for n in descents() if log()[n].dry_run)
    assert tampered(rehearsed, load_rps=50.0).agrees, "there is nothing that it could have helped"
    real = next(n for n in descents() if not log()[n].dry_run)
    assert tampered(real, load_rps=50.0).why == "the load is what it was"
    much_later = log()[real].at_s + TRUST_S
    assert tampered(real, load_rps=50.0, at_s=much_later).agrees, "nothing is believed for ever"
    before = next(
        d for d in reversed(log()[:real]) if d.intent == "interactive" and d.kind in CHANGES
    )
    assert tampered(real, at_s=before.at_s + 10.0).why == "the last change was 10 s ago"


def test_the_newest_goes_first() -> None:
    newest, older, *_ = descents()
    one, other = log()[newest], log()[older]
    assert (one.action or 0) > (other.action or 0)
    why = tampered(newest, action=other.action, rung=other.rung, dry_run=other.dry_run).why
    assert why == f"action {one.action} is newer"


def test_a_saving_is_not_given_back_where_the_ceiling_would_break() -> None:
    policy = policy_set(
        """
intents:
  - name: interactive
    match: {default: true}
    objectives: {cost_per_minute: 0.1 USD}
    ladder: [{switch_model: small}]
"""
    )
    busy = Phase(seconds=60.0, rps={"interactive": 8.0}, tokens=40)
    quiet = Phase(seconds=90.0, rps={"interactive": 0.5}, tokens=40)
    entries = Feed(policy).run(busy, quiet).said
    assert [d.kind for d in entries] == ["climb", "verdict", "descend"]
    assert all(one.agrees for one in replay(entries, policy))
    assert entries[0].allowed is None
    dear = structs.replace(entries[2], measured=0.0901)
    why = replay([*entries[:2], dear], policy)[-1].why
    assert why == "without it the promise would be broken"
    cheap = structs.replace(entries[0], measured=0.1)
    assert replay([cheap], policy)[0].why == "its evidence proves no violation"


def test_a_lease_lapses_only_when_nobody_has_renewed_it() -> None:
    place = first("lapse")
    assert (log()[place].for_s or 0.0) >= 60.0
    assert tampered(place, for_s=59.9).why == "its lease had not run out"


def test_flapping_made_it_more_patient_and_the_log_shows_that() -> None:
    """Taken again soon after it was given back, it must be calm for twice as long."""
    quick = policy_set(
        "intents: [{name: interactive, match: {default: true}, window: 10s, "
        "objectives: {ttft_p95: 1s}, ladder: [{switch_model: small}]}]"
    )
    busy = Phase(seconds=20.0, rps={"interactive": 8.0}, late=0.5)
    quiet = Phase(seconds=90.0, rps={"interactive": 0.5})
    feed = Feed(quick, relief={"switch_model": 0.0}).run(busy, quiet, busy, quiet)
    entries = feed.said
    given_back = [n for n, d in enumerate(entries) if d.kind == "descend"]
    assert len(given_back) == 2
    assert feed.loop.flaps == 1
    assert all(one.agrees for one in replay(entries, quick))
    hasty = structs.replace(entries[given_back[1]], for_s=31.0)
    entries = [*entries[: given_back[1]], hasty]
    assert replay(entries, quick)[-1].why == "calm for less than 60 s"


def test_a_rung_that_proved_necessary_goes_before_gentler_ones_in_the_replay_too() -> None:
    policy = policy_set(
        """
intents:
  - name: interactive
    match: {header: {x-intent: interactive}}
    objectives: {ttft_p95: 1s}
    priority: 10
    window: 10s
    ladder: [hold_back, {switch_model: small}]
  - {name: batch, match: {header: {x-intent: batch}}, priority: -10}
"""
    )
    alone = Phase(seconds=20.0, rps={"interactive": 8.0}, late=0.5)
    quiet = Phase(seconds=60.0, rps={"interactive": 0.5})
    together = Phase(seconds=20.0, rps={"interactive": 8.0, "batch": 1.0}, late=0.5)
    entries = Feed(policy, relief={"switch_model": 0.0}).run(alone, quiet, together).said
    again = next(n for n, d in enumerate(entries) if n and d.kind == "climb")
    assert entries[again].passed_over == ("hold_back: switch_model small proved necessary lately",)
    assert all(one.agrees for one in replay(entries, policy))
    unproven = [d for d in entries[: again + 1] if d.verdict is None]
    assert not replay(unproven, policy)[-1].agrees
