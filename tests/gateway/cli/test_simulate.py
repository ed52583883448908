"""`setpoint simulate`: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest

from gateway.cli import FAILED, OK, REFUSED, main
from gateway.simulation import report
from gateway.simulation.plots import NoMatplotlib
from tests.fakes.simulated import files
from tests.support.command_files import config

TRACE = "arrival_s,input_tokens,output_tokens\n0,100,11\n1,100,11\n40,100,11\n"


@pytest.fixture
def simulate(tmp_path: Path) -> list[str]:
    """The command with a configuration and a trace of three requests."""
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE)
    return ["simulate", "--config", str(files(tmp_path)), "--trace", str(trace)]


@pytest.mark.req("INT-12")
def test_simulate_prints_what_came_of_the_trace(
    simulate: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(simulate) == OK
    told = capsys.readouterr().out
    assert told.startswith("setpoint: 3 of 3 requests good in 0:40 at 0.0")
    assert "no decisions: nothing had to be done" in told


@pytest.mark.req("INT-12")
def test_simulate_writes_rows_json_and_a_report(simulate: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows, result, page = (tmp_path / name for name in ("rows.csv", "result.json", "report.html"))
    flags = ["--load", "1.6", "--seed", "7", "--drift", "at=1s,itl=1.5x", "--drift", "at=2s,itl=1x"]
    files = ["--requests", str(rows), "--json", str(result), "--report", str(page)]
    assert main([*simulate, *flags, *files]) == OK
    assert len(rows.read_text().splitlines()) == 4
    told = json.loads(result.read_text())
    assert (told["offered"], told["seed"], told["controller"]) == (3, 7, "setpoint")
    assert told["load"] == pytest.approx(1.6)
    assert "<svg" in page.read_text()


@pytest.mark.req("INT-12")
@pytest.mark.parametrize("controller", ["none", "static:2", "vegas", "gradient2", "envoy"])
def test_simulate_lets_others_control(
    simulate: list[str], controller: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*simulate, "--controller", controller]) == OK
    assert capsys.readouterr().out.startswith(f"{controller}: ")


@pytest.mark.req("INT-12")
def test_simulate_without_a_configuration_is_about_the_engine_that_serve_starts(
    simulate: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *simulate[3:]]) == OK
    assert "served 3 by assistant; " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--load", "0"), "'0' is not a load from 0.001 to 1000, such as 1.6"),
        (("--load", "nan"), "'nan' is not a load"),
        (("--controller", "vegsa"), "no rival is called 'vegsa': there are none, static:N"),
        (("--drift", "at=1s"), "neither itl nor factor is given"),
        (("--seed", "x"), "invalid int value"),
    ],
)
def test_simulates_wrong_flags_exit_2(
    simulate: list[str],
    flags: tuple[str, ...],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*simulate, *flags])
    assert caught.value.code == REFUSED
    assert told in capsys.readouterr().err


def test_simulate_says_what_is_wrong_with_a_trace(
    simulate: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE.replace("output_tokens\n", "output_tokens,intent\n"))
    assert main(simulate) == REFUSED
    assert f"{trace}:2:1: the row has 3 values" in capsys.readouterr().err
    trace.write_text("arrival_s,input_tokens,output_tokens,intent\n0,1,1,\n1,1,1,chta\n")
    assert main(simulate) == REFUSED
    told = capsys.readouterr().err
    assert told == f"{trace}:3:1: intent: there is no intent 'chta' (did you mean 'chat'?)\n"


def test_simulate_needs_something_to_simulate(
    simulate: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, "pools: [{id: o, engine: openai}]\nmodels: [{name: m, pool: o}]")
    assert main(simulate) == REFUSED
    told = capsys.readouterr().err
    assert told.startswith(f"{file}:1:1: no model is described, so there is nothing to simulate")
    assert "simulate: {" in told


def test_simulate_says_which_file_it_cannot_write(
    simulate: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*simulate, "--json", str(tmp_path / "nowhere" / "x.json")]) == FAILED
    assert "nowhere/x.json: No such file" in capsys.readouterr().err


def test_a_report_without_matplotlib_says_how_to_get_it(
    simulate: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def html(report: object) -> str:
        raise NoMatplotlib("plots need matplotlib")

    monkeypatch.setattr(report, "html", html)
    assert main([*simulate, "--report", str(tmp_path / "x.html")]) == FAILED
    shown = capsys.readouterr()
    assert shown.err == "setpoint simulate: plots need matplotlib\n"
    assert "3 of 3 requests good" in shown.out
