"""What leaves the records, and what stays."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.records import retention as module
from gateway.records.database import Database
from gateway.records.database_url import parse
from gateway.records.execution_store import ExecutionStore
from gateway.records.recording import Recorder
from gateway.records.retention import remove_old
from gateway.records.schema import attempts, executions, tasks
from gateway.records.task_store import TaskRecords
from gateway.tasks.store import StoredTask
from tests.fakes.closed import closed, resolved

START_S = 1_800_000_000.0
A_LOT = 10**9


async def fill(database: Database, count: int, **members: Any) -> int:
    """Executions a second apart; returns the bytes of one."""
    make = Recorder(resolved, str).rows
    rows = [make(closed(number, **members)) for number in range(count)]
    await ExecutionStore(database).insert(rows)
    return rows[0].execution.row_bytes


async def task(database: Database, task_id: str, *, ended_s: float | None) -> None:
    store = TaskRecords(database, now_s=lambda: ended_s or 0.0)
    await store.accept(
        StoredTask(
            task_id=task_id,
            caller="web",
            operator=False,
            body=b"{}",
            headers={},
            idempotency_key=None,
            body_digest="",
            accepted_s=START_S - 1e6,
        )
    )
    if ended_s is not None:
        await store.ended(task_id, "succeeded", b"{}")


async def left(database: Database, table: sa.Table) -> list[Any]:
    first = next(iter(table.c)) if table is not executions else table.c.request_id
    return sorted(await database.reading(lambda c: c.scalars(sa.select(first)).all()))


async def test_what_is_too_old_goes_with_its_attempts(database: Database) -> None:
    await fill(database, 5)
    await task(database, "old", ended_s=START_S - 1)
    await task(database, "new", ended_s=START_S + 9)
    await task(database, "waiting", ended_s=None)
    removed = await remove_old(database, keep_s=7.0, max_bytes=A_LOT, now_s=START_S + 10.0)
    assert removed == (3, 1)
    assert await left(database, executions) == ["req_3", "req_4"]
    assert len(await left(database, attempts)) == 2
    assert await left(database, tasks) == ["new", "waiting"]
    again = await remove_old(database, keep_s=7.0, max_bytes=A_LOT, now_s=START_S + 10.0)
    assert again == (0, 0)


async def test_what_is_too_much_goes_oldest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    each = await fill(database, 10)
    await task(database, "old", ended_s=START_S - 1)
    await task(database, "waiting", ended_s=None)
    removed = await remove_old(database, keep_s=1e9, max_bytes=each * 9, now_s=START_S + 10.0)
    assert removed == (2, 1)
    assert await left(database, executions) == [f"req_{n}" for n in range(2, 10)]
    assert await left(database, tasks) == ["waiting"]
    assert await remove_old(database, keep_s=1e9, max_bytes=each * 9, now_s=START_S + 10.0) == (
        0,
        0,
    )


@pytest.mark.req("RUN-8")
async def test_no_more_goes_than_has_to(database: Database) -> None:
    each = await fill(database, 60)
    removed = await remove_old(database, keep_s=1e9, max_bytes=each * 50, now_s=START_S + 100.0)
    assert removed == (15, 0)
    assert await left(database, executions) == sorted(f"req_{n}" for n in range(15, 60))


@pytest.mark.req("RUN-8")
@pytest.mark.parametrize(("keep_s", "of"), [(0.0, 60), (1e9, 50)])
async def test_large_rows_go_a_few_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch, keep_s: float, of: int
) -> None:
    each = await fill(database, 60)
    monkeypatch.setattr(module, "CHUNK_BYTES", each * 5)
    steps = 0

    def listen(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal steps
        steps += statement.startswith("DELETE FROM executions")

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    removed, _ = await remove_old(
        database, keep_s=keep_s, max_bytes=each * of, now_s=START_S + 100.0
    )
    sa.event.remove(sa.Engine, "before_cursor_execute", listen)
    assert steps == removed / 5


@pytest.mark.req("RUN-8")
async def test_the_size_is_asked_once_and_nothing_scans_the_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    each = await fill(database, 20)
    await task(database, "old", ended_s=START_S - 1)
    said: list[str] = []

    def listen(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        said.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    await remove_old(database, keep_s=1e9, max_bytes=each * 10, now_s=START_S + 30.0)
    sa.event.remove(sa.Engine, "before_cursor_execute", listen)
    assert sum("sum(" in statement for statement in said) == 1
    if database.is_sqlite:  # PostgreSQL decides by what there is, and here is next to nothing
        asked = [s for s in said if s.startswith(("SELECT", "DELETE"))]
        assert asked
        read = await database.reading(lambda connection: whole_reads(asked, connection))
        assert all("COVERING INDEX" in one for one in read), read


def whole_reads(statements: list[str], connection: sa.Connection) -> list[str]:
    """What SQLite says of those that go through all that a table or an index has."""
    tables = ("SCAN executions", "SCAN tasks", "SCAN attempts")
    found = []
    for statement in dict.fromkeys(statements):
        values = (9,) * statement.count("?")
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        found += [row.detail for row in plan if row.detail.startswith(tables)]
    return found


async def test_tasks_that_have_not_ended_stay_whatever_the_bound(database: Database) -> None:
    await task(database, "waiting", ended_s=None)
    assert await remove_old(database, keep_s=0.0, max_bytes=0, now_s=START_S) == (0, 0)
    assert await left(database, tasks) == ["waiting"]


async def test_a_file_of_sqlite_gives_its_room_back(tmp_path: Path) -> None:
    async def pages() -> int:
        return await database.reading(
            lambda c: int(c.exec_driver_sql("PRAGMA page_count").scalar_one())
        )

    database = Database(parse("sqlite:///a.db", tmp_path))
    await fill(database, 1000)
    before = await pages()
    await remove_old(database, keep_s=0.0, max_bytes=A_LOT, now_s=START_S + 1e6)
    after = await pages()
    await database.aclose()
    assert after < before / 4
