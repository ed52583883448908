"""What `make run` and the image install is all that the gateway needs, whatever is configured."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import eventually
from tests.support.setpoint_server import ROOT, Gateway
from tests.support.wire import free_port, post

pytestmark = pytest.mark.req("OPS-8")
ONLY_LOCKED = (sys.executable, "-m", "tests.support.only_locked")


class LockedGateway(Gateway):
    """With no package but those of `requirements.lock`."""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder, config)
        self._command[:3] = ONLY_LOCKED


def test_a_gateway_records_and_sends_telemetry(tmp_path: Path) -> None:
    gateway = LockedGateway(
        tmp_path,
        "records: sqlite:///r.db\n"
        f"telemetry: {{otlp: 'http://127.0.0.1:{free_port()}'}}\n"
        "tasks: {durable: true}",
    )
    gateway.start()
    try:
        body = {"model": "assistant", "messages": [{"role": "user", "content": "Hello"}]}
        answer = post(f"{gateway.v1}/chat/completions", {**body, "max_tokens": 2})
        assert answer.status == 200, answer
        written = "setpoint_records_written_total"
        eventually(lambda: gateway.metrics().total(written) == 1, "the request is recorded")
    finally:
        assert gateway.stop() == 0, gateway.told()


def test_postgresql_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "setpoint.yaml"
    config.write_text(f"records: postgresql://setpoint@127.0.0.1:{free_port()}/records")
    listed = subprocess.run(
        [*ONLY_LOCKED, "records", "ls", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (listed.returncode, listed.stdout) == (1, "")
    assert "Traceback" not in listed.stderr
    assert "127.0.0.1" in listed.stderr
    assert "correct records.url" in listed.stderr
