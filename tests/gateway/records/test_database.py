"""Connections and transactions: the same promises of SQLite and of PostgreSQL."""

import asyncio
import sqlite3
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import asdict

from gateway.records import database as module
from gateway.records import migrate
from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from gateway.records.execution_store import ExecutionStore
from gateway.records.faults import RecordsDown, RowRefused
from gateway.records.recording import Recorder
from gateway.records.schema import executions, tasks
from tests.fakes.closed import closed, resolved
from tests.support.postgres import PASSWORD, Postgres
from tests.support.wire import free_port

ROW = {"task_id": "t1", "caller": "", "operator": False, "body_digest": "", "accepted_s": 1.0} | {
    "state": "queued",
    "row_bytes": 0,
}


async def count(database: Database) -> int:
    counting = sa.select(sa.func.count()).select_from(tasks)
    return int(await database.reading(lambda connection: connection.execute(counting).scalar_one()))


async def insert(database: Database, **members: object) -> None:
    await database.writing(lambda connection: connection.execute(tasks.insert(), ROW | members))


async def test_what_was_written_is_there_for_the_next_process(url: DatabaseUrl) -> None:
    for number in range(2):
        database = Database(url)
        await insert(database, task_id=str(number))
        assert await count(database) == number + 1
        await database.aclose()


async def test_an_exception_leaves_nothing_behind(database: Database) -> None:
    def half(connection: sa.Connection) -> None:
        connection.execute(tasks.insert(), ROW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.writing(half)
    assert await count(database) == 0


async def test_writers_wait_for_one_another(database: Database) -> None:
    def both(number: int, connection: sa.Connection) -> None:
        query = sa.select(sa.func.count()).select_from(tasks)
        connection.execute(query)  # reads first: SQLite could not wait after that
        connection.execute(tasks.insert(), ROW | {"task_id": str(number)})

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(database.writing(partial(both, number)))
    assert await count(database) == 20


@pytest.mark.parametrize("wrong", [{"task_id": "t1"}, {"caller": None}, {"operator": "maybe"}])
async def test_a_row_that_is_wrong_is_told_from_a_database_that_is_down(
    database: Database, wrong: dict[str, object]
) -> None:
    await insert(database)
    with pytest.raises(RowRefused):
        await insert(database, **({"task_id": "t2"} | wrong))
    await insert(database, task_id="t3")


@pytest.mark.req("RUN-8")
async def test_a_value_that_the_driver_does_not_take_is_the_rows_fault(database: Database) -> None:
    for wrong in (
        {"row_bytes": 2**70},
        {"caller": "a \udcff of nobody's"},
        {"caller": object()},
        {"body": "a text"},
    ):
        with pytest.raises(RowRefused) as caught:
            await insert(database, **wrong)
        assert not any(value in str(caught.value) for value in ("nobody", "a text", "object at"))
    await insert(database)


@pytest.mark.req("RUN-8")
async def test_a_value_that_postgresql_does_not_take_is_the_rows_fault(
    postgres: Postgres, tmp_path: Path
) -> None:
    name = postgres.new_database()
    database = Database(parse(postgres.url(name), tmp_path))
    made = asdict(Recorder(resolved, str).rows(closed()).execution)
    wrong: list[tuple[sa.Column[Any], object]] = [
        (tasks.c.caller, "a NUL: \0"),
        (tasks.c.task_id, "".join(map(chr, range(0x4E00, 0x9000)))),
        (executions.c.facts, '{"a": "\\u0000"}'),
        (executions.c.facts, '{"a": "\\ud800"}'),
        (executions.c.facts, "no JSON"),
        (executions.c.facts, "[" * 100_000 + "]" * 100_000),
        (executions.c.facts, '{"a": ' + "9" * 200_000 + "}"),
        (executions.c.prompt_tokens, 2**40),
    ]
    for column, value in wrong:
        row: dict[str, object] = ROW if column.table is tasks else made
        change = column.table.insert().values(row | {column.name: value})
        with pytest.raises(RowRefused) as caught:
            await database.writing(partial(sa.Connection.execute, statement=change))
        assert len(str(caught.value)) < 100
    await insert(database)
    await database.aclose()
    postgres.drop(name)


async def test_no_message_holds_a_value(database: Database) -> None:
    await insert(database)
    with pytest.raises(RowRefused) as caught:
        await insert(database, caller="a caller's secret", body=b"a prompt")
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    assert "prompt" not in f"{caught.value} {caught.value.__cause__}"


async def test_sqlite_keeps_what_it_was_given_over_a_power_cut(tmp_path: Path) -> None:
    database = Database(parse("sqlite:///a.db", tmp_path))
    names = ("journal_mode", "synchronous", "auto_vacuum", "foreign_keys")
    told = await database.writing(
        lambda c: {name: c.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names}
    )
    await database.aclose()
    assert told == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 1, "foreign_keys": 1}


