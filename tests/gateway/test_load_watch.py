"""Endpoints are asked how busy they are: who is asked, what silence means, and where the answer shows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from aiohttp import ClientSession, web

from adapters.dialect import EndpointState
from adapters.fakellmd.server import make_app
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings, ServedModel
from adapters.load_signals import PAGE_BYTES, UNKNOWN, LoadSignals
from gateway.load_watch import SCRAPE_TIMEOUT_S, LoadWatch
from gateway.pools import LOAD_PROBES, Pool
from gateway.secrets import SecretValue
from tests.fakes.edge import eventually
from tests.fakes.scripted import Script, ScriptedTransport, data, end, head, refusal, unreachable
from tests.gateway.conftest import EdgeMaker

pytestmark = pytest.mark.req("INT-4", "OPS-2")
MakePool = Callable[..., Pool]
BUSY = b"vllm:num_requests_waiting 3\nvllm:num_requests_running 2\nvllm:kv_cache_usage_perc 0.5\n"


def page(text: bytes = BUSY) -> Script:
    return [head(0.01), data(0.01, text), end(0.01)]


@pytest.fixture
def asked(make_pool: MakePool) -> Callable[..., Pool]:
    """A pool that is asked for its load, over these transports."""

    def make(*transports: ScriptedTransport, engine: str = "vllm", asks: bool = True) -> Pool:
        pool = make_pool("a", *transports, engine=engine)
        pool.options = msgspec.structs.replace(
            pool.options, load_metrics=asks, api_key=SecretValue("k")
        )
        return pool

    return make


async def watch(*pools: Pool, for_s: float) -> None:
    """Time passes; probes are a second apart."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(LoadWatch(pools).run())
        await asyncio.sleep(for_s)
        task.cancel()


@pytest.mark.looptime
async def test_a_ready_endpoint_is_asked_with_each_probe_and_the_pools_key(
    asked: Callable[..., Pool],
) -> None:
    transport = ScriptedTransport(page())
    pool = asked(transport)
    await watch(pool, for_s=2.5)
    assert [(r.method, r.path) for r in transport.requests] == [("GET", "/metrics")] * 3
    assert all(("authorization", "Bearer k") in r.headers for r in transport.requests)
    assert pool.load() == LoadSignals(waiting=3, running=2, kv_cache_usage=0.5)
    now = pool.signals()
    assert (now.backend_waiting, now.backend_running, now.kv_cache_usage) == (3, 2, 0.5)


@pytest.mark.looptime
@pytest.mark.parametrize(
    "state",
    [
        EndpointState(live=True, ready=False),
        EndpointState(live=True, ready=True, sleeping=True),
    ],
)
async def test_who_is_not_ready_or_sleeps_is_left_alone(
    asked: Callable[..., Pool], state: EndpointState
) -> None:
    transport = ScriptedTransport(page())
    pool = asked(transport, engine="llamacpp")
    pool.learn(pool.endpoints[0], state)
    await watch(pool, for_s=5)
    assert transport.requests == []


@pytest.mark.looptime
async def test_pools_that_are_not_to_be_asked_are_not(asked: Callable[..., Pool]) -> None:
    transport = ScriptedTransport(page())
    await watch(asked(transport, asks=False), asked(transport, engine="openai"), for_s=5)
    assert transport.requests == []


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("script", "why"),
    [
        (unreachable(), "cannot connect"),
        (refusal(501), "its metrics answer with status 501"),
        (page(b"<html>"), "its metrics say nothing of its load"),
        (page(b"x" * (PAGE_BYTES + 1)), f"the answer is larger than {PAGE_BYTES} bytes"),
        ([], f"no answer within {SCRAPE_TIMEOUT_S:g} s"),
    ],
)
async def test_silence_is_unknown_and_said_once(
    asked: Callable[..., Pool], caplog: pytest.LogCaptureFixture, script: Script, why: str
) -> None:
    caplog.set_level(logging.INFO)
    pool = asked(ScriptedTransport(page(), script, script, page()))
    seen = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(LoadWatch([pool]).run())
        for _ in range(10):
            await asyncio.sleep(1)
            seen.append(pool.load().known)
        task.cancel()
    assert (seen[0], all(seen), seen[-1]) == (True, False, True)
    told = [r for r in caplog.records if r.getMessage().startswith("load_metrics")]
    assert [(r.getMessage(), r.fields.get("reason")) for r in told] == [
        ("load_metrics_unread", why),
        ("load_metrics_read", None),
    ]


