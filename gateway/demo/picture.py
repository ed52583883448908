"""The two runs as a report's values: panels on one time axis, and the decisions as marks. Pure.

How it looks is `gateway.simulation`'s affair; what it says in words is `summary`'s.
"""

import math
from collections.abc import Callable, Sequence

from contracts.control import DecisionKind, LoggedDecision
from gateway.demo import summary
from gateway.demo.exchange import Exchange
from gateway.demo.measures import is_in_time, p95, spent, usd_per_minute
from gateway.demo.record import Record
from gateway.demo.scenario import SPIKE, Scenario
from gateway.demo.verdict import Verdict, definition
from gateway.simulation.report_parts import Mark, MarkKind, Panel, Report, Run, Series

SPAN_S = 3
"""Rates and latencies are of the requests that were due in so many seconds before."""
_KINDS: dict[DecisionKind, MarkKind] = {
    "climb": "climb",
    "descend": "descend",
    "lapse": "descend",
    "verdict": "verdict",
    "rollback": "rollback",
}
"""What has no sign of its own is an event, and so is what was only rehearsed."""
Points = tuple[tuple[float, float], ...]


def report(plan: Scenario, off: Record, on: Record, verdict: Verdict) -> Report:
    """Baseline beside controlled."""
    return Report(
        title=f"A spike of {SPIKE:g} times the traffic, with the loop off and on",
        subtitle=f"{verdict.words} {definition(plan)}",
        runs=(column(plan, off), column(plan, on)),
        table=summary.table(verdict),
        decisions=summary.decisions(off, on),
        facts=summary.facts(plan, off, on),
    )


def column(plan: Scenario, record: Record) -> Run:
    """A run's panels and marks."""
    promise = plan.promise
    rungs = [(sight.at_s, float(sight.rung)) for sight in record.sights]
    return Run(
        title=record.run[0].upper() + record.run[1:],
        panels=(
            _traffic(plan, record),
            Panel(
                title="TTFT p95",
                unit="s",
                series=(_latency(record, lambda x: x.ttft_s, 1.0, promise.ttft_p95_s),),
            ),
            Panel(
                title="TPOT p95",
                unit="ms",
                series=(_latency(record, lambda x: x.tpot_s, 1000.0, promise.tpot_p95_s),),
            ),
            _cost(plan, record),
            _queue(record),
            Panel(title="Rung", unit="held", series=(_steps("rung", rungs),)),
        ),
        marks=_marks(plan, record),
    )


def mark_text(decision: LoggedDecision) -> str:
    """A decision in a word or three."""
    if decision.kind == "pass_over":
        return "nothing to do"
    action = (decision.rung or decision.kind).partition(" ")[0].replace("_", " ")
    if decision.verdict is not None:
        return f"{action}: {decision.verdict.replace('_', ' ')}"
    return f"would {action}" if decision.dry_run else action


def _traffic(plan: Scenario, record: Record) -> Panel:
    kinds: tuple[tuple[str, Callable[[Exchange], bool]], ...] = (
        ("offered", lambda x: True),
        ("answered in time", lambda x: is_in_time(x, plan.promise)),
        ("refused", lambda x: x.fate == "refused"),
    )
    series = [_rate(record, label, counts) for label, counts in kinds]
    return Panel(title="Requests", unit="a second", series=tuple(series))


def _rate(record: Record, label: str, counts: Callable[[Exchange], bool]) -> Series:
    points = _rolling(record, lambda mine: sum(map(counts, mine)) / SPAN_S)
    return Series(label=label, points=points)


def _latency(
    record: Record, value: Callable[[Exchange], float | None], scale: float, objective: float
) -> Series:
    def worst(mine: Sequence[Exchange]) -> float:
        found = p95(seconds for seconds in map(value, mine) if seconds is not None)
        return math.nan if found is None else found * scale

    return Series(label="p95", points=_rolling(record, worst), objective=objective * scale)


def _cost(plan: Scenario, record: Record) -> Panel:
    """Of the last window, as long as the promise says; gone are the seconds before the start."""
    by_second, window_s = spent(record.exchanges), round(plan.promise.window_s)
    points = tuple(
        (float(at_s), usd_per_minute(by_second, max(at_s - window_s, 0), at_s))
        for at_s in range(1, math.ceil(record.ended_s) + 1)
    )
    line = Series(label="cost", points=points, objective=plan.promise.usd_per_minute)
    return Panel(title="Cost", unit="USD a minute", series=(line,))


def _queue(record: Record) -> Panel:
    running = [(sight.at_s, float(sight.status.inflight)) for sight in record.sights]
    waiting = [(sight.at_s, float(sight.status.waiting)) for sight in record.sights]
    return Panel(
        title="Queue",
        unit="requests",
        series=(_steps("waiting in the gateway", waiting), _steps("at the engines", running)),
    )


def _steps(label: str, points: Sequence[tuple[float, float]]) -> Series:
    return Series(label=label, points=tuple(points), style="step")


def _rolling(record: Record, measure: Callable[[Sequence[Exchange]], float]) -> Points:
    """`measure` of what was due in the last SPAN_S, each second until the last was due."""
    exchanges = record.exchanges
    found, first, after = [], 0, 0
    last_s = exchanges[-1].arrival.at_s if exchanges else 0.0
    for at_s in range(1, math.ceil(last_s) + 1):
        while after < len(exchanges) and exchanges[after].arrival.at_s < at_s:
            after += 1
        while first < after and exchanges[first].arrival.at_s < at_s - SPAN_S:
            first += 1
        found.append((float(at_s), measure(exchanges[first:after])))
    return tuple(found)


def _marks(plan: Scenario, record: Record) -> tuple[Mark, ...]:
    marks = [
        Mark(at_s=plan.spike_from_s, text=f"spike: {SPIKE:g}x", kind="event"),
        Mark(at_s=plan.spike_to_s, text="calm again", kind="event"),
    ]
    for heard in record.heard:
        decision = heard.decision
        kind = "event" if decision.dry_run else _KINDS.get(decision.kind, "event")
        marks.append(Mark(at_s=heard.at_s, text=mark_text(decision), kind=kind))
    return tuple(sorted(marks, key=lambda mark: mark.at_s))
