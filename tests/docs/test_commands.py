"""The commands in README and docs: each works as it stands, or as README says that it is to be read."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway.cli.program import main

pytestmark = pytest.mark.req("OPS-8")
ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
COMMAND = re.compile(
    r"(?:^(?:\$ | {4})?|`)((?:[^\s`(]*/)?(?:setpoint|python)) (-m |-c )?(\S+?)[`\s]", re.MULTILINE
)


def commands() -> list[tuple[str, str, str, str]]:
    """Page, program, flag, and its first argument."""
    return [
        (page.name, found[1], found[2] or "", found[3])
        for page in PAGES
        for found in COMMAND.finditer(page.read_text("utf-8"))
    ]


def test_readme_says_where_the_command_is() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert ".venv/bin/setpoint" in text.partition("## A policy at work")[0]


def test_python_is_the_one_that_has_the_packages() -> None:
    found = [(page, program) for page, program, *_ in commands() if program.endswith("python")]
    assert len(found) >= 4
    assert {program for _, program in found} == {".venv/bin/python"}, found


def test_what_python_is_to_run_is_there() -> None:
    for page, program, flag, argument in commands():
        if program.endswith("python") and flag != "-c ":
            there = find_spec(argument) if flag else (ROOT / argument).exists()
            assert there, (page, argument)


def test_setpoint_has_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    named = {argument for _, program, _, argument in commands() if program.endswith("setpoint")}
    assert {"serve", "check", "records"} <= named
    with pytest.raises(SystemExit):
        main(["--help"])
    helped = capsys.readouterr().out
    assert {name for name in named if name not in helped} == set()
