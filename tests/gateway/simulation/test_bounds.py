"""The bounds by hand, their order, and the numbers that the design was made from."""

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.law import optimal_concurrency
from adapters.fakellmd.model import Done, EngineModel, Job
from adapters.fakellmd.settings import Drift, Latency, LlmdSettings, ServedModel
from gateway.simulation.bounds import Bounds, bounds, offered_load
from gateway.simulation.trace import Arrival, stretched
from gateway.simulation.traffic import poisson

pytestmark = pytest.mark.req("INT-12")


def settings(**changes: object) -> LlmdSettings:
    """N = 5, F = 3, tokens every second, no prefill: at an objective of 2 s, n* is 3."""
    latency = Latency(
        prefill_overhead_s=0.0,
        prefill_time_per_token_s=0.0,
        inter_token_latency_s=1.0,
        time_factor_under_load=3.0,
    )
    base = LlmdSettings(models=(ServedModel(name="m"),), latency=latency, max_num_seqs=5)
    return msgspec.structs.replace(base, **changes)


def answers(*outputs: int, at_s: float = 0.0) -> list[Arrival]:
    return [Arrival(at_s, 1, output) for output in outputs]


# Two gaps a request take 4 s at n* = 3; a window of 12 s has 36 place-seconds.
LIGHT = [*answers(3, 3), Arrival(12.0, 1, 3)]


def test_below_capacity_everything_can_be_good() -> None:
    assert bounds(LIGHT, settings(), 2.0) == Bounds(
        n_star=3.0, span_s=12.0, mean_service_s=4.0, blind_rps=0.25, aware_rps=0.25
    )


def test_the_blind_bound_is_capacity_over_the_mean_service() -> None:
    # 11 requests of 4 s and one of 40 s: 84 place-seconds wanted, 36 there, 7 s in the mean.
    told = bounds(answers(*[3] * 11, 21), settings(), 2.0, span_s=12.0)
    assert told.mean_service_s == 7.0
    assert told.blind_rps * 12.0 == pytest.approx(36.0 / 7.0)


def test_the_aware_bound_takes_the_shortest_first_and_the_last_in_part() -> None:
    told = bounds(answers(21, *[3] * 8), settings(), 2.0, span_s=12.0)
    assert told.aware_rps * 12.0 == pytest.approx(8.0 + 4.0 / 40.0)


def test_prefill_takes_its_place_at_the_pace_of_the_batch() -> None:
    latency = msgspec.structs.replace(
        settings().latency, prefill_overhead_s=0.5, prefill_time_per_token_s=0.25
    )
    told = bounds([Arrival(1.0, 6, 4)], settings(latency=latency), 2.0)
    assert told.mean_service_s == (0.5 + 6 * 0.25) * 2.0 + 3 * 2.0


def test_replicas_multiply_what_is_possible() -> None:
    many = answers(*[3] * 99)
    one, two = (bounds(many, settings(replicas=n), 2.0, span_s=12.0) for n in (1, 2))
    assert one.n_star == two.n_star == 3.0
    assert two.blind_rps == 2.0 * one.blind_rps
    assert two.aware_rps == 2.0 * one.aware_rps


def test_without_an_objective_the_batch_may_be_full() -> None:
    told = bounds(answers(*[3] * 99), settings(), None, span_s=12.0)
    assert (told.n_star, told.mean_service_s) == (5.0, 6.0)


def test_an_objective_out_of_reach_makes_every_bound_zero() -> None:
    told = bounds(LIGHT, settings(), 0.5)
    assert (told.n_star, told.blind_rps, told.aware_rps) == (0.0, 0.0, 0.0)
    assert told.mean_service_s == math.inf
    assert offered_load(LIGHT, settings(), 0.5) == math.inf


def test_the_offered_load_is_wanted_over_given_place_seconds() -> None:
    assert offered_load(LIGHT, settings(), 2.0) == 12.0 / 36.0
    assert offered_load(LIGHT, settings(replicas=2), 2.0) == 12.0 / 72.0
    assert offered_load(LIGHT, settings(), 2.0, span_s=24.0) == 12.0 / 72.0


def test_the_offered_load_does_not_know_of_drift() -> None:
    drifting = settings(drift=(Drift(at_s=1.0, inter_token_latency_s=9.0),))
    assert offered_load(LIGHT, drifting, 2.0) == offered_load(LIGHT, settings(), 2.0)


def test_stretching_a_trace_divides_its_load() -> None:
    load = offered_load(LIGHT, settings(), 2.0)
    assert offered_load(stretched(LIGHT, load / 1.6), settings(), 2.0) == pytest.approx(1.6)


def test_each_stretch_between_drifts_has_its_own_law_and_its_own_arrivals() -> None:
    # From 6 s on a gap is 2 s at best: n* = 1, and a request of two gaps takes 4 s.
    drifting = settings(drift=(Drift(at_s=6.0, inter_token_latency_s=2.0),))
    arrivals = [*answers(3, 3), *answers(*[3] * 9, at_s=6.0)]
    told = bounds(arrivals, drifting, 2.0, span_s=12.0)
    assert told.n_star == (3.0 * 6.0 + 1.0 * 6.0) / 12.0
    assert told.blind_rps * 12.0 == pytest.approx(2.0 + 6.0 / 4.0)
    assert told.aware_rps * 12.0 == pytest.approx(2.0 + 1.0 + 2.0 / 4.0)


