"""`setpoint replay`: how it exits. What it does is in `tests/gateway/records/test_replay_command.py`."""

from pathlib import Path

import pytest

from gateway.cli import REFUSED, main
from tests.support.command_files import config


def test_replay_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "exec_1", "-c", config(tmp_path, "")]) == REFUSED
    told = capsys.readouterr().err
    assert told.startswith("setpoint replay: ")
    assert "has no records" in told
