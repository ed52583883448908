"""How a run went over time: what its report's panels and marks are made of.

A `Timeline` looks at the body once a second while the world runs; the rest comes from the outcomes
afterwards. Must stay true: looking changes nothing, and there are never more than `MAX_SAMPLES`.
Latencies are of the requests that ended (for TTFT: had their first token) in the last `SPAN_S`, cost of
those in the last minute.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from contracts.control import DecisionKind, LoopDecision
from contracts.policy import Objectives
from gateway.simulation.bodies import Body, Sight
from gateway.simulation.outcome import Outcome
from gateway.simulation.plan import Plan
from gateway.simulation.report_parts import Mark, MarkKind, Panel, Run, Series
from gateway.simulation.world import MAX_TAIL_S

STEP_S = 1.0
MAX_SAMPLES = 20_000
SPAN_S, MINUTE_S = 10.0, 60.0
MAX_LINES = 6
"""Of a panel: those of the intents with most requests."""
_KINDS: dict[DecisionKind, MarkKind] = {
    "climb": "climb",
    "descend": "descend",
    "lapse": "descend",
    "verdict": "verdict",
    "rollback": "rollback",
}
"""What has no sign of its own is an event."""
Points = tuple[tuple[float, float], ...]
Values = Sequence[tuple[float, float]]
"""(when, what), in time order."""


class Timeline:
    """Hand `watch` to the world. `span_s`: how long arrivals come."""

    def __init__(self, body: Body, span_s: float) -> None:
        self._body = body
        self._step_s = max(STEP_S, (span_s + MAX_TAIL_S) / MAX_SAMPLES)
        self._next_s = 0.0
        self.samples: list[tuple[float, Sight]] = []

    def watch(self, now_s: float) -> None:
        if now_s >= self._next_s:
            self.samples.append((now_s, self._body.sight(now_s)))
            self._next_s = now_s + self._step_s


def picture(
    title: str,
    plan: Plan,
    outcomes: Sequence[Outcome],
    decisions: Iterable[LoopDecision],
    samples: Sequence[tuple[float, Sight]],
) -> Run:
    """A report's column for this run."""
    times = [at_s for at_s, _ in samples]
    by_intent = _by_intent(outcomes)
    panels = (
        _latency_panel(
            "TTFT p95", plan, by_intent, times, _first_tokens, lambda promised: promised.ttft_s
        ),
        _latency_panel(
            "TPOT p95", plan, by_intent, times, _paces, lambda promised: promised.tpot_s
        ),
        Panel(
            title="Requests",
            unit="",
            series=(
                _steps("running", [(at_s, float(seen.inflight)) for at_s, seen in samples]),
                _steps("waiting", [(at_s, float(seen.waiting)) for at_s, seen in samples]),
            ),
        ),
        Panel(title="Limit", unit="requests", series=tuple(_limits(samples))),
        _cost_panel(plan, by_intent, times),
        Panel(title="Rung", unit="held", series=tuple(_rungs(samples))),
    )
    return Run(
        title=title,
        panels=tuple(panel for panel in panels if panel.series),
        marks=tuple(_marks(plan, decisions)),
    )


