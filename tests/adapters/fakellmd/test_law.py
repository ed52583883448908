"""The latency law of llm-d-inference-sim to exact numbers, and the optimum that it implies."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.law import (
    first_token_std_dev,
    gap_s,
    gap_std_dev,
    idle_first_token_s,
    load_factor,
    optimal_concurrency,
)
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")


@pytest.mark.parametrize(
    ("running", "most", "factor", "expected"),
    [(1, 5, 3.0, 1.0), (5, 5, 3.0, 3.0), (3, 5, 3.0, 2.0), (2, 5, 1.0, 1.0), (1, 1, 9.0, 1.0)],
)
def test_load_slows_an_engine_linearly_from_one_to_a_full_batch(
    running: int, most: int, factor: float, expected: float
) -> None:
    assert load_factor(running, most, factor) == expected


def test_the_constant_calculator_ignores_the_prompt() -> None:
    latency = Latency(latency_calculator="constant", time_to_first_token_s=0.25)
    assert idle_first_token_s(latency, 1, 0) == idle_first_token_s(latency, 9000, 0) == 0.25


def test_the_per_token_calculator_counts_uncached_prompt_tokens() -> None:
    latency = Latency(prefill_overhead_s=0.5, prefill_time_per_token_s=0.25)
    assert idle_first_token_s(latency, 10, 0) == 3.0
    assert idle_first_token_s(latency, 10, 4) == 2.0
    assert idle_first_token_s(latency, 10, 99) == 0.5


def test_standard_deviations_are_relative_to_their_idle_means() -> None:
    latency = Latency(
        prefill_time_std_dev_s=0.1,
        inter_token_latency_s=0.02,
        inter_token_latency_std_dev_s=0.005,
        time_to_first_token_std_dev_s=9.0,
    )
    assert first_token_std_dev(latency, 0.5) == 0.2
    assert first_token_std_dev(latency, 0.0) == 0.0
    assert gap_std_dev(latency) == 0.25


def test_the_optimum_is_where_the_gap_meets_the_objective() -> None:
    settings = LlmdSettings(
        models=(ServedModel(name="m"),),
        latency=Latency(inter_token_latency_s=0.02, time_factor_under_load=3.0),
        max_num_seqs=21,
    )
    assert optimal_concurrency(settings, 0.03) == pytest.approx(6.0)
    assert optimal_concurrency(settings, 0.019) == 0.0
    assert optimal_concurrency(settings, 0.02) == 1.0
    assert optimal_concurrency(settings, 9.0) == 21.0


def test_an_engine_that_load_does_not_slow_has_its_optimum_when_full() -> None:
    settings = LlmdSettings(latency=Latency(time_factor_under_load=1.0), max_num_seqs=7)
    assert optimal_concurrency(settings, 0.015) == 7.0
    assert optimal_concurrency(settings, 0.001) == 0.0


@given(slo_ms=st.integers(20, 59), most=st.integers(2, 300))
def test_running_the_optimum_gives_exactly_the_objective(slo_ms: int, most: int) -> None:
    latency = Latency(inter_token_latency_s=0.02, time_factor_under_load=3.0)
    settings = LlmdSettings(latency=latency, max_num_seqs=most)
    best = optimal_concurrency(settings, slo_ms / 1000)
    factor = load_factor(1, most, 3.0) + 2.0 * (best - 1) / (most - 1)
    assert latency.inter_token_latency_s * factor == pytest.approx(slo_ms / 1000)


def test_each_model_has_its_own_optimum(exact: Callable[..., LlmdSettings]) -> None:
    settings = LlmdSettings()
    large = optimal_concurrency(settings, 0.02, "sim-large")
    assert large == optimal_concurrency(settings, 0.02)
    assert large < optimal_concurrency(settings, 0.02, "sim-small") == settings.max_num_seqs
    with pytest.raises(KeyError):
        optimal_concurrency(settings, 0.02, "nobody")
    assert gap_s(exact().latency, 5, 5) == 0.125
