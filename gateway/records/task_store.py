"""Durable tasks in the records database: `gateway.tasks.store.TaskStore` on the table `tasks`.

Must stay true: what `accept` and `started` have returned from is on disk. A task of which nobody knows
whether it was kept, since the database went away meanwhile, is taken out again, because its client was told
no; and the end of a task that could not be written is written later (`settle`), because it has happened.
One gateway a database: `unfinished` takes what it finds for its own.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import sqlalchemy as sa

from contracts.errors import RecordsUnavailable
from contracts.tasks import TaskState
from gateway import logs
from gateway.records.database import Database
from gateway.records.faults import RecordsDown, RowRefused, SchemaMismatch
from gateway.records.schema import tasks
from gateway.tasks.store import EndedTask, StoredTask

RETRY_AFTER_S = 5.0
LATE_TASKS = 1000
LATE_BYTES = 64 * 1024 * 1024
"""Ends that wait for the database. Beyond that a task counts as interrupted after the next start."""
DOUBTFUL_TASKS = 10_000


class _Late(msgspec.Struct, frozen=True):
    """An end that is not in the database yet."""

    state: TaskState
    view: bytes
    ended_s: float


class TaskRecords:
    """The tasks of one gateway. `now_s` is Unix time."""

    def __init__(self, database: Database, *, now_s: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now_s = now_s
        self._late: dict[str, _Late] = {}
        self._late_bytes = 0
        self._doubtful: dict[str, None] = {}
        self._own: set[str] = set()
        """This gateway's tasks that have not ended: `unfinished` may only succeed after some were accepted."""

    async def accept(self, task: StoredTask) -> None:
        headers = _encoded_headers(task.headers)
        row = {
            "task_id": task.task_id,
            "caller": _storable(task.caller),
            "operator": task.operator,
            "body": task.body,
            "headers": headers,
            "idempotency_key": _storable_key(task.idempotency_key),
            "body_digest": task.body_digest,
            "accepted_s": task.accepted_s,
            "state": task.state,
            "row_bytes": len(task.body) + len(headers),
        }
        self._own.add(task.task_id)
        with _unavailable():
            try:
                await self._write(tasks.insert().values(row))
            except RowRefused:
                self._own.discard(task.task_id)
                raise
            except BaseException:  # cancelled, too: the commit may be on its way
                self._own.discard(task.task_id)
                self._doubt(task.task_id)
                raise

    async def started(self, task_id: str) -> None:
        change = tasks.update().where(tasks.c.task_id == task_id).values(state="running")
        with _unavailable():
            await self._write(change)

    async def ended(self, task_id: str, state: TaskState, view: bytes) -> None:
        """Returns also where the end can only be written later. Raises RecordsUnavailable where too
        many wait already."""
        late = _Late(state, view, self._now_s())
        try:
            await self._write_end(task_id, late)
        except (RecordsDown, RowRefused, SchemaMismatch) as exc:
            if (
                len(self._late) >= LATE_TASKS
                or self._late_bytes + len(view) > LATE_BYTES
                or isinstance(exc, RowRefused)
            ):
                raise _refusal(exc) from exc
            self._late[task_id] = late
            self._late_bytes += len(view)
        self._own.discard(task_id)

    async def unfinished(self) -> list[StoredTask]:
        """Of earlier gateways: not those that this one has accepted, or told no."""
        query = (
            sa.select(tasks)
            .where(tasks.c.ended_s.is_(None))
            .order_by(tasks.c.accepted_s, tasks.c.task_id)
        )
        own = frozenset(self._own)  # one may end while the database answers
        with _unavailable():
            rows = await self._database.reading(lambda c: c.execute(query).mappings().all())
        known = own | self._own | self._doubtful.keys() | self._late.keys()
        return [_stored(row) for row in rows if row["task_id"] not in known]

    async def find(self, task_id: str) -> StoredTask | EndedTask | None:
        return await self._find(tasks.c.task_id == task_id)

    async def find_key(self, caller: str, key: str) -> StoredTask | EndedTask | None:
        return await self._find(
            sa.and_(
                tasks.c.caller == _storable(caller),
                tasks.c.idempotency_key == _storable_key(key),
            )
        )

    async def settle(self) -> None:
        """Write what could not be written when it happened; what the database will never take is given up, and
        said. Raises RecordsDown, SchemaMismatch."""
        for task_id in list(self._doubtful):
            await self._write(tasks.delete().where(tasks.c.task_id == task_id))
            self._doubtful.pop(task_id, None)
        for task_id, late in list(self._late.items()):
            try:
                await self._write_end(task_id, late)
            except RowRefused as exc:
                fields = {"job_id": task_id, "what": "ended", "reason": str(exc)}
                logs.event(logging.ERROR, "task_not_recorded", **fields)
            self._late_bytes -= len(self._late.pop(task_id).view)

    async def _write_end(self, task_id: str, late: _Late) -> None:
        end = {
            "state": late.state,
            "view": late.view,
            "ended_s": late.ended_s,
            "row_bytes": len(late.view),
        }
        change = (
            tasks.update().where(tasks.c.task_id == task_id).values(body=None, headers=None, **end)
        )
        await self._write(change)

    async def _write(self, change: sa.Insert | sa.Update | sa.Delete) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(change)

        await self._database.writing(work)

    async def _find(self, condition: sa.ColumnElement[bool]) -> StoredTask | EndedTask | None:
        query = sa.select(tasks).where(condition)
        with _unavailable():
            row = await self._database.reading(
                lambda connection: connection.execute(query).mappings().one_or_none()
            )
        if row is None or row["task_id"] in self._doubtful:
            return None
        late = self._late.get(row["task_id"])
        if late is not None:
            return _ended(row, late.state, late.view)
        if row["ended_s"] is not None:
            return _ended(row, row["state"], row["view"])
        return _stored(row)

    def _doubt(self, task_id: str) -> None:
        if len(self._doubtful) >= DOUBTFUL_TASKS:
            del self._doubtful[next(iter(self._doubtful))]
        self._doubtful[task_id] = None


def _stored(row: sa.RowMapping) -> StoredTask:
    return StoredTask(
        task_id=row["task_id"],
        caller=row["caller"],
        operator=row["operator"],
        body=row["body"],
        headers=json.loads(row["headers"]),
        idempotency_key=row["idempotency_key"],
        body_digest=row["body_digest"],
        accepted_s=row["accepted_s"],
        state=row["state"],
    )


def _ended(row: sa.RowMapping, state: TaskState, view: bytes) -> EndedTask:
    return EndedTask(
        task_id=row["task_id"],
        caller=row["caller"],
        idempotency_key=row["idempotency_key"],
        body_digest=row["body_digest"],
        state=state,
        view=view,
    )


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (RecordsDown, RowRefused, SchemaMismatch) as exc:
        raise _refusal(exc) from exc


def _refusal(exc: Exception) -> RecordsUnavailable:
    """Without the database's own words: they are for the log, not for clients."""
    if isinstance(exc, RowRefused):
        message = "the records database does not take this task; it may have come twice at once"
    else:
        message = "the records database is not available"
    return RecordsUnavailable(message, retry_after_s=RETRY_AFTER_S)


def _encoded_headers(headers: dict[str, str]) -> bytes:
    # Header values may hold any byte as a lone surrogate; only escapes bring those back.
    return json.dumps(headers, ensure_ascii=True).encode()


def _storable(text: str) -> str:
    """`text` as both databases take it: no NUL, valid UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _storable_key(key: str | None) -> str | None:
    return None if key is None else _storable(key)
