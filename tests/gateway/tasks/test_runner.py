"""The coroutine of each task: how it ends, and that it hurts nobody else."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ContextTooLong, QueueFull
from gateway.auth import Caller
from gateway.tasks import runner
from gateway.tasks.desk import TaskRefused
from gateway.tasks.remembered import Remembered
from gateway.token_count import PromptCount
from tests.fakes.virtual_desk import VirtualDesk, virtual_desk

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-4", "ADM-1", "OPS-6")]
ADA = Caller(name="ada")


async def ended(desk: VirtualDesk, task_id: str) -> Remembered:
    await desk.desk.idle.wait()
    work = await desk.desk.find(task_id, ADA)
    assert isinstance(work, Remembered)
    return work


async def test_a_bug_in_one_task_is_its_own_end_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = runner.carry_out

    async def breaks(gateway: Any, record: Any, sink: Any) -> None:
        await original(gateway, record, sink)
        if record.infer.facts.user == "unlucky":
            raise ZeroDivisionError

    monkeypatch.setattr(runner, "carry_out", breaks)
    caplog.set_level(logging.ERROR, logger="setpoint")
    async with virtual_desk(tmp_path, at_once=2) as desk:
        unlucky = (await desk.submit(user="unlucky")).accepted.task_id
        lucky = (await desk.submit()).accepted.task_id
        for exchange in desk.engine.exchanges:
            exchange.piece("a")
            exchange.finish()
        view = (await ended(desk, unlucky)).view()
        assert view.error is not None
        assert (view.state, view.error.code) == ("failed", "internal_error")
        assert "ZeroDivision" not in view.error.message
        assert (await ended(desk, lucky)).state == "succeeded"
        assert not (await desk.submit()).repeated, "the desk goes on"
    assert [record.getMessage() for record in caplog.records] == ["bug"]


async def test_a_bug_while_it_is_summed_up_does_not_stop_the_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_desk(tmp_path) as desk:
        task_id = (await desk.submit()).accepted.task_id
        (task,) = desk.desk.registry.tasks
        monkeypatch.setattr(task, "view", lambda: 1 / 0)
        desk.engine.exchanges[0].finish()
        await desk.desk.idle.wait()
        assert desk.desk.registry.tasks == []
        assert task.settled.is_set()
        assert (await desk.submit()).accepted.task_id != task_id


async def test_a_prompt_that_does_not_fit_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def counted(*args: Any) -> PromptCount:
        return PromptCount(tokens=9000, estimated=False, context=4096)

    monkeypatch.setattr(runner, "count_prompt", counted)
    async with virtual_desk(tmp_path) as desk:
        with pytest.raises(TaskRefused) as caught:
            await desk.submit()
        assert isinstance(caught.value.error, ContextTooLong)
        assert caught.value.error.param == "messages"
        assert desk.engine.exchanges == []


async def test_what_was_counted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def counted(*args: Any) -> PromptCount:
        return PromptCount(tokens=12, estimated=False, context=4096)

    monkeypatch.setattr(runner, "count_prompt", counted)
    async with virtual_desk(tmp_path) as desk:
        accepted = (await desk.submit()).accepted
        assert (accepted.prompt_tokens, accepted.prompt_tokens_estimated) == (12, False)


async def test_a_prompt_that_finds_no_room_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def counted(*args: Any) -> PromptCount:
        asked.append(args)
        return PromptCount(tokens=12, estimated=False, context=4096)

    monkeypatch.setattr(runner, "count_prompt", counted)
    async with virtual_desk(tmp_path, max_tasks=1) as desk:
        for _ in range(2):
            await desk.submit()
        with pytest.raises(TaskRefused) as caught:
            await desk.submit()
    assert isinstance(caught.value.error, QueueFull)
    assert len(asked) == 2


async def test_one_that_cannot_start_in_its_time_ends(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        await desk.submit()
        waits = (await desk.submit(ttl=30)).accepted.task_id
        await asyncio.sleep(31)
        work = await desk.desk.find(waits, ADA)
        assert isinstance(work, Remembered)
        error = work.view().error
        assert error is not None
        assert (error.code, error.retriable) == ("ttl_expired", True)


async def test_bringing_them_down_ends_each_once(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        running, waiting = [(await desk.submit()).accepted.task_id for _ in range(2)]
        desk.desk.hand_back()
        await asyncio.sleep(0.1)
        assert (await desk.desk.find(waiting, ADA)).state == "failed"
        assert (await desk.desk.find(running, ADA)).state == "starting"
        desk.desk.cut()
        assert (await ended(desk, running)).state == "failed"
        assert desk.engine.running == []
    for outcome in ("succeeded", "cancelled"):
        counter = desk.gateway.metrics.counter("setpoint_tasks_ended_total", outcome)
        assert counter.value == 0
