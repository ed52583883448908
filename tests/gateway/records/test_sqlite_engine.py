"""SQLite's transactions: in threads, one visit each, and no longer than somebody waits."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.records.sqlite_engine import SqliteEngine
from tests.gateway.records.visits import counting_visits

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a b%.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    return tmp_path / "a b%.db"


@pytest.fixture
async def engine(file: Path) -> AsyncIterator[SqliteEngine]:
    made = SqliteEngine(file, still=False, busy_s=5.0)
    yield made
    await made.dispose()


def add(number: int) -> Callable[[sa.Connection], None]:
    def work(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO numbers VALUES (?)", (number,))

    return work


def numbers(connection: sa.Connection) -> list[int]:
    return list(connection.exec_driver_sql("SELECT number FROM numbers ORDER BY 1").scalars())


@pytest.mark.req("OPS-4")
async def test_a_transaction_is_one_visit_to_a_thread(engine: SqliteEngine) -> None:
    def work(connection: sa.Connection) -> list[int]:
        for number in range(5):
            add(number)(connection)
        return numbers(connection)

    with counting_visits() as visits:
        assert await engine.run(work, writes=True) == [0, 1, 2, 3, 4]
        assert visits() == 1


@pytest.mark.req("RUN-8")
async def test_who_only_reads_does_not_wait_for_who_writes(engine: SqliteEngine) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slowly(connection: sa.Connection) -> None:
        add(1)(connection)
        begun.set()
        may_end.wait(10)

    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run(slowly, writes=True))
        await asyncio.to_thread(begun.wait, 10)
        assert await engine.run(numbers, writes=False) == []
        may_end.set()
    assert await engine.run(numbers, writes=False) == [1]


@pytest.mark.req("RUN-8")
async def test_a_transaction_that_nobody_waits_for_ends_and_is_undone(
    engine: SqliteEngine, file: Path
) -> None:
    begun = threading.Event()

    def endless(connection: sa.Connection) -> None:
        add(1)(connection)
        begun.set()
        connection.exec_driver_sql(ENDLESS)

    running = asyncio.gather(engine.run(endless, writes=True))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await engine.run(add(2), writes=True)  # within `busy_s`
    assert await engine.run(numbers, writes=False) == [2]


@pytest.mark.req("RUN-8")
async def test_what_is_done_when_nobody_waits_any_more_is_undone(engine: SqliteEngine) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slowly(connection: sa.Connection) -> None:
        add(1)(connection)
        begun.set()
        may_end.wait(10)

    running = asyncio.gather(engine.run(slowly, writes=True))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    may_end.set()
    await engine.run(add(2), writes=True)
    assert await engine.run(numbers, writes=False) == [2]


async def test_it_connects_again_after_it_was_disposed_of(engine: SqliteEngine) -> None:
    assert not engine.connected
    for number in range(2):
        await engine.run(add(number), writes=True)
        assert engine.connected
        await engine.dispose()
        assert not engine.connected
    assert await engine.run(numbers, writes=False) == [0, 1]
