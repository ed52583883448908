"""The containers' commands, started natively: what compose runs is what runs here.

Only the places differ: loopback instead of every address, a free port, the tests' own model.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.llama_server import LlamaServer
from tests.support.processes import Server
from tests.support.wire import free_port, get, reachable

pytestmark = pytest.mark.req("OPS-8")

LLAMA_FLAGS = ["-np", "4", "-c", "4096", "--metrics", "--slots"]


def placed(command: list[str], port: int) -> list[str]:
    """`command` on loopback and on `port`."""
    changed = list(command)
    changed[changed.index("--host") + 1] = "127.0.0.1"
    changed[changed.index("--port") + 1] = str(port)
    return changed


class ComposeLlama(LlamaServer):
    """The tests' binary and model, and nothing else of their command line."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        super().__init__(folder, slots=4, name="compose-llama")
        binary, flag, weights, *_ = self._command
        assert arguments[0] == flag == "-m"
        self._command = [binary, flag, weights, *placed(arguments[2:], self.port)]


class ComposeLlmd(Server):
    """`setpoint llmd` with the arguments of compose."""

    def __init__(self, folder: Path, arguments: list[str], root: Path) -> None:
        port = free_port()
        command = [sys.executable, "-m", "gateway.cli", *placed(arguments, port)]
        super().__init__("compose-llmd", command, folder, cwd=root)
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> Self:
        self._launch(lambda: reachable(f"{self.url}/health"))
        return self


def test_the_llama_server_has_the_flags_of_the_tests(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    command = compose["services"]["llama"]["command"]
    assert command[2:] == [*LLAMA_FLAGS, "--host", "0.0.0.0", "--port", "8080"]
    assert " ".join(LLAMA_FLAGS) in LlamaServer(tmp_path, slots=4).told()


@pytest.mark.real
def test_a_real_llama_server_takes_the_command(compose: dict[str, Any], tmp_path: Path) -> None:
    server = ComposeLlama(tmp_path, compose["services"]["llama"]["command"])
    try:
        server.start()
        assert [slot["n_ctx"] for slot in get(f"{server.url}/slots").json()] == [1024] * 4
        assert server.metrics()
    finally:
        server.stop()


def test_the_fake_llmd_takes_the_command(
    compose: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    server = ComposeLlmd(tmp_path, compose["services"]["llmd"]["command"], root)
    try:
        server.start()
        assert get(f"{server.url}/v1/models").json()["data"]
    finally:
        server.stop()


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"SETPOINT_TOKEN": "sesame"}, 0),
        (
            {
                "SETPOINT_TOKEN": "sesame",
                "SETPOINT_ENGINE": "llmd",
                "SETPOINT_ENDPOINT": "http://llmd:8000",
            },
            0,
        ),
        ({}, 2),
    ],
    ids=["llama.cpp", "fake llm-d", "no token"],
)
def test_the_gateways_configuration_is_accepted_with_a_token_only(
    compose: dict[str, Any],
    root: Path,
    environment: dict[str, str],
    given: dict[str, str],
    code: int,
) -> None:
    gateway = compose["services"]["gateway"]
    serve, flag, inside = gateway["command"]
    assert (serve, flag) == ("serve", "--config")
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in gateway["volumes"]}
    said = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "check", flag, str(root / mounted[inside])],
        env={**environment, **given},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == code, said.stderr
    if code:
        assert "SETPOINT_TOKEN" in said.stderr
