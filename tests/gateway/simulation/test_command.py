"""The flags of `setpoint simulate`. What the command does is in `tests/gateway/cli/test_simulate.py`."""

import argparse
import io
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.problems import ProblemsFound
from gateway.simulation.command import add_flags, simulate
from gateway.simulation.drift import DriftAsked
from tests.fakes.simulated import files

pytestmark = pytest.mark.req("INT-12")


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return parser.parse_args(["--trace", "t.csv", *flags])


def test_without_flags_setpoint_controls_the_trace_as_it_is() -> None:
    told = vars(parsed())
    assert told == {
        "trace": Path("t.csv"),
        "records": None,
        "since": None,
        "load": None,
        "controller": "setpoint",
        "seed": 1,
        "drift": [],
        "requests": None,
        "json": None,
        "report": None,
    }


def test_flags_are_read() -> None:
    told = parsed(*["--load", "1.6", "--controller", "static:43", "--seed", "7"])
    assert (told.load, told.controller, told.seed) == (1.6, "static:43", 7)
    told = parsed(*["--drift", "at=1s,itl=2x", "--drift", "at=2s,itl=1x"])
    assert told.drift == [DriftAsked(at_s=1.0, itl_times=2.0), DriftAsked(at_s=2.0, itl_times=1.0)]


@pytest.mark.parametrize("load", ["0", "-1", "0.0009", "1001", "nan", "inf", "much"])
def test_a_load_is_a_sensible_number(load: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(f"--load={load}")
    assert f"{load!r} is not a load from 0.001 to 1000" in capsys.readouterr().err


def test_a_trace_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "--trace" in capsys.readouterr().err


def test_flags_load_nothing_of_the_simulator() -> None:
    script = (
        "import sys\nimport gateway.simulation.command\n"
        "print([m for m in ('msgspec', 'rich', 'gateway.simulation.plan') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_nothing_is_printed_where_something_is_wrong(tmp_path: Path) -> None:
    out = io.StringIO()
    told = parsed()
    told.trace = tmp_path / "none.csv"
    with pytest.raises(ProblemsFound, match=r"none\.csv"):
        simulate(told, files(tmp_path), {}, out)
    assert out.getvalue() == ""
