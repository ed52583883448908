"""Traffic whose latencies are drawn and not worked for: cheap, and as good or as bad as a test wants it.

`Feed` tells a loop of requests as a gateway would, decisions and all, but behind it is no engine: a share
of them is late, fails or is dear, and each action in force makes that better or worse by a factor that the
test chose. So every verdict can be had, on random histories too. Nothing here is random: draws are
hashes of the request's number.
"""

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import count

import msgspec

from adapters.fakellmd.draws import mix, uniform
from contracts.catalog import Catalog
from contracts.control import LoopDecision
from contracts.decision import Decision
from contracts.inference import RequestFacts
from contracts.snapshot import Snapshot
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.decide import decide
from policies.flight import Flight
from policies.held import draws
from policies.loop import TICK_S, Loop
from policies.policy_set import PolicySet
from policies.steering import PoolBounds
from tests.policies.scenarios import CATALOG

_LATE, _FAIL = 1, 2


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """What traffic is like for a while. Shares are of requests, before any action's help."""

    seconds: float
    rps: Mapping[str, float]
    late: float = 0.0
    failing: float = 0.0
    tokens: int = 20
    tpot_s: float = 0.02


class Feed:
    """`relief[rung]` multiplies the share of late ones of an intent that holds it. `watch`, if given, is
    called after each tick."""

    def __init__(
        self,
        policy: PolicySet,
        *,
        catalog: Catalog = CATALOG,
        relief: Mapping[str, float] | None = None,
        late_ttft_s: Callable[[int], float] = lambda nth: 3.0,
        watch: Callable[["Feed", list[LoopDecision]], None] | None = None,
        seed: int = 0,
    ) -> None:
        self.policy, self.catalog = policy, catalog
        self.loop = Loop(policy, catalog, 0.0)
        self.now_s = 0.0
        self.decided: list[tuple[str, Decision]] = []
        self.said: list[LoopDecision] = []
        self.ends = 0
        self._relief = relief or {}
        self._late_ttft_s = late_ttft_s
        self._watch = watch
        self._seed = seed
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        told = AdmissionSettings(limit=100, max_waiting=100, timeout_s=60.0)
        for pool in sorted(catalog.pools):
            queue = AdmissionQueue(told)
            for card in catalog.models.values():
                if card.pool == pool:
                    queue.lane(card.upstream).inflight = 4
            self.loop.adopt(pool, queue, PoolBounds(endpoints=1, ceiling=100.0))

    def run(self, *phases: Phase) -> "Feed":
        for phase in phases:
            until_s = self.now_s + phase.seconds
            for intent, rps in phase.rps.items():
                if rps > 0.0:
                    self._next(self.now_s, intent, phase, 1.0 / rps, until_s)
            while self.now_s + TICK_S <= until_s:
                self._until(self.now_s + TICK_S)
                said = self.loop.tick(self.now_s)
                self.said += said
                if self._watch is not None:
                    self._watch(self, said)
        return self

    # -- inside -------------------------------------------------------------------------

    def _at(self, at_s: float, do: Callable[[], None]) -> None:
        heappush(self._events, (at_s, next(self._order), do))

    def _until(self, now_s: float) -> None:
        while self._events and self._events[0][0] <= now_s:
            self.now_s, _, do = heappop(self._events)
            do()
        self.now_s = now_s

    def _next(self, at_s: float, intent: str, phase: Phase, gap_s: float, until_s: float) -> None:
        if at_s + gap_s > until_s:
            return

        def arrive() -> None:
            self._arrive(intent, phase)
            self._next(self.now_s, intent, phase, gap_s, until_s)

        self._at(at_s + gap_s, arrive)

    def _arrive(self, intent: str, phase: Phase) -> None:
        number, now_s = len(self.decided), self.now_s
        decision = decide(
            self.policy,
            self.catalog,
            RequestFacts(
                operation="chat",
                model="big",
                prompt_tokens=100,
                key="web",
                headers={"x-intent": intent},
            ),
            Snapshot(),
            holding=self.loop.held_now(now_s),
            draws=draws(number),
        )
        self.decided.append((intent, decision))
        card = self.catalog.models[decision.shaping.model]
        promised = self.policy.intent(decision.intent).objectives
        flight = Flight(
            number,
            intent=decision.intent,
            model=card.name,
            lane=(card.pool, card.upstream),
            caller="web",
            priority=decision.shaping.priority,
            prompt_tokens=100,
            arrived_s=now_s,
            ttft_objective_s=promised.ttft_s,
            tpot_objective_s=promised.tpot_s,
            e2e_objective_s=promised.e2e_s,
            input_usd=(card.input_price or 0.0) / 1e6,
            output_usd=(card.output_price or 0.0) / 1e6,
            treated=decision.treated,
            held_out=decision.held_out,
        )
        self.loop.offered(flight)
        if decision.shaping.reject is not None:
            self.loop.refused(flight, now_s, shed=True)
            return
        self.loop.dispatched(flight, flight.lane, 0.0, now_s)
        late = uniform(mix(self._seed, number, _LATE)) < phase.late * self._help(flight, decision)
        failing = uniform(mix(self._seed, number, _FAIL)) < phase.failing
        ttft_s = self._late_ttft_s(number) if late else 0.1
        self._at(now_s + ttft_s, lambda: self._first_token(flight, phase, failing))

    def _help(self, flight: Flight, decision: Decision) -> float:
        factor = 1.0
        for action in self.loop._ladder_of(flight.intent).held:
            if not action.dry_run and action.number not in decision.held_out:
                factor *= self._relief.get(action.rung.action, 1.0)
        return factor

    def _first_token(self, flight: Flight, phase: Phase, failing: bool) -> None:
        self.loop.first_token(flight, self.now_s)
        cap = self.decided[flight.request][1].shaping.max_tokens
        tokens = min(phase.tokens, cap or phase.tokens)

        def end() -> None:
            self.ends += 1
            self.loop.ended(
                flight,
                self.now_s,
                failed=failing,
                output_tokens=tokens,
                finish_reason="length" if tokens < phase.tokens else "stop",
            )

        self._at(self.now_s + (tokens - 1) * phase.tpot_s, end)
