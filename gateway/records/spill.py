"""Records in a local file of JSON Lines, while the database is down.

Bounded, for one process at a time, and read back in the order of writing. Blocking: call it from a thread.
Must stay true: what `append` says it kept is in the file; lines that were read are in it until `forget`, so
that a crash brings them back rather than losing them.
"""

import fcntl
import os
import threading
from pathlib import Path

MAX_BYTES = 256 * 1024 * 1024
NAMES = 16
"""Processes that may share one folder: each takes the first file that nobody holds."""


class Spill:
    """One file, made when it is first needed. Raises OSError where the disk does."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # a cancelled caller may have left its thread at work
        self._file: int | None = None
        self._held = path
        self._size = 0
        self._read_to = 0
        """What is before this has been written to the database."""

    @property
    def waiting_bytes(self) -> int:
        """What is still to be read back."""
        return self._size - self._read_to

    def open_existing(self) -> None:
        """Take up what an earlier process left behind, if it did."""
        with self._lock:
            if any(name.exists() for name in self._names()):
                self._open()

    def append(self, lines: list[bytes]) -> int:
        """Keep `lines`, in order, as far as they fit. Returns how many."""
        with self._lock:
            file, kept, size = self._open(), 0, self._size
            for line in lines:
                if size + len(line) + 1 > self._max_bytes:
                    break
                size += len(line) + 1
                kept += 1
            block = b"".join(line + b"\n" for line in lines[:kept])
            try:
                _write_all(file, block)
            except OSError:
                os.ftruncate(file, self._size)  # half a line would spoil the next one
                raise
            self._size = size
            return kept

    def read(self, count: int, most_bytes: int) -> tuple[list[bytes], int]:
        """The oldest lines that wait, at most `count` of them and no more than `most_bytes` but for one
        line, and what `forget` is to be told."""
        with self._lock:
            file, at = self._open(), self._read_to
            lines: list[bytes] = []
            with os.fdopen(os.dup(file), "rb") as reader:
                reader.seek(at)
                while len(lines) < count and at < self._size and at - self._read_to < most_bytes:
                    line = reader.readline()
                    if not line:  # somebody else has cut the file
                        at = self._size
                        break
                    at += len(line)
                    lines.append(line.removesuffix(b"\n"))
            return lines, at

    def forget(self, read_to: int) -> None:
        """What stands before `read_to` is in the database."""
        with self._lock:
            self._read_to = read_to
            if read_to >= self._size:
                os.ftruncate(self._open(), 0)
                self._size = self._read_to = 0

    def close(self) -> None:
        """Let go of the file; remove it if nothing waits in it."""
        with self._lock:
            if self._file is None:
                return
            if self._size == 0:
                self._held.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _names(self) -> list[Path]:
        others = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, NAMES)]
        return [self._path, *others]

    def _open(self) -> int:
        """The first of the files that no other process holds."""
        if self._file is not None:
            return self._file
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for name in self._names():
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            self._file, self._held = file, name
            self._size, self._read_to = os.fstat(file).st_size, 0
            if self._size and os.pread(file, 1, self._size - 1) != b"\n":
                self._size += os.write(file, b"\n")  # a crash cut the last line
            return file
        raise BlockingIOError(f"{NAMES} processes hold {self._path} and its siblings")


def _write_all(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
