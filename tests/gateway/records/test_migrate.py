"""The schema: from nothing, again, at the same time, and of another version."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from gateway.records.execution_store import ExecutionStore
from gateway.records.faults import SchemaMismatch
from gateway.records.recording import Recorder
from gateway.records.schema import metadata
from tests.fakes.closed import closed, kept, resolved

TABLES = {"alembic_version", "attempts", "executions", "tasks"}


async def tables(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda c: sa.inspect(c).get_table_names()))


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

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_of_the_first_version_keeps_its_rows(url: DatabaseUrl) -> None:
    database = Database(url)
    await ExecutionStore(database).insert([Recorder(resolved, str).rows(closed(kept=kept()))])
    async with database.writing() as connection:
        for name in ("native", "answer"):
            await connection.execute(sa.text(f"ALTER TABLE executions DROP COLUMN {name}"))
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    await database.aclose()
    database = Database(url)
    found = await ExecutionStore(database).find("req_0")
    assert found is not None
    assert found["body"] == b'{"model":"assistant","messages":[{"role":"user"}]}'
    assert found["answer"] is None
    await database.aclose()


async def test_processes_that_start_at_once_do_not_collide(url: DatabaseUrl) -> None:
    databases = [Database(url) for _ in range(6)]
    await asyncio.gather(*(database.prepare() for database in databases))
    assert await tables(databases[0]) == TABLES
    for database in databases:
        await database.aclose()


async def test_a_newer_schema_is_left_alone(url: DatabaseUrl) -> None:
    database = Database(url)
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await database.aclose()
    database = Database(url)
    with pytest.raises(SchemaMismatch, match=r"9999.*newer version"):
        await database.prepare()
    await database.aclose()


async def test_a_failing_migration_leaves_nothing_half_done(tmp_path: Path) -> None:
    database = Database(parse("sqlite:///a.db", tmp_path))
    async with database.writing() as connection:
        await connection.execute(sa.text("DROP TABLE attempts"))
        await connection.execute(sa.text("DROP TABLE tasks"))
        await connection.execute(sa.text("DELETE FROM alembic_version"))
    await database.aclose()
    database = Database(parse("sqlite:///a.db", tmp_path))  # `executions` is in the way
    with pytest.raises(Exception, match="executions"):
        await database.prepare()
    await database.aclose()
    database = Database(parse("sqlite:///a.db", tmp_path))
    database._ready = True
    assert await tables(database) == {"alembic_version", "executions"}
    await database.aclose()
