"""Routes that clients ask for by a name of their own."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from msgspec.structs import replace

from adapters.dialect import EndpointState
from contracts.catalog import Catalog, ModelCard
from gateway.route_names import with_route_names
from tests.fakes.edge import Edge
from tests.fakes.scripted_engine import Call, ScriptedEngine, refuses, streams

MakeEdge = Callable[..., Awaitable[Edge]]
pytestmark = pytest.mark.req("RUN-7")
CARDS = {name: ModelCard(name=name, pool="p", upstream=f"big-{name}") for name in ("a", "b")}


def test_a_route_without_a_model_of_its_name_names_its_first_target() -> None:
    named = with_route_names(Catalog(models=CARDS, routes={"chat": ("a", "b")}))
    assert named.models == {**CARDS, "chat": replace(CARDS["a"], name="chat")}
    assert named.routes == {"chat": ("chat", "b")}
    assert with_route_names(named) == named


def test_a_model_keeps_its_name() -> None:
    catalog = Catalog(models=CARDS, routes={"a": ("b", "a")})
    assert with_route_names(catalog) == catalog


def test_of_targets_that_are_listed_later_those_that_are_there_count() -> None:
    named = with_route_names(Catalog(models=CARDS, routes={"chat": ("later", "b"), "x": ("y",)}))
    assert named.models["chat"].upstream == "big-b"
    assert named.routes == {"chat": ("later", "chat"), "x": ("y",)}


async def test_clients_can_ask_for_a_route_by_its_name(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def only_b(call: Call) -> None:
        asked = msgspec.json.decode(call.asked.body)["model"]
        await (refuses(503, b"{}") if asked == "big-a" else streams())(call)

    engine.plays(only_b)
    edge = await make_edge(
        f"pools: [{{id: p, engine: openai, endpoint: '{engine.url}', retries: 0}}]\n"
        "models: [{name: a, pool: p, upstream: big-a}, {name: b, pool: p, quality: 0.9}]\n"
        "routes: {chat: [a, b]}\n",
        embedded=True,
    )
    listed = (await edge.ask("GET", "/v1/models")).json
    assert [entry["id"] for entry in listed["data"]] == ["a", "b", "chat"]
    answer = await edge.chat(model="chat")
    assert answer.status == 200
    assert answer.headers["x-setpoint-model"] == "b"


async def test_a_route_can_name_a_model_that_its_backend_lists(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge(
        f"adapter: {{engine: openai, endpoint: '{engine.url}'}}\nroutes: {{chat: [served]}}",
        embedded=True,
    )
    answer = await edge.chat(model="chat")
    assert (answer.status, answer.headers["x-setpoint-model"]) == (200, "chat")
    (pool,) = edge.gateway.pools.values()
    pool.learn(pool.endpoints[0], EndpointState(why="gone"))
    edge.gateway.discover()
    assert sorted(edge.gateway.catalog.models) == ["chat", "served"]
    assert edge.gateway.catalog.routes == {"chat": ("chat",)}
