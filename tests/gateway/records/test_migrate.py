"""The schema: from nothing, again, at the same time, and of another version."""

import asyncio
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.records import database as module
from gateway.records import migrate as migrations
from gateway.records import older
from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from gateway.records.engine import Engine
from gateway.records.execution_store import ExecutionStore
from gateway.records.faults import RecordsDown, SchemaMismatch
from gateway.records.migrate import _ADVISORY_LOCK
from gateway.records.postgresql_engine import PostgresqlEngine
from gateway.records.recording import Recorder
from gateway.records.revision import version
from gateway.records.schema import metadata
from tests.fakes.closed import closed, resolved
from tests.support.postgres import Postgres

TABLES = {"alembic_version", "attempts", "executions", "tasks"}


async def tables(database: Database) -> set[str]:
    return set(await database.reading(lambda c: sa.inspect(c).get_table_names()))


@pytest.mark.req("RUN-8")
async def test_an_empty_database_gets_the_schema_and_keeps_it(url: DatabaseUrl) -> None:
    for _ in range(2):
        database = Database(url)
        assert await tables(database) == TABLES
        await database.aclose()


async def test_the_migrations_make_what_the_code_wants(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )

    assert await database.reading(differences) == []


def _described(connection: sa.Connection) -> dict[str, Any]:
    """All that a schema is made of, by table, with the names that it has."""
    found: dict[str, Any] = {}
    look = sa.inspect(connection)
    for table in sorted(look.get_table_names()):
        columns = [
            (c["name"], str(c["type"]), c["nullable"], c["default"])
            for c in look.get_columns(table)
        ]
        found[table] = (
            columns,
            look.get_pk_constraint(table),
            sorted(look.get_indexes(table), key=lambda index: str(index["name"])),
            sorted(look.get_unique_constraints(table), key=str),
            look.get_foreign_keys(table),
            look.get_check_constraints(table),
        )
    found["revisions"] = connection.execute(sa.select(version)).scalars().all()
    return found


def _drop_all(connection: sa.Connection) -> None:
    for table in (*reversed(metadata.sorted_tables), version):
        connection.execute(sa.schema.DropTable(table))


@pytest.mark.req("RUN-8")
async def test_a_new_database_is_as_the_migrations_make_it(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas: list[dict[str, Any]] = []
    for make in (migrations._make, older.upgrade):
        monkeypatch.setattr(migrations, "_make", make)
        database = Database(url)
        schemas.append(await database.reading(_described))
        await database.writing(_drop_all)
        await database.aclose()
    made, migrated = schemas
    assert len(made["executions"][0]) == len(metadata.tables["executions"].c)
    assert made == migrated


async def test_tables_of_somebody_else_are_not_taken_over(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as other:
        other.execute("CREATE TABLE tasks (name TEXT)")
    database = Database(parse("sqlite:///a.db", tmp_path))
    with pytest.raises(RecordsDown, match="tasks already exists"):
        await database.prepare()
    database._ready = True
    assert await tables(database) == {"tasks"}
    await database.aclose()


async def test_processes_that_start_at_once_do_not_collide(url: DatabaseUrl) -> None:
    databases = [Database(url) for _ in range(6)]
    await asyncio.gather(*(database.prepare() for database in databases))
    assert await tables(databases[0]) == TABLES
    for database in databases:
        await database.aclose()


class Slow:
    """Migrations that wait until they may go on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_go_on = asyncio.Event(), asyncio.Event()
        self._migrate = migrations.migrate
        patch.setattr(migrations, "migrate", self._wait)

    async def _wait(self, engine: Engine) -> None:
        self.begun.set()
        await self.may_go_on.wait()
        await self._migrate(engine)


@pytest.mark.req("RUN-8")
async def test_a_migration_may_take_longer_than_any_answer(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database, slow = Database(url), Slow(monkeypatch)
    with caplog.at_level("INFO"):
        first = asyncio.gather(database.prepare())
        await slow.begun.wait()
        database._began_s -= module.ANSWER_S
        with pytest.raises(RecordsDown, match="being brought up to date"):
            await database.prepare()
        slow.may_go_on.set()
        await first
    assert await tables(database) == TABLES
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("records_")]
    assert told == ["records_migrating", "records_migrated"]
    await database.aclose()


async def test_a_gateway_that_stops_does_not_wait_for_its_migration(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, slow = Database(url), Slow(monkeypatch)
    first = asyncio.gather(database.prepare(), return_exceptions=True)
    await slow.begun.wait()
    await database.aclose()
    await first
    slow.may_go_on.set()
    database = Database(url)
    assert await tables(database) == TABLES
    await database.aclose()


async def test_postgresql_takes_one_migration_at_a_time(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.new_database()
    url = parse(postgres.url(name), tmp_path)
    second = Database(url)
    first = PostgresqlEngine(url, answer_s=module.ANSWER_S, connect_s=module.CONNECT_S)
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with first._engine.begin() as holding:
        await holding.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        preparing = asyncio.gather(second.prepare())
        while not (await holding.execute(waiting)).scalar_one():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        assert not await holding.run_sync(lambda c: sa.inspect(c).get_table_names())
    await preparing
    assert await tables(second) == TABLES
    await first.dispose()
    await second.aclose()
    postgres.drop(name)


async def test_who_only_reads_needs_no_right_to_write(tmp_path: Path) -> None:
    url = parse("sqlite:///a.db", tmp_path)
    database = Database(url)
    await ExecutionStore(database).insert([Recorder(resolved, str).rows(closed())])
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as a long transaction of the gateway's
    reader = Database(url, migrates=False)
    assert await ExecutionStore(reader).find("req_0") is not None
    other.close()
    await reader.aclose()
    await database.aclose()


async def test_a_copy_on_a_read_only_mount_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = parse("sqlite:///a%b c.db", tmp_path)
    database = Database(url)
    await ExecutionStore(database).insert([Recorder(resolved, str).rows(closed())])
    await database.aclose()
    before = os.listdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda folder, how: folder != tmp_path)
    reader = Database(url, migrates=False)
    count = sa.text("SELECT count(*) FROM executions")

    def look(connection: sa.Connection) -> list[str]:
        connection.execute(count)
        return os.listdir(tmp_path)

    assert await reader.reading(look) == before  # no files of WAL mode
    assert await ExecutionStore(reader).find("req_0") is not None
    await reader.aclose()


async def test_a_newer_schema_is_left_alone(url: DatabaseUrl) -> None:
    database = Database(url)
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await database.writing(lambda connection: connection.execute(newer))
    await database.aclose()
    database = Database(url)
    with pytest.raises(SchemaMismatch, match=r"9999.*newer version"):
        await database.prepare()
    await database.aclose()


async def test_a_failing_migration_leaves_nothing_half_done(tmp_path: Path) -> None:
    database = Database(parse("sqlite:///a.db", tmp_path))
    for change in ("DROP TABLE attempts", "DROP TABLE tasks", "DELETE FROM alembic_version"):
        await database.writing(partial(sa.Connection.exec_driver_sql, statement=change))
    await database.aclose()
    database = Database(parse("sqlite:///a.db", tmp_path))  # `executions` is in the way
    with pytest.raises(Exception, match="executions"):
        await database.prepare()
    await database.aclose()
    database = Database(parse("sqlite:///a.db", tmp_path))
    database._ready = True
    assert await tables(database) == {"alembic_version", "executions"}
    await database.aclose()
