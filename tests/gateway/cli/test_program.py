"""`setpoint` itself: which commands there are, and how they exit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import REFUSED, main
from gateway.cli.program import make_parser
from tests.support.command_files import body_file, config


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


FRESH = """
import json, os, sys
import aiohttp.web, alembic, cel, msgspec, prometheus_client, sqlalchemy.ext.asyncio, uvloop, yaml
for argv in json.loads(sys.argv[1]):
    print("$", *argv, flush=True)
    if not (child := os.fork()):
        os.dup2(1, 2)
        from gateway.cli import main
        code = main(argv)
        sys.stdout.flush()
        os._exit(code)
    os.waitpid(child, 0)
"""
"""Each command in a process that has loaded what others wrote, and nothing of ours."""


def test_each_command_comes_to_speak_in_a_process_of_its_own(tmp_path: Path) -> None:
    """In the tests' process, what one command forgets to import another has imported already. `serve` and
    `llmd` always run in processes of their own."""
    (tmp_path / "t.csv").write_text("arrival_s,input_tokens,output_tokens\n0,100,11\n")
    records = config(tmp_path, "records: sqlite:///a.db")
    first_words = {
        ("check",): "ok: built-in configuration",
        ("explain", body_file(tmp_path)): "request      chat, model assistant",
        ("simulate", "--trace", "t.csv"): "setpoint: 1 of 1 requests good",
        ("demo", "--seconds", "0"): "setpoint demo: a phase has 10 to 300 seconds",
        ("records", "ls", "-c", records): "setpoint records: ",
        ("replay", "exec_1", "-c", records): "setpoint replay: ",
    }
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(list(first_words))],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        text=True,
        check=True,
        timeout=60,
    )
    told = done.stdout.split("$ ")[1:]
    assert len(told) == len(first_words), done
    for (argv, words), said in zip(first_words.items(), told, strict=True):
        assert said.partition("\n")[2].startswith(words), (argv, said)


def test_a_missing_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.yaml")
    for command in ("check", "serve"):
        assert main([command, "-c", missing]) == REFUSED
        assert capsys.readouterr().err == f"{missing}:1:1: No such file or directory\n"
