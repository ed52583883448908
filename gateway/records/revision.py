"""Which schema a database has, and whether it is this code's: one query, and no Alembic.

Alembic is an eighth of the time of a gateway's imports, and only a new or an older database needs it (`migrate`).
Must stay true: a database that is newer than the code, or somebody else's, is refused.
"""

import sqlalchemy as sa

from gateway.records.faults import SchemaMismatch

REVISIONS = ("0001", "0002", "0003")
"""Of `migrations/`, oldest first."""
_version = sa.table("alembic_version", sa.column("version_num"))


def is_behind(connection: sa.Connection) -> bool:
    """Whether migrations are missing. Raises SchemaMismatch, and the driver's errors."""
    if not sa.inspect(connection).has_table(_version.name):
        return True
    found = connection.execute(sa.select(_version.c.version_num)).scalars().all()
    if not set(found) <= set(REVISIONS):
        raise SchemaMismatch(
            f"the records database has a schema ({', '.join(found)}) that this version of Setpoint does not "
            "know: run the newer version that made it, or name another database"
        )
    return list(found) != [REVISIONS[-1]]


def check(connection: sa.Connection) -> None:
    """For whoever only reads. Raises SchemaMismatch, and the driver's errors."""
    if is_behind(connection):
        raise SchemaMismatch(
            "the records database is empty, or older than this version of Setpoint: "
            "`setpoint serve` with this configuration brings it up to date"
        )
