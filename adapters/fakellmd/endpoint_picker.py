"""One pool's endpoint picker: what becomes of each call, from its arrival to its end. Pure, sans-IO.

Admission first (flow control, or without it the shedding of sheddable calls), then the scheduler.
Must stay true: each call that arrives is forwarded or refused once, unless it is released before; a
forwarded one may be told to be evicted; `release` follows in the end.
Where a forwarded call runs, and what its engine says, is not decided here.
Source: llm-d-router `pkg/epp/requestcontrol/{director,admission}.go`, main @ ebab687.
"""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Protocol

import msgspec

from adapters.fakellmd import epp_drops
from adapters.fakellmd.epp_drops import Drop, Outcome
from adapters.fakellmd.epp_headers import QUEUE_DURATION, WENT
from adapters.fakellmd.flow_control import Dispatch, Fate, FlowController
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.ordering import Ask
from adapters.fakellmd.reclamation import Reclamation
from adapters.fakellmd.scheduler import Engine, Scheduler
from adapters.fakellmd.service_ledger import ServiceLedger
from adapters.fakellmd.settings import LlmdSettings


class Forward(msgspec.Struct, frozen=True):
    """Send it to `pod` (None: to any), and put `headers` on whatever the pod answers."""

    call: int
    pod: int | None
    headers: dict[str, str]


class Refuse(msgspec.Struct, frozen=True):
    """Answer it with `drop`."""

    call: int
    drop: Drop


class Evict(msgspec.Struct, frozen=True):
    """Break off what was forwarded."""

    call: int


Effect = Forward | Refuse | Evict


class Witness(Protocol):
    """Who counts what becomes of calls in the queue: what the effects do not tell."""

    def queue_left(self, call: Call, outcome: Outcome, waited_s: float) -> None: ...


