"""The engine behind the records: connections, transactions, and the schema before the first of them.

Must stay true: whatever goes wrong leaves as RecordsDown, RowRefused or SchemaMismatch, within `ANSWER_S`,
and no message holds a statement's values or a password. What is in the tables is not known here.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.records.database_url import DatabaseUrl
from gateway.records.faults import RecordsDown, RowRefused, SchemaMismatch
from gateway.records.migrate import check, migrate

ANSWER_S = 10.0
"""A transaction that takes longer has met a database that is down, or hangs."""
CONNECT_S = 5.0
BUSY_S = 5.0
"""How long SQLite waits for another writer."""
LOCKED_AGAIN_S = 0.02
CONNECTIONS = 4
_WRITES = "IMMEDIATE"
_READS = "DEFERRED"


class Database:
    """One database. Connects when it is first used, and again whenever that is needed."""

    def __init__(self, url: DatabaseUrl, *, migrates: bool = True) -> None:
        """Who does not migrate needs the schema to be there, and makes no file."""
        self.url = url
        self._migrates = migrates
        self.is_sqlite = url.file is not None
        self._engine = _sqlite(url.file) if url.file is not None else _postgresql(url)
        self._ready = False
        self._preparing = asyncio.Lock()

    async def prepare(self) -> None:
        """Connect, and bring the schema up to date. Does nothing if that has been done.

        Raises RecordsDown, SchemaMismatch.
        """
        if self._ready:
            return
        async with self._preparing:
            if self._ready:
                return
            if self.url.file is not None:
                if self._migrates:
                    _make_private(self.url.file)
                    await asyncio.to_thread(_make_ready_for_many, self.url.file)
                elif not self.url.file.exists():
                    raise RecordsDown(f"{self.url.file}: there are no records yet")
            async with self._translated():
                await (migrate if self._migrates else check)(self._engine)
            self._ready = True

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed, and on disk, when its block has been left without an exception.

        Raises RecordsDown (then it may have been committed or not), RowRefused, SchemaMismatch.
        """
        await self.prepare()
        async with self._translated(), self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that does not hold up writers. Raises RecordsDown, SchemaMismatch."""
        await self.prepare()
        async with self._translated(), self._engine.connect() as connection:
            yield await connection.execution_options(sqlite_begin=_READS)

    async def aclose(self) -> None:
        """Close all connections, whether the database answers or not."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._engine.dispose()
        except (TimeoutError, OSError, SQLAlchemyError):
            pass  # nothing is left to be saved: what was committed is on disk

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(ANSWER_S):
                yield
        except SchemaMismatch:
            raise
        except (IntegrityError, DataError) as exc:
            raise RowRefused(_reason(exc)) from exc
        except DBAPIError as exc:
            raise RecordsDown(_reason(exc)) from exc
        except StatementError as exc:  # a value that does not fit its column's type
            raise RowRefused(_reason(exc)) from exc
        except TimeoutError as exc:
            raise RecordsDown(f"no answer within {ANSWER_S:g} s") from exc
        except (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            raise RecordsDown(_reason(exc)) from exc


def _reason(exc: BaseException) -> str:
    """The driver's own words, which name no values."""
    inner = getattr(exc, "orig", None) or exc
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner).partition("\n")[0] or type(inner).__name__


# -- PostgreSQL -----------------------------------------------------------------------------


def _postgresql(url: DatabaseUrl) -> AsyncEngine:
    async def connect() -> Any:
        # The URL goes to the driver as it is: it knows sslmode, service files and several hosts.
        return await asyncpg.connect(url.url.reveal(), timeout=CONNECT_S, command_timeout=ANSWER_S)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_pre_ping=True,  # after a restart of the server, the first statement must not fail
        **_COMMON,
    )


# -- SQLite ---------------------------------------------------------------------------------


def _make_private(file: Path) -> None:
    """What was asked and answered is nobody else's business. The files beside it get its permissions."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise RecordsDown(f"{file}: {exc.strerror}") from exc


def _make_ready_for_many(file: Path) -> None:
    """What stays in the file, and is set before anything else is written to it. Of several processes that
    start at once all but one are told "locked" when they change the journal, whatever timeout they have
    (https://sqlite.org/wal.html: a change needs the file for itself); so it is tried again. Blocking."""
    until_s = time.monotonic() + BUSY_S
    while True:
        try:
            with closing(sqlite3.connect(file, timeout=BUSY_S)) as connection:
                # what retention removes is given back
                connection.execute("PRAGMA auto_vacuum = FULL")
                # readers do not hold up the writer
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.Error as exc:
            if not isinstance(exc, sqlite3.OperationalError) or time.monotonic() > until_s:
                raise RecordsDown(str(exc)) from exc
        time.sleep(LOCKED_AGAIN_S)


def _sqlite(file: Path) -> AsyncEngine:
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # below it, two lines a call and no news
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(file)),
        connect_args={"timeout": BUSY_S},
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        **_COMMON,
    )
    sa.event.listen(engine.sync_engine, "connect", _prepare_connection)
    sa.event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare_connection(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says, and nowhere else
    cursor = connection.cursor()
    for pragma in (
        # A 202 is a promise over a power cut, which NORMAL would not keep in WAL mode. Records are
        # written in batches, so that their share of the fsyncs is small.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer; one that
    # says so at its beginning can.
    mode = connection.get_execution_options().get("sqlite_begin", _WRITES)
    connection.exec_driver_sql(f"BEGIN {mode}")


def _as_it_is(text: str) -> str:
    return text


_COMMON: dict[str, Any] = {
    "hide_parameters": True,
    # JSON is encoded once, by msgspec, where the row is made.
    "json_serializer": _as_it_is,
    "json_deserializer": msgspec.json.decode,
}
