"""Which schema a database has, and whether it is this code's: one query, and no Alembic.

Alembic is an eighth of the time of a gateway's imports, and only an older database needs it (`migrate`).
Must stay true: a database that is newer than the code, or somebody else's, is refused.
"""

import sqlalchemy as sa

from gateway.records.faults import SchemaMismatch

REVISIONS = ("0001", "0002", "0003")
"""Of `migrations/`, oldest first."""
version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it."""


def is_new(connection: sa.Connection) -> bool:
    """Whether nothing of ours is in it yet."""
    return not sa.inspect(connection).has_table(version.name)


def is_behind(connection: sa.Connection) -> bool:
    """Whether migrations are missing. Raises SchemaMismatch, and the driver's errors."""
    if is_new(connection):
        return True
    found = connection.execute(sa.select(version.c.version_num)).scalars().all()
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
