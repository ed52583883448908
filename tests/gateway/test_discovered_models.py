"""The models that backends list."""

from collections.abc import Awaitable, Callable

import pytest

from adapters.dialect import EndpointState
from tests.fakes.edge import Edge
from tests.fakes.scripted_engine import ScriptedEngine

MakeEdge = Callable[..., Awaitable[Edge]]


@pytest.fixture
async def discovering(make_edge: MakeEdge, engine: ScriptedEngine) -> Edge:
    return await make_edge(f"adapter: {{engine: openai, endpoint: '{engine.url}'}}", embedded=True)


async def test_models_that_a_backend_lists_can_be_asked_for(discovering: Edge) -> None:
    listed = (await discovering.ask("GET", "/v1/models")).json
    assert [m["id"] for m in listed["data"]] == ["served"]
    assert (await discovering.chat()).status == 200


async def test_names_that_no_header_could_carry_are_not_taken_over(discovering: Edge) -> None:
    gateway = discovering.gateway
    (pool,) = gateway.pools.values()
    names = ("ok", "", "a\r\nset-cookie: x", "x" * 300)
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", models=names))
    gateway.discover()
    assert sorted(gateway.catalog.models) == ["ok"]
