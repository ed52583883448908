"""Which task an idempotency key stands for. A key belongs to a caller; two callers may use the same text.

Must stay true: of submissions that come together only one submits; a key whose submission was refused is
free again. Bounded by the tasks that are kept: whoever forgets a task forgets its key.
"""

import asyncio
from collections.abc import Awaitable, Callable

from contracts.errors import IdempotencyKeyReused


class _Held:
    """One key. `task_id` is None while its first submission is under way."""

    def __init__(self, digest: str, task_id: str | None = None) -> None:
        self.digest = digest
        self.task_id = task_id
        self.decided = asyncio.Event()


class IdempotencyKeys:
    """All callers'."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def once(
        self, caller: str, key: str, digest: str, submit: Callable[[], Awaitable[str]]
    ) -> tuple[str, bool]:
        """The id of the key's task, and whether it had been submitted before. `submit` is called only if
        it had not. Raises IdempotencyKeyReused where the key belongs to another body, and what `submit`
        raises."""
        place = (caller, key)
        while (held := self._held.get(place)) is not None:
            if held.digest != digest:
                raise reused(key)
            if held.task_id is not None:
                return held.task_id, True
            await held.decided.wait()  # then it is known, or was refused and is for who comes first
        held = self._held[place] = _Held(digest)
        try:
            held.task_id = await submit()
            return held.task_id, False
        finally:
            if held.task_id is None:
                del self._held[place]
            held.decided.set()

    def remember(self, caller: str, key: str, digest: str, task_id: str) -> None:
        """A task of an earlier run of the gateway."""
        self._held[caller, key] = _Held(digest, task_id)

    def forget(self, caller: str, key: str, task_id: str) -> None:
        """`task_id` is not known any more. A key that stands for another one by now is left alone."""
        held = self._held.get((caller, key))
        if held is not None and held.task_id == task_id:
            del self._held[caller, key]


def reused(key: str) -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        f"the key {key!r} belongs to a task with another body: use a new key for a new task",
        param="Idempotency-Key",
    )
