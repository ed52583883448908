"""What a run's requests amount to: percentiles, counts, cost over time. Pure.

Latencies belong to the time their request was due at. An answer that never came is larger than every
latency: infinite.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from gateway.demo.exchange import Exchange
from gateway.demo.scenario import Promise, Scenario, Stretch


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of one run. Percentiles are None without a request; an infinite one means that more
    than a twentieth never got a first token."""

    offered: int
    in_time: int
    """Complete, and their first text came within the promise."""
    refused: int
    failed: int
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    """Of those that were answered."""
    usd_per_minute: float
    """In the dearest window of the stretch, as long as the promise says."""


def p95(values: Iterable[float]) -> float | None:
    """By nearest rank: 95% are this or less. None for no values."""
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None


def figures(plan: Scenario, exchanges: Iterable[Exchange], stretch: Stretch) -> Figures:
    """What became of the requests that were due in a stretch; what was spent in it on any."""
    everything = list(exchanges)
    mine = [x for x in everything if stretch.from_s <= x.arrival.at_s < stretch.to_s]
    return Figures(
        offered=len(mine),
        in_time=sum(is_in_time(x, plan.promise) for x in mine),
        refused=sum(x.fate == "refused" for x in mine),
        failed=sum(x.fate in ("failed", "open") for x in mine),
        ttft_p95_s=p95(first_token_s(x) for x in mine),
        tpot_p95_s=p95(x.tpot_s for x in mine if x.fate == "answered" and x.tpot_s is not None),
        usd_per_minute=_dearest(plan, everything, stretch),
    )


def first_token_s(exchange: Exchange) -> float:
    """Infinite for an answer that is not whole."""
    if exchange.fate != "answered" or exchange.ttft_s is None:
        return math.inf
    return exchange.ttft_s


def is_in_time(exchange: Exchange, promise: Promise) -> bool:
    return first_token_s(exchange) <= promise.ttft_p95_s


def spent(exchanges: Iterable[Exchange]) -> dict[int, float]:
    """USD by whole seconds of the run."""
    found: dict[int, float] = defaultdict(float)
    for exchange in exchanges:
        for second, usd in exchange.spending():
            found[second] += usd
    return found


def usd_per_minute(by_second: dict[int, float], from_s: int, to_s: int) -> float:
    """The rate in whole seconds [from_s, to_s)."""
    total = math.fsum(by_second.get(second, 0.0) for second in range(from_s, to_s))
    return total * 60.0 / max(to_s - from_s, 1)


def _dearest(plan: Scenario, exchanges: Sequence[Exchange], stretch: Stretch) -> float:
    """Windows end in the stretch. Those of a judged one do not reach back into what is not judged; where
    none is as short as that, the stretch itself is the window."""
    by_second = spent(exchanges)
    begin_s, end_s = math.ceil(stretch.from_s), math.floor(stretch.to_s)
    window_s = round(plan.promise.window_s)
    bound_s = math.ceil(plan.judged_from_s(stretch))
    rates = [
        usd_per_minute(by_second, to_s - window_s, to_s)
        for to_s in range(max(begin_s + 1, bound_s + window_s), end_s + 1)
    ]
    return max(rates, default=usd_per_minute(by_second, begin_s, end_s))