class EndpointPicker:
    """Times are seconds on the engines' clock and never go back.

    Effects must be carried out, in order, before the next call. `placed` says where a forwarded
    call went, `release` that a call is over, however it ended.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        settings: LlmdSettings,
        witness: Witness,
        *,
        started_s: float,
    ) -> None:
        self.scheduler = Scheduler(engines, settings, started_s=started_s)
        self.ledger = ServiceLedger()
        self.reclamation = Reclamation(settings.epp)
        self.flow: FlowController | None = None
        self._started_s = started_s
        self._witness = witness
        self._queued: dict[int, Call] = {}
        self._ledgered: set[int] = set()
        self.configure(started_s, settings)

    def queued(self) -> Iterable[Call]:
        """Calls that wait for their dispatch."""
        return self._queued.values()

    # -- what happens -------------------------------------------------------------------

    def arrive(self, now_s: float, call: Call) -> list[Effect]:
        """Raises KeyError for a priority that the settings do not know, with flow control."""
        if self.flow is None:
            if call.priority < 0 and self.saturation(now_s) >= 1.0:
                return [Refuse(call.id, epp_drops.SHED)]
            return [self._schedule(now_s, call, {WENT: "true"})]
        self._queued[call.id] = call
        self._ledgered.add(call.id)
        self.ledger.enter(call.wants.fairness_id, now_s)
        return self._carry_out(now_s, self.flow.offer(now_s, _ask(call)))

    def placed(self, call_id: int, pod: int) -> None:
        self.scheduler.inflight.place(call_id, pod)

    def completed(self, now_s: float, call: Call, output_tokens: int) -> None:
        """A forwarded call was served; `release` still follows."""
        if call.id in self._ledgered:
            program = call.wants.fairness_id
            self.ledger.credit(program, call.prompt_tokens, output_tokens, now_s)

    def release(self, now_s: float, call: Call) -> None:
        """A call is over: it leaves the queue, or its place in a pod is free. Idempotent."""
        queued = self._queued.pop(call.id, None)
        if queued is not None and self.flow is not None:
            waited_s = self.flow.cancel(now_s, call.id)
            self._witness.queue_left(call, "EvictedContextCancelled", waited_s)
        self.reclamation.confirm(call.id, now_s)
        if self.scheduler.inflight.remove(call.id) is not None:
            self.poke(now_s)
        if call.id in self._ledgered:
            self._ledgered.discard(call.id)
            self.ledger.leave(call.wants.fairness_id, now_s)

    def wake(self, now_s: float) -> list[Effect]:
        """Do what is due."""
        return [] if self.flow is None else self._carry_out(now_s, self.flow.wake(now_s))

    def poke(self, now_s: float) -> None:
        """Pods may have room now, or be gone, or be back."""
        if self.flow is not None:
            self.flow.poke(now_s)

    def configure(self, now_s: float, settings: LlmdSettings) -> list[Effect]:
        """Other settings. Without flow control, whoever waits is dropped as at a shutdown: changing
        that takes a restart of the picker in llm-d."""
        self.scheduler.settings = settings
        self.scheduler.scrapes.reconfigure(now_s, settings.epp)
        self.reclamation.settings = settings.epp
        if not settings.epp.flow_control:
            effects = self.shutdown(now_s)
            self.flow = None
            return effects
        if self.flow is None:
            self.flow = FlowController(settings.epp, self, self.ledger, started_s=self._started_s)
        else:
            self.flow.configure(now_s, settings.epp)
        return []

    def shutdown(self, now_s: float) -> list[Effect]:
        """Refuse whoever waits."""
        return [] if self.flow is None else self._carry_out(now_s, self.flow.shutdown(now_s))

    def next_event_s(self) -> float | None:
        """When `wake` is due. None: not before something else happens."""
        return None if self.flow is None else self.flow.next_event_s()

    # -- what flow control sees of the pool ---------------------------------------------

    def saturation(self, now_s: float) -> float:
        return self.scheduler.saturation(now_s)

    def pods(self) -> int:
        return len(self.scheduler.alive())

    def changes_s(self, now_s: float) -> float:
        """The next scrape, or the end of the grace after an eviction."""
        settings, times_s = self.scheduler.settings.epp, []
        if settings.saturation.detector == "utilization":
            times_s.append(self.scheduler.scrapes.next_s())
        if settings.enable_eviction:
            times_s.append(self.reclamation.opens_s())
        return min((at_s for at_s in times_s if at_s > now_s), default=inf)

    # -- inside -------------------------------------------------------------------------

    def _carry_out(self, now_s: float, fates: list[Fate]) -> list[Effect]:
        effects = [self._fate(now_s, fate) for fate in fates]
        if self.scheduler.settings.epp.enable_eviction:
            effects += self._evict(now_s)
        return effects

    def _fate(self, now_s: float, fate: Fate) -> Effect:
        call = self._queued.pop(fate.call)
        facts = self.scheduler.settings.epp.facts
        if not isinstance(fate, Dispatch):
            self._witness.queue_left(call, fate.outcome, fate.waited_s)
            return Refuse(call.id, epp_drops.of_outcome(fate.outcome, facts))
        self._witness.queue_left(call, "Dispatched", fate.waited_s)
        headers = {WENT: "true"}
        if facts.queue_duration_header:
            # 1.001 * 1000 is 1000.999..., and means 1001.
            headers[QUEUE_DURATION] = str(int(fate.waited_s * 1000 + 1e-6))
        return self._schedule(now_s, call, headers)

    def _schedule(self, now_s: float, call: Call, headers: dict[str, str]) -> Effect:
        chosen = self.scheduler.choose(now_s, call)
        if isinstance(chosen, Drop):
            return Refuse(call.id, chosen)
        self.scheduler.inflight.add(call)
        return Forward(call.id, chosen, headers)

    def _evict(self, now_s: float) -> list[Effect]:
        flow = self.flow
        halt = None if flow is None else flow.take_halt()
        if flow is None or halt is None or now_s < self.reclamation.opens_s():
            return []
        demand = [(band.priority, band.requests) for band in flow.bands]
        inflight = self.scheduler.inflight
        victims, tracked = inflight.victims(), inflight.tracked()
        chosen = self.reclamation.decide(now_s, halt, demand, victims, tracked)
        return [Evict(call.id) for call in chosen]


def _ask(call: Call) -> Ask:
    return Ask(
        call=call.id,
        priority=call.priority,
        flow=call.wants.fairness_id,
        body_bytes=call.body_bytes,
        received_s=call.received_s,
        ttft_deadline_ms=call.wants.ttft_deadline_ms,
        ttl_s=call.wants.ttl_s,
    )
