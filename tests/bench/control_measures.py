"""What `make bench-control` measures on the rows of a simulated run, beside what the run's summary has.

Pure, and independent of the loop: nothing of what Setpoint itself measured is used here.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from adapters.fakellmd import law
from adapters.fakellmd.settings import LlmdSettings
from gateway.simulation.bounds import bounds, offered_load
from gateway.simulation.outcome import Outcome
from gateway.simulation.trace import Arrival
from gateway.simulation.traffic import poisson

LOOK_S = 0.25
WINDOW_S, MINUTE_S = 5.0, 60.0


def capacity_rps(settings: LlmdSettings, tpot_s: float) -> float:
    """Requests a second of the usual lengths that an engine can serve within the pace."""
    return 1.0 / offered_load(poisson(1.0, 20_000.0, 0), settings, tpot_s)


def recovery_s(
    outcomes: Iterable[Outcome], objective_s: float, step_s: float, until_s: float
) -> float:
    """Seconds from the step to the last moment at which the TTFT p95 of what had its first token in the last
    5 s was above the objective; 0 if it never was."""
    firsts = sorted((o.arrival_s + o.ttft_s, o.ttft_s) for o in outcomes if o.ttft_s is not None)
    outside_s = 0.0
    for at_s, window in _windows(firsts, WINDOW_S, step_s, until_s):
        if window and _p95(window) > objective_s:
            outside_s = at_s - step_s
    return outside_s


def settled_s(
    outcomes: Sequence[Outcome], good: Sequence[bool], rps: float, step_s: float, until_s: float
) -> float:
    """Seconds from the step to the first moment at which as many good answers as `rps` had ended in the
    last 5 s; infinite if there is none."""
    ends = sorted(
        (o.arrival_s + o.e2e_s, 1.0)
        for o, is_good in zip(outcomes, good, strict=True)
        if is_good and o.e2e_s is not None
    )
    for at_s, window in _windows(ends, WINDOW_S, step_s + WINDOW_S, until_s):
        if len(window) >= rps * WINDOW_S:
            return at_s - step_s
    return math.inf


def overspent_s(outcomes: Iterable[Outcome], ceiling_usd: float, until_s: float) -> float:
    """The longest stretch during which the cost of the answers that ended in the last minute was above the
    ceiling."""
    paid = sorted((o.arrival_s + o.e2e_s, o.cost_usd) for o in outcomes if o.e2e_s and o.cost_usd)
    longest_s, since_s = 0.0, None
    for at_s, window in _windows(paid, MINUTE_S, 0.0, until_s):
        if math.fsum(window) <= ceiling_usd:
            since_s = None
            continue
        since_s = at_s if since_s is None else since_s
        longest_s = max(longest_s, at_s - since_s)
    return longest_s


def missed_share(outcomes: Sequence[Outcome], ttft_s: float) -> float:
    """Of all that were offered: those without a first token in time, whatever became of them."""
    missed = sum(o.ttft_s is None or o.ttft_s > ttft_s for o in outcomes)
    return missed / len(outcomes) if outcomes else 0.0


def remaining_rps(
    all_arrivals: Sequence[Arrival],
    first: Sequence[Arrival],
    others: Sequence[Arrival],
    settings: LlmdSettings,
    tpot_s: float,
) -> float:
    """How many of `others` fit, length-blind, once all of `first` are served within the pace."""
    span_s = all_arrivals[-1].arrival_s
    n_star = law.optimal_concurrency(settings, tpot_s)
    told = bounds(first, settings, tpot_s, span_s=span_s)
    left_s = n_star * settings.replicas * span_s - told.mean_service_s * len(first)
    mean_s = bounds(others, settings, tpot_s, span_s=span_s).mean_service_s
    return min(left_s / mean_s, len(others)) / span_s


def _windows(
    values: Sequence[tuple[float, float]], span_s: float, start_s: float, until_s: float
) -> Iterable[tuple[float, list[float]]]:
    """(when, the values of the last `span_s`), four times a second."""
    window: deque[tuple[float, float]] = deque()
    nth = 0
    for look in range(int((until_s - start_s) / LOOK_S) + 1):
        at_s = start_s + look * LOOK_S
        while nth < len(values) and values[nth][0] <= at_s:
            window.append(values[nth])
            nth += 1
        while window and window[0][0] <= at_s - span_s:
            window.popleft()
        yield at_s, [value for _, value in window]


def _p95(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[max(math.ceil(0.95 * len(ordered)) - 1, 0)]
