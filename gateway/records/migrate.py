"""Brings a database to the schema of this code: from nothing, or from any older one.

Imports Alembic, so import it only where migrations are missing (`revision`). Must stay true: of several
processes that start at once, one migrates and the others wait for it.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.records.revision import is_behind

SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x5E7_9017
"""Any number, the same in all versions."""


async def migrate(engine: AsyncEngine) -> None:
    """Run what migrations are missing, all of them or none. Raises SchemaMismatch, and the driver's errors."""
    async with engine.begin() as connection:  # SQLite: BEGIN IMMEDIATE, so one process at a time
        if connection.dialect.name == "postgresql":
            # A limit that the role has by default is for queries.
            await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    if not is_behind(connection):  # another process was quicker
        return
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def configuration() -> Config:
    """What Alembic is told of `migrations/`."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
