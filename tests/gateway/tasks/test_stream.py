"""A task's events on a real socket: readers that are slow, gone, or somewhere else than they say."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.tasks.stream import TaskStream
from tests.fakes.edge import Edge, eventually, request
from tests.fakes.scripted_engine import ScriptedEngine
from tests.fakes.task_client import Puppet, Tasks, names, text

MakeEdge = Callable[..., Awaitable[Edge]]
pytestmark = pytest.mark.req("RUN-4", "ADM-4")
PIECE = "x" * 20_000


@pytest.fixture
def puppet(engine: ScriptedEngine) -> Puppet:
    puppet = Puppet()
    engine.plays(puppet)
    return puppet


async def test_a_reader_that_takes_nothing_is_cut_and_the_task_goes_on(
    make_edge: MakeEdge, puppet: Puppet
) -> None:
    edge = await make_edge("limits: {slow_reader_timeout: 200ms}\ntasks: {buffer: 64MiB}")
    tasks = Tasks(edge)
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with await edge.connect() as lazy, tasks.read(task_id) as keen:
        lazy.send(request("GET", f"/v1/tasks/{task_id}/stream"))
        await lazy.head()
        lazy.reader._limit = 1  # type: ignore[attr-defined]  # reads no further than it must
        await eventually(lambda: len(edge.desk.streams) == 2)
        count = 0
        while len(edge.desk.streams) == 2:
            await call.piece(PIECE)
            count += 1
            await keen.until("token")
        await puppet.finish(call)
        assert names(await keen.all()) == ["end"]
    view = await tasks.look(task_id)
    assert view["state"] == "succeeded"
    assert view["last_event_id"] == count + 2


@pytest.mark.req("ADM-3")
async def test_what_waits_for_a_slow_reader_waits_in_the_log_where_a_cancel_finds_it(
    make_edge: MakeEdge, puppet: Puppet
) -> None:
    edge = await make_edge("tasks: {buffer: 64MiB}")
    tasks = Tasks(edge)
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with await edge.connect() as lazy:
        lazy.send(request("GET", f"/v1/tasks/{task_id}/stream"))
        await lazy.head()
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (task,) = edge.desk.registry.tasks
        for _ in range(1000):
            await call.piece(PIECE)
        await eventually(lambda: task.log.tokens == 1000)
        assert (await tasks.cancel(task_id)).json["state"] == "cancelled"
        lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = await lazy.ends()
    assert got.rstrip().endswith(b"0")
    last = got.rindex(b"event: ")
    assert got[last:].startswith(b"event: error"), "its last event"
    assert got.count(b"event: token") < 900, "what was in the log is for nobody"


@pytest.mark.req("ADM-3")
async def test_the_next_event_is_taken_when_the_system_has_the_last_one(
    make_edge: MakeEdge, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await make_edge("tasks: {buffer: 64MiB}")
    tasks = Tasks(edge)
    unsent: list[int] = []
    send = TaskStream._send

    async def watched(stream: TaskStream, *event: Any) -> None:
        assert stream._request.transport is not None
        unsent.append(stream._request.transport.get_write_buffer_size())
        await send(stream, *event)

    monkeypatch.setattr(TaskStream, "_send", watched)
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with await edge.connect() as lazy:
        lazy.send(request("GET", f"/v1/tasks/{task_id}/stream"))
        await lazy.head()
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (task,) = edge.desk.registry.tasks
        for _ in range(400):
            await call.piece(PIECE)
        await eventually(lambda: task.log.tokens == 400)
        assert len(unsent) < 400, "it waits for its reader"
        lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await puppet.finish(call)
        assert b"event: end" in await lazy.ends()
    assert len(unsent) == 402
    assert set(unsent) == {0}


async def test_a_reader_that_leaves_is_forgotten(make_edge: MakeEdge, puppet: Puppet) -> None:
    edge = await make_edge()
    tasks = Tasks(edge)
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id) as reader:
        await reader.until("started")
        (task,) = edge.desk.registry.tasks
        assert len(task.readers) == 1
    await eventually(lambda: len(task.readers) == 0)
    await call.piece("a")
    await puppet.finish(call)
    assert (await tasks.ended(task_id))["state"] == "succeeded"


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 17])
async def test_an_id_that_is_none_is_refused(
    make_edge: MakeEdge, puppet: Puppet, after: str
) -> None:
    tasks = Tasks(await make_edge())
    task_id = await tasks.accepted()
    async with tasks.read(task_id, last_event_id=after) as reader:
        assert reader.head.status == 400


async def test_the_header_counts_before_the_query(make_edge: MakeEdge, puppet: Puppet) -> None:
    tasks = Tasks(await make_edge())
    task_id = await tasks.accepted()
    await puppet.answer("a", "b")
    await tasks.ended(task_id)
    async with tasks.read(task_id, "?last_event_id=1", last_event_id="2") as reader:
        assert text(await reader.all()) == "b"


async def test_heads_of_streams_are_not_answered(make_edge: MakeEdge, puppet: Puppet) -> None:
    edge = await make_edge()
    task_id = await Tasks(edge).accepted()
    answer = await edge.ask("HEAD", f"/v1/tasks/{task_id}/stream")
    assert answer.status == 405
    await asyncio.sleep(0)
    assert not edge.desk.streams
