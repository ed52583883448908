"""PostgreSQL behind the records: asyncpg, by SQLAlchemy's asynchronous engine.

Together 120 ms of imports, so import it only where there is PostgreSQL.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.records.database_url import DatabaseUrl
from gateway.records.engine import OPTIONS, Statement, Work, has_free

T = TypeVar("T")


class PostgresqlEngine:
    """`answer_s`: no statement takes longer. `connect_s`: nor does it take longer to connect, or to get a
    connection that others have."""

    errors: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)

    def __init__(self, url: DatabaseUrl, *, answer_s: float, connect_s: float) -> None:
        async def connect() -> Any:
            # The URL goes to the driver as it is: it knows sslmode, service files and several hosts.
            text = url.url.reveal()
            return await asyncpg.connect(text, timeout=connect_s, command_timeout=answer_s)

        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_timeout=connect_s,
            pool_pre_ping=True,  # after a restart of the server, the first statement must not fail
            **OPTIONS,
        )

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    @property
    def connected(self) -> bool:
        return has_free(self._engine.pool)

    async def run(self, work: Work[T], *, writes: bool) -> T:
        async with self._engine.begin() if writes else self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, statements: Sequence[Statement]) -> None:
        async with self._engine.begin() as connection:
            for sql, rows in statements:
                await connection.exec_driver_sql(sql, list(map(tuple, rows)))

    async def dispose(self) -> None:
        await self._engine.dispose()
