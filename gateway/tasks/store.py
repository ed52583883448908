"""What keeps tasks over a restart, as the desk needs it. Whoever implements it lives elsewhere.

One task's calls come one after the other, in this order: `accept`, then `started` at most once, then
`ended` at most once. Calls about different tasks overlap. Nothing here is called for a task that was
refused, nor where `tasks.durable` is false.
"""

from typing import Literal, Protocol

import msgspec

from contracts.tasks import TaskState


class StoredTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has not ended: all that it takes to submit it again."""

    task_id: str
    caller: str
    """By name; "" is an anonymous one."""
    operator: bool
    """The caller may set any priority."""
    body: bytes
    """As it was sent."""
    headers: dict[str, str]
    """Lower-case, without credentials: what rules and intents may ask about."""
    idempotency_key: str | None
    """Unique among one caller's tasks."""
    body_digest: str
    """SHA-256 of `body`, in hexadecimal digits."""
    accepted_s: float
    """Unix time."""
    state: Literal["queued", "running"] = "queued"


class EndedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has ended, as far as anybody may still ask about it."""

    task_id: str
    caller: str
    idempotency_key: str | None
    body_digest: str
    state: TaskState
    view: bytes
    """The `TaskView` it ended with, as JSON: what `GET /v1/tasks/{id}` answers."""


class TaskStore(Protocol):
    """Raises RecordsUnavailable from any method where it cannot do what it promises."""

    async def accept(self, task: StoredTask) -> None:
        """Keep a task that waits or runs. It survives a crash as soon as this has returned."""
        ...

    async def started(self, task_id: str) -> None:
        """It has been dispatched: `state` is "running" from now on. Durable on return."""
        ...

    async def ended(self, task_id: str, state: TaskState, view: bytes) -> None:
        """Its end, for ever. Its body need not be kept any longer."""
        ...

    async def unfinished(self) -> list[StoredTask]:
        """Those that were accepted and have not ended, oldest first. Called once, at the start."""
        ...

    async def find(self, task_id: str) -> StoredTask | EndedTask | None:
        """A task by its id, whoever asks; the desk checks who may see it."""
        ...

    async def find_key(self, caller: str, key: str) -> StoredTask | EndedTask | None:
        """The task that this caller submitted with this idempotency key."""
        ...
