"""`setpoint` itself: which commands there are, and how they exit."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import REFUSED, main
from gateway.cli.program import make_parser


def test_the_version_is_told_without_loading_the_gateway() -> None:
    script = (
        "import sys\nfrom gateway.cli import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "print([m for m in ('aiohttp', 'cel', 'prometheus_client', 'uvloop') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    told, loaded = done.stdout.splitlines()
    assert told.startswith("setpoint ")
    assert loaded == "[]"


@pytest.mark.parametrize(
    "command", ["serve", "check", "explain", "simulate", "records", "replay", "llmd"]
)
def test_each_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"example:\n  setpoint {command}" in capsys.readouterr().out


def test_the_examples_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "check", "explain", "simulate", "records", "replay", "llmd"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        example = capsys.readouterr().out.rpartition("setpoint ")[2].split()
        make_parser().parse_args(example)


@pytest.mark.parametrize("argv", [[], ["sevre"], ["explain"], ["serve", "--nope"]])
def test_a_wrong_command_line_exits_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: setpoint" in capsys.readouterr().err


def test_a_missing_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.yaml")
    for command in ("check", "serve"):
        assert main([command, "-c", missing]) == REFUSED
        assert capsys.readouterr().err == f"{missing}:1:1: No such file or directory\n"
