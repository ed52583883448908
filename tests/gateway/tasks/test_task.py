"""One task: whatever ends it ends it once, and everybody hears of it in the same moment."""

import asyncio
from pathlib import Path

import pytest

from contracts.errors import Cancelled, Draining, QueueFull
from contracts.tasks import ErrorEvent
from gateway.auth import Caller
from gateway.flight_recorder import CLIENT_GONE
from gateway.tasks.log import Ended
from gateway.tasks.task import Task, error_event
from tests.fakes.virtual_desk import VirtualDesk, virtual_desk

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-4", "ADM-3")]
ADA = Caller(name="ada")


async def running(desk: VirtualDesk) -> Task:
    task = await desk.desk.find((await desk.submit()).accepted.task_id, ADA)
    assert isinstance(task, Task)
    return task


async def test_a_cancel_is_one_step(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        task = await running(desk)
        (exchange,) = desk.engine.exchanges
        exchange.piece("a")
        with task.readers.join() as news:
            assert task.cancel() == "cancelled"
            # and nothing has been awaited
            assert news.is_set()
            assert exchange.over
            assert desk.gateway.pools["sim"].signals().inflight == 0
            ended = task.log.next(1)
            assert isinstance(ended, Ended)
        exchange.piece("late")
        assert task.log.next(ended.id) is None
        assert task.cancel() == "cancelled"
        assert not task.conclude("failed", QueueFull("late"))
        assert task.error is not None
        assert task.error.code == "cancelled"


async def test_a_place_between_two_gives_way_at_once(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path, at_once=1, max_tasks=5) as desk:
        tasks = [await running(desk) for _ in range(3)]
        assert [task.course().queue_position for task in tasks] == [0, 1, 2]
        await desk.desk.cancel(tasks[1].id, ADA)
        assert tasks[2].course().queue_position == 1


async def test_what_came_before_a_failure_counts_for_the_budget(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        task = await running(desk)
        desk.engine.exchanges[0].piece("a")
        for _ in range(3):
            await asyncio.sleep(0)
        error = Draining("down")
        assert task.conclude("failed", error)
        assert task.record.progress.fault is error
        task.stop()


async def test_one_that_leaves_this_process_has_not_ended(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        await running(desk)
        waits = await running(desk)
        waits.hand_over(Draining("come back", retry_after_s=1.0))
        assert waits.state == "queued"
        assert waits.farewell == ErrorEvent(
            code="draining", retriable=True, retry_after_ms=1000, message="come back"
        )
        assert not waits.conclude("failed", Draining("x")), "it is not ours any more"
        await waits.settled.wait()
        assert waits.log.next(1) is None


async def test_whoever_left_before_its_answer_is_logged_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_desk(tmp_path) as desk:
        task = await running(desk)
        closed: list[int] = []
        monkeypatch.setattr(task.record, "close", lambda status, error: closed.append(status))
        task.abandon()
        await task.settled.wait()
        assert closed == [CLIENT_GONE]


def test_an_error_says_when_to_come_back_only_where_that_makes_sense() -> None:
    assert error_event(QueueFull("x")).retry_after_ms == 1000
    assert error_event(QueueFull("x", retry_after_s=7.0)).retry_after_ms == 7000
    assert error_event(Cancelled("x")).retry_after_ms is None
