"""All interleavings once more, over the real desk, queue and executor: an engine that obeys, in virtual time.

What happens to one task without IO is test_interleavings'.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import looptime
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from, tuples

from contracts.errors import GatewayError, QueueFull
from contracts.tasks import ENDED, TaskState
from gateway.auth import Caller
from gateway.tasks.desk import Submitted, TaskRefused
from gateway.tasks.log import Ended, Gap, LogEvent, Token
from gateway.tasks.stream import Readable
from tests.fakes.virtual_desk import VirtualDesk, virtual_desk

pytestmark = pytest.mark.req("RUN-4", "ADM-3", "ADM-4")
ADA = Caller(name="ada")
AT_ONCE, MAX_TASKS, BUFFER = 2, 2, 3
ACTIONS = (
    *("submit", "submit", "token", "token", "token", "finish", "break_off", "cancel"),
    *("connect", "reconnect", "disconnect", "read", "read", "time", "let_run"),
)
Plan = list[tuple[str, int]]


class Reading:
    """A reader: a cursor, and what was written to it."""

    def __init__(self, task: Readable, task_id: str, cursor: int) -> None:
        self.task = task
        self.task_id = task_id
        self.first = cursor
        self.cursor = cursor
        self.seen: list[LogEvent] = []

    def read(self, cancelled: set[str]) -> bool:
        event = self.task.log.next(self.cursor)
        if event is None:
            return False
        assert event.id > self.cursor
        assert not (self.task_id in cancelled and isinstance(event, Token | Gap)), (
            "its cancel had been answered"
        )
        assert not any(isinstance(e, Ended) for e in self.seen)
        self.cursor = event.id
        self.seen.append(event)
        return True


class Scene:
    """One desk, and what its clients remember."""

    def __init__(self, desk: VirtualDesk) -> None:
        self.desk = desk
        self.tasks: list[str] = []
        self.cancelled: set[str] = set()
        self.readers: list[Reading] = []
        self.everything: list[Reading] = []
        self.refused: list[GatewayError] = []
        self.said = 0

    async def act(self, action: str, which: int) -> None:
        await getattr(self, f"_{action}")(which)
        inflight = self.desk.gateway.pools["sim"].signals().inflight
        assert inflight <= AT_ONCE
        for task in self.desk.desk.registry.tasks:
            assert len(task.log._texts) <= BUFFER

    async def _submit(self, which: int) -> None:
        try:
            submitted: Submitted = await self.desk.submit(ttl=30)
        except TaskRefused as exc:
            self.refused.append(exc.error)
        else:
            self.tasks.append(submitted.accepted.task_id)

    async def _cancel(self, which: int) -> None:
        if self.tasks:
            task_id = self.tasks[which % len(self.tasks)]
            before = (await self.desk.desk.find(task_id, ADA)).state
            state = await self.desk.desk.cancel(task_id, ADA)
            assert state in ENDED
            assert before not in ENDED or before == state
            if state == "cancelled":
                self.cancelled.add(task_id)

    async def _token(self, which: int) -> None:
        running = self.desk.engine.running
        if running:
            self.said += 1
            running[which % len(running)].piece(f"<{self.said}>")

    async def _finish(self, which: int) -> None:
        running = self.desk.engine.running
        if running:
            running[which % len(running)].finish()

    async def _break_off(self, which: int) -> None:
        running = self.desk.engine.running
        if running:
            running[which % len(running)].break_off()

    async def _connect(self, which: int) -> None:
        if self.tasks:
            await self._join(self.tasks[which % len(self.tasks)], 0)

    async def _reconnect(self, which: int) -> None:
        if self.everything:
            before = self.everything[which % len(self.everything)]
            await self._join(before.task_id, before.cursor)

    async def _join(self, task_id: str, cursor: int) -> None:
        task: Any = await self.desk.desk.find(task_id, ADA)
        self.readers.append(Reading(task, task_id, cursor))
        self.everything.append(self.readers[-1])

    async def _disconnect(self, which: int) -> None:
        if self.readers:
            del self.readers[which % len(self.readers)]

    async def _read(self, which: int) -> None:
        if self.readers:
            self.readers[which % len(self.readers)].read(self.cancelled)

    async def _time(self, which: int) -> None:
        await asyncio.sleep(11)  # three of them, and who still waits has waited for too long

    async def _let_run(self, which: int) -> None:
        await asyncio.sleep(0)

    async def over(self) -> None:
        """Everything comes to an end, and everybody has been told the truth."""
        while not self.desk.desk.idle.is_set():
            for exchange in self.desk.engine.running:
                exchange.finish()
            await asyncio.sleep(0.1)
        assert all(isinstance(error, QueueFull) for error in self.refused)
        assert self.desk.gateway.pools["sim"].signals().inflight == 0
        assert self.desk.gateway.pools["sim"].signals().queued_tasks == 0
        states: dict[str, TaskState] = {}
        for task_id in self.tasks:
            work = await self.desk.desk.find(task_id, ADA)
            assert work.state in ENDED
            assert (work.state == "cancelled") == (task_id in self.cancelled)
            states[task_id] = work.state
            await self._join(task_id, 0)
        for reader in self.everything:
            while reader.read(self.cancelled):
                pass
            self._check(reader, states[reader.task_id])

    def _check(self, reader: Reading, state: TaskState) -> None:
        ends = [event for event in reader.seen if isinstance(event, Ended)]
        assert len(ends) == (reader.first < reader.task.log.last_id)
        assert all(event.id == reader.task.log.last_id for event in ends)
        told: list[int] = []
        for event in reader.seen:
            match event:
                case Token():
                    told.append(event.index)
                case Gap():
                    told += range(event.first, event.last + 1)
                case _:
                    pass
        first = max(0, reader.first - 1)
        assert told == list(range(first, first + len(told))), "all of it, and once"
        if state != "cancelled" and ends:
            assert len(told) == max(0, reader.task.log.tokens - first)


def in_virtual_time(work: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    with (
        TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=looptime.new_event_loop) as runner,
    ):
        runner.run(work(Path(folder)))


@given(lists(tuples(sampled_from(ACTIONS), integers(0, 7)), max_size=40))
def test_whatever_happens_in_whichever_order(plan: Plan) -> None:
    async def play(folder: Path) -> None:
        config = f"tasks: {{buffer_events: {BUFFER}}}\n"
        async with virtual_desk(
            folder, at_once=AT_ONCE, max_tasks=MAX_TASKS, config=config
        ) as desk:
            scene = Scene(desk)
            for action, which in plan:
                await scene.act(action, which)
            await scene.over()

    in_virtual_time(play)
