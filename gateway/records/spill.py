"""Records in local files of JSON Lines, while the database is down.

Several processes may share a folder and a name: each writes to a file that it alone has locked, and takes up
those of processes that have ended. Bounded, and read back in the order of writing. Blocking: call it from a
thread. Must stay true: what `append` says it kept is in a file that has a name; lines that were read are in it
until `forget`, so that a crash brings them back rather than losing them; no two processes read the same.
"""

import fcntl
import os
import threading
from pathlib import Path

MAX_BYTES = 256 * 1024 * 1024
NAMES = 16
"""Processes that may share one folder: each takes the first file that nobody holds."""
TRIES = 8
"""For one name, while its owners remove it as fast as it is opened."""


class _Held:
    """A file that this process has locked."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self.file = file
        self.size = os.fstat(file).st_size
        self.read_to = 0
        """What is before this has been written to the database."""
        if self.size and os.pread(file, 1, self.size - 1) != b"\n":
            self.size += os.write(file, b"\n")  # a crash cut the last line

    @property
    def waiting_bytes(self) -> int:
        return self.size - self.read_to

    def close(self) -> None:
        """Remove it if nothing waits in it: before its lock is gone, so that nobody else writes to it."""
        if self.size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self.file)


class Spill:
    """One process's. Its file is made when it is first needed. Raises OSError where the disk does."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # a cancelled caller may have left its thread at work
        self._own: _Held | None = None
        self._left: list[_Held] = []
        """By other processes, which have ended."""
        self._reading: _Held | None = None

    @property
    def waiting_bytes(self) -> int:
        """What is still to be read back."""
        return sum(held.waiting_bytes for held in self._all())

    def take_up(self) -> None:
        """Look for what other processes left behind when they ended. More than once is fine."""
        with self._lock:
            mine = {held.path for held in self._all()}
            for path in self._names():
                if path in mine or (held := _hold(path, make=False)) is None:
                    continue
                if held.size == 0:
                    held.close()
                elif self._own is None:
                    self._own = held
                else:
                    self._left.append(held)

    def append(self, lines: list[bytes]) -> int:
        """Keep `lines`, in order, as far as they fit. Returns how many."""
        with self._lock:
            own = self._file()
            kept, size = 0, own.size
            for line in lines:
                if size + len(line) + 1 > self._max_bytes:
                    break
                size += len(line) + 1
                kept += 1
            block = b"".join(line + b"\n" for line in lines[:kept])
            try:
                _write_all(own.file, block)
            except OSError:
                os.ftruncate(own.file, own.size)  # half a line would spoil the next one
                raise
            own.size = size
            return kept

    def read(self, count: int, most_bytes: int) -> tuple[list[bytes], int]:
        """The oldest lines that wait in one file, at most `count` of them and no more than `most_bytes` but for
        one line, and what `forget` is to be told. What others left comes first."""
        with self._lock:
            held = next((one for one in self._all() if one.waiting_bytes), None)
            if held is None:
                return [], 0
            self._reading, at = held, held.read_to
            lines: list[bytes] = []
            with os.fdopen(os.dup(held.file), "rb") as reader:
                reader.seek(at)
                while len(lines) < count and at < held.size and at - held.read_to < most_bytes:
                    line = reader.readline()
                    if not line:  # somebody else has cut the file
                        at = held.size
                        break
                    at += len(line)
                    lines.append(line.removesuffix(b"\n"))
            return lines, at

    def forget(self, read_to: int) -> None:
        """What stands before `read_to`, in the file that was read last, is in the database."""
        with self._lock:
            held = self._reading
            if held is None:
                return
            held.read_to = read_to
            if read_to < held.size:
                return
            os.ftruncate(held.file, 0)
            held.size = held.read_to = 0
            if held in self._left:
                self._left.remove(held)
                held.close()
            self._reading = None

    def close(self) -> None:
        """Let go of the files; remove those in which nothing waits."""
        with self._lock:
            for held in self._all():
                held.close()
            self._own = self._reading = None
            self._left = []

    def _all(self) -> list[_Held]:
        """In the order of reading."""
        return [*self._left, self._own] if self._own is not None else list(self._left)

    def _names(self) -> list[Path]:
        others = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, NAMES)]
        return [self._path, *others]

    def _file(self) -> _Held:
        """Its own: the first that no other process holds."""
        if self._own is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            found = (_hold(path, make=True) for path in self._names())
            self._own = next((held for held in found if held is not None), None)
        if self._own is None:
            raise BlockingIOError(f"{NAMES} processes hold {self._path} and its siblings")
        return self._own


def _hold(path: Path, *, make: bool) -> _Held | None:
    """The file, locked. None where another process has it; or where there is none, unless it is to be made."""
    for _ in range(TRIES):
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if make else 0)
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            if make:
                raise
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, file):
                return _Held(path, file)
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner has removed it meanwhile
    return None


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _write_all(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
