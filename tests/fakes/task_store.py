"""A TaskStore in memory that outlives the desks it is given to, as a database would."""

import asyncio

from msgspec.structs import replace

from contracts.errors import RecordsUnavailable
from contracts.tasks import TaskState
from gateway.tasks.store import EndedTask, StoredTask


class MemoryStore:
    """`down` makes every call fail; `slow` makes it wait until it is set again."""

    def __init__(self) -> None:
        self.tasks: dict[str, StoredTask | EndedTask] = {}
        self.calls: list[tuple[str, str]] = []
        self.down = False
        self.open = asyncio.Event()
        self.open.set()

    async def accept(self, task: StoredTask) -> None:
        await self._asked("accept", task.task_id)
        assert task.task_id not in self.tasks
        self.tasks[task.task_id] = task

    async def started(self, task_id: str) -> None:
        await self._asked("started", task_id)
        task = self.tasks[task_id]
        assert isinstance(task, StoredTask)
        self.tasks[task_id] = replace(task, state="running")

    async def ended(self, task_id: str, state: TaskState, view: bytes) -> None:
        await self._asked("ended", task_id)
        task = self.tasks[task_id]
        assert isinstance(task, StoredTask)
        self.tasks[task_id] = EndedTask(
            task_id=task_id,
            caller=task.caller,
            idempotency_key=task.idempotency_key,
            body_digest=task.body_digest,
            state=state,
            view=view,
        )

    async def unfinished(self) -> list[StoredTask]:
        await self._asked("unfinished", "")
        left = [task for task in self.tasks.values() if isinstance(task, StoredTask)]
        return sorted(left, key=lambda task: task.accepted_s)

    async def find(self, task_id: str) -> StoredTask | EndedTask | None:
        await self._asked("find", task_id)
        return self.tasks.get(task_id)

    async def find_key(self, caller: str, key: str) -> StoredTask | EndedTask | None:
        await self._asked("find_key", key)
        found = [
            task
            for task in self.tasks.values()
            if (task.caller, task.idempotency_key) == (caller, key)
        ]
        return found[0] if found else None

    def told(self, task_id: str) -> list[str]:
        """What it heard of one task, in order."""
        return [call for call, which in self.calls if which == task_id]

    async def _asked(self, call: str, which: str) -> None:
        await self.open.wait()
        await asyncio.sleep(0)
        self.calls.append((call, which))
        if self.down:
            raise RecordsUnavailable("the records database is not available", retry_after_s=5.0)
