"""What leaves the records: what is older than it is to be kept, and then the oldest, until the rest fits.

Size is counted in bytes of what rows hold, not of files: PostgreSQL's do not shrink when rows leave them.
Tasks that have not ended are never removed. Rows go in small transactions, so that writers get their turn.
"""

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
    removed = await _before(database, now_s - keep_s)
    if await _size(database) > max_bytes:
        while await _size(database) > max_bytes * _KEPT_SHARE:
            moment_s = await _oldest_chunk_ends(database)
            if moment_s is None:
                break
            more = await _before(database, moment_s, included=True)
            removed = removed[0] + more[0], removed[1] + more[1]
    return removed


async def _size(database: Database) -> int:
    total = sa.select(
        sa.select(sa.func.coalesce(sa.func.sum(executions.c.row_bytes), 0)).scalar_subquery()
        + sa.select(sa.func.coalesce(sa.func.sum(tasks.c.row_bytes), 0)).scalar_subquery()
    )
    async with database.reading() as connection:
        return int((await connection.execute(total)).scalar_one())


async def _oldest_chunk_ends(database: Database) -> float | None:
    """When the last of the oldest `CHUNK` rows was accepted, or ended. None: there is nothing to remove."""
    moments = sa.union_all(
        sa.select(executions.c.accepted_s.label("s")),
        sa.select(tasks.c.ended_s.label("s")).where(tasks.c.ended_s.is_not(None)),
    ).subquery()
    oldest = sa.select(moments.c.s).order_by(moments.c.s).limit(CHUNK).subquery()
    async with database.reading() as connection:
        found: float | None = (
            await connection.execute(sa.select(sa.func.max(oldest.c.s)))
        ).scalar_one()
    return found


async def _before(
    database: Database, moment_s: float, *, included: bool = False
) -> tuple[int, int]:
    removed = [0, 0]
    for number, (table, key, moment) in enumerate(
        (
            (executions, executions.c.execution_id, executions.c.accepted_s),
            (tasks, tasks.c.task_id, tasks.c.ended_s),
        )
    ):
        old = moment <= moment_s if included else moment < moment_s
        chunk = sa.select(key).where(old).order_by(moment).limit(CHUNK)
        while True:
            async with database.writing() as connection:
                done = await connection.execute(table.delete().where(key.in_(chunk)))
            removed[number] += done.rowcount
            if done.rowcount < CHUNK:
                break
    return removed[0], removed[1]
