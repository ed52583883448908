"""What a collector is told through, and nothing where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.configuration import load
from gateway.telemetry_setup import public_hosts


@pytest.mark.req("SEC-3")
def test_whose_address_is_public(tmp_path: Path) -> None:
    file = tmp_path / "setpoint.yaml"
    file.write_text(
        "pools:\n"
        "  - {id: a, engine: openai, api_key: x}\n"
        "  - {id: b, engine: openai, endpoint: 'https://api.openai.com.internal'}\n"
        "  - {id: c, engine: gemini, endpoint: 'https://generativelanguage.googleapis.com'}\n"
        "  - {id: d, engine: vllm, endpoint: 'http://10.0.0.9:8000'}\n"
    )
    assert public_hosts(load(file, env={})) == {
        "a": "api.openai.com",
        "c": "generativelanguage.googleapis.com",
    }


def test_a_gateway_without_telemetry_does_not_import_opentelemetry() -> None:
    script = (
        "import asyncio, sys\n"
        "from gateway.configuration import load\n"
        "from gateway.runtime import Gateway\n"
        "import gateway.serve\n"
        "async def main():\n"
        "    gateway = Gateway(load(None, env={}))\n"
        "    assert gateway.telemetry is None\n"
        "    await gateway.aclose()\n"
        "asyncio.run(main())\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'google.protobuf', 'requests'))])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told == "[]\n"
