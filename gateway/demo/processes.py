"""A `setpoint` command as a child process: started, watched until it says where it listens, ended by its pid.

What it writes goes to files, so that no pipe fills up. Must stay true: a child hears only from the demo (a
Ctrl-C at the terminal is the demo's to hear, which then ends its children in order), and `kill` works
from anywhere, also when the event loop is gone.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

START_S = 60.0
"""A loaded machine may take long; a child that exits is noticed at once."""
STOP_S = 10.0
POLL_S = 0.05
TAIL_CHARACTERS = 2000
MAX_ERRORS = 5
_SERIOUS = frozenset({"error", "critical"})
_LISTENS = re.compile(r"listens on (http://\S+)")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
"""Of the environment: no provider's key and no SETPOINT_CONFIG gets in."""


class _Line(msgspec.Struct):
    level: str
    event: str
    exception: str = ""


_line = msgspec.json.Decoder(_Line)


class DidNotStart(OSError):
    """A child ended, or never said that it listens. The message has the end of what it wrote."""


class Child:
    """`python -m gateway.cli` with `arguments`. `name` is that of its files in `folder`."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "gateway.cli", *arguments]
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> str:
        """Start it. Returns its URL once it listens. Raises DidNotStart; whoever called stops it."""
        self._launch()
        try:
            async with asyncio.timeout(START_S):
                while (url := self._url()) is None:
                    if not self.running:
                        raise DidNotStart(f"{self.name} ended at once:\n{self._tail()}")
                    await asyncio.sleep(POLL_S)
                return url
        except TimeoutError as exc:
            raise DidNotStart(
                f"{self.name} did not listen within {START_S:g} s:\n{self._tail()}"
            ) from exc

    async def stop(self) -> int | None:
        """SIGTERM, then SIGKILL for one that does not listen. Returns its exit code, None if it was
        never started."""
        if self._process is None:
            return None
        try:
            if self.running:
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, STOP_S)
        finally:
            self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait()

    def errors(self) -> tuple[str, ...]:
        """The errors in its log so far (JSON Lines), each once, in words; at most MAX_ERRORS."""
        found: dict[str, None] = {}
        with self._err.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError):
                    told = _line.decode(line)
                    if told.level in _SERIOUS:
                        last = told.exception.rstrip().rpartition("\n")[2]
                        found[f"{told.event}: {last}" if last else told.event] = None
                if len(found) == MAX_ERRORS:
                    break
        return tuple(found)

    def _launch(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    def _url(self) -> str | None:
        found = _LISTENS.search(self._out.read_text("utf-8", "replace"))
        return None if found is None else found[1]

    def _tail(self) -> str:
        return self._err.read_text("utf-8", "replace")[-TAIL_CHARACTERS:]
