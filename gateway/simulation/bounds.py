"""How many requests could at most be served well: what a simulated result is measured against.

A request is good if its tokens come at the TPOT objective or faster. With n sequences running, an
engine yields n / ITL(n) tokens/s, which is concave in n, so of all schedules within the objective the
one that always runs n* (`law.optimal_concurrency`) yields most. There, request i holds a place for

    s_i = prefill_i * factor(n*) + (output_i - 1) * ITL(n*)

and R engines have R * n* * T place-seconds to give in T seconds. Two bounds follow:

* blind: as many requests of mean size as fit. What a policy can reach that does not pick by size;
  one that prefers short answers may exceed it;
* aware: the smallest first, the last one in part (a fractional knapsack). Needs the true lengths.

Must stay true: both bound good requests/s from above, aware >= blind. They leave out what deadlines
cost, so they are never too low, with two limits: the prefill is taken at n*, and work that overlaps the
end of the window is free (want T of 20 mean services or more). And they want an engine that
gains by batching, `time_factor_under_load < max_num_seqs`. Jitter and prefix caches are not
considered. Source: the hindsight argument of Jaillet et al., arXiv 2502.07115, for this engine's law.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter

import msgspec

from adapters.fakellmd import law
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from gateway.simulation.trace import Arrival

_ARRIVAL_S = attrgetter("arrival_s")


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one window. With drift, `n_star` is its mean over time."""

    n_star: float
    """Sequences an engine should run at once."""
    span_s: float
    mean_service_s: float
    """The mean s_i; 0 without requests, infinite where the objective cannot be met at all."""
    blind_rps: float
    aware_rps: float


class _Segment(msgspec.Struct, frozen=True):
    """A stretch of time in which the engines are the same ones."""

    lasts_s: float
    n_star: float
    services_s: list[float]
    """s_i of what arrives in it."""
    capacity_s: float
    """Place-seconds: n* of all engines, as long as it lasts."""


def offered_load(
    arrivals: Sequence[Arrival],
    settings: LlmdSettings,
    tpot_slo_s: float | None,
    *,
    span_s: float | None = None,
) -> float:
    """The work that arrives, as a share of what the engines can do within the objective: 1 is full.

    Without `tpot_slo_s` the engines may run full batches. Drift is not considered: a load describes
    the traffic, not what goes wrong. Infinite where the objective cannot be met at all.
    Raises ValueError as `bounds` does.
    """
    undrifted = msgspec.structs.replace(settings, drift=())
    (segment,) = _segments(arrivals, undrifted, tpot_slo_s, _span_s(arrivals, span_s))
    work_s = sum(segment.services_s)
    return work_s / segment.capacity_s if segment.capacity_s else math.inf


def bounds(
    arrivals: Sequence[Arrival],
    settings: LlmdSettings,
    tpot_slo_s: float | None,
    *,
    span_s: float | None = None,
) -> Bounds:
    """The bounds for what arrives in [0, span_s], by default up to the last arrival.

    Drift is considered: each stretch between two drifts has its own law, and its arrivals are its
    own. Raises ValueError for settings with several models and for a window without length.
    """
    span_s = _span_s(arrivals, span_s)
    segments = list(_segments(arrivals, settings, tpot_slo_s, span_s))
    services_s = [service_s for segment in segments for service_s in segment.services_s]
    return Bounds(
        n_star=sum(segment.n_star * segment.lasts_s for segment in segments) / span_s,
        span_s=span_s,
        mean_service_s=sum(services_s) / len(services_s) if services_s else 0.0,
        blind_rps=sum(map(_blind, segments)) / span_s,
        aware_rps=sum(map(_aware, segments)) / span_s,
    )


def _span_s(arrivals: Sequence[Arrival], span_s: float | None) -> float:
    if span_s is None:
        span_s = arrivals[-1].arrival_s if arrivals else 0.0
    if not 0.0 < span_s < math.inf:
        raise ValueError(f"a bound needs a window longer than 0 s, not {span_s} s")
    return span_s


def _segments(
    arrivals: Sequence[Arrival], settings: LlmdSettings, tpot_slo_s: float | None, span_s: float
) -> Iterator[_Segment]:
    for (start_s, drifted), (end_s, _) in pairwise([*_laws(settings), (math.inf, settings)]):
        if start_s >= span_s:
            continue
        first = bisect_left(arrivals, start_s, key=_ARRIVAL_S)
        if end_s < span_s:
            after = bisect_left(arrivals, end_s, key=_ARRIVAL_S)
        else:
            after = bisect_right(arrivals, span_s, key=_ARRIVAL_S)
        lasts_s = min(end_s, span_s) - start_s
        yield _segment(arrivals[first:after], drifted, tpot_slo_s, lasts_s)


def _laws(settings: LlmdSettings) -> Iterator[tuple[float, LlmdSettings]]:
    """From when on the engines are which: settings without drift, each with the latency of its time."""
    if len(settings.models) != 1:
        raise ValueError(f"a bound is about one model, not {len(settings.models)}")
    name = settings.models[0].name
    latency = settings.latency_of(name)
    yield 0.0, _with_latency(settings, latency)
    for drift in settings.drift_of(name):
        latency = drift.applied_to(latency)
        yield drift.at_s, _with_latency(settings, latency)


def _with_latency(settings: LlmdSettings, latency: Latency) -> LlmdSettings:
    model = ServedModel(name=settings.models[0].name, latency=latency)
    return msgspec.structs.replace(settings, models=(model,), drift=())


def _segment(
    arrivals: Sequence[Arrival], settings: LlmdSettings, tpot_slo_s: float | None, lasts_s: float
) -> _Segment:
    most = settings.max_num_seqs
    n_star = float(most) if tpot_slo_s is None else law.optimal_concurrency(settings, tpot_slo_s)
    if n_star > 0.0:
        services_s = _services_s(arrivals, settings, n_star)
    else:
        services_s = [math.inf] * len(arrivals)
    return _Segment(lasts_s, n_star, services_s, n_star * settings.replicas * lasts_s)


def _services_s(arrivals: Sequence[Arrival], settings: LlmdSettings, n_star: float) -> list[float]:
    """s_i of each request."""
    latency = settings.latency_of(settings.models[0].name)
    most = settings.max_num_seqs
    # The law takes whole sequences and is linear, so a share of a full batch's slowdown is exact.
    slowdown = law.load_factor(most, most, latency.time_factor_under_load) - 1.0
    factor = 1.0 + slowdown * (n_star - 1.0) / max(most - 1, 1)
    gap_s = latency.inter_token_latency_s * factor
    return [
        law.idle_first_token_s(latency, a.input_tokens, 0) * factor + (a.output_tokens - 1) * gap_s
        for a in arrivals
    ]


def _blind(segment: _Segment) -> float:
    count, work_s = len(segment.services_s), sum(segment.services_s)
    return count if work_s <= segment.capacity_s else count * segment.capacity_s / work_s


def _aware(segment: _Segment) -> float:
    left_s = segment.capacity_s
    for count, service_s in enumerate(sorted(segment.services_s)):
        if service_s > left_s:
            return count + left_s / service_s
        left_s -= service_s
    return len(segment.services_s)
