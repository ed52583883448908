"""The words of every decision, to the letter, and the numbers beside them."""

from typing import Any

import msgspec
import pytest

from contracts.catalog import Catalog
from contracts.control import LoopDecision, MeasuredObjective, TrialNumbers
from contracts.policy import Rung
from policies import narrate
from policies.ladder import LEASE_S, Action, Climb, Descend, Judged, Stuck
from policies.objectives import Objective
from policies.trial import Before, Trial, expectation

pytestmark = pytest.mark.req("INT-7")

TTFT = Objective(name="ttft_p95", signal="ttft", target=0.8, allowed=0.05, quantile=0.95)
TPOT = Objective(name="tpot_p95", signal="tpot", target=0.04, allowed=0.05, quantile=0.95)
ERRORS = Objective(name="error_rate", signal="error_rate", target=0.01, allowed=0.01)
MINUTE = Objective(name="cost_per_minute", signal="cost_per_minute", target=2.5, allowed=None)
EACH = Objective(name="cost_per_request", signal="cost_per_request", target=0.02, allowed=0.05)


def action(objective: Objective = TTFT, rung: object = None, *, late: float = 0.2) -> Action:
    parsed = Rung.parse(rung or {"switch_model": "assistant-small"})
    made = Action(7, 0, parsed, objective, 100.0)
    made.pools = frozenset({"near", "far"})
    if not made.dry_run:
        before = Before(
            late_share=late, load_rps=12.0, own_rps=9.0, error_share=0.0, usd_per_request=0.004
        )
        made.trial = Trial(objective, before, now_s=100.0, settle_s=0.0)
    return made


def seen(objective: Objective, value: float | None, samples: int, bad: int) -> MeasuredObjective:
    return MeasuredObjective(
        objective=objective.name,
        target=objective.target,
        value=value,
        samples=samples,
        bad=bad,
        severity=2.0,
    )


LATE = seen(TTFT, 2.1, 205, 41)


def climbed(
    objective: Objective = TTFT,
    measured: MeasuredObjective = LATE,
    rung: object = None,
    **more: Any,
) -> LoopDecision:
    late = measured.bad / measured.samples if measured.samples else 0.0
    move = Climb(action(objective, rung, late=late), measured, **more)
    return narrate.climb("interactive", move, "assistant", Catalog(), 12.0, 100.0)


def judged(verdict: Any, objective: Objective = TTFT, **told: Any) -> LoopDecision:
    made = action(objective)
    made.words = "switched model assistant -> assistant-small for interactive"
    expected, otherwise = expectation(objective, 0.2)
    shares = {"expected_share": expected, "otherwise_share": otherwise, "late_share_before": 0.2}
    numbers = TrialNumbers(**{**shares, **told})
    move = Judged(made, verdict, verdict in ("no_effect", "harmful"), numbers)
    return narrate.judged("interactive", move, 121.5)


# -- up -----------------------------------------------------------------------------------


def test_an_action_says_what_was_done_why_and_what_is_expected_by_when() -> None:
    told = climbed()
    assert told.words == (
        "switched model assistant -> assistant-small for interactive: "
        "ttft_p95 2.1 s > 800 ms (41 of 205 late or refused); "
        "expect ttft_p95 < 800 ms for all but 12% within 20 s"
    )
    assert (told.kind, told.intent, told.action, told.at_s) == ("climb", "interactive", 7, 100.0)
    assert (told.rung, told.pool) == ("switch_model assistant-small", "far,near")
    assert (told.objective, told.measured, told.target) == ("ttft_p95", 2.1, 0.8)
    assert (told.samples, told.bad, told.allowed) == (205, 41, 0.05)
    assert (told.expected_share, told.expected_within_s) == (0.12, 20.0)
    assert (told.load_rps, told.dry_run, told.escalates) == (12.0, False, None)


