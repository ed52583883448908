"""What came of a run, in numbers: the object of `--json`.

Must stay true: the same run gives the same numbers, `wall_s` excepted, which says how long the
simulation itself took. *Good* is a request that was served and met every objective of its intent by
itself: first token, pace, whole answer, cost. Percentiles are of requests that were served, the
smallest value that 95 of 100 stay within.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import get_args

import msgspec

from contracts.control import LoopDecision, Verdict
from gateway.simulation.bounds import bounds
from gateway.simulation.outcome import Outcome
from gateway.simulation.plan import Plan, load_of, shares
from policies.policy_set import PolicySet

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class IntentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One intent's requests. Everything that was offered has one of the fates."""

    offered: int
    served: int
    good: int
    refused: int
    dropped: int
    shed: int
    failed: int
    cancelled: int
    goodput_rps: float | None
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    e2e_p95_s: float | None
    cost_usd: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run. The bounds are of `gateway.simulation.bounds`, for the models that were asked for: where
    a ladder takes requests to another model, goodput may exceed them. Rates are None, as are bounds,
    where all requests come at once."""

    controller: str
    seed: int
    model: str
    load: float | None
    """Work asked for, as a share of what can be done within the objectives."""
    span_s: float
    """Up to the last arrival; what rates are divided by."""
    offered: int
    served: int
    good: int
    refused: int
    dropped: int
    shed: int
    failed: int
    cancelled: int
    goodput_rps: float | None
    bound_blind_rps: float | None
    bound_aware_rps: float | None
    ratio_blind: float | None
    ratio_aware: float | None
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    e2e_p95_s: float | None
    per_intent: dict[str, IntentSummary]
    served_by: dict[str, int]
    """Requests by the model that answered."""
    decisions: tuple[LoopDecision, ...]
    verdicts: dict[Verdict, int]
    flaps_per_hour: float | None
    cost_usd: float
    wall_s: float


def summarise(
    plan: Plan,
    outcomes: Sequence[Outcome],
    decisions: Iterable[LoopDecision],
    *,
    flaps: int,
    wall_s: float,
) -> Summary:
    """All of it. Numbers are rounded to a millionth, money to a hundredth of that."""
    decisions = tuple(decisions)
    span_s = plan.span_s
    is_good = judge(plan.policy)
    by_intent: dict[str, list[Outcome]] = {}
    served_by: dict[str, int] = {}
    for outcome in outcomes:
        by_intent.setdefault(outcome.intent, []).append(outcome)
        if outcome.fate == "served":
            served_by[outcome.model] = served_by.get(outcome.model, 0) + 1
    whole = _intent(outcomes, is_good, span_s)
    blind_rps, aware_rps = _bounds(plan)
    return Summary(
        controller=plan.controller,
        seed=plan.seed,
        model=plan.model,
        load=_rounded(load_of(plan)),
        span_s=round(span_s, 6),
        **{name: getattr(whole, name) for name in whole.__struct_fields__},
        bound_blind_rps=_rounded(blind_rps),
        bound_aware_rps=_rounded(aware_rps),
        ratio_blind=_ratio(whole.good, blind_rps, span_s),
        ratio_aware=_ratio(whole.good, aware_rps, span_s),
        per_intent={
            name: _intent(mine, is_good, span_s) for name, mine in sorted(by_intent.items())
        },
        served_by=dict(sorted(served_by.items())),
        decisions=decisions,
        verdicts={verdict: sum(d.verdict == verdict for d in decisions) for verdict in VERDICTS},
        flaps_per_hour=_rounded(flaps * 3600.0 / span_s if span_s else None),
        wall_s=round(wall_s, 3),
    )


def judge(policy: PolicySet) -> Callable[[Outcome], bool]:
    """Whether a request was good."""
    limits: dict[str, tuple[float, float, float, float]] = {}

    def limits_of(intent: str) -> tuple[float, float, float, float]:
        promised = policy.intent(intent).objectives
        told = (promised.ttft_s, promised.tpot_s, promised.e2e_s, promised.cost_per_request)
        ttft_s, tpot_s, e2e_s, usd = (math.inf if one is None else float(one) for one in told)
        return ttft_s, tpot_s, e2e_s, usd

    def is_good(outcome: Outcome) -> bool:
        if outcome.fate != "served":
            return False
        found = limits.get(outcome.intent)
        if found is None:
            found = limits[outcome.intent] = limits_of(outcome.intent)
        ttft_s, tpot_s, e2e_s, usd = found
        return (
            (outcome.ttft_s or 0.0) <= ttft_s
            and (outcome.tpot_s or 0.0) <= tpot_s
            and (outcome.e2e_s or 0.0) <= e2e_s
            and (outcome.cost_usd or 0.0) <= usd
        )

    return is_good


def percentile(values: Iterable[float | None], share: float) -> float | None:
    """The smallest value that `share` of them stay within; None without any."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    # 0.07 * 100 is 7.000000000000001, and the eighth would be the wrong one.
    return known[min(max(math.ceil(share * len(known) - 1e-9) - 1, 0), len(known) - 1)]


def _intent(
    outcomes: Sequence[Outcome], is_good: Callable[[Outcome], bool], span_s: float
) -> IntentSummary:
    fates = [outcome.fate for outcome in outcomes]
    served = [outcome for outcome in outcomes if outcome.fate == "served"]
    good = sum(map(is_good, served))
    return IntentSummary(
        offered=len(outcomes),
        served=len(served),
        good=good,
        refused=fates.count("refused"),
        dropped=fates.count("dropped"),
        shed=fates.count("shed"),
        failed=fates.count("failed"),
        cancelled=fates.count("cancelled"),
        goodput_rps=_rounded(good / span_s if span_s else None),
        ttft_p95_s=_rounded(percentile((o.ttft_s for o in served), 0.95)),
        tpot_p95_s=_rounded(percentile((o.tpot_s for o in served), 0.95)),
        e2e_p95_s=_rounded(percentile((o.e2e_s for o in served), 0.95)),
        cost_usd=round(math.fsum(o.cost_usd or 0.0 for o in served), 8),
    )


def _bounds(plan: Plan) -> tuple[float | None, float | None]:
    """Blind and aware, summed over the lanes that are asked for."""
    if plan.span_s <= 0.0:
        return None, None
    told = [
        bounds(share.arrivals, plan.settings[lane], share.tpot_s, span_s=plan.span_s)
        for lane, share in shares(plan).items()
    ]
    return sum(one.blind_rps for one in told), sum(one.aware_rps for one in told)


def _ratio(good: int, bound_rps: float | None, span_s: float) -> float | None:
    return round(good / (bound_rps * span_s), 6) if bound_rps and span_s else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
