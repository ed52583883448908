"""What a table shows: figures of those that answered rightly, ratios to those that have figures."""

import pytest

from tests.bench.plan import Run
from tests.bench.report import Run as Report
from tests.bench.report import faults, markdown, text, written
from tests.bench.result import Result, figure, result, times
from tests.bench.rounds import Figures, Outcome, WrongAnswers, alternate, right
from tests.bench.samples import Samples

GOOD = Outcome(figures={"cpu_s": Samples([4e-6, 6e-6])})
BASE = Outcome(figures={"cpu_s": Samples([2e-6, 2e-6])})
BAD = Outcome(fault="1 of 9 answers were wrong: no [DONE]")


def table(outcomes: dict[str, Outcome]) -> Result:
    columns = [figure("us", "cpu_s", scale=1e6), *times("cpu_s", "base", outcomes)]
    return result("A thing", "What was done.", outcomes, columns)


def report(**results: Result) -> Report:
    missing = {"LiteLLM": "not installed"}
    return Report(date="2026-01-02", machine="a machine", missing=missing, results=results)


def test_a_table_has_figures_spread_and_ratios() -> None:
    assert markdown(table({"Setpoint": GOOD, "base": BASE})).splitlines() == [
        "**A thing.** What was done.",
        "",
        "|  | us | x base |",
        "| --- | --- | --- |",
        "| Setpoint | 5.0 (4.0 to 6.0) | 2.50 (2.00 to 3.00) |",
        "| base | 2.0 (2.0 to 2.0) |  |",
    ]


def test_a_contender_with_wrong_answers_has_no_figure() -> None:
    found = table({"Setpoint": BAD, "base": BASE})
    assert found.rows[0] == ["Setpoint", BAD.fault, ""]
    assert faults({"thing": found}) == [f"thing: Setpoint: {BAD.fault}"]


def test_nothing_is_compared_with_a_contender_that_has_no_figures() -> None:
    assert table({"Setpoint": GOOD, "base": BAD}).head == ["", "us"]
    assert table({"Setpoint": GOOD}).head == ["", "us"]


def test_rounds_alternate_and_leave_out_who_was_wrong() -> None:
    asked: list[str] = []

    def once(name: str) -> Figures:
        asked.append(name)
        if name == "b":
            right(Run(done=8, wrong={"no [DONE]": 1}))
        return {"n": float(len(asked))}

    found = alternate(["a", "b", "c"], 3, once)
    assert asked == ["a", "b", "c", "c", "a", "c", "a"]
    assert found["b"] == BAD
    assert found["a"]["n"].values == [1.0, 5.0, 7.0]


def test_a_run_without_wrong_answers_is_right() -> None:
    run = Run(done=9)
    assert right(run) is run
    with pytest.raises(WrongAnswers, match="3 of 12 answers were wrong: status 502"):
        right(Run(done=9, wrong={"no [DONE]": 1, "status 502": 2}))


def test_each_table_is_written_between_its_markers() -> None:
    document = "a\n<!-- bench one -->\nold\n<!-- end -->\nb\n<!-- bench two -->\n<!-- end -->\n"
    one = table({"Setpoint": GOOD})
    new = written(document, report(one=one))
    assert new.startswith("a\n<!-- bench one -->\n2026-01-02, a machine. Medians")
    assert markdown(one) in new
    assert new.endswith("|\n<!-- end -->\nb\n<!-- bench two -->\n<!-- end -->\n")
    assert "old" not in new
    assert written(new, report(one=one)) == new
    with pytest.raises(ValueError, match="<!-- bench three -->"):
        written(document, report(three=one))


def test_the_report_says_who_was_not_there() -> None:
    assert "LiteLLM was not there: not installed." in text(report(one=table({"Setpoint": GOOD})))