@pytest.mark.parametrize(
    ("objective", "measured", "why", "expects"),
    [
        (
            TTFT,
            seen(TTFT, 0.6312, 100, 12),
            "ttft_p95 800 ms not kept (12 of 100 late or refused)",
            "ttft_p95 < 800 ms for all but 7%",
        ),
        (
            TTFT,
            seen(TTFT, None, 30, 30),
            "ttft_p95 800 ms not kept (30 of 30 late or refused)",
            "ttft_p95 < 800 ms for all but 60%",
        ),
        (
            TPOT,
            seen(TPOT, 0.0404, 100, 12),
            "tpot_p95 40.4 ms > 40 ms (12 of 100 slow)",
            "tpot_p95 < 40 ms for all but 7%",
        ),
        (
            ERRORS,
            seen(ERRORS, 0.06, 200, 12),
            "error_rate 6% > 1% (12 of 200 failed)",
            "error_rate < 1%",
        ),
        (
            MINUTE,
            seen(MINUTE, 3.1234, 0, 0),
            "cost_per_minute 3.12 USD > 2.5 USD",
            "cost_per_minute < 2.5 USD",
        ),
        (
            EACH,
            seen(EACH, 0.0151, 100, 20),
            "cost_per_request 0.0151 USD against 0.02 USD (20 of 100 dearer)",
            "cost_per_request < 0.02 USD",
        ),
    ],
)
def test_each_kind_of_promise_is_broken_in_its_own_words(
    objective: Objective, measured: MeasuredObjective, why: str, expects: str
) -> None:
    words = climbed(objective, measured).words
    assert words.split(": ", 1)[1] == f"{why}; expect {expects} within 20 s"


def test_what_is_only_rehearsed_would_have_been_done_and_expects_nothing() -> None:
    told = climbed(rung={"cap_tokens": 256, "dry_run": True})
    assert told.words == (
        "would have capped tokens at 256 for interactive (dry run): "
        "ttft_p95 2.1 s > 800 ms (41 of 205 late or refused)"
    )
    assert told.dry_run
    assert (told.expected_share, told.expected_within_s) == (None, None)


def test_gentler_rungs_and_the_action_before_it_are_told_beside() -> None:
    told = climbed(passed_over=("order: no two callers wait",), escalates=6)
    assert told.passed_over == ("order: no two callers wait",)
    assert told.escalates == 6


def test_that_nothing_can_be_done_is_said_with_each_reason() -> None:
    reasons = ("order: no two callers wait", "shed: nothing sheddable shares its pools")
    told = narrate.stuck("interactive", Stuck(LATE, reasons), 0.05, 100.0)
    assert told.words == (
        "nothing to do for interactive: ttft_p95 2.1 s > 800 ms (41 of 205 late or refused) "
        "(order: no two callers wait; shed: nothing sheddable shares its pools)"
    )
    assert (told.kind, told.passed_over, told.allowed) == ("pass_over", reasons, 0.05)
    assert (told.measured, told.target, told.samples, told.bad) == (2.1, 0.8, 205, 41)
    empty = narrate.stuck("interactive", Stuck(LATE, ()), 0.05, 100.0)
    assert empty.words.endswith("(its ladder is empty)")


