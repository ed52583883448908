"""The published description is up to date."""

import json
import tomllib
from pathlib import Path

import pytest

import contracts
from gateway.openapi import FILE, document, publish
from gateway.version import VERSION

FOLDER = Path(contracts.__file__).parent
PUBLISHED = FOLDER / FILE


@pytest.mark.req("OPS-3")
def test_the_published_description_is_the_generated_one() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    assert PUBLISHED.read_bytes() == document(version), "run python -m gateway.openapi"


@pytest.mark.req("OPS-3")
def test_the_command_writes_the_description_of_the_running_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "__file__", str(tmp_path / "__init__.py"))
    publish()
    written = (tmp_path / FILE).read_bytes()
    assert written == document()
    assert json.loads(written)["info"]["version"] == VERSION
