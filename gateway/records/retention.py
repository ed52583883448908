"""What leaves the records: what is older than it is to be kept, and then the oldest, until the rest fits.

Size is counted in bytes of what rows hold, not of files: PostgreSQL's do not shrink when rows leave them.
Tasks that have not ended are never removed. Rows go in small transactions, so that writers get their turn.
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from gateway.records.database import Database
from gateway.records.schema import executions, tasks

CHUNK = 1000
CHUNK_BYTES = 16 * 1024 * 1024
"""Of a transaction, but for one row that is larger: SQLite moves as much, and it must not take long."""
_KEPT_SHARE = 0.9
"""Of the most that may be kept: so that not every look has something to remove."""
_WHAT = (
    (executions, executions.c.execution_id, executions.c.accepted_s),
    (tasks, tasks.c.task_id, tasks.c.ended_s),
)


async def remove_old(
    database: Database, *, keep_s: float, max_bytes: int, now_s: float
) -> tuple[int, int]:
    """Remove what is too old or too much. Returns how many executions and tasks.

    `now_s` is Unix time. Raises RecordsDown, SchemaMismatch; what was removed until then stays removed.
    """
    removed = await _remove(database, before_s=now_s - keep_s)
    size = await _size(database)
    if size > max_bytes:
        more = await _remove(database, enough_bytes=size - max_bytes * _KEPT_SHARE)
        removed = removed[0] + more[0], removed[1] + more[1]
    return removed


async def _size(database: Database) -> int:
    """Asked once: it reads an index from end to end."""
    total = sa.select(
        sa.select(sa.func.coalesce(sa.func.sum(executions.c.row_bytes), 0)).scalar_subquery()
        + sa.select(sa.func.coalesce(sa.func.sum(tasks.c.row_bytes), 0)).scalar_subquery()
    )
    return int(await database.reading(lambda connection: connection.execute(total).scalar_one()))


async def _remove(
    database: Database, *, before_s: float | None = None, enough_bytes: float = math.inf
) -> tuple[int, int]:
    """The oldest rows, from before `before_s`, until those that went held `enough_bytes`. Returns how many
    executions and tasks."""
    removed, freed_bytes = [0, 0], 0
    while freed_bytes < enough_bytes:
        oldest = await _oldest(database, before_s)
        if not oldest:
            break
        until_s = _ends(oldest, min(CHUNK_BYTES, enough_bytes - freed_bytes))
        for number, (table, key, moment) in enumerate(_WHAT):
            part = sa.select(key).where(moment <= until_s).order_by(moment).limit(CHUNK)
            delete = table.delete().where(key.in_(part)).returning(table.c.row_bytes)
            sizes = await database.writing(partial(_done, delete))
            removed[number] += len(sizes)
            freed_bytes += sum(sizes)
    return removed[0], removed[1]


def _done(delete: sa.Executable, connection: sa.Connection) -> Sequence[int]:
    """The bytes of the rows that went."""
    return connection.execute(delete).scalars().all()


async def _oldest(database: Database, before_s: float | None) -> list[tuple[float, int]]:
    """When the oldest `CHUNK` rows were accepted, or ended, and their bytes."""
    rows = sa.union_all(*(_first(table, moment, before_s) for table, _, moment in _WHAT)).subquery()
    oldest = sa.select(rows.c.s, rows.c.row_bytes).order_by(rows.c.s).limit(CHUNK)
    return await database.reading(
        lambda connection: [(s, size) for s, size in connection.execute(oldest)]
    )


def _first(table: sa.Table, moment: sa.Column[Any], before_s: float | None) -> sa.Select[Any]:
    """Each by its own index: a sort of both together would read all there is."""
    old = moment.is_not(None) if before_s is None else moment < before_s
    first = sa.select(moment.label("s"), table.c.row_bytes).where(old).order_by(moment)
    return sa.select(first.limit(CHUNK).subquery())


def _ends(oldest: list[tuple[float, int]], most_bytes: float) -> float:
    """The moment of the row with which `most_bytes` are reached, or of the last one."""
    moments = [at_s for at_s, _ in oldest]
    sizes = itertools.accumulate(row_bytes for _, row_bytes in oldest)
    reached = (at_s for at_s, size in zip(moments, sizes, strict=True) if size >= most_bytes)
    return next(reached, moments[-1])
