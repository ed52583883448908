"""The report's values: what is drawn is what was measured."""

import math
from collections.abc import Callable

import pytest

from contracts.control import LoggedDecision
from gateway.demo.picture import SPAN_S, column, mark_text, report
from gateway.demo.record import Record
from gateway.demo.scenario import Scenario
from gateway.demo.verdict import Verdict
from gateway.simulation.report_parts import Run, Series

pytestmark = pytest.mark.req("INT-10", "INT-7")


def series(run: Run, title: str, nth: int = 0) -> Series:
    return next(panel for panel in run.panels if panel.title == title).series[nth]


def value(line: Series, at_s: float) -> float:
    return dict(line.points)[at_s]


def test_both_runs_have_the_same_panels_side_by_side(
    plan: Scenario, off: Record, on: Record, verdict: Verdict
) -> None:
    drawn = report(plan, off, on, verdict)
    titles = [[panel.title for panel in run.panels] for run in drawn.runs]
    assert titles[0] == titles[1] == ["Requests", "TTFT p95", "TPOT p95", "Cost", "Queue", "Rung"]
    assert [run.title for run in drawn.runs] == ["Loop off", "Loop on"]
    assert len(drawn.decisions) == 3
    assert len(drawn.table) == 9


def test_latencies_are_drawn_against_their_objectives(plan: Scenario, off: Record) -> None:
    ttft, tpot = (series(column(plan, off), f"{name} p95") for name in ("TTFT", "TPOT"))
    assert (ttft.objective, tpot.objective) == (0.8, 40.0)
    assert value(ttft, 15.0) == pytest.approx(0.2)
    assert value(ttft, 21.0) == pytest.approx(3.0)
    assert value(tpot, 30.0) == pytest.approx(20.0)


def test_a_time_without_answers_is_a_gap(plan: Scenario, on: Record) -> None:
    ttft = series(column(plan, on), "TTFT p95")
    assert math.isnan(value(ttft, 20.0 + SPAN_S))
    assert not math.isnan(value(ttft, 20.0 + SPAN_S + 1))


def test_offered_in_time_and_refused_are_told_apart(plan: Scenario, on: Record) -> None:
    run = column(plan, on)
    at_s = 20.0 + SPAN_S
    rates = [value(series(run, "Requests", nth), at_s) for nth in range(3)]
    assert rates == pytest.approx([1.0, 0.0, 1.0])


def test_cost_is_drawn_as_the_promise_measures_it(plan: Scenario, on: Record) -> None:
    cost = series(column(plan, on), "Cost")
    assert cost.objective == plan.promise.usd_per_minute
    assert value(cost, 19.0) == pytest.approx(60 * on.exchanges[0].usd, rel=0.1)
    assert value(cost, 45.0) == pytest.approx(60 * on.exchanges[-1].usd, rel=0.1)


def test_the_rung_is_that_of_actions_in_force(plan: Scenario, off: Record, on: Record) -> None:
    assert max(y for _, y in series(column(plan, off), "Rung").points) == 0.0
    assert max(y for _, y in series(column(plan, on), "Rung").points) == 1.0


def test_decisions_and_the_spike_are_marks_in_time_order(plan: Scenario, on: Record) -> None:
    marks = column(plan, on).marks
    assert [(mark.at_s, mark.kind) for mark in marks] == [
        (20.0, "event"),
        (23.0, "climb"),
        (25.5, "verdict"),
        (40.0, "event"),
    ]


def test_what_was_only_rehearsed_is_no_rung_up(plan: Scenario, off: Record) -> None:
    (mark,) = (m for m in column(plan, off).marks if m.at_s == 24.0)
    assert (mark.kind, mark.text) == ("event", "would switch model")


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("climb", {}, "switch model"),
        ("climb", {"dry_run": True}, "would switch model"),
        ("verdict", {"verdict": "confirmed"}, "switch model: confirmed"),
        ("rollback", {"verdict": "no_effect", "rung": "hold_back"}, "hold back: no effect"),
        ("pass_over", {"rung": None}, "nothing to do"),
        ("limit", {"rung": None}, "limit"),
    ],
)
def test_a_mark_says_what_happened_in_a_word_or_three(
    make_decision: Callable[..., LoggedDecision], kind: str, fields: dict[str, object], text: str
) -> None:
    assert mark_text(make_decision(1, kind, "...", **fields)) == text


def test_a_run_in_which_nothing_happened_is_drawn_too(plan: Scenario) -> None:
    empty = Record(run="loop off", exchanges=(), sights=(), heard=(), ended_s=0.0)
    assert column(plan, empty).panels
