"""What leaves the records: what is older than it is to be kept, and then the oldest, until the rest fits.

Size is counted in bytes of what rows hold, not of files: PostgreSQL's do not shrink when rows leave them.
Tasks that have not ended are never removed. Rows go in small transactions, so that writers get their turn.
"""

from typing import Any

import sqlalchemy as sa

from gateway.records.database import Database
from gateway.records.schema import executions, tasks

CHUNK = 1000
_KEPT_SHARE = 0.9
"""Of the most that may be kept: so that not every look has something to remove."""


async def remove_old(
    database: Database, *, keep_s: float, max_bytes: int, now_s: float
) -> tuple[int, int]:
    """Remove what is too old or too much. Returns how many executions and tasks.

    `now_s` is Unix time. Raises RecordsDown, SchemaMismatch; what was removed until then stays removed.
    """
    removed, _ = await _remove(database, now_s - keep_s, included=False)
    size = await _size(database)
    if size > max_bytes:
        while size > max_bytes * _KEPT_SHARE:
            moment_s = await _oldest_chunk_ends(database)
            if moment_s is None:
                break
            more, freed_bytes = await _remove(database, moment_s, included=True)
            removed = removed[0] + more[0], removed[1] + more[1]
            size -= freed_bytes
    return removed


async def _size(database: Database) -> int:
    """Asked once: it reads an index from end to end."""
    total = sa.select(
        sa.select(sa.func.coalesce(sa.func.sum(executions.c.row_bytes), 0)).scalar_subquery()
        + sa.select(sa.func.coalesce(sa.func.sum(tasks.c.row_bytes), 0)).scalar_subquery()
    )
    async with database.reading() as connection:
        return int((await connection.execute(total)).scalar_one())


async def _oldest_chunk_ends(database: Database) -> float | None:
    """When the last of the oldest `CHUNK` rows was accepted, or ended. None: there is nothing to remove."""
    moments = sa.union_all(
        _first(executions.c.accepted_s),
        _first(tasks.c.ended_s),
    ).subquery()
    oldest = sa.select(moments.c.s).order_by(moments.c.s).limit(CHUNK).subquery()
    async with database.reading() as connection:
        found: float | None = (
            await connection.execute(sa.select(sa.func.max(oldest.c.s)))
        ).scalar_one()
    return found


def _first(moment: sa.Column[Any]) -> sa.Select[Any]:
    """Each by its own index: a sort of both together would read all there is."""
    first = sa.select(moment.label("s")).where(moment.is_not(None)).order_by(moment).limit(CHUNK)
    return sa.select(first.subquery().c.s)


async def _remove(
    database: Database, moment_s: float, *, included: bool
) -> tuple[tuple[int, int], int]:
    """What is from before `moment_s`. Returns how many executions and tasks, and what they held in bytes."""
    removed, freed_bytes = [0, 0], 0
    for number, (table, key, moment) in enumerate(
        (
            (executions, executions.c.execution_id, executions.c.accepted_s),
            (tasks, tasks.c.task_id, tasks.c.ended_s),
        )
    ):
        old = moment <= moment_s if included else moment < moment_s
        chunk = sa.select(key).where(old).order_by(moment).limit(CHUNK)
        delete = table.delete().where(key.in_(chunk)).returning(table.c.row_bytes)
        while True:
            async with database.writing() as connection:
                sizes = (await connection.execute(delete)).scalars().all()
            removed[number] += len(sizes)
            freed_bytes += sum(sizes)
            if len(sizes) < CHUNK:
                break
    return (removed[0], removed[1]), freed_bytes
