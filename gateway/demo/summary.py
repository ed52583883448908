"""A demo's result as text: the table, the decisions in words, what it was made with. Pure."""

import math
from collections.abc import Iterable

from gateway.demo import deployment
from gateway.demo.record import Record
from gateway.demo.scenario import Scenario
from gateway.demo.verdict import RunResult, StretchResult, Verdict

HEAD = ("", "offered", "in time", "refused", "failed", "TTFT p95", "TPOT p95", "USD/min", "kept?")


def table(verdict: Verdict) -> tuple[tuple[str, ...], ...]:
    """A row a stretch, a run after the other, under HEAD."""
    return (HEAD, *_rows(verdict.off), *_rows(verdict.on))


def decisions(*records: Record) -> tuple[tuple[float, str], ...]:
    """(seconds of the run, words) in time order, each with the run it fell in."""
    found = [
        (heard.at_s, f"{record.run}: {heard.decision.words}")
        for record in records
        for heard in record.heard
    ]
    return tuple(sorted(found))


def facts(plan: Scenario, *records: Record) -> tuple[tuple[str, str], ...]:
    """(name, value): what it was made with, so that it can be made again."""
    lags = ", ".join(f"{record.client_lag_s * 1000:.0f} ms ({record.run})" for record in records)
    rates = ", ".join(f"{p.name} {p.seconds:g} s at {p.rate_rps:g} a second" for p in plan.phases)
    return (
        ("command", f"setpoint demo --seconds {plan.calm.seconds:g} --seed {plan.seed}"),
        ("traffic", f"{rates}; an open loop of streamed chat completions"),
        ("promise", deployment.objectives(plan.promise)),
        *((engine.name, engine.told) for engine in deployment.ENGINES),
        ("loop off", "the same policy with dry_run: true: it decides and logs, and does not act"),
        ("client", f"99% of the requests were sent within {lags} of their time"),
    )


def time_text(seconds: float | None) -> str:
    """`640 ms`, `1.44 s`; `never` for an infinite one, `-` for none."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "never"
    return f"{seconds * 1000:.0f} ms" if seconds < 1.0 else f"{seconds:.2f} s"


def _rows(result: RunResult) -> Iterable[tuple[str, ...]]:
    for part in result.stretches:
        seen = part.figures
        yield (
            f"{result.run}: {part.stretch.name}",
            str(seen.offered),
            str(seen.in_time),
            str(seen.refused),
            str(seen.failed),
            time_text(seen.ttft_p95_s),
            time_text(seen.tpot_p95_s),
            f"{seen.usd_per_minute:.2f}",
            _kept(part),
        )


def _kept(result: StretchResult) -> str:
    if not result.stretch.judged:
        return "not judged"
    return f"no: {', '.join(result.broken)}" if result.broken else "yes"
