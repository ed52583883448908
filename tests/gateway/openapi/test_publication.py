"""The published description is up to date."""

import json
from pathlib import Path

import pytest

import contracts
from gateway.openapi import FILE, publish, published
from gateway.openapi.description import document
from gateway.version import VERSION


@pytest.mark.req("OPS-3")
def test_the_published_description_is_the_generated_one() -> None:
    assert published() == document(), "run python -m gateway.openapi"
    assert json.loads(published())["info"]["version"] == VERSION


@pytest.mark.req("OPS-3")
def test_what_is_published_is_beside_the_structs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "__file__", str(tmp_path / "__init__.py"))
    publish(b"{}")
    assert (tmp_path / FILE).read_bytes() == published() == b"{}"
