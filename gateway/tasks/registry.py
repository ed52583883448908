"""What runs and waits now, and which tasks have ended lately: who may see what of it.

Must stay true: an id stands for one thing only; what has ended is bounded by number, time and bytes, the
oldest being forgotten first; nobody learns of what is somebody else's, not even that it is there.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from contracts.errors import TaskNotFound
from contracts.tasks import TaskState, TaskSummary, TaskView
from gateway.auth import Caller
from gateway.ids import new_request_id
from gateway.tasks.places import PlaceOf
from gateway.tasks.remembered import Remembered
from gateway.tasks.task import Task


class Work(Protocol):
    """What can be listed, looked at and cancelled: a task, or a request that is being answered."""

    @property
    def id(self) -> str: ...

    @property
    def caller(self) -> str:
        """The caller's name."""
        ...

    @property
    def state(self) -> TaskState: ...

    @property
    def created_s(self) -> float:
        """Unix time."""
        ...

    def cancel(self) -> TaskState:
        """End it now; the state that it is in for ever. Nothing more of it goes out afterwards."""
        ...

    def summary(self, place_of: PlaceOf = ..., /) -> TaskSummary:
        """`place_of` is for many at once."""
        ...

    def view(self) -> TaskView: ...


class Live(Work, Protocol):
    """A request that is being answered on its client's connection."""

    id: str


class Registry:
    """One gateway's. `on_forgotten` is called with each task that is let go of."""

    def __init__(
        self,
        *,
        keep: int,
        keep_for_s: float,
        keep_bytes: int,
        clock: Callable[[], float],
        on_forgotten: Callable[[Remembered], None] = lambda task: None,
    ) -> None:
        self._keep, self._keep_for_s, self._keep_bytes = keep, keep_for_s, keep_bytes
        self._clock = clock
        self.on_forgotten = on_forgotten
        self._tasks: dict[str, Task] = {}
        self._live: dict[str, Live] = {}
        self._ended: OrderedDict[str, tuple[float, Remembered]] = OrderedDict()
        self._ended_bytes = 0

    @property
    def tasks(self) -> list[Task]:
        """Those that have not ended."""
        return list(self._tasks.values())

    @property
    def live(self) -> list[Live]:
        return list(self._live.values())

    def answering(self, request: Live) -> None:
        """`request` is listed until it is `answered`. Clients choose their request ids: of two with the same
        one, the second goes under an id of its own here."""
        while request.id in self._live or request.id in self._tasks or request.id in self._ended:
            request.id = new_request_id()
        self._live[request.id] = request

    def answered(self, request: Live) -> None:
        del self._live[request.id]

    def add(self, task: Task) -> None:
        self._tasks[task.id] = task

    def drop(self, task: Task) -> None:
        """It is nobody's business any more, and nothing is kept of it."""
        self._tasks.pop(task.id, None)

    def ended(self, task: Remembered) -> None:
        """Its end is known for a while."""
        self._tasks.pop(task.id, None)
        self._ended[task.id] = (self._clock() + self._keep_for_s, task)
        self._ended_bytes += task.bytes
        self._forget()

    def find(self, work_id: str, caller: Caller) -> Work | None:
        """None: nobody here knows of it. Raises TaskNotFound for what is somebody else's."""
        self._forget()
        ended = self._ended.get(work_id)
        work: Work | None = self._tasks.get(work_id) or self._live.get(work_id)
        work = work or (ended[1] if ended else None)
        if work is not None and not may_see(caller, work.caller):
            raise not_found(work_id)
        return work

    def seen_by(self, caller: Caller, *, ended: bool) -> list[Work]:
        """What this caller may see, in no order."""
        self._forget()
        works: list[Work] = [*self._tasks.values(), *self._live.values()]
        if ended:
            works += [task for _, task in self._ended.values()]
        return [work for work in works if may_see(caller, work.caller)]

    def _forget(self) -> None:
        now_s = self._clock()
        while self._ended:
            until_s, oldest = next(iter(self._ended.values()))
            full = len(self._ended) > self._keep or self._ended_bytes > self._keep_bytes
            if until_s > now_s and not full:
                return
            self._ended.popitem(last=False)
            self._ended_bytes -= oldest.bytes
            self.on_forgotten(oldest)


def may_see(caller: Caller, owner: str) -> bool:
    return caller.operator or caller.name == owner


def not_found(work_id: str) -> TaskNotFound:
    return TaskNotFound(f"there is no task {work_id[:200]!r}", param="id")
