"""SQLite's way for many rows at once: one connection, and one visit to its thread for a whole transaction.

SQLAlchemy takes 2 us a row where this takes 1 us, and would not let requests by in between. Must stay true: of a batch
all is on disk, or nothing is in the file.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from time import sleep

from gateway.records.engine import Statement

PIECE = 32
"""Rows at a stretch: a third of a millisecond."""
BREATH_S = 0.0003
"""Between two stretches. Where requests have to share their core with this thread, the kernel would give it back
to them only after some 3 ms."""
PRAGMAS = (
    # A 202 is a promise over a power cut, which NORMAL would not keep in WAL mode. Records are
    # written in batches, so that their share of the fsyncs is small.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
"""Of every connection."""
# Of each None sqlite3 looks in vain how it is to be adapted: 0.34 us, and nine of them are an eighth of what writing a
# record takes. For a type that it knows it asks here, which takes half as long.
sqlite3.register_adapter(type(None), {None: None}.__getitem__)


def connect(uri: str, busy_s: float) -> sqlite3.Connection:
    """Transactions begin where they are told to, and nowhere else. It may go from one thread to another."""
    connection = sqlite3.connect(
        uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


class SqliteBatches:
    """Opens `uri` when it is first used, and again after `close`."""

    def __init__(self, uri: str, *, busy_s: float) -> None:
        self._uri = uri
        self._busy_s = busy_s
        self._thread = ThreadPoolExecutor(1, "records")
        self._connection: sqlite3.Connection | None = None

    async def write(self, statements: Sequence[Statement]) -> None:
        """In one transaction. Raises what sqlite3 does; who is cancelled does not know whether it was written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, statements)

    async def close(self) -> None:
        """After what is being written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    def _write(self, statements: Sequence[Statement]) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = connect(self._uri, self._busy_s)
        try:
            # Who reads first and writes later cannot wait for another writer; who says so at once can.
            connection.execute("BEGIN IMMEDIATE")
            for sql, rows in statements:
                rest = iter(rows)
                while piece := list(islice(rest, PIECE)):
                    connection.executemany(sql, piece)
                    sleep(BREATH_S)
            connection.execute("COMMIT")
        except BaseException:
            self._close()  # what was begun is undone, and whatever is wrong with the connection is gone
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
