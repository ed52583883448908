"""Which pod a call may go to, and how full the pool is: what llm-d asks of its pods' metrics. Pure.

Candidates are the pods that are alive; then the admitters may deny a sheddable call, and the filters
may leave no pod. The choice among what is left is least-loaded here, where llm-d has its scorers.
When a call may go at all is not decided here.
Source: llm-d-router `pkg/epp/requestcontrol/director.go`, `pkg/epp/scheduling`, main @ ebab687.
"""

from collections.abc import Sequence
from typing import Protocol

from adapters.fakellmd import admitters, epp_drops, saturation
from adapters.fakellmd.draws import mix
from adapters.fakellmd.epp_drops import Drop
from adapters.fakellmd.inflight import Call, InFlight
from adapters.fakellmd.scrapes import Pod, Scrapes
from adapters.fakellmd.settings import LlmdSettings

_DENIALS = 17
"""Keeps the probabilistic admitter's dice apart from the other draws of the same seed."""


class Engine(Pod, Protocol):
    @property
    def alive(self) -> bool: ...


class Scheduler:
    """Times never go back. `settings` may be replaced at any time; tell `scrapes` too."""

    def __init__(
        self, engines: Sequence[Engine], settings: LlmdSettings, *, started_s: float
    ) -> None:
        self.engines = engines
        self.settings = settings
        self.inflight = InFlight(len(engines))
        self.scrapes = Scrapes(engines, settings.epp, started_s=started_s)
        self._draws = 0

    def alive(self) -> list[int]:
        """The numbers of the pods that may be chosen."""
        return [pod for pod, engine in enumerate(self.engines) if engine.alive]

    def saturation(self, now_s: float) -> float:
        """Of the pods that are alive; 1.0 if there are none."""
        settings, pods = self.settings.epp.saturation, self.alive()
        if settings.detector == "concurrency":
            return saturation.concurrency([self.inflight.load(pod) for pod in pods], settings)
        seen = self.scrapes.read(now_s)
        return saturation.utilization([seen[pod] for pod in pods], now_s, settings)

    def choose(self, now_s: float, call: Call) -> int | Drop | None:
        """The pod for a call, None if any will do, or why there is none."""
        pods = self.alive()
        if not pods:
            return epp_drops.NO_CANDIDATES
        denied = self._denied(now_s, call, pods)
        if denied is not None:
            return epp_drops.denied(denied)
        filters = self.settings.epp.saturation.filters
        if filters:
            pods = self._filtered(now_s, pods)
        if not pods:
            return epp_drops.FILTERED
        if call.wants.if_available:
            # The fake's engines keep no prefix of an earlier prompt.
            return epp_drops.NO_PREFIX
        return min(pods, key=self._load) if filters else None

    def _load(self, pod: int) -> int:
        return self.engines[pod].running + self.engines[pod].waiting

    def _denied(self, now_s: float, call: Call, pods: list[int]) -> str | None:
        if call.priority >= 0 or not self.settings.epp.admitters:
            return None
        seen = self.scrapes.read(now_s)
        candidates = [
            admitters.Candidate(seen[pod], self.inflight.tightest_tpot_s(pod)) for pod in pods
        ]
        self._draws += 1
        draw = mix(self.settings.seed, _DENIALS, self._draws)
        return admitters.deny(self.settings, call, candidates, draw)

    def _filtered(self, now_s: float, pods: list[int]) -> list[int]:
        """`utilization` lets all through rather than none; `concurrency` does not."""
        settings = self.settings.epp.saturation
        if settings.detector == "concurrency":
            return [
                p for p in pods if saturation.has_room_by_count(self.inflight.load(p), settings)
            ]
        seen = self.scrapes.read(now_s)
        fit = [p for p in pods if saturation.has_room_by_metrics(seen[p], now_s, settings)]
        return fit or pods
