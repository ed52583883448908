"""`deploy/prometheus.yml`, and what compose does so that it can be used."""

from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.req("OPS-8")

LOADED = {
    "deploy/prometheus.yml": "here",
    "deploy/compose/setpoint.yaml": "test_commands.py, by `setpoint check`",
    "deploy/setpoint.example.yaml": "the tests of gateway.configuration",
}
"""Every YAML file that operators get, and where it is loaded as the program that reads it would."""


@pytest.fixture
def job(root: Path) -> dict[str, Any]:
    loaded = yaml.safe_load((root / "deploy/prometheus.yml").read_text("utf-8"))
    (found,) = loaded["scrape_configs"]
    assert isinstance(found, dict)
    return found


def test_it_scrapes_the_gateway(job: dict[str, Any], compose: dict[str, Any]) -> None:
    (targets,) = job["static_configs"]
    assert targets["targets"] == ["gateway:8080"]
    assert job["metrics_path"] == "/metrics"
    assert "gateway" in compose["services"]


def test_the_token_is_read_from_the_file_that_compose_writes_in_memory(
    job: dict[str, Any], compose: dict[str, Any]
) -> None:
    file = Path(job["authorization"]["credentials_file"])
    service = compose["services"]["prometheus"]
    (script,) = service["command"]
    assert job["authorization"]["type"] == "Bearer"
    assert f'"$$SETPOINT_TOKEN" > {file} ' in script
    assert str(file.parent) in service["tmpfs"]


def test_every_yaml_file_of_deploy_is_loaded_by_a_test(root: Path) -> None:
    files = {p.relative_to(root).as_posix() for p in (root / "deploy").rglob("*.y*ml")}
    assert files == LOADED.keys()
