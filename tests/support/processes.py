"""A server as a child process: started, watched until it is ready, and ended by its own pid.

What it wrote is kept in files, so that no pipe can fill up, and stands in the message of every
failure. What a particular server is ready by, or logs, is not known here.
"""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

START_S = 60.0
"""A loaded machine may take long; a server that exits is noticed at once."""
STOP_S = 15.0
POLL_S = 0.02
_TAIL_BYTES = 4000
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


def eventually(
    look: Callable[[], T], what: str, *, within_s: float = 20.0, every_s: float = POLL_S
) -> T:
    """The first true value that `look` returns. AssertionError, with the last value, if none comes."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {found!r}")
        time.sleep(every_s)


class Server(ABC):
    """A child process with stdout and stderr in files under `folder`.

    `env` is put over a small environment: no provider key of the developer's gets in.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        self._env = {key: os.environ[key] for key in _KEPT if key in os.environ} | dict(env or {})
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def stdout(self) -> str:
        return self._out.read_text("utf-8", "replace") if self._out.exists() else ""

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8", "replace") if self._err.exists() else ""

    @abstractmethod
    def start(self) -> Self:
        """Start it and return when it answers. AssertionError with its output if it never does."""

    def _launch(self, ready: Callable[[], bool], *, within_s: float = START_S) -> None:
        """Start it and return when `ready()`. AssertionError with its output if it never is."""
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=err, env=self._env, cwd=self._cwd
            )
        process = self._process
        try:
            eventually(
                lambda: process.poll() is not None or ready(),
                f"{self.name} is up",
                within_s=within_s,
            )
        except AssertionError as exc:
            self.stop()
            raise AssertionError(f"{exc}\n{self.told()}") from None
        if process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {process.returncode}\n{self.told()}")

    def told(self) -> str:
        """The end of what it wrote, for a failure's message."""
        return (
            f"--- {' '.join(self._command)}\n"
            f"--- stdout of {self.name}\n{self.stdout[-_TAIL_BYTES:]}\n"
            f"--- stderr of {self.name}\n{self.stderr[-_TAIL_BYTES:]}"
        )

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL for one that does not listen. Returns the exit code."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a frozen one hears nothing
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to say goodbye."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open and nothing comes any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
