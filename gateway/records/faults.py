"""What can go wrong between the records and their database, in three words.

`RecordsDown` passes: the same thing may work later. `RowRefused` does not: the database will never take it.
`SchemaMismatch` ends the start: this code must not touch that database.
"""


class RecordsDown(Exception):
    """The database cannot be reached, or does not answer in time."""


class RowRefused(Exception):
    """The database is well and will not take this: no use repeating it."""


class SchemaMismatch(OSError):
    """The database belongs to another version of Setpoint, or to something else."""
