"""The engine behind the records: connections, transactions, and the schema before the first of them.

Must stay true: whatever goes wrong leaves as RecordsDown, RowRefused or SchemaMismatch, within `ANSWER_S`, also
while a migration takes longer; and no message holds a statement's values or a password. What is in the tables
is not known here.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway import logs
from gateway.records import migrate
from gateway.records.database_url import DatabaseUrl
from gateway.records.faults import RecordsDown, RowRefused, SchemaMismatch
from gateway.records.revision import check, is_behind
from gateway.records.schema import metadata
from gateway.records.sqlite_batches import PRAGMAS, SqliteBatches, Statement
from gateway.records.sqlite_file import Identity, identity, lies_still, make_private

ANSWER_S = 10.0
"""A transaction that takes longer has met a database that is down, or hangs."""
MIGRATION_S = 6 * 3600.0
"""A migration is not cut before that: it makes what later transactions need to be quick."""
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
        self._batches: SqliteBatches | None = None
        self._down_errors: tuple[type[Exception], ...] = (OSError, SQLAlchemyError)
        if url.file is None:
            self._engine = _postgresql(url)
            # When it connects SQLAlchemy does not know of them.
            self._down_errors += _errors_of_asyncpg()
        else:
            self._engine = _sqlite(url.file, still=not migrates and lies_still(url.file))
            self._batches = SqliteBatches(f"file:{quote(str(url.file))}?mode=rw", busy_s=BUSY_S)
        self._ready = False
        self._file: Identity | None = None
        """Of SQLite: the file that has been brought up to date. None where others do that."""
        self._preparing: asyncio.Task[None] | None = None
        self._began_s = 0.0
        """When `_preparing` did, on the event loop's clock."""
        self._migrating = self._told = False

    @property
    def dialect(self) -> sa.Dialect:
        """What a statement is to be compiled for that goes to the driver as it is."""
        return self._engine.dialect

    async def prepare(self) -> None:
        """Connect, and bring the schema up to date. Does nothing if that has been done, unless SQLite's file was
        removed since, or another put in its place.

        Raises SchemaMismatch, and RecordsDown: also while a migration takes longer than `ANSWER_S`. It goes
        on then, and whoever comes later finds it done, or is told the same at once.
        """
        if self._ready and not self._is_gone(self._file):
            return
        self._ready = False
        loop = asyncio.get_running_loop()
        if self._preparing is None or self._preparing.done():
            # Not a TaskGroup's: it outlives whoever began it; `_heard` looks at its error.
            self._preparing, self._began_s = loop.create_task(self._prepare()), loop.time()
            self._preparing.add_done_callback(_heard)
        try:
            async with asyncio.timeout_at(self._began_s + ANSWER_S):
                await asyncio.shield(self._preparing)
        except TimeoutError:
            migrating = "its schema is being brought up to date"
            silent = f"no answer within {ANSWER_S:g} s"
            raise RecordsDown(self._named(migrating if self._migrating else silent)) from None

    async def _prepare(self) -> None:
        file = self.url.file
        if file is not None and self._migrates:
            if self._is_gone(self._file):
                await self._leave_behind()
            make_private(file)
            self._file = identity(file)
            await asyncio.to_thread(_make_ready_for_many, file)
        elif file is not None and not file.exists():
            raise RecordsDown(f"{file}: there are no records yet")
        async with self._translated(), self._snapshot() as connection:
            missing = await connection.run_sync(is_behind if self._migrates else check)
        if missing:
            await self._migrate()
        self._ready = True

    def _is_gone(self, known: Identity | None) -> bool:
        return known is not None and self.url.file is not None and identity(self.url.file) != known

    async def _leave_behind(self) -> None:
        """Tell what was in a file that only open connections still hold, and close them."""
        held: dict[str, int] = {}
        pool = self._engine.pool
        if (
            isinstance(pool, sa.QueuePool) and pool.checkedin()
        ):  # a new one would open what is there now
            with suppress(RecordsDown, RowRefused):
                async with self._translated(), self._snapshot() as connection:
                    for table in metadata.sorted_tables:
                        count = sa.select(sa.func.count()).select_from(table)
                        held[table.name] = (await connection.execute(count)).scalar_one()
        await self._disconnect()
        self._file = None
        logs.event(logging.WARNING, "records_file_gone", database=self.url.shown, **held)

    async def _migrate(self) -> None:
        began_s = asyncio.get_running_loop().time()
        if not self._told:  # once, however often it has to begin anew
            logs.event(logging.INFO, "records_migrating", database=self.url.shown)
        self._told = self._migrating = True
        # An index of a large table takes its time, so no command of it may be cut.
        engine = self._engine if self.is_sqlite else _postgresql(self.url, MIGRATION_S)
        try:
            async with self._translated(MIGRATION_S):
                await migrate.migrate(engine)
        finally:
            self._migrating = False
            if engine is not self._engine:
                await _dispose(engine)
        took_s = round(asyncio.get_running_loop().time() - began_s, 3)
        logs.event(logging.INFO, "records_migrated", database=self.url.shown, took_s=took_s)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed, and on disk, when its block has been left without an exception.

        Raises RecordsDown (then it may have been committed or not), RowRefused, SchemaMismatch.
        """
        await self.prepare()
        known = self._file
        async with self._translated(), self._engine.begin() as connection:
            yield connection
        self._check_still_there(known)

    async def write(self, statements: Sequence[Statement]) -> None:
        """Run them in a transaction, which is on disk then. Raises as `writing` does."""
        await self.prepare()
        known = self._file
        async with self._translated():
            if self._batches is not None:
                await self._batches.write(statements)
            else:
                async with self._engine.begin() as connection:
                    for sql, rows in statements:
                        await connection.exec_driver_sql(sql, list(map(tuple, rows)))
        self._check_still_there(known)

    def _check_still_there(self, known: Identity | None) -> None:
        if self._is_gone(known):
            raise RecordsDown(
                f"{self.url.file}: it was removed, or another file put in its place, while it was written to"
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that does not hold up writers. Raises RecordsDown, SchemaMismatch."""
        await self.prepare()
        async with self._translated(), self._snapshot() as connection:
            yield connection

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            yield await connection.execution_options(sqlite_begin=_READS)

    async def aclose(self) -> None:
        """Close all connections, whether the database answers or not. A migration that runs is undone."""
        if self._preparing is not None and not self._preparing.done():
            self._preparing.cancel()
            await asyncio.wait([self._preparing], timeout=CONNECT_S)
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._batches is not None:
            with suppress(TimeoutError, sqlite3.Error):
                async with asyncio.timeout(CONNECT_S):
                    await self._batches.close()
        await _dispose(self._engine)

    @asynccontextmanager
    async def _translated(self, most_s: float | None = None) -> AsyncIterator[None]:
        most_s = ANSWER_S if most_s is None else most_s
        try:
            async with asyncio.timeout(most_s):
                yield
        except SchemaMismatch:
            raise
        except (DBAPIError, sqlite3.Error) as exc:
            if _is_of_the_row(exc):
                raise RowRefused(_reason(exc)) from exc
            raise RecordsDown(self._named(_reason(exc))) from exc
        # What SQLAlchemy says of a value that does not fit its column's type, and what sqlite3 does.
        except (StatementError, OverflowError, UnicodeError) as exc:
            why = type(getattr(exc, "orig", None) or exc).__name__
            raise RowRefused(f"a value does not fit its column ({why})") from exc
        except TimeoutError as exc:
            raise RecordsDown(self._named(f"no answer within {most_s:g} s")) from exc
        except self._down_errors as exc:
            remedy = ""
            if isinstance(exc, OSError) and not self.is_sqlite:
                remedy = "; start it, or correct records.url"
            raise RecordsDown(self._named(_reason(exc)) + remedy) from exc

    def _named(self, what: str) -> str:
        """No driver's words say which database they are about."""
        return f"{self.url.file or self.url.shown}: {what}"


