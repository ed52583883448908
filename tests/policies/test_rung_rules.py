"""The rules of a ladder as functions of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.control import MeasuredObjective, Verdict
from contracts.policy import Rung
from policies.objectives import Objective
from policies.rung_memory import RungMemory
from policies.rung_rules import (
    BREACHED_CONFIDENCE,
    CLIMB_CONFIDENCE,
    COST_RELIEF,
    KEPT_UNJUDGED,
    broken,
    cheap_enough,
    is_kept,
    own_reason,
)

TTFT = Objective(name="ttft_p95", signal="ttft", target=1.0, allowed=0.05, quantile=0.95)
COST = Objective(name="cost_per_minute", signal="cost_per_minute", target=2.0, allowed=None)


def seen(samples: int = 0, bad: int = 0, value: float | None = None) -> MeasuredObjective:
    return MeasuredObjective(
        objective="ttft_p95", target=1.0, value=value, samples=samples, bad=bad, severity=None
    )


@pytest.mark.req("INT-4")
def test_to_act_takes_more_proof_than_to_say_how_a_promise_stands() -> None:
    assert broken(seen(100, 10), TTFT, BREACHED_CONFIDENCE)
    assert not broken(seen(100, 10), TTFT, CLIMB_CONFIDENCE)
    assert broken(seen(100, 12), TTFT, CLIMB_CONFIDENCE)
    assert not broken(seen(19, 19), TTFT, BREACHED_CONFIDENCE)


@pytest.mark.req("INT-4")
def test_a_rate_of_money_is_compared_and_an_unknown_one_proves_nothing() -> None:
    assert broken(seen(value=2.01), COST, CLIMB_CONFIDENCE)
    assert not broken(seen(value=2.0), COST, CLIMB_CONFIDENCE)
    assert not broken(seen(100, 100), COST, CLIMB_CONFIDENCE)


@given(samples=st.integers(0, 300), bad=st.integers(0, 300))
def test_what_is_proven_enough_to_act_is_proven_enough_to_be_said(samples: int, bad: int) -> None:
    measured = seen(max(samples, bad), bad)
    if broken(measured, TTFT, CLIMB_CONFIDENCE):
        assert broken(measured, TTFT, BREACHED_CONFIDENCE)


def test_a_rung_that_is_held_or_cannot_help_or_did_not_is_not_taken() -> None:
    order, banned = Rung("order"), RungMemory()
    banned.ban(100.0)
    assert own_reason(order, TTFT, None, held=False, now_s=0.0) == ""
    assert own_reason(order, TTFT, RungMemory(), held=False, now_s=0.0) == ""
    assert own_reason(order, TTFT, None, held=True, now_s=0.0) == "held already"
    assert own_reason(order, COST, None, held=False, now_s=0.0) == "cannot help cost_per_minute"
    assert own_reason(order, TTFT, banned, held=False, now_s=101.0) == "did not help lately"
    assert own_reason(order, TTFT, banned, held=False, now_s=900.0) == ""


def test_a_saving_is_given_back_with_room_to_spare_only() -> None:
    assert cheap_enough(COST_RELIEF * 2.0, COST)
    assert not cheap_enough(COST_RELIEF * 2.0 + 0.01, COST)


@pytest.mark.req("INT-6")
@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(
    ("verdict", "kept"),
    [("confirmed", True), ("confounded", True), ("no_effect", False), ("harmful", False)],
)
def test_what_helped_is_kept_and_what_did_not_is_not(
    verdict: Verdict, kept: bool, index: int
) -> None:
    assert is_kept(verdict, index) is kept
    assert is_kept("inconclusive", index) is (index < KEPT_UNJUDGED)