@pytest.mark.looptime
async def test_what_was_said_too_long_ago_is_not_known(asked: Callable[..., Pool]) -> None:
    pool = asked(ScriptedTransport(page()))
    await watch(pool, for_s=0.5)
    assert pool.load().known
    await asyncio.sleep(LOAD_PROBES)
    assert pool.load() == UNKNOWN
    assert pool.load_of(pool.endpoints[0]) == UNKNOWN


@pytest.mark.looptime
async def test_an_endpoint_that_does_not_say_makes_the_pool_unknown_until_it_is_not_ready(
    asked: Callable[..., Pool],
) -> None:
    pool = asked(ScriptedTransport(page()), ScriptedTransport(refusal(404)))
    await watch(pool, for_s=0.5)
    assert pool.load() == UNKNOWN
    pool.lost(pool.endpoints[1])
    assert pool.load().waiting == 3


@pytest.mark.looptime
async def test_a_pool_that_comes_back_knows_nothing_of_before(asked: Callable[..., Pool]) -> None:
    pool = asked(ScriptedTransport(page()))
    await watch(pool, for_s=0.5)
    pool.drain()
    pool.restore()
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True))
    assert pool.load() == UNKNOWN


# -- a gateway in front of vLLM, as the fake has its names ---------------------------------

POLICIES = """
intents: [{name: interactive, match: {default: true}}]
rules:
  - {name: full, when: pool.backend_running > 0 && pool.kv_cache_usage > 0.0, then: {max_tokens: 1}}
"""


@pytest.fixture
async def vllm() -> AsyncIterator[str]:
    fake = FakeLlmd(LlmdSettings(models=(ServedModel(name="m"),)))
    runner = web.AppRunner(make_app(fake), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_another_clients_work_is_seen_by_rules_in_health_and_in_metrics(
    make_edge: EdgeMaker, vllm: str
) -> None:
    edge = await make_edge(
        f"pools: [{{id: gpu, engine: vllm, endpoint: '{vllm}', probe_interval: 50ms}}]\n"
        "models: [{name: served, pool: gpu, upstream: m}]\n",
        policies=POLICIES,
        embedded=True,
    )
    gateway = edge.gateway
    (pool,) = gateway.pools.values()

    async def load() -> object:
        (shown,) = (await edge.ask("GET", "/v1/pools/gpu/health")).json["endpoints"]
        return shown["load"]

    assert await load() is None
    first = await edge.chat(max_tokens=2)
    assert "full" not in first.headers["x-setpoint-decision"]  # unknown, so the rule does not apply
    async with asyncio.TaskGroup() as group:
        task = group.create_task(gateway.load_watch.run())
        await eventually(lambda: pool.load().running == 0)
        work = {"model": "m", "prompt": "word " * 200, "max_tokens": 10_000, "ignore_eos": True}
        async with (
            ClientSession() as other,
            other.post(f"{vllm}/v1/completions", json={**work, "stream": True}) as answer,
        ):
            await answer.content.readany()
            await eventually(lambda: (pool.load().kv_cache_usage or 0) > 0)
            shown = await load()
            assert isinstance(shown, dict)
            assert (shown["waiting"], shown["running"]) == (0, 1)
            assert 0 < shown["kv_cache_usage"] < 1
            of = {"pool": "gpu", "endpoint": "1", "engine": "vllm"}
            assert await edge.counted("setpoint_endpoint_backend_running_requests", **of) == 1
            assert await edge.counted("setpoint_endpoint_kv_cache_usage_ratio", **of) > 0
            asked = await edge.chat(max_tokens=2)
            assert "full: max_tokens 2 -> 1" in asked.headers["x-setpoint-decision"]
        task.cancel()
