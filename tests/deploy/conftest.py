"""What the tests of `deploy/` share: the repository's root and the compose file, read once."""

import os
import sys
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
def setpoint_command() -> list[str]:
    """How to run the `setpoint` command of this tree, whether or not it is installed."""
    return [sys.executable, "-c", "import sys; from gateway.cli import main; sys.exit(main())"]


@pytest.fixture
def environment(root: Path) -> dict[str, str]:
    """An environment without Setpoint's own variables, in which this tree can be imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SETPOINT_")}
    return {**kept, "PYTHONPATH": str(root)}
