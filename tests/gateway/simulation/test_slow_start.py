"""In front of an engine that nobody has described: how long callers wait for its limit, and what it is spared."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.simulation.outcome import Outcome
from gateway.simulation.run import Result, run
from gateway.simulation.trace import Arrival
from policies.steering import START_PER_ENDPOINT
from tests.fakes.simulated import plan_of

pytestmark = pytest.mark.req("INT-4")

Simulate = Callable[..., Result]


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    def simulated(
        arrivals: list[Arrival],
        *,
        places: int,
        gap: str = "20ms",
        factor: float = 1.0,
        first: str = "10ms",
        objectives: str = "{}",
    ) -> Result:
        engine = (
            f"{{max_num_seqs: {places}, inter_token_latency: {gap}, inter_token_latency_std_dev: 0s, "
            f"time_factor_under_load: {factor}, prefill_overhead: {first}, prefill_time_per_token: 0s}}"
        )
        config = (
            f"pools: [{{id: sim, engine: llmd, max_inflight: 4096, simulate: {engine}, "
            "queue: {max_requests: 4096, timeout: 300s}}]\n"
            "models: [{name: big, pool: sim}]\npolicies: policies.yaml\n"
        )
        promise = f"intents: [{{name: chat, match: {{default: true}}, objectives: {objectives}}}]"
        return run(plan_of(tmp_path, arrivals, config=config, policies=promise), watch=True)

    return simulated


def at_once(count: int, *, output: int) -> list[Arrival]:
    return [Arrival(nth * 1e-4, 100, output) for nth in range(count)]


def waits(result: Result) -> list[float]:
    def waited(outcome: Outcome) -> float:
        assert outcome.fate == "served"
        return outcome.queued_s or 0.0

    return [waited(outcome) for outcome in result.outcomes]


def most(result: Result) -> int:
    return max(sight.inflight for _, sight in result.samples)


@pytest.mark.parametrize("objectives", ["{}", "{tpot_p95: 1m}", "{ttft_p95: 10m, tpot_p95: 1m}"])
def test_nobody_waits_for_the_limit_of_an_engine_that_takes_everybody(
    simulate: Simulate, objectives: str
) -> None:
    arrivals = [Arrival(nth / 400, 100, 100) for nth in range(1000)]
    result = simulate(arrivals, places=4096, gap="100ms", objectives=objectives)
    assert max(waits(result)) == 0.0
    assert most(result) == 1000


def test_who_came_at_once_is_let_in_by_answers_and_not_by_ticks(simulate: Simulate) -> None:
    """16 a round trip of 10 ms, twice as many at first."""
    result = simulate(at_once(160, output=100), places=4096)
    assert max(waits(result)) < 0.15


@pytest.mark.parametrize("objectives", ["{}", "{tpot_p95: 50ms}", "{tpot_p95: 1s}"])
@pytest.mark.parametrize("places", [1, 4])
def test_a_small_engine_is_not_flooded_by_those_who_wait(
    simulate: Simulate, places: int, objectives: str
) -> None:
    """It answers some, and others wait inside it: that is no reason to send it more. After ten seconds hardly
    more than a model begins with had been sent."""
    result = simulate(at_once(100, output=40), places=places, objectives=objectives)
    sent = [sight.inflight for at_s, sight in result.samples if at_s <= 10.0]
    assert max(sent) <= 1.5 * START_PER_ENDPOINT


def test_of_a_large_engine_that_is_full_hardly_more_waits_inside_than_is_let_in_on_hope(
    simulate: Simulate,
) -> None:
    result = simulate(at_once(400, output=200), places=96)
    sent = [sight.inflight for at_s, sight in result.samples if at_s <= 2.0]
    assert 96 <= max(sent) <= 96 + 1.5 * START_PER_ENDPOINT


def test_a_tight_objective_is_not_overshot_by_opening(simulate: Simulate) -> None:
    """At 36 ms a token when it is full and 12 alone, 25 ms are kept by 52 at once."""
    result = simulate(
        at_once(300, output=100),
        places=96,
        gap="12ms",
        factor=3.0,
        first="30ms",
        objectives="{ttft_p95: 60s, tpot_p95: 25ms}",
    )
    assert 45 <= most(result) <= 55
    assert sum((outcome.tpot_s or 0.0) > 0.025 for outcome in result.outcomes) <= 15


def test_an_engine_far_away_that_begins_all_answers_after_a_second_is_not_held_for_a_small_one(
    simulate: Simulate,
) -> None:
    """Many are on their way to it at any time. The limit doubles with time there, as it always did."""
    arrivals = [Arrival(nth / 200, 100, 200) for nth in range(1000)]
    result = simulate(arrivals, places=4096, first="1s", gap="20ms", objectives="{tpot_p95: 1m}")
    assert max(waits(result)) < 4.5
