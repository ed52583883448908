"""Servers as child processes, each on cores of its own, that are stopped at the end, come what may."""

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_S, STOP_S = 60.0, 10.0


class BenchError(Exception):
    """A process did not start, or the generator failed; the text says which."""


@contextlib.contextmanager
def pinned(
    command: list[str],
    cpus: set[int],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    talks: bool = False,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has `cpus` from its first instruction on, so that its threads and workers have them
    too. What it says goes to `log`, except that standard input and output of one that `talks` are pipes."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else errors,
            stderr=errors,
            cwd=ROOT,
            env=_environment(env or {}),
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, but that bytecode is kept: whoever installs a package has it, and the compiler is not what is measured."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    return {**inherited, **more}


@contextlib.contextmanager
def running(name: str, command: list[str], cpus: set[int], log: Path) -> Iterator[tuple[str, int]]:
    """A server that prints its URL once it listens: its base URL and process id. Raises BenchError."""
    with pinned(command, cpus, log, talks=True) as process:
        yield _url(name, process, log), process.pid


def _url(name: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.stdout is not None
    said = b""
    deadline_s = time.monotonic() + START_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        readable, _, _ = select.select([process.stdout], [], [], left_s)
        more = os.read(process.stdout.fileno(), 65536) if readable else b""
        said += more
        if found := re.search(rb"http://127\.0\.0\.1:\d+(?=\s)", said):
            return found[0].decode()
        if readable and not more:
            break
    raise BenchError(f"{name} does not listen:\n{last_words(log)}")


def last_words(log: Path) -> str:
    """The end of what a process said."""
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
