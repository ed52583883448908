"""SQLite behind the records: a transaction is one visit to a thread.

With SQLAlchemy's asynchronous engine each statement would be several, and its imports, an ORM among them, 55 ms and
7 MB. Must stay true: a transaction that nobody waits for any more ends soon, and is undone.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import sqlalchemy as sa

from gateway.records.engine import CONNECTIONS, OPTIONS, Statement, Work, has_free
from gateway.records.sqlite_batches import SqliteBatches, connect

T = TypeVar("T")
STEPS = 100_000
"""Of SQLite's machine, between two looks whether a transaction is still wanted: about a millisecond."""


class SqliteEngine:
    """`still`: nobody writes to the file. `busy_s`: how long another writer is waited for."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, file: Path, *, still: bool, busy_s: float) -> None:
        # No connection makes the file: it would be readable for all, and an empty one in place of a removed one.
        uri = f"file:{quote(str(file))}?{'immutable=1' if still else 'mode=rw'}"
        self._batches = SqliteBatches(uri, busy_s=busy_s)
        self._threads = ThreadPoolExecutor(CONNECTIONS, "records")
        self._engine = sa.create_engine(
            "sqlite://", creator=lambda: connect(uri, busy_s), poolclass=sa.QueuePool, **OPTIONS
        )

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    @property
    def connected(self) -> bool:
        return has_free(self._engine.pool)

    async def run(self, work: Work[T], *, writes: bool) -> T:
        loop, unwanted = asyncio.get_running_loop(), threading.Event()
        try:
            return await loop.run_in_executor(self._threads, self._run, work, writes, unwanted)
        except asyncio.CancelledError:
            unwanted.set()
            raise

    async def write(self, statements: Sequence[Statement]) -> None:
        await self._batches.write(statements)

    async def dispose(self) -> None:
        await self._batches.close()
        # Whoever closes the last connection moves what is left in the write-ahead log.
        await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.dispose)

    def _run(self, work: Work[T], writes: bool, unwanted: threading.Event) -> T:
        with self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.set_progress_handler(unwanted.is_set, STEPS)
            # A transaction that reads first and writes later cannot wait for another writer; one that says so at
            # its beginning can.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")
            done = work(connection)
            if not unwanted.is_set():
                connection.commit()
            return done
