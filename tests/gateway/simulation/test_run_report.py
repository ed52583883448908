"""The report of a run."""

from pathlib import Path

import pytest

from contracts.control import LoopDecision
from gateway.simulation import report
from gateway.simulation.run import Result, run
from gateway.simulation.run_report import report_of
from tests.fakes.simulated import plan_of, requests

pytestmark = pytest.mark.req("INT-12")


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return run(plan_of(tmp_path, requests(0.0, 1.0, 65.0)), watch=True)


def test_a_report_has_the_runs_numbers_and_what_it_was_made_with(result: Result) -> None:
    made = report_of(result)
    assert made.title == "setpoint: 3 of 3 requests good"
    assert made.subtitle.startswith("1:05 of virtual time at 0.0")
    assert made.subtitle.endswith("goodput is 1.000 of the length-blind bound")
    head, row = made.table
    assert head[:4] == ("intent", "offered", "served", "good")
    assert row == ("chat", "3", "3", "3", "0", "0", "0", "0", "20 ms", "20 ms", "0.000366")
    assert ("controller", "setpoint") in made.facts
    assert [column.title for column in made.runs] == ["setpoint"]


def test_a_report_has_the_decisions_in_words(result: Result) -> None:
    told = LoopDecision(seq=1, at_s=2.0, kind="climb", intent="chat", words="shed half")
    made = report_of(
        Result(
            plan=result.plan,
            outcomes=result.outcomes,
            decisions=[told],
            summary=result.summary,
            samples=result.samples,
        )
    )
    assert made.decisions == ((2.0, "shed half"),)
    assert [mark.kind for mark in made.runs[0].marks] == ["climb"]


def test_a_run_without_a_span_has_a_report_too(tmp_path: Path) -> None:
    made = report_of(run(plan_of(tmp_path, requests(0.0)), watch=True))
    assert made.subtitle == "0:00 of virtual time"


def test_the_same_run_gives_the_same_page(result: Result) -> None:
    pytest.importorskip("matplotlib")
    page = report.html(report_of(result))
    assert page == report.html(report_of(run(result.plan, watch=True)))
    assert "Cost a minute" in page
