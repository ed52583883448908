"""The schedule: the same for a seed, as many as promised, in time order."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.scenario import CALM_RPS, SPIKE, arrivals, scenario

pytestmark = pytest.mark.req("INT-10")
SECONDS = st.integers(10, 40).map(float)


@given(seconds=SECONDS, seed=st.integers(0, 1000))
def test_the_same_scenario_gives_the_same_requests(seconds: float, seed: int) -> None:
    assert arrivals(scenario(seconds, seed)) == arrivals(scenario(seconds, seed))


def test_another_seed_gives_other_requests() -> None:
    assert arrivals(scenario(20.0, 1)) != arrivals(scenario(20.0, 2))


@given(seconds=SECONDS, seed=st.integers(0, 1000))
def test_each_phase_has_the_requests_of_its_rate_in_time_order(seconds: float, seed: int) -> None:
    plan = scenario(seconds, seed)
    schedule = arrivals(plan)
    times = [arrival.at_s for arrival in schedule]
    assert times == sorted(times)
    calm = round(CALM_RPS * seconds)
    assert sum(at_s <= plan.spike_from_s for at_s in times) == calm
    assert sum(at_s <= plan.spike_to_s for at_s in times) == calm + round(
        SPIKE * CALM_RPS * seconds
    )
    assert len(times) == 2 * calm + round(SPIKE * CALM_RPS * seconds)
    assert times[-1] <= plan.span_s


@given(seconds=SECONDS)
def test_the_stretches_cover_the_run_without_a_gap(seconds: float) -> None:
    plan = scenario(seconds, 1)
    stretches = plan.stretches
    assert stretches[0].from_s == 0.0
    assert stretches[-1].to_s == plan.span_s
    assert all(a.to_s == b.from_s for a, b in itertools.pairwise(stretches))


def test_only_the_first_seconds_of_the_spike_are_not_judged() -> None:
    (spared,) = (s for s in scenario(20.0, 1).stretches if not s.judged)
    assert (spared.from_s, spared.to_s) == (20.0, 28.0)


def test_judged_time_begins_where_the_last_that_is_not_judged_ended() -> None:
    plan = scenario(20.0, 1)
    assert [plan.judged_from_s(stretch) for stretch in plan.stretches] == [0.0, 20.0, 28.0, 28.0]


def test_each_time_has_its_phase() -> None:
    plan = scenario(10.0, 1)
    assert [plan.phase_at(at_s) for at_s in (0.0, 9.9, 10.0, 20.0, 29.9)] == [
        plan.calm,
        plan.calm,
        plan.spike,
        plan.after,
        plan.after,
    ]
    assert plan.phase_at(30.0) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, 9.9, 301.0, float("nan"), float("inf")])
def test_a_length_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        scenario(seconds, 1)
