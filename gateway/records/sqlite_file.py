"""SQLite's file as a file: who may read it, whether it is still the one that was opened.

Nothing here knows SQL.
"""

import os
from pathlib import Path
from typing import NamedTuple

from gateway.records.faults import RecordsDown


class Identity(NamedTuple):
    """Which file it is, whatever its name. Its inode is not given to another while a connection holds it."""

    device: int
    inode: int


def identity(file: Path) -> Identity | None:
    """None where there is no file, or none can be looked at."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino)


def make_private(file: Path) -> None:
    """What was asked and answered is nobody else's business. The files beside it get its permissions. Raises
    RecordsDown where it cannot be made."""
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise RecordsDown(f"{file}: {folder} is not a folder") from exc
    except OSError as exc:
        raise RecordsDown(f"{file}: {folder} cannot be made: {exc.strerror}") from exc
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise RecordsDown(f"{file}: {exc.strerror}") from exc


def lies_still(file: Path) -> bool:
    """A copy in a folder that cannot be written to, as on a read-only mount: nobody writes to it, and there is no
    place for the files that WAL mode wants beside it (https://sqlite.org/wal.html#readonly)."""
    return not os.access(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()
