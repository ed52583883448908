"""What `/metrics` shows, and what moves it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.dialect import EndpointState
from contracts.events import Usage
from contracts.metrics import METRICS
from gateway import metrics
from gateway.metrics import Metrics
from gateway.progress import Took
from tests.fakes.edge import Edge, chat_body
from tests.fakes.scripted_engine import ScriptedEngine, refuses, streams

pytestmark = pytest.mark.req("OPS-2")
MakeEdge = Callable[..., Awaitable[Edge]]


def families(metrics: Metrics) -> dict[str, object]:
    text = metrics.exposition().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_metric_of_the_contract_is_exposed_and_nothing_else() -> None:
    shown = families(Metrics("1.2.3"))
    promised = {metric.name.removesuffix("_total"): metric for metric in METRICS}
    assert shown.keys() == promised.keys()
    for name, metric in promised.items():
        assert (shown[name].type, shown[name].documentation) == (metric.kind, metric.help)


def test_two_registries_do_not_mix() -> None:
    one, other = Metrics("1"), Metrics("2")
    one.counter("setpoint_client_disconnects_total", "chat").inc()
    assert b'operation="chat"' not in other.exposition()


async def test_an_answer_moves_what_it_should(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    await edge.chat()
    await edge.chat(stream=True)
    served = {"model": "served", "engine": "openai"}
    for name, labels, value in (
        ("setpoint_requests_total", {**served, "status": "200", "operation": "chat"}, 2),
        ("setpoint_request_duration_seconds_count", served, 2),
        ("setpoint_ttft_seconds_count", served, 2),
        ("setpoint_upstream_ttft_seconds_count", {**served, "pool": "main"}, 2),
        ("setpoint_tpot_seconds_count", served, 2),
        ("setpoint_queue_seconds_count", {"pool": "main"}, 2),
        ("setpoint_tokens_total", {**served, "direction": "prompt"}, 6),
        ("setpoint_tokens_total", {**served, "direction": "completion"}, 4),
        ("setpoint_attempts_total", {"pool": "main", "outcome": "ok"}, 2),
        ("setpoint_client_disconnects_total", {}, 0),
    ):
        assert await edge.counted(name, **labels) == value, name


async def test_a_failure_moves_what_it_should(make_edge: MakeEdge, engine: ScriptedEngine) -> None:
    engine.plays(refuses(500, b'{"error":{"message":"no","code":"of_its_own"}}'), streams())
    edge = await make_edge(pool="retries: 1")
    assert (await edge.chat()).status == 200
    assert await edge.counted("setpoint_attempts_total", outcome="other") == 1
    assert await edge.counted("setpoint_attempts_total", outcome="ok") == 1
    assert await edge.counted("setpoint_requests_total", status="200") == 1
    assert b"of_its_own" not in edge.gateway.metrics.exposition()


@pytest.mark.parametrize(
    "code",
    [
        "hedge_lost",
        "resume_diverged",
        "upstream_too_slow",
        "upstream_overloaded",
        "answer_too_large",
        "content_policy_violation",
        "upstream_idle_timeout",
    ],
)
def test_a_word_of_our_own_for_how_an_attempt_ended_is_a_label(code: str) -> None:
    assert metrics.bounded_code(code) == code
    assert metrics.bounded_code(f"{code}_of_an_engine") == "other"


async def test_a_refused_request_is_counted(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    await edge.ask("POST", "/v1/embeddings", b"{")
    counted = await edge.counted("setpoint_requests_total", operation="embedding", status="400")
    assert counted == 1


async def test_what_is_kept_to_be_quick_is_bounded_and_loses_no_count(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "KEPT_CHILDREN", 1)
    edge = await make_edge()
    for _ in range(2):
        await edge.chat()
        await edge.ask("POST", "/v1/embeddings", b"{")
    assert await edge.counted("setpoint_requests_total", operation="chat", status="200") == 2
    assert await edge.counted("setpoint_requests_total", operation="embedding", status="400") == 2
    assert len(edge.gateway.metrics._children) == 1


@pytest.mark.req("OPS-4")
async def test_what_requests_have_moved_gathers_only_so_far_and_is_shown_in_full(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "TOGETHER", 3)
    edge = await make_edge()
    kept = edge.gateway.metrics
    for asked in range(1, 8):
        await edge.chat()
        assert sum(len(over) for over in kept._over.values()) == asked % 3
    for name in ("requests_total", "attempts_total", "request_duration_seconds_count"):
        assert await edge.counted(f"setpoint_{name}") == 7, name
    assert await edge.counted("setpoint_ttft_seconds_count") == 7, "nothing is moved twice"


async def test_an_engine_that_claims_absurd_numbers_stops_no_counter(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    absurd = Usage(prompt_tokens=10**400, completion_tokens=1)
    kind = ("chat", "m", "none", 200, "main", "openai", "1")
    edge.gateway.metrics._note(kind, (Took(1.0), absurd))
    assert await edge.counted("setpoint_tokens_total", direction="prompt") == metrics.MOST_TOKENS
    assert await edge.counted("setpoint_tokens_total", direction="completion") == 1


async def test_what_nothing_has_moved_is_not_shown(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    await edge.ask("POST", "/v1/embeddings", b"{")
    shown = edge.gateway.metrics.exposition()
    for name in (b"setpoint_ttft_seconds", b"setpoint_tokens_total", b"setpoint_queue_seconds"):
        assert name + b"{" not in shown
        assert name + b"_count{" not in shown


async def test_gauges_show_the_state_at_the_moment_of_the_scrape(make_edge: MakeEdge) -> None:
    edge = await make_edge(pool="max_inflight: 5")
    async with await edge.connect():
        await asyncio.sleep(0.05)
        answer = await edge.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'setpoint_pool_limit_requests{engine="openai",pool="main"} 5.0' in answer.body
    assert b"setpoint_open_connections 2.0" in answer.body
    assert await edge.counted("setpoint_endpoint_ready", pool="main", endpoint="1") == 1


async def test_an_endpoint_that_is_lost_is_not_shown_as_ready_under_its_old_version(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge()
    pool = edge.gateway.pools["main"]
    seen = EndpointState(live=True, ready=True, why="ok", version="b1")
    pool.learn(pool.endpoints[0], seen)
    assert await edge.counted("setpoint_endpoint_ready", engine_version="b1") == 1
    pool.learn(pool.endpoints[0], msgspec.structs.replace(seen, ready=False, version=None))
    assert await edge.counted("setpoint_endpoint_ready") == 0
    assert b'"b1"' not in edge.gateway.metrics.exposition()


async def test_rules_are_counted_by_verdict(make_edge: MakeEdge) -> None:
    edge = await make_edge(
        policies="rules:\n  - {name: cap, when: 'true', then: {max_tokens: 3}}\n"
        "  - {name: never, when: 'false', then: {max_tokens: 2}}\n"
    )
    await edge.ask("POST", "/v1/chat/completions", chat_body())
    assert await edge.counted("setpoint_rules_total", rule="cap", verdict="applied") == 1
    assert await edge.counted("setpoint_rules_total", rule="never") == 0
