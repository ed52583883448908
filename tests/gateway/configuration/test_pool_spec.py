"""What a pool says, and what follows from its engine where it says nothing."""

from pathlib import Path

import pytest

from policies.breaker import BreakerSettings
from tests.support.configured import ONE_POOL, POOL, load_text


@pytest.mark.req("INT-8")
def test_what_a_backend_can_be_told_is_the_pools_to_say(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "pools:\n"
        "  - {id: a, engine: llmd, endpoint: 'http://x', metrics: 'http://epp:9090/metrics',\n"
        "     inference_ttl: true, priority_scheduling: true}\n"
        "  - {id: b, engine: vllm, endpoint: 'http://x'}\n",
    )
    a, b = loaded.pools
    assert (a.metrics, a.inference_ttl, a.priority_scheduling) == (
        "http://epp:9090/metrics",
        True,
        True,
    )
    assert (b.metrics, b.inference_ttl, b.priority_scheduling) == (None, False, False)
    assert (a.simulated, b.simulated) == ({}, {})


@pytest.mark.req("INT-4")
def test_who_is_asked_for_its_load_unless_the_pool_says_otherwise(tmp_path: Path) -> None:
    here = "endpoint: 'http://x'"
    loaded = load_text(
        tmp_path,
        f"pools:\n"
        f"  - {{id: a, engine: vllm, {here}}}\n"
        f"  - {{id: b, engine: tgi, {here}}}\n"
        f"  - {{id: c, engine: llamacpp, {here}}}\n"
        f"  - {{id: d, engine: llmd, {here}}}\n"
        f"  - {{id: e, engine: vllm, {here}, load_metrics: false}}\n"
        f"  - {{id: f, engine: llamacpp, {here}, load_metrics: true}}\n",
    )
    asked = {pool.id: pool.load_metrics for pool in loaded.pools}
    assert asked == {"a": True, "b": True, "c": False, "d": False, "e": False, "f": True}


@pytest.mark.req("ENG-3")
def test_an_engine_is_tested_where_that_costs_nothing_or_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    text = """
pools:
  - {id: a, engine: llamacpp, endpoint: http://127.0.0.1:1}
  - {id: b, engine: llamacpp, endpoint: http://127.0.0.1:2, self_test: false}
  - {id: c, engine: vllm, endpoint: http://127.0.0.1:3}
  - {id: d, engine: llmd, endpoint: http://127.0.0.1:4}
  - {id: e, engine: embedded}
  - {id: f, engine: openai, api_key: key-of-openai}
  - {id: g, engine: openai, endpoint: http://127.0.0.1:5, self_test: true}
  - {id: h, engine: anthropic, api_key: key-of-anthropic}
"""
    tested = [pool.id for pool in load_text(tmp_path, text).pools if pool.self_test]
    assert tested == ["a", "c", "d", "e", "g"]


@pytest.mark.req("RUN-5", "RUN-7")
def test_a_pool_says_how_often_to_repeat_and_when_to_leave_an_endpoint_alone(
    tmp_path: Path,
) -> None:
    said = "retry_budget: 5%, breaker: {failures: 3, window: 1m, cooldown: 2s}, "
    loaded = load_text(tmp_path, POOL % (said + "timeouts: {min_tokens_per_s: 2.5}"))
    (pool,) = loaded.pools
    assert pool.retry_budget == 0.05
    assert pool.breaker == BreakerSettings(failures=3, window_s=60, cooldown_s=2)
    assert pool.timeouts.min_tokens_per_s == 2.5
    (plain,) = load_text(tmp_path, ONE_POOL).pools
    assert (plain.retry_budget, plain.breaker) == (0.2, BreakerSettings())
    assert plain.timeouts.min_tokens_per_s is None
