"""Durable tasks: what is kept before the 202, what comes back after a restart, and what does not run twice."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.errors import NoReadyBackend, QueueFull, RecordsUnavailable
from contracts.tasks import ErrorEvent
from gateway.auth import Caller
from gateway.entry import Entry
from gateway.tasks.desk import TaskRefused
from gateway.tasks.log import Ended, Started, Token
from gateway.tasks.remembered import Remembered
from gateway.tasks.store import EndedTask, StoredTask
from gateway.tasks.task import Task
from tests.fakes.task_store import MemoryStore
from tests.fakes.virtual_desk import VirtualDesk, virtual_desk

pytestmark = [pytest.mark.looptime, pytest.mark.req("OPS-6", "RUN-4")]
ADA = Caller(name="ada")


async def task_of(desk: VirtualDesk, task_id: str) -> Task:
    work = await desk.desk.find(task_id, ADA)
    assert isinstance(work, Task)
    return work


async def remembered(desk: VirtualDesk, task_id: str) -> Remembered:
    await desk.desk.idle.wait()
    work = await desk.desk.find(task_id, ADA)
    assert isinstance(work, Remembered)
    return work


async def test_it_is_in_the_store_before_its_client_is_told(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk, asyncio.TaskGroup() as group:
        store.open.clear()
        submission = group.create_task(desk.submit())
        await asyncio.sleep(5)
        assert not submission.done()
        store.open.set()
        task_id = (await submission).accepted.task_id
        assert isinstance(store.tasks[task_id], StoredTask)


async def test_what_cannot_be_kept_is_refused_and_does_not_run(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        store.down = True
        with pytest.raises(TaskRefused) as caught:
            await desk.submit()
        assert isinstance(caught.value.error, RecordsUnavailable)
        await desk.desk.idle.wait()
        assert desk.engine.running == []
        assert desk.desk.registry.seen_by(ADA, ended=True) == []
        assert store.tasks == {}


async def test_no_token_is_shown_before_the_store_knows_that_it_runs(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        task = await task_of(desk, (await desk.submit()).accepted.task_id)
        await asyncio.sleep(1)
        assert store.told(task.id) == ["accept", "started"]
        assert task.log.next(1) is None

        store.open.clear()
        async with asyncio.TaskGroup() as group:
            second = group.create_task(desk.submit())
            desk.engine.exchanges[0].finish()
            await asyncio.sleep(1)
            desk.engine.exchanges[1].piece("x")
            waiting = next(t for t in desk.desk.registry.tasks if t.id != task.id)
            assert waiting.log.next(1) is None
            store.open.set()
            await second
        await asyncio.sleep(1)
        assert waiting.log.next(1) == Token(2, "x")


async def test_who_waited_finds_room_again_though_there_is_less_of_it(tmp_path: Path) -> None:
    """All of them were told that they were taken."""
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store, max_tasks=3) as desk:
        waiting = [(await desk.submit()).accepted.task_id for _ in range(4)][1:]
        desk.gateway.draining = True
        desk.desk.hand_back()
        await asyncio.sleep(1)
        left = {task_id: store.tasks[task_id] for task_id in waiting}
    store.tasks = dict(left)
    async with virtual_desk(tmp_path, store=store, max_tasks=1) as desk:
        await asyncio.sleep(1)
        assert [(await task_of(desk, task_id)).error for task_id in waiting] == [None] * 3
        with pytest.raises(TaskRefused) as caught:
            await desk.submit()
        assert isinstance(caught.value.error, QueueFull)


async def test_who_waits_comes_back_and_who_ran_does_not(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        running = (await desk.submit(key="r")).accepted.task_id
        waiting = (await desk.submit(key="w", seed=7)).accepted.task_id
        read = await task_of(desk, waiting)
        await asyncio.sleep(1)
        desk.gateway.draining = True
        desk.desk.hand_back()
        assert read.farewell is not None
        assert (read.farewell.code, read.farewell.retriable) == ("draining", True)
        assert read.log.next(1) is None, "it has not ended"
        await asyncio.sleep(1)
        # and now the process dies, before the one that runs has ended
        left = dict(store.tasks)
    store.tasks = left
    store.calls.clear()

    async with virtual_desk(tmp_path, store=store) as desk:
        await asyncio.sleep(1)
        again = await task_of(desk, waiting)
        assert again.created_s == read.created_s
        interrupted = await desk.desk.find(running, ADA)
        assert isinstance(interrupted, Remembered)
        assert interrupted.state == "failed"
        ended = interrupted.log.next(500)
        assert isinstance(ended, Ended)
        assert isinstance(ended.event, ErrorEvent)
        assert (ended.event.code, ended.event.retriable) == ("interrupted", True)
        assert interrupted.view().error is not None

        (exchange,) = desk.engine.exchanges
        assert exchange.request.body is not None
        assert msgspec.json.decode(exchange.request.body)["seed"] == 7
        assert (await desk.submit(key="w", seed=7)).accepted.task_id == waiting
        assert (await desk.submit(key="r")).accepted.task_id == running
        exchange.piece("late but whole")
        exchange.finish()
        view = (await remembered(desk, waiting)).view()
        assert view.result is not None
        assert view.state == "succeeded"
        assert store.told(waiting)[-2:] == ["started", "ended"]
    assert all(isinstance(task, EndedTask) for task in store.tasks.values())


async def test_its_events_have_the_numbers_they_had(tmp_path: Path) -> None:
    """A reader that was told of the drain comes back with the id of `started`, and misses nothing."""
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        await desk.submit()
        waiting = (await desk.submit()).accepted.task_id
        desk.desk.hand_back()
        await asyncio.sleep(1)
    async with virtual_desk(tmp_path, store=store) as desk:
        await asyncio.sleep(1)
        task = await task_of(desk, waiting)
        assert task.log.next(0) == Started()
        desk.engine.exchanges[0].piece("a")
        assert task.log.next(1) == Token(2, "a")


async def test_it_waits_until_something_serves_it(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        await desk.submit()
        waiting = (await desk.submit()).accepted.task_id
        desk.desk.hand_back()
        await asyncio.sleep(1)
    store.tasks = {waiting: store.tasks[waiting]}
    async with virtual_desk(tmp_path, store=store, ready=False) as desk:
        await asyncio.sleep(5)
        with pytest.raises(NoReadyBackend):
            await desk.desk.find(waiting, ADA)
        (endpoint,) = desk.gateway.pools["sim"].endpoints
        desk.gateway.pools["sim"].learn(endpoint, EndpointState(live=True, ready=True))
        await asyncio.sleep(2)
        assert (await task_of(desk, waiting)).state == "starting"


async def test_one_whose_time_is_over_or_whose_model_is_gone_ends(tmp_path: Path) -> None:
    store = MemoryStore()
    bodies = {"late": b'{"prompt":"a","ttl":5}', "gone": b'{"prompt":"a","model":"absent"}'}
    async with virtual_desk(tmp_path) as desk:
        now_s = desk.order().accepted_unix_s
    for task_id, body in bodies.items():
        store.tasks[task_id] = StoredTask(
            task_id=task_id,
            caller="ada",
            operator=False,
            body=body,
            headers={},
            idempotency_key=None,
            body_digest="",
            accepted_s=now_s - 60,
        )
    async with virtual_desk(tmp_path, store=store) as desk:
        await asyncio.sleep(1)
        for task_id, code in (("late", "ttl_expired"), ("gone", "model_not_found")):
            view = (await remembered(desk, task_id)).view()
            assert view.error is not None
            assert view.error.code == code
            assert isinstance(store.tasks[task_id], EndedTask)


async def test_a_store_that_is_down_at_the_start_is_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        await desk.submit()
        waiting = (await desk.submit()).accepted.task_id
        desk.desk.hand_back()
        await asyncio.sleep(1)
    store.down = True
    async with virtual_desk(tmp_path, store=store) as desk:
        await asyncio.sleep(3)
        told = [r.exc_info for r in caplog.records if r.getMessage() == "tasks_not_taken_up"]
        assert told == [None], "once, in words: it may be down for hours"
        store.down = False
        await asyncio.sleep(2)
        assert (await task_of(desk, waiting)).state == "starting"


async def test_one_that_memory_has_forgotten_is_found_in_the_store(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store, config="tasks: {keep: 0}\n") as desk:
        first = await desk.submit(key="k")
        task_id = first.accepted.task_id
        await asyncio.sleep(1)
        desk.engine.exchanges[0].piece("a")
        desk.engine.exchanges[0].finish()
        await desk.desk.idle.wait()
        assert desk.desk.registry.seen_by(ADA, ended=True) == []
        found = await remembered(desk, task_id)
        assert found.state == "succeeded"
        assert found.log.last_id == 3
        assert (await desk.submit(key="k")).accepted.task_id == task_id
        assert len(desk.desk._keys) == 0, "it is the store that remembers the key"
        assert await desk.desk.cancel(task_id, ADA) == "succeeded"


@pytest.mark.req("ADM-1")
async def test_a_key_whose_task_is_nowhere_any_more_stands_for_one_new_task(
    tmp_path: Path,
) -> None:
    """Those that repeat it at once all ask the store for the old one, and hear of it one after the other."""
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store, at_once=9) as desk:
        order = desk.order(key="k")
        digest = hashlib.sha256(order.body).hexdigest()
        desk.desk._keys.remember("ada", "k", digest, "task_gone")
        found = await asyncio.gather(*(desk.desk.submit(order) for _ in range(3)))
        assert len({one.accepted.task_id for one in found}) == 1
        assert [one.repeated for one in found].count(False) == 1


async def test_one_that_is_handed_over_the_moment_it_stands_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its coroutine is over before its submission hears that it waits."""
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk:
        await desk.submit()
        pool = desk.gateway.pools["sim"]
        enter = pool.enter

        def enter_as_the_gateway_goes_down(*asked: Any, **how: Any) -> Entry:
            asyncio.get_running_loop().call_soon(desk.desk.hand_back)
            return enter(*asked, **how)

        monkeypatch.setattr(pool, "enter", enter_as_the_gateway_goes_down)
        task_id = (await desk.submit()).accepted.task_id
        assert isinstance(store.tasks[task_id], StoredTask)


@pytest.mark.req("ADM-3")
async def test_a_cancel_is_answered_when_the_store_knows_of_it(tmp_path: Path) -> None:
    store = MemoryStore()
    async with virtual_desk(tmp_path, store=store) as desk, asyncio.TaskGroup() as group:
        task_id = (await desk.submit()).accepted.task_id
        await asyncio.sleep(1)
        store.open.clear()
        cancel = group.create_task(desk.desk.cancel(task_id, ADA))
        await asyncio.sleep(1)
        assert not cancel.done()
        assert desk.engine.running == [], "the engine need not wait for that"
        store.open.set()
        assert await cancel == "cancelled"
        assert isinstance(store.tasks[task_id], EndedTask)
