"""The result in words and numbers."""

import math

import pytest

from gateway.demo.record import Record
from gateway.demo.scenario import Scenario
from gateway.demo.summary import decisions, facts, table, time_text
from gateway.demo.verdict import Verdict

pytestmark = pytest.mark.req("INT-10", "INT-7")


def test_the_table_has_a_row_for_each_stretch_of_each_run(verdict: Verdict) -> None:
    head, *rows = table(verdict)
    assert len(rows) == 8
    assert {len(row) for row in rows} == {len(head)}
    assert [row[0] for row in rows[:2]] == ["loop off: calm", "loop off: spike, first 8 s"]
    assert rows[2] == (
        "loop off: spike, the rest",
        *("12", "0", "0", "0", "3.00 s", "20 ms", "0.09", "no: TTFT"),
    )
    assert rows[5][1:5] == ("8", "5", "3", "0")
    assert rows[5][5] == "never"
    assert rows[5][-1] == "not judged"
    assert rows[6][-1] == "yes"


def test_the_decisions_of_both_runs_are_told_in_time_order(off: Record, on: Record) -> None:
    told = decisions(off, on)
    assert [at_s for at_s, _ in told] == [23.0, 24.0, 25.5]
    assert told[0][1].startswith("loop on: switched model")
    assert told[1][1].startswith("loop off: would have switched model")


def test_the_facts_tell_how_to_make_it_again(plan: Scenario, off: Record, on: Record) -> None:
    told = dict(facts(plan, off, on))
    assert told["command"] == "setpoint demo --seconds 20 --seed 1"
    assert "ttft_p95: 800ms" in told["promise"]
    assert "1 ms (loop off)" in told["client"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (math.inf, "never"), (0.0123, "12 ms"), (0.9994, "999 ms"), (1.444, "1.44 s")],
)
def test_a_time_is_short(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text
