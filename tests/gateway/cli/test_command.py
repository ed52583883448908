"""Commands: their flags, their help, and what they cost those who do not ask for them."""

import argparse
import subprocess
import sys

import pytest

from gateway.cli.command import CommandParser, add_command


def made(asked: list[str]) -> argparse.ArgumentParser:
    """Two commands that tell `asked` when they are asked for their flags."""
    parser = argparse.ArgumentParser(prog="x")
    commands = parser.add_subparsers(parser_class=CommandParser)
    for name in ("one", "two"):

        def flags(parser: argparse.ArgumentParser, name: str = name) -> None:
            asked.append(name)
            parser.add_argument("--count", type=int)

        add_command(commands, name, f"does {name}", f"x {name}", flags, lambda given: 7)
    return parser


def test_a_command_has_its_flags_when_it_is_the_one_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []
    parser = made(asked)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert "does two" in capsys.readouterr().out
    assert asked == []
    given = parser.parse_args(["two", "--count", "3"])
    assert (given.count, given.run(given), asked) == (3, 7, ["two"])
    assert parser.parse_args(["two"]).count is None, "and only once"


def test_its_help_shows_flags_and_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        made([]).parse_args(["one", "--help"])
    told = capsys.readouterr().out
    assert "--count" in told
    assert told.endswith("example:\n  x one\n")


def test_the_list_of_commands_imports_nothing_that_only_one_of_them_needs() -> None:
    script = (
        "import sys\nfrom gateway.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('asyncio', 'adapters', 'gateway.records', 'gateway.simulation', "
        "'gateway.configuration', 'gateway.demo') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
