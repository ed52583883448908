"""Brings a database to the schema of this code: from nothing, or from any older one.

A new one is made at once; only for an older one is Alembic needed (`older`), which is an eighth of the time of a
gateway's imports. Must stay true: both ways lead to the same schema, and of several processes that start at
once, one migrates and the others wait for it.
"""

import sqlalchemy as sa

from gateway.records.engine import Engine
from gateway.records.revision import REVISIONS, is_behind, is_new, version
from gateway.records.schema import metadata

_ADVISORY_LOCK = 0x5E7_9017
"""Any number, the same in all versions."""


async def migrate(engine: Engine) -> None:
    """Do what is missing, all of it or nothing. Raises SchemaMismatch, and the driver's errors."""
    # SQLite: BEGIN IMMEDIATE, so one process at a time
    await engine.run(_bring_up_to_date, writes=True)


def _bring_up_to_date(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # A limit that the role has by default is for queries.
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    if not is_behind(connection):  # another process was quicker
        return
    if is_new(connection):
        _make(connection)
        return
    from gateway.records.older import upgrade

    upgrade(connection)


def _make(connection: sa.Connection) -> None:
    """All tables, and what Alembic would note of them. A table that is there already is somebody else's."""
    metadata.create_all(connection, checkfirst=False)
    version.create(connection)
    connection.execute(version.insert().values(version_num=REVISIONS[-1]))
