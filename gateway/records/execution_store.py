"""Executions and their attempts in the database: written in batches, read by filter, removed when they are old."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple

from gateway.records.database import Database
from gateway.records.rows import Recorded
from gateway.records.schema import attempts, executions

PAGE = 500


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions. None: any."""

    intent: str | None = None
    caller: str | None = None
    since_s: float | None = None
    """Unix time; those accepted then or later."""
    status: tuple[int, int] | None = None
    """From the first up to and with the second."""
    outcome: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        c, found = executions.c, []
        if self.intent is not None:
            found.append(c.intent == self.intent)
        if self.caller is not None:
            found.append(c.caller == self.caller)
        if self.since_s is not None:
            found.append(c.accepted_s >= self.since_s)
        if self.status is not None:
            found.append(c.status.between(*self.status))
        if self.outcome is not None:
            found.append(c.outcome == self.outcome)
        return found


class ExecutionStore:
    """All methods raise RecordsDown and SchemaMismatch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_executions = _insert(executions, database)
        self._insert_attempts = _insert(attempts, database)

    async def insert(self, rows: Sequence[Recorded]) -> None:
        """Write all of them or none; those that are there already stay as they are. Raises RowRefused."""
        if not rows:
            await self._database.writing(lambda connection: connection.scalar(sa.select(1)))
            return
        tries = [attempt for row in rows for attempt in row.attempts]
        # The values are taken out of their structs where they are written: in SQLite's thread.
        statements = [(self._insert_executions, map(astuple, [row.execution for row in rows]))]
        if tries:
            statements.append((self._insert_attempts, map(astuple, tries)))
        await self._database.write(statements)

    async def newest(self, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        """The last ones accepted, newest first: their columns but for the JSON ones and the body."""
        columns = [c for c in executions.c if c.name in BRIEF]
        query = (
            sa.select(*columns)
            .where(*wanted.conditions())
            .order_by(executions.c.accepted_s.desc(), executions.c.execution_id.desc())
            .limit(limit)
        )
        return await self._database.reading(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    async def find(self, name: str) -> dict[str, Any] | None:
        """One execution with its `attempts`, by its own id or by the request's: then the newest one."""
        query = (
            sa.select(executions)
            .where(sa.or_(executions.c.execution_id == name, executions.c.request_id == name))
            .order_by(executions.c.accepted_s.desc())
            .limit(1)
        )

        def work(connection: sa.Connection) -> dict[str, Any] | None:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else _with_attempts([row], connection)[0]

        return await self._database.reading(work)

    async def pages(self, wanted: Filter, limit: int | None) -> AsyncIterator[list[dict[str, Any]]]:
        """All of them with their attempts, oldest first, page by page: none twice, and none that was
        there at the beginning left out but for those that are removed meanwhile."""
        async for rows in self._pages(sa.select(executions), wanted, limit):
            # outside the transaction: whoever reads may take its time
            yield await self._database.reading(partial(_with_attempts, rows))

    async def traffic(self, wanted: Filter) -> AsyncIterator[list[dict[str, Any]]]:
        """The same, but only what says how much was asked of whom and when, and with which facts."""
        columns = [c for c in executions.c if c.name in TRAFFIC]
        async for rows in self._pages(sa.select(*columns), wanted, None):
            yield [dict(row) for row in rows]

    async def _pages(
        self, query: sa.Select[Any], wanted: Filter, limit: int | None
    ) -> AsyncIterator[Sequence[sa.RowMapping]]:
        after: tuple[float, str] | None = None
        left = limit
        key = sa.tuple_(executions.c.accepted_s, executions.c.execution_id)
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            part = query.where(*wanted.conditions()).order_by(*key.clauses).limit(size)
            if after is not None:
                part = part.where(key > sa.tuple_(*map(sa.literal, after)))
            rows = await self._database.reading(partial(_rows, part))
            if rows:
                yield rows
            if len(rows) < size:
                return
            after = rows[-1]["accepted_s"], rows[-1]["execution_id"]
            left = None if left is None else left - len(rows)


def _insert(table: sa.Table, database: Database) -> str:
    """In the driver's words, for its values in the order of `table`'s columns: SQLAlchemy takes longer to go through a
    row's values than a driver does to send them."""
    # What is there already was written when nobody heard the answer.
    statement = _insert_of(database)(table).on_conflict_do_nothing()
    return str(statement.compile(dialect=database.dialect, column_keys=table.c.keys()))


def _insert_of(database: Database) -> Callable[[sa.Table], Any]:
    """Its dialect's: each is imported only where it is used."""
    if database.is_sqlite:
        from sqlalchemy.dialects.sqlite import insert

        return insert
    from sqlalchemy.dialects.postgresql import insert as of_postgresql

    return of_postgresql


TRAFFIC = frozenset(
    {"execution_id", "accepted_s", "operation", "model", "outcome", "facts", "completion_tokens"}
    | {"prompt_tokens"}
)
BRIEF = frozenset(
    {"execution_id", "request_id", "accepted_s", "caller", "intent", "model", "served_by", "status"}
    | {"outcome", "error_code", "queue_s", "ttft_s", "e2e_s", "prompt_tokens", "completion_tokens"}
    | {"cost_usd"}
)


def _rows(query: sa.Select[Any], connection: sa.Connection) -> Sequence[sa.RowMapping]:
    return connection.execute(query).mappings().all()


def _with_attempts(
    rows: Sequence[sa.RowMapping], connection: sa.Connection
) -> list[dict[str, Any]]:
    ids = [row["execution_id"] for row in rows]
    query = (
        sa.select(attempts)
        .where(attempts.c.execution_id.in_(ids))
        .order_by(attempts.c.execution_id, attempts.c.ordinal)
    )
    by_id: dict[str, list[dict[str, Any]]] = {name: [] for name in ids}
    for attempt in connection.execute(query).mappings():
        values = dict(attempt)
        by_id[values.pop("execution_id")].append(values)
    return [{**row, "attempts": by_id[row["execution_id"]]} for row in rows]
