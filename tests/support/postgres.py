"""A real PostgreSQL from the wheel `pgserver`: started, stopped hard, started again.

Only the wheel's binaries are used. Its Python code makes a system user and opens the permissions of all
folders above its own; here PostgreSQL, which refuses to run as root, runs as `nobody`.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_S = 30.0
USER, PASSWORD = "setpoint", "s3cr3t-of-postgres"
_INIT_OPTIONS = ("-U", USER, "--auth=scram-sha-256", "--encoding=utf8", "--no-sync", "--locale=C")
_SERVER_OPTIONS = ("-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "shared_buffers=16MB")
_RUN_AS = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def binaries() -> Path | None:
    """Where the wheel's programs are; None where it is not installed."""
    spec = importlib.util.find_spec("pgserver")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


class Postgres:
    """One server on a free port of 127.0.0.1, with a password. Its data survive `kill`."""

    def __init__(self) -> None:
        programs = binaries()
        assert programs is not None
        # Not below pytest's own folder, which nobody but its owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="setpoint-postgres-"))
        self._bin = _reachable(programs, self._folder)
        self._data = self._folder / "data"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._initialise()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The name of an empty database."""
        self._databases += 1
        name = f"db{self._databases}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        """Each takes 8 MB."""
        self.sql(f"DROP DATABASE {database} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> str:
        return subprocess.run(
            [self._bin / "psql", "-X", "-A", "-t", "-c", statement, self.url(database)],
            check=True,
            capture_output=True,
            text=True,
            timeout=START_S,
        ).stdout.strip()

    def start(self) -> None:
        """Until it takes connections. After `kill` its old children may still be about to end."""
        deadline_s = time.monotonic() + START_S
        while not self._started():
            if time.monotonic() > deadline_s:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """As a machine that loses power: no checkpoint, no goodbye to its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # what PostgreSQL calls an immediate shutdown
            self._process.wait(START_S)
            self._process = None

    def freeze(self) -> None:
        """The server and its children are there, and do not answer."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        for child in self._children():
            os.kill(child, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        for child in self._children():
            os.kill(child, signal.SIGCONT)
        os.killpg(self._process.pid, signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _started(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    # Nobody cuts the power of a test: what a kill can lose is in the system's cache.
                    [
                        self._bin / "postgres",
                        *_SERVER_OPTIONS,
                        "-D",
                        self._data,
                        "-p",
                        str(self.port),
                    ],
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=self._folder,
                    **_RUN_AS,
                )
        ready = subprocess.run(
            [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
            timeout=START_S,
        )
        return ready.returncode == 0

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if _RUN_AS:
            shutil.chown(self._folder, "nobody", "nogroup")
            shutil.chown(secret, "nobody", "nogroup")
        subprocess.run(
            [self._bin / "initdb", *_INIT_OPTIONS, "-D", self._data, f"--pwfile={secret}"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            timeout=START_S,
            **_RUN_AS,
        )


def _reachable(programs: Path, folder: Path) -> Path:
    """The programs where `nobody` may run them too: a checkout in root's home folder is closed to others."""
    folder.chmod(0o755)
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, stdout=subprocess.DEVNULL,
                       timeout=START_S, **_RUN_AS)  # fmt: skip
    except PermissionError:
        for part in ("bin", "lib", "share"):
            shutil.copytree(programs.parent / part, folder / part)
        return folder / "bin"
    return programs


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
