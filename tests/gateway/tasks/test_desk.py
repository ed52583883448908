"""Where tasks are handed in: who is taken, who is known again, and what becomes of five hundred at once."""

import asyncio
import re
from pathlib import Path

import pytest

from contracts.errors import Draining, IdempotencyKeyReused, QueueFull, TaskNotFound
from gateway.auth import Caller
from gateway.budgets import Budgets
from gateway.tasks.desk import Submitted, TaskRefused
from gateway.tasks.remembered import Remembered
from gateway.tasks.task import Task
from tests.fakes.virtual_desk import VirtualDesk, virtual_desk

pytestmark = [pytest.mark.looptime, pytest.mark.req("ADM-1", "ADM-2")]
ADA, BOB = Caller(name="ada"), Caller(name="bob")
OPERATOR = Caller(name="operator", operator=True)


async def state(desk: VirtualDesk, submitted: Submitted) -> str:
    return (await desk.desk.find(submitted.accepted.task_id, ADA)).state


async def test_it_is_taken_as_soon_as_it_waits_or_runs(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        first, second = await desk.submit(), await desk.submit()
        assert first.accepted.queue_position == 0
        assert first.accepted.predicted_start_ms == 0
        assert second.accepted.queue_position == 1
        assert await state(desk, first) == "starting"
        assert await state(desk, second) == "queued"
        assert first.headers["x-setpoint-intent"] == "all"


async def test_of_one_that_is_refused_nothing_is_kept(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path, max_tasks=0) as desk:
        await desk.submit()
        with pytest.raises(TaskRefused) as caught:
            await desk.submit(key="k")
        assert isinstance(caught.value.error, QueueFull)
        assert caught.value.headers["x-setpoint-attempts"] == "0"
        assert len(desk.desk.registry.seen_by(OPERATOR, ended=True)) == 1


@pytest.mark.req("ADM-2")
async def test_five_hundred_at_once_on_a_queue_of_a_hundred(tmp_path: Path) -> None:
    """In front of the simulated llm-d, which works on four of them at a time."""
    config = "tasks: {keep: 50, buffer_events: 4}\n"
    async with virtual_desk(
        tmp_path, at_once=4, max_tasks=100, config=config, obedient=False
    ) as desk:
        answers = await asyncio.gather(
            *(desk.submit(ignore_eos=True) for _ in range(500)), return_exceptions=True
        )
        taken = [answer for answer in answers if isinstance(answer, Submitted)]
        refused = [answer for answer in answers if isinstance(answer, TaskRefused)]
        assert (len(taken), len(refused)) == (104, 396)
        for refusal in refused:
            told = refusal.error.envelope().error
            assert refusal.error.status == 429
            assert told.policy_label == "queue_full"
            assert told.retriable is True
            assert told.retry_after_ms is not None
        assert len({one.accepted.task_id for one in taken}) == 104
        assert sorted(one.accepted.queue_position or 0 for one in taken) == [
            *(0, 0, 0, 0),
            *range(1, 101),
        ]
        running = desk.desk.registry.tasks
        assert len(running) == 104

        await desk.desk.idle.wait()
        assert desk.desk.registry.tasks == []
        ends = desk.gateway.metrics.counter("setpoint_tasks_ended_total", "succeeded")
        assert ends.value == 104, "none is lost"
        assert all(task.log.over for task in running)
        assert all(task.log.tokens == 10 and len(task.log._texts) <= 4 for task in running)
        assert len(desk.desk.registry.seen_by(OPERATOR, ended=True)) == 50
        assert desk.desk._runner._body_bytes == 0
        assert desk.gateway.pools["sim"].signals().inflight == 0


async def test_requests_of_all_tasks_together_have_a_bound(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path, config="tasks: {bodies: 200B}\n") as desk:
        first = await desk.submit()
        with pytest.raises(QueueFull, match=r"tasks\.bodies"):
            await desk.submit(user="x" * 100)
        await desk.desk.cancel(first.accepted.task_id, ADA)
        await desk.submit(user="x" * 100)


@pytest.mark.req("OPS-6")
async def test_one_whose_budget_had_to_be_fetched_is_refused_where_nothing_is_taken_any_more(
    tmp_path: Path,
) -> None:
    class Fetched(Budgets):
        """As those that several processes share. The gateway is told to stop meanwhile."""

        async def reserve(self, *asked: object) -> None:
            await asyncio.sleep(1)
            desk.gateway.draining = True

    async with virtual_desk(tmp_path) as desk:
        made = desk.gateway
        made.budgets = Fetched((), (), metrics=made.metrics, clock=made.clock)
        with pytest.raises(Draining):
            await desk.submit()
        assert desk.desk.registry.tasks == []
        (counted,) = re.findall(rb"(?m)^setpoint_requests_total{.*", made.metrics.exposition())
        assert b'status="503"' in counted
        assert counted.endswith(b" 1.0")


async def test_a_client_that_leaves_before_its_answer_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*args: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("gateway.tasks.runner.count_prompt", never)
    async with virtual_desk(tmp_path) as desk, asyncio.TaskGroup() as group:
        submission = group.create_task(desk.submit(key="k"))
        await asked.wait()
        submission.cancel()
        await asyncio.wait([submission])
        await desk.desk.idle.wait()
        assert desk.engine.exchanges == []
        assert desk.desk.registry.seen_by(OPERATOR, ended=True) == []
        monkeypatch.undo()
        assert not (await desk.submit(key="k")).repeated


@pytest.mark.req("RUN-4")
async def test_who_may_see_and_cancel_it(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        task_id = (await desk.submit()).accepted.task_id
        for work_id, caller in ((task_id, BOB), ("task_none", OPERATOR)):
            with pytest.raises(TaskNotFound):
                await desk.desk.find(work_id, caller)
            with pytest.raises(TaskNotFound):
                await desk.desk.cancel(work_id, caller)
        assert isinstance(await desk.desk.find(task_id, OPERATOR), Task)
        assert await desk.desk.cancel(task_id, OPERATOR) == "cancelled"
        assert isinstance(await desk.desk.find(task_id, ADA), Remembered)


async def test_a_key_is_its_callers_own_and_is_forgotten_with_its_task(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path, at_once=4, config="tasks: {keep_for: 10s}\n") as desk:
        first = await desk.submit(key="k")
        again = await desk.submit(key="k")
        assert again.repeated
        assert again.accepted.task_id == first.accepted.task_id
        other = await desk.submit(key="k", caller="bob")
        assert other.accepted.task_id != first.accepted.task_id
        with pytest.raises(IdempotencyKeyReused):
            await desk.submit(key="k", seed=1)
        await desk.desk.cancel(first.accepted.task_id, ADA)
        assert (await desk.submit(key="k")).repeated
        await asyncio.sleep(11)
        assert not (await desk.submit(key="k")).repeated


@pytest.mark.req("OPS-6")
async def test_nothing_is_taken_while_the_gateway_goes_down(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        desk.gateway.draining = True
        with pytest.raises(Draining):
            await desk.submit()


async def test_gauges_and_counters_follow(tmp_path: Path) -> None:
    async with virtual_desk(tmp_path) as desk:
        first, second = await desk.submit(), await desk.submit()
        text = desk.gateway.metrics.exposition().decode()
        assert 'setpoint_tasks{state="queued"} 1.0' in text
        assert 'setpoint_tasks{state="starting"} 1.0' in text
        for one in (second, first):
            await desk.desk.cancel(one.accepted.task_id, ADA)
        text = desk.gateway.metrics.exposition().decode()
        assert 'setpoint_tasks{state="queued"} 0.0' in text
        assert 'setpoint_tasks_ended_total{state="cancelled"} 2.0' in text
