"""What whoever typed the command is told."""

from pathlib import Path

import pytest

from gateway.cli.output import complain, naming_the_file, say


def test_what_is_said_and_what_is_complained_of(capsys: pytest.CaptureFixture[str]) -> None:
    say("well")
    complain("one", "two")
    assert capsys.readouterr() == ("well\n", "one\ntwo\n")


def test_an_error_names_its_file(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with pytest.raises(FileNotFoundError) as caught, naming_the_file():
        missing.read_bytes()
    assert caught.value.strerror == f"{missing}: No such file or directory"
