"""Which flow of a band is served next: llm-d's fairness policies. Pure.

A flow is a tenant (a fairness id) within one priority; there is no fairness between priorities.
Where llm-d iterates over a Go map, so that ties fall at random, the smaller name wins here.
Source: llm-d-router `pkg/epp/framework/plugins/flowcontrol/fairness/**`.
"""

from typing import Protocol

from adapters.fakellmd.bands import Band
from adapters.fakellmd.epp_settings import FairnessPolicy
from adapters.fakellmd.service_ledger import ServiceLedger

WEIGHT_SERVICE, WEIGHT_HEAD_WAIT = 0.8, 0.2


class Fairness(Protocol):
    def pick(self, band: Band, now_s: float) -> str | None:
        """The flow whose first request goes next; None if the band is empty."""
        ...


class GlobalStrict:
    """No fairness: the one request that the ordering policy puts first."""

    def pick(self, band: Band, now_s: float) -> str | None:
        return min(band.flows, key=band.head, default=None)


class RoundRobin:
    """One request a flow, in the order of their names; an empty band begins anew."""

    def __init__(self) -> None:
        self._last: str | None = None

    def pick(self, band: Band, now_s: float) -> str | None:
        last = self._last
        following = [flow for flow in band.flows if flow > last] if last is not None else []
        self._last = min(following or band.flows, default=None)
        return self._last


class ProgramAware:
    """Least attained service, with the wait of each flow's first request as a second voice.

    score = 0.8 * (1 - norm(service)) + 0.2 * norm(wait in whole ms), each over the flows that wait.
    """

    def __init__(self, ledger: ServiceLedger) -> None:
        self._ledger = ledger

    def pick(self, band: Band, now_s: float) -> str | None:
        flows = sorted(band.flows)
        if len(flows) < 2:
            return flows[0] if flows else None
        served = _norm([self._ledger.service(flow) for flow in flows])
        waits_ms = [int((now_s - band.head(flow)[1].enqueued_s) * 1000 + 1e-6) for flow in flows]
        waited = _norm([float(wait_ms) for wait_ms in waits_ms])
        scores = [
            WEIGHT_SERVICE * (1.0 - service) + WEIGHT_HEAD_WAIT * wait
            for service, wait in zip(served, waited, strict=True)
        ]
        return flows[scores.index(max(scores))]


def make(policy: FairnessPolicy, ledger: ServiceLedger) -> Fairness:
    """A policy with the state of one band; `ledger` is the pool's."""
    if policy == "round-robin":
        return RoundRobin()
    return ProgramAware(ledger) if policy == "program-aware" else GlobalStrict()


def _norm(values: list[float]) -> list[float]:
    """Each value's place between the smallest and the largest; all 0 where they are the same."""
    low, high = min(values), max(values)
    if high == low:
        return [0.0] * len(values)
    return [(value - low) / (high - low) for value in values]
