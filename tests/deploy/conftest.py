"""What the tests of `deploy/` share: the repository's root and the compose file, read once."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def compose(root: Path) -> dict[str, Any]:
    """`docker-compose.yml` with anchors merged and `${...}` as written."""
    loaded: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text("utf-8"))
    return loaded


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment without what compose reads from it."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SETPOINT_")}
