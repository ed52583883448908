"""`setpoint records`: how it exits. What it prints is in `tests/gateway/records/test_command.py`."""

from pathlib import Path

import pytest

from gateway.cli import FAILED, REFUSED, main
from tests.support.command_files import config


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", REFUSED, "has no records: add records: "),
        ("records: sqlite:///nowhere/a.db", FAILED, "setpoint records: "),
    ],
)
def test_records_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, told: str
) -> None:
    assert main(["records", "ls", "-c", config(tmp_path, text)]) == code
    assert told in capsys.readouterr().err
