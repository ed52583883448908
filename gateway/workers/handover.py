"""What the supervisor hands to a process that it starts: the configuration in force, and the process's part.

Over the pipe that is the child's standard input, and nowhere else: a process that is started again must have
the configuration of the others, whatever the file says by then. Must stay true: here, and only here, secrets
leave their `SecretValue`; nothing of it is written to a disk, an argument or the environment.
"""

import errno
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from gateway.secrets import SecretValue
from gateway.settings import LoadedConfig

SOCKET_PATH_BYTES = 103
"""What every system takes as the path of a socket; Linux takes 107."""
_LENGTH = struct.Struct("<I")


class Pipe(Protocol):
    """Unbuffered: what is not read stays in it."""

    def read(self, size: int, /) -> bytes | None: ...


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """`folder` holds the sockets of all processes and is only theirs. `alive` are the workers that live
    when a hub is started; `first` is set while nothing listens yet."""

    loaded: LoadedConfig
    part: Literal["hub", "worker"]
    number: int
    count: int
    folder: Path
    port: int
    first: bool
    restarts: int = 0
    """Processes that were started again so far."""
    alive: tuple[int, ...] = ()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, SecretValue):
            return SecretValue, (value.reveal(),)
        return NotImplemented


def hand_over(handover: Handover) -> bytes:
    """For the child's standard input."""
    written = io.BytesIO()
    _Pickler(written).dump(handover)
    return _LENGTH.pack(written.tell()) + written.getvalue()


def take_over(pipe: Pipe) -> Handover:
    """Read what the parent has written; what follows in the pipe stays there. Raises EOFError where the
    parent is gone."""
    (size,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    handover = pickle.loads(_exactly(pipe, size))
    assert isinstance(handover, Handover)
    return handover


def _exactly(pipe: Pipe, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = pipe.read(size - len(data))
        if not more:
            raise EOFError("the supervisor is gone")
        data += more
    return data


def hub_socket(folder: Path) -> str:
    """Where the hub answers HTTP."""
    return str(folder / "hub")


def link_socket(folder: Path) -> str:
    """Where workers talk to the hub."""
    return str(folder / "link")


def worker_socket(folder: Path, number: int) -> str:
    """Where a worker answers the others."""
    return str(folder / f"worker-{number}")


def check_paths(folder: Path, count: int) -> None:
    """Raises OSError (ENAMETOOLONG) where the sockets of so many workers cannot be there."""
    longest = len(os.fsencode(worker_socket(folder, count)))
    if longest > SOCKET_PATH_BYTES:
        raise OSError(
            errno.ENAMETOOLONG,
            f"the processes talk over sockets in {folder}, and a path of {longest} bytes is too long for one: "
            "set TMPDIR to a folder with a shorter path",
        )


def log_lock(folder: Path) -> Path:
    """Locked by whoever writes to the log."""
    return folder / "log.lock"


def metrics_file(folder: Path) -> Path:
    """What was shown of the metrics last, for the next hub."""
    return folder / "metrics"


def listening_mark(folder: Path) -> Path:
    """Is there once all workers have listened: from then on, whoever dies is started again."""
    return folder / "listening"
