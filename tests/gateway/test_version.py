"""The version that is shown is the one that was installed."""

import importlib.metadata

import pytest

from gateway import version


def test_a_source_tree_that_was_never_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(version, "version", absent)
    assert version._installed() == "0.0.0+source"


def test_an_installed_one_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "version", lambda name: f"{name} 9")
    assert version._installed() == "setpoint 9"
