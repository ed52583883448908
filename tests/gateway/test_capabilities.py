"""What a gateway says it can do is what it does: said from configuration, catalogue and probes."""

import asyncio

import msgspec
import pytest

from contracts.capability_answers import Capabilities
from gateway.capabilities import TAKE_WORK
from gateway.version import VERSION
from tests.fakes.edge import RULES, Edge
from tests.gateway.conftest import EdgeMaker

pytestmark = pytest.mark.req("ENG-7")


async def told(edge: Edge) -> Capabilities:
    answer = await edge.ask("GET", "/v1/capabilities")
    assert answer.status == 200
    return msgspec.json.decode(answer.body, type=Capabilities)


async def test_the_built_in_gateway_tells_engine_models_and_intents(make_edge: EdgeMaker) -> None:
    said = await told(await make_edge(embedded=True))
    assert (said.api_version, said.version) == ("v1", VERSION)
    (engine,) = said.engines
    assert (engine.engine, engine.pools) == ("embedded", ["sim"])
    assert len(engine.versions) == 1
    assert [model.name for model in said.models] == ["assistant", "assistant-small"]
    model = said.models[0]
    assert (model.pool, model.engine, model.context, model.quality) == (
        "sim",
        "embedded",
        32768,
        0.9,
    )
    assert model.price is not None
    assert model.price.output > model.price.input > 0
    interactive = next(intent for intent in said.intents if intent.name == "interactive")
    assert interactive.priority == 10
    assert interactive.objectives["ttft_p95"] == 0.8


async def test_what_is_not_known_is_null(make_edge: EdgeMaker) -> None:
    said = await told(await make_edge(policies=RULES.replace("{REJECT}", "{status: 503}")))
    (model,) = said.models
    assert (model.context, model.price, model.quality) == (None, None, 0.9)
    assert said.engines[0].versions == []
    assert {intent.name: (intent.priority, intent.objectives) for intent in said.intents} == {
        "interactive": (0, {}),
        "batch": (-10, {}),
    }


async def test_a_context_that_only_a_probe_told_is_the_smallest_of_the_endpoints(
    make_edge: EdgeMaker,
) -> None:
    edge = await make_edge()
    pool = edge.gateway.pools["main"]
    pool.endpoints[0].state = msgspec.structs.replace(
        pool.endpoints[0].state, context=2048, version="b1"
    )
    said = await told(edge)
    assert said.models[0].context == 2048
    assert said.engines[0].versions == ["b1"]


async def test_limits_are_those_that_are_in_force(make_edge: EdgeMaker) -> None:
    edge = await make_edge(
        "limits: {body: 1KiB, headers: 20}\nstreams: {heartbeat: 3s}\ntasks: {ttl: 5m, max_ttl: 2h}\n"
        "sessions: {ttl: 90s}",
        pool="queue: {max_requests: 7, timeout: 9s, max_tasks: 5}",
    )
    said = await told(edge)
    limits = said.limits
    assert (said.features.sessions, limits.session_ttl_s) == (True, 90.0)
    assert (limits.body_bytes, limits.headers, limits.stream_heartbeat_s) == (1024, 20, 3.0)
    assert (limits.task_ttl_default_s, limits.task_ttl_max_s) == (300.0, 7200.0)
    (queue,) = limits.queues
    assert (queue.pool, queue.max_requests, queue.timeout_s, queue.max_tasks) == ("main", 7, 9.0, 5)
    too_large = await edge.chat(messages=[{"role": "user", "content": "x" * 2000}])
    assert too_large.status == 413


async def test_each_path_that_is_said_to_take_work_is_there_and_no_other(
    make_edge: EdgeMaker,
) -> None:
    edge = await make_edge()
    said = (await told(edge)).features
    for path in TAKE_WORK:
        status = (await edge.ask("POST", path, b"{")).status
        assert (status == 404) == (path not in said.endpoints), path
    assert said.tasks == ("/v1/tasks" in said.endpoints)
    assert said.streaming
    assert said.sessions


@pytest.mark.parametrize(
    ("config", "budgets"),
    [
        ("auth: {token: op-secret, keys: [{name: a, token: a-secret-token}]}", False),
        ("auth: {token: op-secret, default_budget: [{requests: 9, per: day}]}", True),
        (
            "auth: {token: op-secret, "
            "keys: [{name: a, token: a-secret-token, budget: [{tokens: 9, per: 1h}]}]}",
            True,
        ),
    ],
)
async def test_budgets_are_told_where_somebody_has_one(
    make_edge: EdgeMaker, config: str, *, budgets: bool
) -> None:
    edge = await make_edge(config)
    answer = await edge.ask("GET", "/v1/capabilities", authorization="Bearer op-secret")
    assert answer.json["features"]["budgets"] is budgets


async def test_it_asks_no_backend(make_edge: EdgeMaker) -> None:
    edge = await make_edge()
    pool = edge.gateway.pools["main"]
    pool.drain()
    async with asyncio.timeout(1):
        assert (await told(edge)).models[0].name == "served"
