"""A run over time: sampled without being changed, and drawn from what really happened."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.control import LoopDecision
from gateway.simulation.drift import parse_drift
from gateway.simulation.outcome import Outcome
from gateway.simulation.report_parts import Run
from gateway.simulation.rows import write_rows
from gateway.simulation.run import Result, run
from gateway.simulation.timeline import MAX_SAMPLES, Timeline, picture, rolling_p95, rolling_sum
from tests.fakes.simulated import PROMISE, TWO_MODELS, plan_of, requests

pytestmark = pytest.mark.req("INT-12")
VALUES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9))).map(sorted)
TIMES = st.lists(st.integers(0, 25), unique=True).map(sorted)


class Body:
    """Counts how often it was looked at."""

    def __init__(self) -> None:
        self.looks: list[float] = []

    def sight(self, now_s: float) -> None:
        self.looks.append(now_s)


@given(values=VALUES, times=TIMES, span_s=st.integers(1, 8))
def test_a_rolling_p95_is_that_of_the_last_seconds(
    values: list[tuple[int, int]], times: list[int], span_s: int
) -> None:
    told = rolling_p95(values, times, span_s)
    assert [at_s for at_s, _ in told] == times
    for at_s, found in told:
        window = sorted(value for when, value in values if at_s - span_s < when <= at_s)
        if window:
            assert found == window[math.ceil(0.95 * len(window)) - 1]
        else:
            assert math.isnan(found)


@given(values=VALUES, times=TIMES, span_s=st.integers(1, 8))
def test_a_rolling_sum_is_that_of_the_last_seconds(
    values: list[tuple[int, int]], times: list[int], span_s: int
) -> None:
    for at_s, found in rolling_sum(values, times, span_s):
        assert found == sum(value for when, value in values if at_s - span_s < when <= at_s)


def test_a_body_is_looked_at_once_a_second() -> None:
    body = Body()
    timeline = Timeline(body, 10.0)
    for tick in range(1, 13):
        timeline.watch(tick * 0.25)
    assert body.looks == [0.25, 1.25, 2.25]


def test_a_long_run_is_looked_at_less_often() -> None:
    body = Body()
    timeline = Timeline(body, 1_000_000.0)
    for now_s in range(1_003_600):
        timeline.watch(float(now_s))
    assert 0.9 * MAX_SAMPLES < len(body.looks) <= MAX_SAMPLES


POLICIES = PROMISE + "  - {name: batch, objectives: {cost_per_minute: 1 USD}}\n"


@pytest.fixture
def result(tmp_path: Path) -> Result:
    arrivals = [*requests(0.0, 1.0, 2.0), *requests(3.0, intent="batch", output=101)]
    drifts = (parse_drift("at=2s,itl=2x"),)
    plan = plan_of(tmp_path, arrivals, config=TWO_MODELS, policies=POLICIES, drifts=drifts)
    return run(plan, watch=True)


def drawn(result: Result, *decisions: LoopDecision) -> Run:
    return picture("setpoint", result.plan, result.outcomes, decisions, result.samples)


def test_a_run_has_a_panel_for_each_thing_that_an_operator_looks_at(result: Result) -> None:
    panels = {panel.title: panel for panel in drawn(result).panels}
    assert list(panels) == ["TTFT p95", "TPOT p95", "Requests", "Limit", "Cost a minute", "Rung"]
    assert [series.label for series in panels["TTFT p95"].series] == ["chat", "batch"]
    assert [series.objective for series in panels["TTFT p95"].series] == [0.5, None]
    assert [series.objective for series in panels["TPOT p95"].series] == [0.05, None]
    assert [series.objective for series in panels["Cost a minute"].series] == [None, 1.0]
    assert [series.label for series in panels["Requests"].series] == ["running", "waiting"]
    assert [series.label for series in panels["Rung"].series] == ["chat", "batch"]


def test_panels_show_what_happened(result: Result) -> None:
    panels = {panel.title: panel for panel in drawn(result).panels}
    running = dict(panels["Requests"].series[0].points)
    # The last answer takes 4 s from the third second on: 100 gaps of 40 ms.
    assert running[6.25] == 1.0
    chat, batch = panels["TTFT p95"].series
    assert dict(chat.points)[0.25] == pytest.approx(0.02)
    assert math.isnan(dict(batch.points)[2.25])
    assert dict(batch.points)[3.25] == pytest.approx(0.02)
    (cost, _) = panels["Cost a minute"].series
    assert dict(cost.points)[3.25] == pytest.approx(3 * 122e-6)


def test_what_nobody_has_is_not_drawn(tmp_path: Path) -> None:
    result = run(plan_of(tmp_path, requests(0.0), controller="none"), watch=True)
    assert [panel.title for panel in drawn(result).panels] == [
        "TTFT p95",
        "TPOT p95",
        "Requests",
        "Cost a minute",
    ]


def decision(at_s: float, kind: str, **more: object) -> LoopDecision:
    return LoopDecision(seq=1, at_s=at_s, kind=kind, intent="chat", words="x", **more)


def test_decisions_and_drifts_are_marks(result: Result) -> None:
    marks = drawn(
        result,
        decision(1.0, "climb", rung="shed"),
        decision(3.0, "verdict", rung="shed", verdict="confirmed"),
        decision(4.0, "rollback", rung="order", verdict="no_effect"),
        decision(5.0, "lapse", rung="shed"),
        decision(6.0, "pass_over"),
    ).marks
    assert [(mark.at_s, mark.kind, mark.text) for mark in marks] == [
        (1.0, "climb", "shed"),
        (2.0, "event", "itl 2x"),
        (3.0, "verdict", "shed: confirmed"),
        (4.0, "rollback", "order: no effect"),
        (5.0, "descend", "shed"),
        (6.0, "event", "pass over"),
    ]


def test_looking_changes_nothing(result: Result, tmp_path: Path) -> None:
    unseen = run(result.plan)
    rows = []
    for nth, told in enumerate((result, unseen)):
        path = tmp_path / str(nth)
        with path.open("w", newline="") as out:
            write_rows(told.outcomes, out)
        rows.append(path.read_bytes())
    assert rows[0] == rows[1]
    assert unseen.samples == ()


def test_only_the_busiest_intents_have_a_line(result: Result) -> None:
    outcomes = list(result.outcomes)
    for nth in range(9):
        for _ in range(nth + 1):
            made = Outcome(0.0, "", 1)
            made.intent, made.ttft_s = f"i{nth}", 0.1
            outcomes.append(made)
    panel = picture("x", result.plan, outcomes, (), result.samples).panels[0]
    assert [series.label for series in panel.series] == ["i8", "i7", "i6", "i5", "i4", "i3"]
