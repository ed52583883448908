"""Percentiles, counts, and cost over time."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.deployment import BIG
from gateway.demo.exchange import Exchange
from gateway.demo.measures import figures, first_token_s, is_in_time, p95, spent, usd_per_minute
from gateway.demo.scenario import Promise, Scenario

pytestmark = pytest.mark.req("INT-10")


@given(st.lists(st.integers(0, 20).map(float), min_size=1))
def test_at_most_a_twentieth_is_above_the_p95_and_no_lower_value_will_do(
    values: list[float],
) -> None:
    found = p95(values)
    assert found in values
    assert sum(value > found for value in values) * 20 <= len(values)
    lower = [value for value in values if value < found]
    if lower:
        assert sum(value > max(lower) for value in values) * 20 > len(values)


def test_nothing_has_no_p95() -> None:
    assert p95([]) is None


def test_what_is_not_answered_is_late_for_ever(
    make_answered: Callable[..., Exchange], make_refused: Callable[[float], Exchange]
) -> None:
    broken_off = make_answered(1.0)
    broken_off.fate = "failed"
    assert first_token_s(make_refused(1.0)) == math.inf
    assert first_token_s(broken_off) == math.inf
    assert not is_in_time(broken_off, Promise())


@pytest.mark.parametrize(("ttft_s", "in_time"), [(0.8, True), (0.801, False)])
def test_in_time_is_within_the_promise(
    make_answered: Callable[..., Exchange], ttft_s: float, in_time: bool
) -> None:
    assert is_in_time(make_answered(0.0, ttft_s=ttft_s), Promise()) is in_time


def test_a_stretch_counts_what_was_due_in_it(
    plan: Scenario,
    make_answered: Callable[..., Exchange],
    make_refused: Callable[[float], Exchange],
) -> None:
    cut_off = make_answered(10.0)
    cut_off.fate = "failed"
    exchanges = [
        make_answered(0.0),
        make_answered(19.9, ttft_s=2.0),  # due in it, answered after it
        make_refused(5.0),
        cut_off,
        make_answered(20.0),
    ]
    seen = figures(plan, exchanges, plan.stretches[0])
    assert (seen.offered, seen.in_time, seen.refused, seen.failed) == (4, 1, 1, 1)
    assert seen.ttft_p95_s == math.inf
    assert seen.tpot_p95_s == pytest.approx(0.02)


def test_an_empty_stretch_has_no_latencies_and_costs_nothing(plan: Scenario) -> None:
    seen = figures(plan, [], plan.stretches[0])
    assert (seen.offered, seen.ttft_p95_s, seen.tpot_p95_s) == (0, None, None)
    assert seen.usd_per_minute == 0.0


def test_cost_is_spent_when_the_tokens_come(make_answered: Callable[..., Exchange]) -> None:
    exchanges = [make_answered(0.0), make_answered(10.0)]
    by_second = spent(exchanges)
    assert set(by_second) == {0, 1, 10, 11}
    assert sum(by_second.values()) == pytest.approx(sum(x.usd for x in exchanges))
    assert usd_per_minute(by_second, 0, 10) == pytest.approx(6 * exchanges[0].usd)
    assert usd_per_minute(by_second, 5, 5) == 0.0


def test_the_dearest_window_counts(plan: Scenario, make_answered: Callable[..., Exchange]) -> None:
    exchanges = [make_answered(5.0), make_answered(7.0), make_answered(18.0)]
    seen = figures(plan, exchanges, plan.stretches[0])
    assert seen.usd_per_minute == pytest.approx(6 * 2 * exchanges[0].usd)


def test_no_window_of_a_judged_stretch_reaches_into_what_is_not_judged(
    plan: Scenario, make_answered: Callable[..., Exchange]
) -> None:
    spared, rest, after = plan.stretches[1:]
    dear = [make_answered(25.0) for _ in range(50)]
    assert figures(plan, dear, spared).usd_per_minute > 0.5
    assert figures(plan, dear, rest).usd_per_minute == 0.0
    assert figures(plan, dear, after).usd_per_minute == 0.0


def test_a_window_may_reach_back_into_the_stretch_before(
    plan: Scenario, make_answered: Callable[..., Exchange]
) -> None:
    exchange = make_answered(37.0)
    usd = BIG.usd(exchange.prompt_tokens, exchange.output_tokens)
    assert figures(plan, [exchange], plan.stretches[3]).usd_per_minute == pytest.approx(6 * usd)
