"""`deploy/prometheus.yml`, and what compose does so that it can be used."""

from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.req("OPS-8")


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


def test_every_yaml_file_of_deploy_loads(root: Path) -> None:
    files = [*(root / "deploy").rglob("*.yaml"), *(root / "deploy").rglob("*.yml")]
    assert files
    for file in files:
        assert all(document is not None for document in yaml.safe_load_all(file.read_text("utf-8")))
