"""What is left behind: table, report, picture, decision log."""

import io
import json
from pathlib import Path

import msgspec
import pytest

from gateway.demo.outcome import Files, decision_log, save, tell
from gateway.demo.record import Record
from gateway.demo.scenario import Scenario
from gateway.demo.verdict import Verdict

pytestmark = pytest.mark.req("INT-10", "INT-7")


def test_the_terminal_gets_decisions_table_verdict_and_what_it_means(
    plan: Scenario, off: Record, on: Record, verdict: Verdict
) -> None:
    out = io.StringIO()
    tell(out, plan, off, on, verdict)
    told = out.getvalue()
    for part in (
        "0:23  loop on: switched model",
        "offered",
        "no: TTFT",
        "it was kept",
        "Kept means",
    ):
        assert part in told
    assert "\x1b" not in told


def test_what_the_gateway_complained_of_is_told(
    plan: Scenario, off: Record, on: Record, verdict: Verdict
) -> None:
    out = io.StringIO()
    tell(out, plan, off, msgspec.structs.replace(on, errors=("bug: KeyError: 'a'",)), verdict)
    assert "loop on: the gateway logged an error: bug: KeyError: 'a'" in out.getvalue()


def test_every_file_that_was_asked_for_is_written(
    tmp_path: Path, plan: Scenario, off: Record, on: Record, verdict: Verdict
) -> None:
    files = Files(
        report=tmp_path / "a.html", png=tmp_path / "a.png", decisions=tmp_path / "a.jsonl"
    )
    files.check()
    save(files, plan, off, on, verdict)
    page = (tmp_path / "a.html").read_text()
    assert "confirmed: 0 of 25 late" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3


def test_nothing_is_written_that_was_not_asked_for(
    tmp_path: Path, plan: Scenario, off: Record, on: Record, verdict: Verdict
) -> None:
    save(Files(), plan, off, on, verdict)
    assert list(tmp_path.iterdir()) == []


def test_the_log_has_each_decision_as_it_was_told_with_its_run(off: Record, on: Record) -> None:
    lines = [json.loads(line) for line in decision_log(off, on).splitlines()]
    assert [(line["run"], line["run_s"], line["kind"]) for line in lines] == [
        ("loop off", 24.0, "climb"),
        ("loop on", 23.0, "climb"),
        ("loop on", 25.5, "verdict"),
    ]
    assert lines[2]["words"] == "confirmed: 0 of 25 late"
    assert lines[2]["verdict"] == "confirmed"


def test_a_file_that_could_not_be_written_is_refused_before_the_demo_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        Files(png=tmp_path / "nowhere" / "a.png").check()
    with pytest.raises(ValueError, match="is a folder"):
        Files(decisions=tmp_path).check()