# -- judged -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "objective", "told", "words"),
    [
        ("confirmed", TTFT, {"samples": 160, "bad": 3}, "confirmed: 3 of 160 late"),
        (
            "confirmed",
            TTFT,
            {"samples": 160, "bad": 3, "spared": 20, "spared_bad": 9},
            "confirmed: 3 of 160 late, 9 of 20 of those spared",
        ),
        ("confirmed", TPOT, {"samples": 160, "bad": 3}, "confirmed: 3 of 160 slow"),
        ("confirmed", ERRORS, {"samples": 160, "bad": 3}, "confirmed: 3 of 160 failed"),
        (
            "confirmed",
            MINUTE,
            {"ended": 40, "usd": 0.02, "usd_per_request_before": 0.004},
            "confirmed: 0.0005 USD a request, 0.004 before",
        ),
        ("inconclusive", MINUTE, {}, "inconclusive: 0 USD a request, 0 before"),
        ("inconclusive", TTFT, {"samples": 5}, "inconclusive: 0 of 5 late"),
        (
            "confounded",
            TTFT,
            {"samples": 60, "bad": 1},
            "confounded by a change of load: 1 of 60 late",
        ),
        (
            "no_effect",
            TTFT,
            {"samples": 60, "bad": 31},
            "rolled back, no effect: 31 of 60 late",
        ),
        (
            "harmful",
            TTFT,
            {"samples": 60, "ended": 40, "errors": 9},
            "rolled back, harmful: 9 of 40 failed",
        ),
        (
            "harmful",
            TTFT,
            {"samples": 60, "ended": 40, "cut_short": 30},
            "rolled back, harmful: 30 of 40 answers were cut short",
        ),
        (
            "harmful",
            TTFT,
            {"samples": 60, "bad": 60, "spared": 30, "spared_bad": 4},
            "rolled back, harmful: 60 of 60 late, 4 of 30 of those spared",
        ),
    ],
)
def test_a_verdict_is_said_with_its_proof(
    verdict: str, objective: Objective, told: dict[str, Any], words: str
) -> None:
    decision = judged(verdict, objective, **told)
    assert decision.words == (
        f"{words} since: switched model assistant -> assistant-small for interactive"
    )
    rolled_back = verdict in ("no_effect", "harmful")
    assert decision.kind == ("rollback" if rolled_back else "verdict")
    assert (decision.action, decision.verdict) == (7, verdict)
    assert decision.trial is not None
    assert (decision.samples, decision.bad) == (decision.trial.samples, decision.trial.bad)


# -- down ---------------------------------------------------------------------------------


def test_an_action_that_is_given_back_says_how_long_it_was_held() -> None:
    made = action(MINUTE)
    made.words = "capped tokens at 256 for interactive"
    told = narrate.descend("interactive", Descend(made, 31.0, 4.5, 1.2, 9.0), 184.4)
    assert told.words == "no longer needed after 84 s: capped tokens at 256 for interactive"
    assert (told.kind, told.action, told.for_s) == ("descend", 7, 31.0)
    assert (told.load_rps, told.objective, told.measured) == (4.5, "cost_per_minute", 1.2)
    assert told.needed_rps == 9.0


def test_a_lapse_says_that_nobody_renewed_it() -> None:
    made = action()
    made.words, made.lease_until_s = "shed sheddable traffic for interactive", 160.0
    told = narrate.lapse("interactive", made, 165.0)
    assert told.words == "lapsed, nobody renewed it: shed sheddable traffic for interactive"
    assert (told.kind, told.for_s) == ("lapse", LEASE_S + 5.0)


def test_new_policies_say_what_ends_with_the_old_ones() -> None:
    made = action()
    made.words = "held back classes below interactive"
    told = narrate.replaced("interactive", [made], 100.0)
    assert told.words == (
        "new policies for interactive: its ladder begins at its foot; "
        "no longer in force: held back classes below interactive"
    )
    assert told.kind == "policy"
    assert narrate.replaced("i", [], 0.0).words == (
        "new policies for i: its ladder begins at its foot"
    )


def test_a_limit_that_is_opened_says_where_and_why() -> None:
    told = narrate.limit(("cluster", "Big-70B"), "unattainable", 64.0, 100.0)
    assert told.words == (
        "opened the limit of Big-70B in cluster to 64: "
        "even one request at a time is slower than its tpot objective"
    )
    assert (told.kind, told.pool, told.intent) == ("limit", "cluster", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.8014, "801 ms"), (0.9994, "999 ms"), (0.9996, "1 s"), (61.23, "61.2 s")],
)
def test_seconds_are_said_with_three_figures(seconds: float, shown: str) -> None:
    words = climbed(TTFT, seen(TTFT, seconds, 100, 30)).words
    assert f"ttft_p95 {shown} " in words


@pytest.mark.req("INT-2")
def test_a_line_of_the_log_is_one_object_without_what_does_not_apply() -> None:
    line = msgspec.json.encode(narrate.numbered(climbed(), 12))
    assert msgspec.json.decode(line, type=LoopDecision) == narrate.numbered(climbed(), 12)
    fields = msgspec.json.decode(line)
    assert fields["seq"] == 12
    assert not {"verdict", "trial", "for_s", "dry_run", "escalates", "passed_over"} & set(fields)
