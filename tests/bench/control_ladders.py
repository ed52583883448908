"""Cases in which something has to be done: classes that share an engine, a ceiling, a spike, a long hour."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean

import msgspec
from control_cases import TPOT_S, TTFT_S, Arrivals, Case, Job, Measured, Row, full_rps
from control_measures import missed_share, overspent_s, remaining_rps

from gateway.simulation.run import Result
from gateway.simulation.summary import judge
from gateway.simulation.trace import Arrival, merged, read_trace
from gateway.simulation.traffic import constant, poisson, varying

CEILING_USD = 0.10
"""A minute, as `scenarios/cost_policy.yaml` promises."""


def two_intents(seeds: int, window_s: float) -> Case:
    """Interactive 30% and batch 70% of twice what the engine can do."""
    jobs = tuple(
        Job(
            scenario="two_intents",
            arrivals=partial(_mixed, full_rps("two_intents"), 0.6, 1.4, window_s, seed),
            seed=seed,
            extra=_classes_extra,
        )
        for seed in range(1, seeds + 1)
    )
    return Case(name="two intents", jobs=jobs, rows=_classes_rows, acts=True)


def _classes_extra(result: Result) -> dict[str, float]:
    first = [a for a in result.plan.arrivals if a.intent == "interactive"]
    others = [a for a in result.plan.arrivals if a.intent == "batch"]
    (settings,) = result.plan.settings.values()
    left_rps = remaining_rps(result.plan.arrivals, first, others, settings, TPOT_S)
    interactive = result.summary.per_intent["interactive"]
    # What waits when the window ends is served after it, and is none of the window's.
    span_s, is_good = result.plan.span_s, judge(result.plan.policy)
    batch = sum(
        is_good(o) and o.arrival_s + (o.e2e_s or 0.0) <= span_s
        for o in result.outcomes
        if o.intent == "batch"
    )
    mine = [o for o in result.outcomes if o.intent == "interactive"]
    return {
        "missed": missed_share(mine, TTFT_S),
        "tpot_p95_s": interactive.tpot_p95_s or math.inf,
        "failed": interactive.failed / max(interactive.offered, 1),
        "batch": batch / span_s / left_rps,
    }


def _classes_rows(measured: Sequence[Measured]) -> list[Row]:
    worst = {name: max(one.extra[name] for one in measured) for name in measured[0].extra}
    batch = [one.extra["batch"] for one in measured]
    inside = worst["missed"] <= 0.05 and worst["tpot_p95_s"] <= TPOT_S and worst["failed"] <= 0.01
    return [
        Row(
            case="two intents 2x: interactive",
            figure=f"{worst['missed']:.1%} without a first token in time",
            target="all objectives",
            ok=inside,
            detail=f"worst of {len(measured)} seeds, refused ones among them; "
            f"TPOT p95 {worst['tpot_p95_s'] * 1000:.1f} ms, failed {worst['failed']:.1%}",
        ),
        Row(
            case="two intents 2x: batch",
            figure=f"{mean(batch):.3f} of the remaining bound",
            target=">= 0.90",
            ok=mean(batch) >= 0.9,
            detail=f"{min(batch):.3f} to {max(batch):.3f}",
        ),
    ]


def cost(seeds: int, minute_s: float) -> Case:
    """Traffic grows until the big model costs nearly twice the ceiling, and falls again."""
    full = full_rps("cost")
    rate = [
        *constant(0.2 * full, 2 * minute_s),
        (2 * minute_s, 0.5 * full),
        (8 * minute_s, 0.5 * full),
        (8 * minute_s, 0.2 * full),
        (14 * minute_s, 0.2 * full),
    ]
    jobs = tuple(
        Job(
            scenario="cost",
            arrivals=partial(varying, rate, seed),
            seed=seed,
            extra=_cost_extra,
        )
        for seed in range(1, seeds + 1)
    )
    return Case(name="cost ceiling", jobs=jobs, rows=_cost_rows, acts=True)


def _cost_extra(result: Result) -> dict[str, float]:
    models = result.plan.catalog.models
    floor = result.plan.policy.intent("interactive").quality_floor or 0.0
    span_s = result.plan.span_s
    return {
        "overspent_s": overspent_s(result.outcomes, CEILING_USD, span_s),
        "below": sum((models[o.model].quality or 0.0) < floor for o in result.outcomes),
        "usd_per_minute": result.summary.cost_usd * 60.0 / span_s,
        "missed": missed_share(result.outcomes, TTFT_S),
    }


def _cost_rows(measured: Sequence[Measured]) -> list[Row]:
    longest = max(one.extra["overspent_s"] for one in measured)
    below = sum(one.extra["below"] for one in measured)
    missed = max(one.extra["missed"] for one in measured)
    flaps = max(one.flaps_per_hour for one in measured)
    return [
        Row(
            case="cost ceiling",
            figure=f"{longest:.0f} s above it at a stretch",
            target="< 60 s",
            ok=longest < 60.0,
            detail=f"worst of {len(measured)} seeds, of answers that ended in the last minute; "
            f"{missed:.1%} without a first token in time; {flaps:.1f} flaps an hour",
        ),
        Row(
            case="cost ceiling: quality floor",
            figure=f"{below:.0f} answers below it",
            target="0",
            ok=below == 0,
        ),
    ]


def spike(seeds: int, minute_s: float) -> Case:
    """Three times the traffic for four minutes, with a quicker model to go to."""
    full = full_rps("two_models")
    rate = [
        *constant(0.6 * full, 2 * minute_s),
        (2 * minute_s, 1.8 * full),
        (6 * minute_s, 1.8 * full),
        (6 * minute_s, 0.6 * full),
        (12 * minute_s, 0.6 * full),
    ]
    arrivals = [partial(varying, rate, seed, intent="interactive") for seed in range(seeds)]
    return _acting("spike 0.6x to 1.8x, two models", "two_models", arrivals)


def crowded(seeds: int, minute_s: float) -> Case:
    """Interactive traffic alone nearly fills the engine, batch comes on top."""
    full = full_rps("two_intents")
    arrivals = [partial(_mixed, full, 0.9, 0.6, 10 * minute_s, seed) for seed in range(seeds)]
    return _acting("crowded 0.9x and 0.6x, one model", "two_intents", arrivals)


def trace_with_ladder(folder: Path) -> list[Case]:
    """Recorded traffic with a quicker model to go to."""
    path = folder / "azure23_conv_m00_20.csv.gz"
    if not path.exists():
        return []
    name = "azure23_conv 1.6x, two models"
    return [_acting(name, "two_models", [partial(read_trace, path)], load_x=1.6)]


def steady(minute_s: float) -> Case:
    """An hour of the same overload."""
    full = full_rps("two_models")
    arrivals = [partial(_mixed, full, 1.3, 0.3, 60 * minute_s, 1)]
    case = _acting("steady 1.3x and 0.3x for an hour, two models", "two_models", arrivals)
    return msgspec.structs.replace(case, rows=_steady_rows)


def _acting(
    name: str, scenario: str, arrivals: Sequence[Arrivals], load_x: float | None = None
) -> Case:
    jobs = tuple(
        Job(scenario=scenario, arrivals=one, load=load_x, seed=seed, extra=_missed_extra)
        for seed, one in enumerate(arrivals, 1)
    )
    return Case(name=name, jobs=jobs, rows=partial(_missed_rows, name), acts=True)


def _mixed(
    full: float, interactive_x: float, batch_x: float, window_s: float, seed: int
) -> list[Arrival]:
    return merged(
        poisson(interactive_x * full, window_s, 2 * seed, intent="interactive"),
        poisson(batch_x * full, window_s, 2 * seed + 1, intent="batch"),
    )


def _missed_extra(result: Result) -> dict[str, float]:
    mine = [o for o in result.outcomes if o.intent == "interactive"]
    return {"missed": missed_share(mine, TTFT_S)}


def _missed_rows(name: str, measured: Sequence[Measured]) -> list[Row]:
    missed = max(one.extra["missed"] for one in measured)
    return [
        Row(
            case=name,
            figure=f"{missed:.1%} without a first token in time",
            detail=f"{_told(measured)}; {max(one.flaps_per_hour for one in measured):.1f} flaps an hour",
        )
    ]


def _steady_rows(measured: Sequence[Measured]) -> list[Row]:
    (one,) = measured
    return [
        Row(
            case="steady 1.3x and 0.3x for an hour, two models",
            figure=f"{one.flaps_per_hour:.1f} flaps an hour",
            target="< 2",
            ok=one.flaps_per_hour < 2.0,
            detail=f"{_told(measured)}; interactive: {one.extra['missed']:.1%} without a first "
            "token in time",
        )
    ]


def verdict_row(measured: Sequence[Measured]) -> Row:
    """Of all actions that were judged in the cases that act."""
    judged = sum(sum(one.verdicts.values()) for one in measured)
    confirmed = sum(one.verdicts.get("confirmed", 0) for one in measured)
    share = confirmed / judged if judged else 0.0
    return Row(
        case="actions confirmed",
        figure=f"{share:.0%} of {judged}",
        target=">= 80%",
        ok=share >= 0.8,
        detail=_told(measured),
    )


def _told(measured: Sequence[Measured]) -> str:
    names = list(dict.fromkeys(name for one in measured for name in one.verdicts))
    counts = {name: sum(one.verdicts[name] for one in measured) for name in names}
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "none"