def _by_intent(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Those with most requests first."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.intent, []).append(outcome)
    busiest = sorted(found, key=lambda name: (-len(found[name]), name))
    return {name: found[name] for name in busiest[:MAX_LINES]}


def _first_tokens(outcomes: Iterable[Outcome]) -> Values:
    return sorted((o.arrival_s + o.ttft_s, o.ttft_s) for o in outcomes if o.ttft_s is not None)


def _paces(outcomes: Iterable[Outcome]) -> Values:
    return sorted(
        (o.arrival_s + o.e2e_s, o.tpot_s)
        for o in outcomes
        if o.e2e_s is not None and o.tpot_s is not None
    )


def _latency_panel(
    title: str,
    plan: Plan,
    by_intent: dict[str, list[Outcome]],
    times: Sequence[float],
    values_of: Callable[[Iterable[Outcome]], Values],
    target_of: Callable[[Objectives], float | None],
) -> Panel:
    series = []
    for name, mine in by_intent.items():
        if values := values_of(mine):
            target = target_of(plan.policy.intent(name).objectives)
            series.append(
                Series(
                    label=name or "no intent",
                    points=rolling_p95(values, times, SPAN_S),
                    objective=None if target is None else float(target),
                )
            )
    return Panel(title=title, unit="s", series=tuple(series))


def rolling_p95(values: Values, times: Sequence[float], span_s: float) -> Points:
    """At each time the value that 95% of those of the last `span_s` stay within; NaN without any."""
    points: list[tuple[float, float]] = []
    window: deque[tuple[float, float]] = deque()
    ordered: list[float] = []
    nth = 0
    for at_s in times:
        while nth < len(values) and values[nth][0] <= at_s:
            window.append(values[nth])
            insort(ordered, values[nth][1])
            nth += 1
        while window and window[0][0] <= at_s - span_s:
            del ordered[bisect_left(ordered, window.popleft()[1])]
        rank = max(math.ceil(0.95 * len(ordered)) - 1, 0)
        points.append((at_s, ordered[rank] if ordered else math.nan))
    return tuple(points)


def rolling_sum(values: Values, times: Sequence[float], span_s: float) -> Points:
    """At each time the sum of the last `span_s`."""
    points: list[tuple[float, float]] = []
    window: deque[tuple[float, float]] = deque()
    nth = 0
    for at_s in times:
        while nth < len(values) and values[nth][0] <= at_s:
            window.append(values[nth])
            nth += 1
        while window and window[0][0] <= at_s - span_s:
            window.popleft()
        points.append((at_s, math.fsum(value for _, value in window)))
    return tuple(points)


def _cost_panel(plan: Plan, by_intent: dict[str, list[Outcome]], times: Sequence[float]) -> Panel:
    series = []
    for name, mine in by_intent.items():
        paid = sorted((o.arrival_s + o.e2e_s, o.cost_usd) for o in mine if o.e2e_s and o.cost_usd)
        target = plan.policy.intent(name).objectives.cost_per_minute
        if paid:
            series.append(
                Series(
                    label=name or "no intent",
                    points=rolling_sum(paid, times, MINUTE_S),
                    objective=None if target is None else float(target),
                )
            )
    return Panel(title="Cost a minute", unit="USD", series=tuple(series))


def _limits(samples: Sequence[tuple[float, Sight]]) -> Iterable[Series]:
    lanes = list(dict.fromkeys(lane for _, seen in samples for lane in seen.limits))
    for lane in lanes[:MAX_LINES]:
        yield _steps(lane[1], [(at_s, seen.limits.get(lane, math.nan)) for at_s, seen in samples])


def _rungs(samples: Sequence[tuple[float, Sight]]) -> Iterable[Series]:
    intents = list(dict.fromkeys(name for _, seen in samples for name in seen.rungs))
    for name in intents[:MAX_LINES]:
        yield _steps(name, [(at_s, float(seen.rungs.get(name, 0))) for at_s, seen in samples])


def _steps(label: str, points: Values) -> Series:
    return Series(label=label, points=tuple(points), style="step")


def _marks(plan: Plan, decisions: Iterable[LoopDecision]) -> list[Mark]:
    marks = [Mark(at_s=drift.at_s, text=drift.words, kind="event") for drift in plan.drifts]
    marks += [
        Mark(
            at_s=decision.at_s,
            text=_short(decision),
            kind=_KINDS.get(decision.kind, "event"),
        )
        for decision in decisions
    ]
    return sorted(marks, key=lambda mark: mark.at_s)


def _short(decision: LoopDecision) -> str:
    what = decision.rung or decision.kind.replace("_", " ")
    if decision.verdict is not None:
        return f"{what}: {decision.verdict.replace('_', ' ')}"
    return what
