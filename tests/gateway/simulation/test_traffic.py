"""Invented traffic: its rate over time, its lengths, and that it is always the same."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation import traffic
from gateway.simulation.trace import Arrival
from gateway.simulation.traffic import (
    LENGTH_BOUNDS,
    Rate,
    constant,
    poisson,
    ramp,
    spike,
    stepped,
    varying,
)

pytestmark = pytest.mark.req("INT-12")

knots = st.lists(
    st.tuples(st.integers(0, 9).map(float), st.integers(0, 5).map(float)), max_size=6
).map(sorted)


def count(arrivals: list[Arrival], from_s: float, to_s: float) -> int:
    return sum(from_s <= arrival.arrival_s < to_s for arrival in arrivals)


def near(found: int, expected: float) -> bool:
    """Within four standard deviations of a Poisson count."""
    return abs(found - expected) <= 4.0 * math.sqrt(expected)


def test_a_constant_rate_gives_poisson_arrivals() -> None:
    arrivals = poisson(10.0, 1000.0, seed=1)
    assert near(len(arrivals), 10_000.0)
    gaps = [after.arrival_s - before.arrival_s for before, after in pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance / mean**2 == pytest.approx(1.0, abs=0.06)


def test_lengths_are_lognormal() -> None:
    arrivals = poisson(10.0, 1000.0, seed=1, prompt=(6.0, 0.5), output=(3.0, 1.0))
    logs = [math.log(arrival.input_tokens) for arrival in arrivals]
    mean = sum(logs) / len(logs)
    assert mean == pytest.approx(6.0, abs=0.02)
    assert sum((x - mean) ** 2 for x in logs) / len(logs) == pytest.approx(0.25, abs=0.02)
    outputs = sorted(arrival.output_tokens for arrival in arrivals)
    assert outputs[len(outputs) // 2] == pytest.approx(math.exp(3.0), abs=1.0)


def test_lengths_have_bounds_whatever_their_distribution() -> None:
    for mu in (-1e9, 1e9):
        lengths = {a.input_tokens for a in poisson(1.0, 50.0, seed=1, prompt=(mu, 1.0))}
        assert lengths <= set(LENGTH_BOUNDS)


def test_a_step_multiplies_the_rate_from_its_time_on() -> None:
    arrivals = varying(stepped(10.0, 400.0, at_s=200.0, factor=1.5), seed=2)
    assert near(count(arrivals, 0.0, 200.0), 2000.0)
    assert near(count(arrivals, 200.0, 400.0), 3000.0)


def test_a_ramp_rises_in_a_straight_line() -> None:
    arrivals = varying(ramp(5.0, 400.0, factor=3.0), seed=3)
    assert near(count(arrivals, 0.0, 200.0), 200.0 * 7.5)
    assert near(count(arrivals, 200.0, 400.0), 200.0 * 12.5)


def test_a_spike_ends() -> None:
    arrivals = varying(spike(5.0, 300.0, at_s=100.0, lasts_s=100.0, factor=4.0), seed=4)
    assert near(count(arrivals, 0.0, 100.0), 500.0)
    assert near(count(arrivals, 100.0, 200.0), 2000.0)
    assert near(count(arrivals, 200.0, 300.0), 500.0)


def test_two_rates_that_agree_up_to_a_time_give_the_same_arrivals_up_to_it() -> None:
    steady = varying(constant(5.0, 100.0), seed=5)
    step = varying(stepped(5.0, 100.0, at_s=50.0, factor=3.0), seed=5)
    assert [a for a in steady if a.arrival_s < 50.0] == [a for a in step if a.arrival_s < 50.0]


def test_a_knot_in_the_middle_of_a_straight_line_changes_nothing() -> None:
    whole = varying([(0.0, 2.0), (100.0, 6.0)], seed=5)
    parts = varying([(0.0, 2.0), (50.0, 4.0), (100.0, 6.0)], seed=5)
    assert len(whole) == len(parts)
    for one, other in zip(whole, parts, strict=True):
        assert one.arrival_s == pytest.approx(other.arrival_s)


def test_the_nth_request_is_the_same_at_any_rate() -> None:
    slow, fast = poisson(1.0, 100.0, seed=6), poisson(2.0, 100.0, seed=6)
    assert len(slow) < len(fast)
    assert [(a.input_tokens, a.output_tokens) for a in slow] == [
        (a.input_tokens, a.output_tokens) for a in fast[: len(slow)]
    ]


def test_seeds_give_different_traffic_and_names_are_passed_on() -> None:
    named = poisson(1.0, 100.0, seed=7, tenant="t", intent="i", model="m")
    assert {(a.tenant, a.intent, a.model) for a in named} == {("t", "i", "m")}
    assert [a.arrival_s for a in named] == [a.arrival_s for a in poisson(1.0, 100.0, seed=7)]
    assert [a.arrival_s for a in named] != [a.arrival_s for a in poisson(1.0, 100.0, seed=8)]


def test_a_seed_means_the_same_traffic_for_ever() -> None:
    first, *_ = poisson(1.0, 100.0, seed=1)
    assert first == Arrival(1.4150400190125905, 352, 117)


@given(rate=knots, seed=st.integers(0, 3))
def test_arrivals_are_in_order_and_within_the_knots(rate: Rate, seed: int) -> None:
    arrival_times = [arrival.arrival_s for arrival in varying(rate, seed)]
    assert arrival_times == sorted(arrival_times)
    if arrival_times:
        assert rate[0][0] <= arrival_times[0]
        assert arrival_times[-1] <= rate[-1][0]


@given(rate=knots)
def test_nothing_arrives_while_the_rate_is_zero(rate: Rate) -> None:
    arrivals = varying(rate, seed=1)
    for (start_s, low), (end_s, high) in pairwise(rate):
        if low == high == 0.0 and end_s > start_s:
            assert not [a for a in arrivals if start_s < a.arrival_s < end_s]


@pytest.mark.parametrize(
    "rate",
    [
        [(0.0, -1.0), (1.0, 1.0)],
        [(0.0, math.inf), (1.0, 1.0)],
        [(0.0, math.nan), (1.0, 1.0)],
        [(0.0, 1.0), (math.inf, 1.0)],
        [(1.0, 1.0), (0.0, 1.0)],
        [(0.0, 1e9), (1e9, 1e9)],
    ],
)
def test_an_impossible_rate_is_refused(rate: Rate) -> None:
    with pytest.raises(ValueError, match=r"a rate is|of a rate|of a trace"):
        varying(rate, seed=1)


def test_a_first_arrival_at_once_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "uniform", lambda key: 0.0 if key == first else 0.5)
    first = traffic.mix(1, 1, 0)
    assert varying([(0.0, 0.0), (9.0, 1.0)], seed=1)[0].arrival_s == 0.0
