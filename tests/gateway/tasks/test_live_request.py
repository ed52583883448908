"""A chat as the registry shows and cancels it: at every moment of its life."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tests.fakes.edge import Edge, chat_body, eventually, request
from tests.fakes.scripted_engine import ScriptedEngine
from tests.fakes.task_client import Puppet, Tasks

MakeEdge = Callable[..., Awaitable[Edge]]
pytestmark = pytest.mark.req("RUN-4", "ADM-3")
POOL = "retries: 0, max_inflight: 1"


@pytest.fixture
def puppet(engine: ScriptedEngine) -> Puppet:
    puppet = Puppet()
    engine.plays(puppet)
    return puppet


@pytest.mark.parametrize("stream", [True, False])
async def test_its_states_and_its_place(make_edge: MakeEdge, puppet: Puppet, stream: bool) -> None:
    edge = await make_edge(pool=POOL)
    tasks = Tasks(edge)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(
            edge.ask("POST", "/v1/chat/completions", chat_body(stream=stream), x_request_id="a")
        )
        call = await puppet.call()
        second = group.create_task(
            edge.ask("POST", "/v1/chat/completions", chat_body(), x_request_id="b")
        )
        await eventually(lambda: len(edge.desk.registry.live) == 2)
        assert (await tasks.look("a"))["state"] == "starting"
        waiting = await tasks.look("b")
        assert (waiting["state"], waiting["queue_position"]) == ("queued", 1)
        await call.piece("x")
        while (view := await tasks.look("a"))["state"] != "streaming":
            pass
        assert (view["kind"], view["tokens_out"], view["queue_position"]) == ("chat", 1, 0)
        assert view["pool_id"] == "main"
        assert view["ttft_ms"] is not None
        assert (await tasks.cancel("b")).json["state"] == "cancelled"
        assert (await second).status == 499
        await puppet.finish(call)
        assert (await first).status == 200
    assert puppet.asked == 1, "the cancelled one never reached it"
    assert edge.desk.registry.live == []


async def test_after_a_cancel_has_answered_nothing_more_of_the_stream_goes_out(
    make_edge: MakeEdge, puppet: Puppet
) -> None:
    edge = await make_edge(pool=POOL)
    tasks = Tasks(edge)
    async with await edge.connect() as line:
        body = chat_body(stream=True)
        line.send(request("POST", "/v1/chat/completions", body, x_request_id="a"))
        call = await puppet.call()
        await call.piece("one")
        await line.until(b"one")
        assert (await tasks.cancel("a")).json["state"] == "cancelled"
        call.writer.write(b"")
        rest = await line.until(b"0\r\n\r\n")
    assert b'"content"' not in rest
    assert b'"code":"cancelled"' in rest
    assert edge.gateway.pools["main"].signals().inflight == 0


async def test_a_connection_survives_the_cancel_of_its_request(
    make_edge: MakeEdge, puppet: Puppet
) -> None:
    edge = await make_edge(pool=POOL)
    tasks = Tasks(edge)
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(), x_request_id="a"))
        await puppet.call()
        await tasks.cancel("a")
        assert (await line.answer()).status == 499
        line.send(request("GET", "/v1/tasks"))
        answer = await line.answer()
        assert msgspec.json.decode(answer.body)["data"] == []