@pytest.mark.req("SEC-3")
async def test_sqlite_files_are_for_their_owner_only(tmp_path: Path) -> None:
    database = Database(parse("sqlite:///new/a.db", tmp_path))
    await insert(database)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    await database.aclose()
    assert modes == {0o600}


def remove(file: Path) -> None:
    for one in file.parent.glob(f"{file.name}*"):
        one.unlink()


def told_of(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.getMessage() == event]


@pytest.mark.req("RUN-8")
async def test_a_file_that_was_removed_is_made_anew_and_what_went_with_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a.db"
    database = Database(parse("sqlite:///a.db", tmp_path))
    await insert(database)
    await ExecutionStore(database).insert([Recorder(resolved, str).rows(closed())])
    remove(file)
    await insert(database, task_id="t2")
    assert await count(database) == 1
    await database.aclose()
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT task_id FROM tasks").fetchall() == [("t2",)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (told,) = told_of(caplog, "records_file_gone")
    assert (told["executions"], told["tasks"]) == (1, 1)


@pytest.mark.req("RUN-8")
async def test_a_batch_goes_into_the_file_that_is_there_now(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    database = Database(parse("sqlite:///a.db", tmp_path))
    store, rows = ExecutionStore(database), Recorder(resolved, str).rows
    for number in range(2):
        await store.insert([rows(closed(number))])
        with sqlite3.connect(file) as other:
            found = other.execute("SELECT request_id FROM executions").fetchall()
        assert found == [(f"req_{number}",)]
        remove(file)
    await database.aclose()


@pytest.mark.req("RUN-8")
async def test_a_batch_that_waits_too_long_for_another_writer_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_S", 5.0)
    database = Database(parse("sqlite:///a.db", tmp_path))
    store, row = ExecutionStore(database), Recorder(resolved, str).rows(closed())
    await store.insert([row])
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):  # the second waits behind the first
        with pytest.raises(RecordsDown, match="no answer within"):
            await store.insert([row])
    other.close()
    monkeypatch.undo()
    await store.insert([row])
    await database.aclose()


@pytest.mark.req("RUN-8")
async def test_another_file_in_its_place_is_written_to(tmp_path: Path) -> None:
    other = Database(parse("sqlite:///b.db", tmp_path))
    await insert(other, task_id="of the other")
    await other.aclose()
    database = Database(parse("sqlite:///a.db", tmp_path))
    await insert(database)
    remove(tmp_path / "a.db")
    (tmp_path / "b.db").rename(tmp_path / "a.db")
    assert await count(database) == 1
    await insert(database)
    assert await count(database) == 2
    await database.aclose()


@pytest.mark.req("RUN-8")
async def test_what_is_written_while_its_file_is_removed_has_to_be_written_again(
    tmp_path: Path,
) -> None:
    database = Database(parse("sqlite:///a.db", tmp_path))
    await insert(database)

    def overtaken(connection: sa.Connection) -> None:
        connection.execute(tasks.insert(), ROW | {"task_id": "t2"})
        remove(tmp_path / "a.db")

    with pytest.raises(
        RecordsDown, match=r"a\.db: it was removed, or another file put in its place"
    ):
        await database.writing(overtaken)
    await insert(database, task_id="t2")
    assert await count(database) == 1
    await database.aclose()


