"""What a gateway has loaded when it listens: with everything on, and records in SQLite."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.peers.peer import Site
from tests.bench.peers.setpoint import config, policies
from tests.support.wire import free_port

ROOT = Path(__file__).parents[2]
SERVE = """
import json, os, signal, sys
import gateway.cli.serve
def listening(banner):
    print(json.dumps(sorted(sys.modules)))
    os.kill(os.getpid(), signal.SIGTERM)
gateway.cli.serve.say = listening
gateway.cli.main(["serve", "--config", sys.argv[1]])
"""
UNUSED = {
    "a command of its own": ["gateway.demo", "gateway.simulation", "rich"],
    "an engine that no pool has": [
        "adapters.anthropic",
        "adapters.gemini",
        "adapters.fakellmd.service",
    ],
    "a database of another kind": ["asyncpg", "greenlet", "sqlalchemy.ext.asyncio"],
    "an older database": ["alembic"],
    "nobody": ["sqlalchemy.orm", "cel.cli"],
    "who describes the API": ["gateway.openapi.description", "contracts.openai_answers"],
    "telemetry that is off": ["opentelemetry"],
    "several workers": ["gateway.workers"],
}
MODULES = 860


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("start")
    site = Site(folder=folder, port=free_port(), upstream=f"http://127.0.0.1:{free_port()}")
    (folder / "setpoint.yaml").write_text(config(site, 10))
    (folder / "policies.yaml").write_text(policies(3))
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(folder / "setpoint.yaml")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[0]))


@pytest.mark.req("OPS-4")
@pytest.mark.parametrize("needed_by", UNUSED)
def test_what_only_others_need_stays_out_of_the_process(loaded: set[str], needed_by: str) -> None:
    assert loaded.isdisjoint(UNUSED[needed_by])


@pytest.mark.req("OPS-4")
def test_no_more_modules_are_loaded_than_there_is_a_use_for(loaded: set[str]) -> None:
    """Each is a third of a millisecond of the start, and 20 KB."""
    assert "gateway.records.keeper" in loaded
    assert len(loaded) <= MODULES
