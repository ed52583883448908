"""The measures of the control benchmark, by hand."""

import math

import pytest

from adapters.fakellmd.law import optimal_concurrency
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from gateway.simulation.outcome import Outcome
from gateway.simulation.trace import Arrival
from tests.bench.control_measures import (
    capacity_rps,
    missed_share,
    overspent_s,
    recovery_s,
    remaining_rps,
    settled_s,
)

pytestmark = pytest.mark.req("INT-12")


def answer(arrival_s: float, ttft_s: float | None = 1.0, usd: float = 0.0) -> Outcome:
    """It ends a second after its first token."""
    made = Outcome(arrival_s, "", 1)
    if ttft_s is not None:
        made.fate, made.ttft_s, made.e2e_s, made.cost_usd = "served", ttft_s, ttft_s + 1.0, usd
    return made


def test_recovery_is_the_time_to_the_last_moment_outside() -> None:
    late = [answer(10.0 + nth, 3.0) for nth in range(4)]
    swift = [answer(float(nth), 0.5) for nth in range(60)]
    # Late first tokens come from 13 to 16 s; the last one leaves the window of 5 s at 21 s.
    assert recovery_s([*late, *swift], 1.5, 10.0, 50.0) == pytest.approx(10.75)
    assert recovery_s(swift, 1.5, 10.0, 50.0) == 0.0


def test_recovery_does_not_look_at_what_has_no_first_token_or_came_before_the_step() -> None:
    assert recovery_s([answer(0.0, 3.0), answer(11.0, None)], 1.5, 10.0, 50.0) == 0.0


def test_goodput_has_settled_once_enough_good_answers_end() -> None:
    slow = [answer(float(nth)) for nth in range(0, 20)]
    fast = [answer(20.0 + nth / 2.0) for nth in range(40)]
    outcomes = [*slow, *fast]
    good = [True] * len(outcomes)
    # Ends come at 2, 3, .. 21 s, then from 22 s on twice a second: 10 in 5 s for the first time at 26.5 s.
    assert settled_s(outcomes, good, 2.0, 0.0, 60.0) == pytest.approx(26.5)
    assert settled_s(outcomes, [False] * len(outcomes), 2.0, 0.0, 60.0) == math.inf


def test_the_longest_stretch_above_a_ceiling_counts() -> None:
    # 0.2 USD a second from 2 s to 11 s: above 1 USD a minute from the sixth answer on, until the window
    # of a minute has let go of the fifth.
    paid = [answer(float(nth), usd=0.2) for nth in range(10)]
    assert overspent_s(paid, 1.0, 300.0) == pytest.approx(59.0, abs=0.5)
    assert overspent_s(paid, 2.0, 300.0) == 0.0


def test_whoever_has_no_first_token_in_time_has_missed_it() -> None:
    assert missed_share([answer(0.0, 1.0), answer(0.0, 1.1), answer(0.0, None)], 1.0) == 2 / 3
    assert missed_share([], 1.0) == 0.0


ENGINE = LlmdSettings(
    models=(ServedModel(name="m"),),
    latency=Latency(
        prefill_overhead_s=0.0,
        prefill_time_per_token_s=0.0,
        inter_token_latency_s=1.0,
        time_factor_under_load=3.0,
    ),
    max_num_seqs=5,
)
"""At 2 s a token it should run 3 at once."""


def test_what_remains_is_what_the_first_class_leaves() -> None:
    assert optimal_concurrency(ENGINE, 2.0) == 3.0
    first = [Arrival(0.0, 1, 5, intent="a")]  # 8 s
    others = [Arrival(0.0, 1, 3, intent="b") for _ in range(20)]  # 4 s each
    last = Arrival(12.0, 1, 3, intent="b")
    left = remaining_rps([*first, *others, last], first, [*others, last], ENGINE, 2.0)
    # 3 places for 12 s, 8 s of which are taken: 7 answers of 4 s.
    assert left * 12.0 == pytest.approx(7.0)


def test_what_remains_is_never_more_than_comes() -> None:
    first, other = Arrival(0.0, 1, 2), Arrival(12.0, 1, 3)
    assert remaining_rps([first, other], [first], [other], ENGINE, 2.0) * 12.0 == 1.0


def test_capacity_is_the_rate_of_a_full_load() -> None:
    # A mean answer of 168 tokens or so takes 334 s at 2 s a token, and 3 run at once.
    assert capacity_rps(ENGINE, 2.0) == pytest.approx(3.0 / 334.0, rel=0.05)
