"""An older database: it gets what it lacks, and keeps what it has."""

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl
from gateway.records.execution_store import ExecutionStore
from gateway.records.older import configuration
from gateway.records.revision import REVISIONS
from tests.fakes.closed import closed, kept, recorded


@pytest.mark.req("RUN-8")
def test_the_revisions_that_are_known_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(configuration())
    newest_first = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(newest_first)) == REVISIONS


def make_old(connection: sa.Connection) -> None:
    for name in ("native", "answer", "body_missing"):
        connection.execute(sa.text(f"ALTER TABLE executions DROP COLUMN {name}"))
    connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))


async def test_a_database_of_the_first_version_keeps_its_rows(url: DatabaseUrl) -> None:
    database = Database(url)
    await ExecutionStore(database).insert([recorded(closed(kept=kept()))])
    await database.writing(make_old)
    await database.aclose()
    database = Database(url)
    found = await ExecutionStore(database).find("req_0")
    assert found is not None
    assert found["body"] == b'{"model":"assistant","messages":[{"role":"user"}]}'
    assert (found["answer"], found["body_missing"]) == (None, None)
    await database.aclose()
