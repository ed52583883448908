"""The demo in short form: real processes, real sockets, a real load."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.cli import INTERRUPTED, REFUSED, main
from gateway.demo import run as demo
from gateway.demo.deployment import BIG, SMALL
from gateway.demo.outcome import Files
from gateway.demo.scenario import Phase, Scenario
from gateway.demo.verdict import Verdict
from tests.support.processes import eventually

pytestmark = pytest.mark.req("INT-10", "INT-7")
ROOT = Path(__file__).resolve().parents[3]
SHORT = Scenario(
    calm=Phase(name="calm", seconds=1.0, rate_rps=3.0),
    spike=Phase(name="spike", seconds=3.5, rate_rps=18.0),
    after=Phase(name="calm again", seconds=0.5, rate_rps=2.0),
    grace_s=1.5,
)
"""So much at once that a loop that acts must act before the spike has ended."""


class Ran(msgspec.Struct):
    verdict: Verdict
    out: str
    decisions: list[dict[str, object]]
    page: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("demo")
    files = Files(report=folder / "a.html", decisions=folder / "a.jsonl")
    out = io.StringIO()
    verdict = demo.run(SHORT, files, out)
    log = (folder / "a.jsonl").read_text().splitlines()
    page = (folder / "a.html").read_text()
    return Ran(verdict, out.getvalue(), [json.loads(line) for line in log], page)


def climbs(ran: Ran, run: str) -> list[dict[str, object]]:
    return [line for line in ran.decisions if (line["run"], line["kind"]) == (run, "climb")]


def test_both_runs_get_the_same_requests(ran: Ran) -> None:
    off, on = (
        [part.figures.offered for part in result.stretches]
        for result in (ran.verdict.off, ran.verdict.on)
    )
    assert off == on
    assert sum(off) == 3 + 63 + 1


def test_with_the_loop_off_nothing_is_done(ran: Ran) -> None:
    assert all(line.get("dry_run") for line in climbs(ran, "loop off"))
    assert sum(part.figures.refused for part in ran.verdict.off.stretches) == 0


def test_with_the_loop_on_it_acts_on_the_spike(ran: Ran) -> None:
    acted = [line for line in climbs(ran, "loop on") if not line.get("dry_run")]
    assert any(str(line["words"]).startswith("switched model") for line in acted)


def test_every_request_meets_its_fate(ran: Ran) -> None:
    for result in (ran.verdict.off, ran.verdict.on):
        assert sum(part.figures.failed for part in result.stretches) == 0


def test_the_gateway_had_nothing_to_complain_of(ran: Ran) -> None:
    assert "logged an error" not in ran.out


def test_all_of_it_is_told(ran: Ran) -> None:
    assert "loop off: starting a gateway" in ran.out
    assert "loop on: spike, first 1.5 s" in ran.out
    assert ran.verdict.words in ran.out
    assert "wrote " in ran.out
    for model in (BIG, SMALL):
        assert model.upstream in ran.page
    for line in ran.decisions:
        assert "<svg" in ran.page
        assert line["words"]


def children(folder: Path) -> set[int]:
    """Processes that were told to keep their files in `folder`, by their environment."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = place.read_bytes()
        except OSError:
            continue  # it has just ended, or is somebody else's
        if f"TMPDIR={folder}".encode() in environment:
            found.add(int(place.parent.name))
    return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`setpoint demo` with its load on."""
    command = [sys.executable, "-m", "gateway.cli", "demo", "--report", str(tmp_path / "a.html")]
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=file
        )
    try:
        eventually(lambda: b"loop off: calm" in out.read_bytes(), "the load is on", within_s=60)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_and_every_child(
    started: "subprocess.Popen[bytes]", tmp_path: Path, number: signal.Signals
) -> None:
    assert len(children(tmp_path)) == 4
    started.send_signal(number)
    assert started.wait(30) == INTERRUPTED
    assert children(tmp_path) == set()
    assert list(tmp_path.glob("setpoint-demo-*")) == []


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--png", "/nowhere/at/all.png"]])
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == REFUSED
    assert capsys.readouterr().err.startswith("setpoint demo: ")


def test_the_help_shows_an_example_that_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    told = capsys.readouterr().out
    assert "example:\n  setpoint demo --seconds 20" in told
