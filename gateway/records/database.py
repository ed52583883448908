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
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from gateway import logs
from gateway.records import migrate
from gateway.records.database_url import DatabaseUrl
from gateway.records.engine import Engine, Statement, Work
from gateway.records.faults import RecordsDown, RowRefused, SchemaMismatch
from gateway.records.revision import check, is_behind
from gateway.records.schema import metadata
from gateway.records.sqlite_engine import SqliteEngine
from gateway.records.sqlite_file import Identity, identity, lies_still, make_private

T = TypeVar("T")
ANSWER_S = 10.0
"""A transaction that takes longer has met a database that is down, or hangs."""
MIGRATION_S = 6 * 3600.0
"""A migration is not cut before that: it makes what later transactions need to be quick."""
CONNECT_S = 5.0
BUSY_S = 5.0
"""How long SQLite waits for another writer."""
LOCKED_AGAIN_S = 0.02


class Database:
    """One database. Connects when it is first used, and again whenever that is needed."""

    def __init__(self, url: DatabaseUrl, *, migrates: bool = True) -> None:
        """Who does not migrate needs the schema to be there, and makes no file."""
        self.url = url
        self._migrates = migrates
        self.is_sqlite = url.file is not None
        if url.file is None:
            self._engine = _postgresql(url, ANSWER_S)
        else:
            still = not migrates and lies_still(url.file)
            self._engine = SqliteEngine(url.file, still=still, busy_s=BUSY_S)
        self._down_errors: tuple[type[Exception], ...] = (
            OSError,
            SQLAlchemyError,
            *self._engine.errors,
        )
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
        async with self._translated():
            look = is_behind if self._migrates else check
            missing = await self._engine.run(look, writes=False)
        if missing:
            await self._migrate()
        self._ready = True

    def _is_gone(self, known: Identity | None) -> bool:
        return known is not None and self.url.file is not None and identity(self.url.file) != known

    async def _leave_behind(self) -> None:
        """Tell what was in a file that only open connections still hold, and close them."""
        held: dict[str, int] = {}
        if self._engine.connected:  # a new connection would open what is there now
            with suppress(RecordsDown, RowRefused):
                async with self._translated():
                    held = await self._engine.run(_counts, writes=False)
        await _dispose(self._engine)
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

    async def writing(self, work: Work[T]) -> T:
        """What `work` returns, from a transaction that is committed, and on disk, unless it raised.

        Raises RecordsDown (then it may have been committed or not), RowRefused, SchemaMismatch.
        """
        await self.prepare()
        known = self._file
        async with self._translated():
            done = await self._engine.run(work, writes=True)
        self._check_still_there(known)
        return done

    async def write(self, statements: Sequence[Statement]) -> None:
        """Run them in a transaction, which is on disk then. Raises as `writing` does."""
        await self.prepare()
        known = self._file
        async with self._translated():
            await self._engine.write(statements)
        self._check_still_there(known)

    def _check_still_there(self, known: Identity | None) -> None:
        if self._is_gone(known):
            raise RecordsDown(
                f"{self.url.file}: it was removed, or another file put in its place, while it was written to"
            )

    async def reading(self, work: Work[T]) -> T:
        """What `work` returns, from a transaction that does not hold up writers. Raises RecordsDown,
        SchemaMismatch."""
        await self.prepare()
        async with self._translated():
            return await self._engine.run(work, writes=False)

    async def aclose(self) -> None:
        """Close all connections, whether the database answers or not. A migration that runs is undone."""
        if self._preparing is not None and not self._preparing.done():
            self._preparing.cancel()
            await asyncio.wait([self._preparing], timeout=CONNECT_S)
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


async def _dispose(engine: Engine) -> None:
    # Nothing is left to be saved: what was committed is on disk.
    with suppress(TimeoutError, OSError, SQLAlchemyError, *engine.errors):
        async with asyncio.timeout(CONNECT_S):
            await engine.dispose()


def _postgresql(url: DatabaseUrl, answer_s: float) -> Engine:
    from gateway.records.postgresql_engine import PostgresqlEngine

    return PostgresqlEngine(url, answer_s=answer_s, connect_s=CONNECT_S)


def _counts(connection: sa.Connection) -> dict[str, int]:
    """Of rows, by table."""
    return {
        table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }


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
