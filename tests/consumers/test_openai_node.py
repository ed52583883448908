"""The openai SDK for Node: a small script of an application, run by node against the gateway.

The package, in the version that node/package-lock.json pins, is fetched once and then kept in
pytest's cache. Without node, npm or a network these tests are skipped and say so.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.setpoint_server import Served

pytestmark = pytest.mark.req("OPS-4")
SOURCES = Path(__file__).parent / "node"
INSTALL_S = 90


@pytest.fixture(scope="module")
def application(request: pytest.FixtureRequest) -> Path:
    """The script, beside a `node_modules` with the SDK in it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed for the openai SDK for Node")
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir("node-consumer"))
    lock = (SOURCES / "package-lock.json").read_bytes()
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    stamp = folder / "installed.lock"
    if not stamp.exists() or stamp.read_bytes() != lock:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not fetch the openai package within {INSTALL_S} s")
        if done.returncode != 0:
            pytest.skip(f"npm could not fetch the openai package: {done.stderr[-300:]}")
        stamp.write_bytes(lock)
    return folder / "consumer.mjs"


@pytest.mark.req("RUN-1", "RUN-3", "RUN-6")
def test_an_application_on_node_sees_openai(application: Path, served: Served) -> None:
    done = subprocess.run(
        ["node", str(application), served.gateway.v1, served.model],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    assert served.model in told["models"]
    assert told["text"]
    assert 0 < told["usage"]["completion_tokens"] <= 8
    assert told["requestId"]
    assert "".join(told["pieces"])
    assert len(told["usages"]) == 1
    assert told["completion"]
    assert told["notFound"] == {"kind": "NotFoundError", "status": 404, "code": "model_not_found"}
    assert told["badRequest"]["kind"] == "BadRequestError"
    assert told["badRequest"]["param"] == "messages"
    assert told["aborted"] is True
    assert served.gateway.logged("request", status=499)
