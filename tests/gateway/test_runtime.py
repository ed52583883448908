"""The running gateway: what it learns from its backends, and how its policies are replaced."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.catalog import Catalog
from contracts.decision import Decision, Shaping
from contracts.errors import NoReadyBackend
from contracts.inference import Constraints
from contracts.problems import ProblemsFound
from gateway.runtime import plan
from tests.fakes.edge import Edge
from tests.fakes.scripted_engine import ScriptedEngine

MakeEdge = Callable[..., Awaitable[Edge]]
RULE = "rules: [{name: cap, then: {max_tokens: %d}}]\n"


@pytest.fixture
async def discovering(make_edge: MakeEdge, engine: ScriptedEngine) -> Edge:
    return await make_edge(f"adapter: {{engine: openai, endpoint: '{engine.url}'}}", embedded=True)


async def test_models_that_a_backend_lists_can_be_asked_for(discovering: Edge) -> None:
    listed = (await discovering.ask("GET", "/v1/models")).json
    assert [m["id"] for m in listed["data"]] == ["served"]
    assert (await discovering.chat()).status == 200


@pytest.mark.req("ENG-2")
async def test_a_backend_that_is_gone_for_a_while_has_not_lost_its_models(
    discovering: Edge, engine: ScriptedEngine
) -> None:
    await engine.aclose()
    await discovering.gateway.health.first_look()
    assert not discovering.gateway.ready()
    answer = await discovering.chat()
    assert answer.status in (502, 503)
    assert answer.error["code"] != "model_not_found"
    assert [m["id"] for m in (await discovering.ask("GET", "/v1/models")).json["data"]] == [
        "served"
    ]


async def test_a_model_that_a_backend_no_longer_lists_is_gone(discovering: Edge) -> None:
    gateway = discovering.gateway
    (pool,) = gateway.pools.values()
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", models=("other",)))
    gateway._discover()
    assert sorted(gateway.catalog.models) == ["other"]


async def test_names_that_no_header_could_carry_are_not_taken_over(discovering: Edge) -> None:
    gateway = discovering.gateway
    (pool,) = gateway.pools.values()
    names = ("ok", "", "a\r\nset-cookie: x", "x" * 300)
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", models=names))
    gateway._discover()
    assert sorted(gateway.catalog.models) == ["ok"]


async def test_new_policies_are_counted_and_the_old_version_is_no_longer_in_force(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(policies=RULE % 1)
    gateway = edge.gateway
    old = gateway.policy.version
    gateway.reload_policies()
    assert await edge.counted("setpoint_policy_reloads_total", outcome="ok") == 0
    gateway.loaded.policies_path.write_text(RULE % 2)
    new = gateway.reload_policies().version
    assert await edge.counted("setpoint_policy_reloads_total", outcome="ok") == 1
    assert await edge.counted("setpoint_policy_info", version=old) == 0
    assert await edge.counted("setpoint_policy_info", version=new) == 1


async def test_broken_policies_are_refused_and_the_old_ones_stay(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=RULE % 1)
    gateway = edge.gateway
    before = gateway.policy
    gateway.loaded.policies_path.write_text("rules: [{name: x, when: requst.model == 1}]")
    with pytest.raises(ProblemsFound):
        gateway.reload_policies()
    assert gateway.policy is before
    assert await edge.counted("setpoint_policy_reloads_total", outcome="refused") == 1


async def test_a_request_ends_under_the_policy_it_began_with(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    go_on = asyncio.Event()

    async def waits(call: object) -> None:
        await go_on.wait()
        await call.head()  # type: ignore[attr-defined]
        await call.piece("x")  # type: ignore[attr-defined]
        await call.finish()  # type: ignore[attr-defined]

    engine.plays(waits)
    edge = await make_edge(policies=RULE % 1)
    old = edge.gateway.policy.version

    async def swap() -> None:
        while not engine.asked:  # noqa: ASYNC110 (the engine has no event for it)
            await asyncio.sleep(0.005)
        edge.gateway.loaded.policies_path.write_text(RULE % 2)
        edge.gateway.reload_policies()
        go_on.set()

    answer, _ = await asyncio.gather(edge.chat(), swap())
    assert answer.status == 200
    assert "max_tokens" in answer.headers["x-setpoint-decision"]
    assert edge.gateway.policy.version != old
    assert msgspec.json.decode(engine.asked[0].body)["max_completion_tokens"] == 1


def test_a_plan_without_a_model_that_is_left_is_a_503() -> None:
    decision = Decision(
        intent="", shaping=Shaping(model="m"), models=("m",), constraints=Constraints()
    )
    with pytest.raises(NoReadyBackend):
        plan(decision, Catalog())