async def _dispose(engine: AsyncEngine) -> None:
    try:
        async with asyncio.timeout(CONNECT_S):
            await engine.dispose()
    except (TimeoutError, OSError, SQLAlchemyError):
        pass  # nothing is left to be saved: what was committed is on disk


def _heard(preparing: "asyncio.Task[None]") -> None:
    """Nobody may wait for it any more; whoever comes next begins it again, and is told."""
    if not preparing.cancelled():
        preparing.exception()


_ROW_STATES = ("22", "23", "54")
"""Classes of PostgreSQL's error codes: data exception, integrity violation, program limit exceeded (a text that
is too long for an index, JSON that is nested too deep)."""
_ASYNCPG_ARGUMENT = "invalid input for query argument"


def _is_of_the_row(exc: DBAPIError | sqlite3.Error) -> bool:
    """Whether it is a value that was not taken, so that others may be. SQLAlchemy does not say so of asyncpg's
    errors, nor of a value that sqlite3 cannot bind."""
    inner = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(inner, sqlite3.Error):
        refused = isinstance(inner, sqlite3.IntegrityError | sqlite3.DataError)
        return refused or "binding parameter" in str(inner)
    if isinstance(exc, IntegrityError | DataError):
        return True
    return (getattr(inner, "sqlstate", None) or "").startswith(_ROW_STATES)


def _reason(exc: BaseException) -> str:
    """The driver's own words, without values."""
    inner = getattr(exc, "orig", None) or exc
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    said = str(inner).partition("\n")[0]
    if said.startswith(_ASYNCPG_ARGUMENT):  # `... $7: 'the value' (why)`
        said = said.partition(":")[0]
    return said or type(inner).__name__


# -- PostgreSQL -----------------------------------------------------------------------------


# Its driver and its dialect are 60 ms of imports, which who has SQLite need not pay.


def _errors_of_asyncpg() -> tuple[type[Exception], ...]:
    import asyncpg  # type: ignore[import-untyped]  # it ships no types

    return asyncpg.PostgresError, asyncpg.InterfaceError


def _postgresql(url: DatabaseUrl, answer_s: float | None = None) -> AsyncEngine:
    import asyncpg

    async def connect() -> Any:
        # The URL goes to the driver as it is: it knows sslmode, service files and several hosts.
        limit_s = ANSWER_S if answer_s is None else answer_s
        return await asyncpg.connect(url.url.reveal(), timeout=CONNECT_S, command_timeout=limit_s)

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
                raise RecordsDown(f"{file}: {exc}") from exc
        time.sleep(LOCKED_AGAIN_S)


def _sqlite(file: Path, *, still: bool) -> AsyncEngine:
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # below it, two lines a call and no news
    engine = create_async_engine(
        _sqlite_url(file, still),
        connect_args={"timeout": BUSY_S},
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        **_COMMON,
    )
    sa.event.listen(engine.sync_engine, "connect", _prepare_connection)
    sa.event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _sqlite_url(file: Path, still: bool) -> sa.URL:
    # No connection makes the file: it would be readable for all, and an empty one in place of a removed one.
    options = {"uri": "true", **({"immutable": "1"} if still else {"mode": "rw"})}
    return sa.URL.create("sqlite+aiosqlite", database=f"file:{quote(str(file))}", query=options)


def _prepare_connection(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says, and nowhere else
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
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