def test_drifts_build_on_each_other() -> None:
    both = settings(
        drift=(
            Drift(at_s=4.0, inter_token_latency_s=2.0),
            Drift(at_s=8.0, time_factor_under_load=2.0),
        )
    )
    # At 3 s: all 5; with gaps of 2 s, 2; with those and half the slope, 3.
    assert bounds(LIGHT, both, 3.0).n_star == pytest.approx((5.0 + 2.0 + 3.0) / 3.0)


@pytest.mark.parametrize("at_s", [0.0, 12.0, 99.0])
def test_a_drift_at_an_edge_loses_no_arrival(at_s: float) -> None:
    drifting = settings(drift=(Drift(at_s=at_s, time_factor_under_load=3.0),))
    assert bounds(LIGHT, drifting, 2.0) == bounds(LIGHT, settings(), 2.0)


def test_what_arrives_after_the_window_does_not_count() -> None:
    late = [*LIGHT, *answers(3, 3, at_s=13.0)]
    assert bounds(late, settings(), 2.0, span_s=12.0) == bounds(LIGHT, settings(), 2.0)


@pytest.mark.parametrize(("arrivals", "span_s"), [([], None), (answers(3), None), (LIGHT, -1.0)])
def test_a_window_without_length_is_refused(arrivals: list[Arrival], span_s: float | None) -> None:
    with pytest.raises(ValueError, match="longer than 0 s"):
        bounds(arrivals, settings(), 2.0, span_s=span_s)


def test_no_arrivals_are_no_requests() -> None:
    assert bounds([], settings(), 2.0, span_s=1.0).blind_rps == 0.0


def test_a_bound_is_about_one_model() -> None:
    two = (ServedModel(name="m"), ServedModel(name="n"))
    with pytest.raises(ValueError, match="one model, not 2"):
        bounds(LIGHT, settings(models=two), 2.0)


traces = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1).map(
    lambda rows: [Arrival(float(at_s), 1, output) for at_s, output in sorted(rows)]
)


@given(arrivals=traces, tpot=st.integers(1, 4), span_s=st.integers(10, 12), at_s=st.integers(0, 12))
def test_the_bounds_are_in_order(
    arrivals: list[Arrival], tpot: int, span_s: int, at_s: int
) -> None:
    drifting = settings(drift=(Drift(at_s=float(at_s), inter_token_latency_s=2.0),))
    told = bounds(arrivals, drifting, float(tpot), span_s=float(span_s))
    rate = len(arrivals) / span_s
    assert 0.0 <= told.blind_rps <= told.aware_rps + 1e-12
    assert told.aware_rps <= rate + 1e-12
    if offered_load(arrivals, settings(), float(tpot), span_s=float(span_s)) <= 1.0 and at_s == 12:
        assert told.blind_rps == pytest.approx(rate)


@given(arrivals=traces)
def test_a_looser_objective_never_lowers_a_bound(arrivals: list[Arrival]) -> None:
    told = [bounds(arrivals, settings(), 1.0 + step / 4, span_s=10.0) for step in range(9)]
    assert [b.n_star for b in told] == sorted(b.n_star for b in told)
    for before, after in pairwise(told):
        assert before.blind_rps <= after.blind_rps + 1e-12
        assert before.aware_rps <= after.aware_rps + 1e-12


# The engine of the design's first experiment: N = 96, 12 ms a token, F = 3; objective 25 ms.
DESIGN = LlmdSettings(
    models=(ServedModel(name="m"),),
    max_num_seqs=96,
    max_waiting_queue_length=None,
    latency=Latency(
        inter_token_latency_s=0.012,
        inter_token_latency_std_dev_s=0.0,
        prefill_time_std_dev_s=0.0,
        time_factor_under_load=3.0,
    ),
)


def test_the_bounds_of_the_design_are_found_again() -> None:
    # Published there: n* 52.5; at 1.6 times the capacity 11.01 blind, 15.05 aware.
    told = bounds(poisson(17.6, 240.0, seed=1), DESIGN, 0.025)
    assert told.n_star == pytest.approx(52.46, abs=0.01)
    assert told.blind_rps == pytest.approx(11.01, rel=0.03)
    assert told.aware_rps == pytest.approx(15.05, rel=0.03)


def test_an_engine_kept_at_its_optimum_does_what_the_blind_bound_says() -> None:
    """As many at once as meet the objective, always: the completions of a window are the bound's."""
    arrivals = poisson(20.0, 600.0, seed=2)
    engine = EngineModel(DESIGN, "m")
    places = round(optimal_concurrency(DESIGN, 0.025))
    jobs = iter(
        Job(
            id=number,
            prompt_tokens=arrival.input_tokens,
            output_tokens=arrival.output_tokens,
            every_token=False,
        )
        for number, arrival in enumerate(arrivals)
    )
    for _ in range(places):
        engine.submit(0.0, next(jobs))
    done = 0
    while (at_s := engine.next_event_s()) is not None and at_s < 600.0:
        for event in engine.advance(at_s):
            if isinstance(event, Done):
                done += 1
                engine.submit(at_s, next(jobs))
    assert done / 600.0 == pytest.approx(bounds(arrivals, DESIGN, 0.025).blind_rps, rel=0.03)
