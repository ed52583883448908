"""What the store is told of one task: in order, and only of a task that it has accepted.

Must stay true: a reader never has a token of a task that would run again after a crash. So its tokens
are held back until the store knows that it has been dispatched.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from contracts.errors import RecordsUnavailable
from contracts.tasks import TaskState
from gateway import logs
from gateway.tasks.store import StoredTask, TaskStore


class Keeping:
    """One task's. `on_started` is called when its tokens may be read."""

    def __init__(self, store: TaskStore, task: StoredTask, on_started: Callable[[], None]) -> None:
        self._store = store
        self._task = task
        self._on_started = on_started
        self._accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._turn = asyncio.Lock()

    async def accept(self) -> None:
        """Durable on return. Raises RecordsUnavailable; then nothing more is said of it."""
        try:
            await self._store.accept(self._task)
        except BaseException:
            self._settle(False)
            raise
        self._settle(True)

    async def accepted(self) -> bool:
        """Whether the store has it, as soon as that is known."""
        return await asyncio.shield(self._accepted)

    def known(self) -> None:
        """The store has it from an earlier run of the gateway."""
        self._settle(True)

    def drop(self) -> None:
        """It was refused: the store never hears of it."""
        self._settle(False)

    async def started(self) -> None:
        """It has been dispatched. A store that fails does not hold up the answer: then a crash could
        make it run again, and the log says so."""
        try:
            if await self.accepted():
                async with self._turn:
                    await self._store.started(self._task.task_id)
        except RecordsUnavailable as exc:
            log_not_recorded(exc, self._task.task_id, "started")
        finally:
            self._on_started()

    async def ended(self, state: TaskState, view: bytes) -> None:
        """Its end. A store that fails is logged: after a restart the task would count as interrupted."""
        try:
            if await self.accepted():
                async with self._turn:
                    await self._store.ended(self._task.task_id, state, view)
        except RecordsUnavailable as exc:
            log_not_recorded(exc, self._task.task_id, "ended")

    def _settle(self, accepted: bool) -> None:
        if not self._accepted.done():
            self._accepted.set_result(accepted)


def log_not_recorded(
    exc: RecordsUnavailable, task_id: str, what: Literal["started", "ended"]
) -> None:
    """What the store could not take of a task. It is no bug, so its words will do."""
    reason = str(exc.__cause__ or exc)
    logs.event(logging.ERROR, "task_not_recorded", job_id=task_id, what=what, reason=reason)
