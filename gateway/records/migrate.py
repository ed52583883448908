"""Brings a database to the schema of this code: from nothing, or from any older one.

Must stay true: of several processes that start at once, one migrates and the others wait for it; a database
that is newer than the code, or somebody else's, is left as it is.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.records.faults import SchemaMismatch

SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x5E7_9017
"""Any number, the same in all versions."""


def is_behind(connection: sa.Connection) -> bool:
    """Whether migrations are missing. Raises SchemaMismatch, and the driver's errors."""
    return _state(connection)[1]


def check(connection: sa.Connection) -> None:
    """For whoever only reads. Raises SchemaMismatch, and the driver's errors."""
    if is_behind(connection):
        raise SchemaMismatch(
            "the records database is empty, or older than this version of Setpoint: "
            "`setpoint serve` with this configuration brings it up to date"
        )


async def migrate(engine: AsyncEngine) -> None:
    """Run what migrations are missing, all of them or none. Raises SchemaMismatch, and the driver's errors."""
    async with engine.begin() as connection:  # SQLite: BEGIN IMMEDIATE, so one process at a time
        if connection.dialect.name == "postgresql":
            # A limit that the role has by default is for queries.
            await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    config, missing = _state(connection)
    if missing:
        command.upgrade(config, "head")


def _state(connection: sa.Connection) -> tuple[Config, bool]:
    """How to migrate, and whether that is needed. Raises SchemaMismatch."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    found = MigrationContext.configure(connection).get_current_heads()
    if not set(found) <= known:
        raise SchemaMismatch(
            f"the records database has a schema ({', '.join(found)}) that this version of Setpoint does not "
            "know: run the newer version that made it, or name another database"
        )
    return config, set(found) != set(scripts.get_heads())
