"""Where the configuration is."""

from pathlib import Path

import pytest

from gateway.cli import CONFIG_VARIABLE, REFUSED, main
from tests.support.command_files import config


def test_the_environment_names_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, config(tmp_path, "nonsense: 1"))
    assert main(["check"]) == REFUSED
    assert "nonsense" in capsys.readouterr().err