@pytest.mark.req("RUN-8")
async def test_a_file_that_could_not_be_brought_up_to_date_is_not_called_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_: object) -> None:
        raise OSError("no room")

    database = Database(parse("sqlite:///a.db", tmp_path))
    with monkeypatch.context() as failing:
        failing.setattr(migrate, "migrate", refuse)
        for _ in range(2):
            with pytest.raises(RecordsDown, match="no room"):
                await insert(database)
    await insert(database)
    assert told_of(caplog, "records_file_gone") == []
    await database.aclose()


@pytest.mark.req("RUN-8")
async def test_a_file_that_cannot_be_made_anew_is_down(tmp_path: Path) -> None:
    database = Database(parse("sqlite:///var/a.db", tmp_path))
    await insert(database)
    remove(tmp_path / "var" / "a.db")
    (tmp_path / "var").rmdir()
    (tmp_path / "var").touch()
    for _ in range(2):
        with pytest.raises(RecordsDown, match="var is not a folder"):
            await insert(database)
    (tmp_path / "var").unlink()
    await insert(database)
    assert await count(database) == 1
    await database.aclose()


async def test_a_file_that_is_no_database_is_down(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text(
        "something else altogether, and long enough to be looked at" * 20
    )
    database = Database(parse("sqlite:///a.db", tmp_path))
    with pytest.raises(RecordsDown, match="not a database"):
        await insert(database)
    await database.aclose()


async def test_a_folder_that_cannot_be_made_is_down(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(parse("sqlite:///file/a.db", tmp_path))
    with pytest.raises(RecordsDown, match=r"a\.db: .*/file is not a folder"):
        await insert(database)
    await database.aclose()


async def test_another_writer_that_does_not_end_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    database = Database(parse("sqlite:///a.db", tmp_path))
    await insert(database)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordsDown, match="locked"):
        await insert(database, task_id="t2")
    assert await count(database) == 1  # readers go on
    other.close()
    await insert(database, task_id="t2")
    await database.aclose()


async def test_postgresql_may_be_restarted_between_two_statements(own_postgres: Postgres) -> None:
    database = Database(parse(own_postgres.url(), Path()))
    await insert(database)
    own_postgres.kill()
    with pytest.raises(RecordsDown):
        await insert(database, task_id="t2")
    own_postgres.start()
    await insert(database, task_id="t2")
    own_postgres.kill()
    own_postgres.start()  # and nobody has noticed meanwhile
    await insert(database, task_id="t3")
    assert await count(database) == 3
    await database.aclose()


async def test_postgresql_that_hangs_is_down(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(parse(own_postgres.url(), Path()))
    await database.prepare()
    own_postgres.freeze()
    try:
        with monkeypatch.context() as impatient:  # only while nothing can be in time anyway
            impatient.setattr(module, "ANSWER_S", 0.3)
            impatient.setattr(module, "CONNECT_S", 0.3)
            for _ in range(6):  # more often than there are connections
                with pytest.raises(RecordsDown):
                    await insert(database)
    finally:
        own_postgres.thaw()
    await insert(database, task_id="t2")
    await database.aclose()


@pytest.mark.req("SEC-3", "SEC-4")
async def test_a_server_that_is_not_there_is_named_with_the_remedy_and_without_its_password() -> (
    None
):
    port = free_port()
    url = f"postgresql://web:hunter22@127.0.0.1:{port}/records"
    database = Database(parse(url, Path()), migrates=False)
    with pytest.raises(RecordsDown) as caught:
        await count(database)
    await database.aclose()
    told = str(caught.value)
    assert told.startswith(f"postgresql://web:***@127.0.0.1:{port}/records: ")
    assert told.endswith("; start it, or correct records.url")
    assert "hunter22" not in told


@pytest.mark.req("SEC-3")
async def test_a_wrong_password_is_told_without_it(postgres: Postgres) -> None:
    wrong = postgres.url().replace(PASSWORD, "hunter22")
    database = Database(parse(wrong, Path()))
    with pytest.raises(RecordsDown, match="password authentication failed") as caught:
        await insert(database)
    assert "hunter22" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await database.aclose()
