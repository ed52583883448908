"""The control loop as a worker has it: it notes what happens, and holds what the hub decided.

It stands where `policies.loop.Loop` stands in a single process, and has of it what requests need. Must stay
true: what happens is noted in order and at most `EVENTS` of it, then all is dropped until the next report
has said so; a hub that is silent for as long as a lease lasts holds nothing any more.
"""

from contracts.catalog import Catalog
from gateway.workers.loop_events import (
    CANCELLED,
    CHOSEN,
    DISPATCHED,
    ENDED,
    FAILED,
    FIRST_TOKEN,
    FLOW_QUEUED,
    HONOUR,
    REFUSED,
    RESET,
    TOKENS,
    offered,
)
from gateway.workers.messages import Event
from policies.admission import AdmissionQueue
from policies.capacity_refusal import CapacitySignal
from policies.flight import Flight
from policies.held import CALM, Holding
from policies.honour import Honour
from policies.ladder import LEASE_S
from policies.loop import MARK_S, MOST_TOKENS, Loop
from policies.policy_set import PolicySet
from policies.steering import PoolBounds

EVENTS = 100_000
"""What may wait for the next report. A request makes about five."""


class ReportedLoop(Loop):
    """One worker's. `take` what happened, once a tick; `hold` what the hub says."""

    def __init__(self, policy: PolicySet, catalog: Catalog, now_s: float) -> None:
        super().__init__(policy, catalog, now_s)
        self._told: Holding = CALM
        self._heard_s = now_s
        self._events: list[Event] = []
        self._lost = False
        self._at: dict[int, tuple[tuple[str, str], float | None]] = {}
        """Where each was said to be last, and since when."""
        self._failed: set[int] = set()
        """Those whose last attempt failed with tokens."""
        self._known: set[int] = set()
        """Requests whose beginning was noted, and whose end was not."""

    # -- what the hub says --------------------------------------------------------------

    def hold(self, holding: Holding, now_s: float) -> None:
        """Nothing held is the same object as anywhere: by that the usual decisions are known."""
        self._told, self._heard_s = CALM if holding == CALM else holding, now_s

    def held_now(self, now_s: float) -> Holding:
        """What is in force for a request that comes now."""
        return self._told if self.hears(now_s) else CALM

    def hears(self, now_s: float) -> bool:
        """Whether the hub has said something within a lease."""
        return now_s - self._heard_s < LEASE_S

    # -- what it is told of pools and policies --------------------------------------------

    def adopt(self, pool: str, queue: AdmissionQueue, bounds: PoolBounds) -> None:
        self._pools[pool] = queue

    def forget(self, pool: str, now_s: float) -> None:
        """Another engine answers from now on."""
        if (queue := self._pools.get(pool)) is not None:
            queue.forget(now_s)

    # -- what happens to a request ------------------------------------------------------

    def offered(self, flight: Flight) -> None:
        if len(self._events) >= EVENTS:
            self._events.clear()
            self._known.clear()
            self._lost = True
        self._known.add(flight.request)
        self._events.append(offered(flight))

    def dispatched(
        self, flight: Flight, lane: tuple[str, str], waited_s: float, now_s: float
    ) -> None:
        self._catch_up(flight)
        flight.lane = lane
        flight.dispatched_s = now_s
        self._at[flight.request] = (lane, now_s)
        prices = (flight.input_usd, flight.output_usd)
        self._note(flight, DISPATCHED, *lane, waited_s, *prices, now_s)

    def flow_queued(self, flight: Flight, queue_s: float, now_s: float) -> None:
        self._catch_up(flight)
        self._note(flight, FLOW_QUEUED, queue_s, now_s)

    def first_token(self, flight: Flight, now_s: float) -> None:
        self._catch_up(flight)
        flight.first_token_s = flight.mark_s = flight.last_s = now_s
        flight.tokens = flight.mark_tokens = max(flight.tokens, 1)
        self._live[flight.request] = flight
        if flight.dispatched_s is not None:
            queue = self._pools.get(flight.lane[0])
            if queue is not None:
                queue.first_token(flight.ticket, now_s - flight.dispatched_s, now_s)
        self._note(flight, FIRST_TOKEN, now_s)

    def attempt_failed(self, flight: Flight, refusal: CapacitySignal, now_s: float) -> None:
        self._catch_up(flight)
        self._live.pop(flight.request, None)
        self._charge(flight)
        flight.dispatched_s = None
        self._at.pop(flight.request, None)
        self._note(flight, FAILED, flight.tokens, refusal, now_s)
        if flight.tokens:
            self._failed.add(flight.request)

    def refused(self, flight: Flight, now_s: float, *, shed: bool = False) -> None:
        self._catch_up(flight)
        self._note(flight, REFUSED, shed, now_s)
        self._over(flight)

    def cancelled(self, flight: Flight, now_s: float) -> None:
        self._catch_up(flight)
        self._charge(flight)
        self._note(flight, CANCELLED, flight.tokens, now_s)
        self._over(flight)

    def ended(
        self,
        flight: Flight,
        now_s: float,
        *,
        failed: bool = False,
        output_tokens: int | None = None,
        finish_reason: str = "",
    ) -> None:
        self._catch_up(flight)
        tokens, last_s = flight.tokens, flight.last_s
        if output_tokens is not None:
            flight.tokens = output_tokens = min(output_tokens, MOST_TOKENS)
        self._charge(flight)
        self._note(flight, ENDED, tokens, last_s, failed, output_tokens, finish_reason, now_s)
        self._over(flight)

    def honoured(
        self,
        pool: str,
        objective: str,
        priority: int,
        queue_s: float | None,
        now_s: float,
        sent_s: float | None,
    ) -> None:
        """A backend that knows of intents answered one."""
        self._events.append((HONOUR, pool, objective, priority, queue_s, now_s, sent_s))

    def take(self, now_s: float) -> tuple[list[Event], bool]:
        """What happened since the last time, and whether some of it was dropped."""
        for flight in self._live.values():
            if now_s - flight.mark_s >= MARK_S and flight.tokens > flight.mark_tokens:
                flight.mark_tokens, flight.mark_s = flight.tokens, now_s
                self._charge(flight)
                self._note(flight, TOKENS, flight.tokens, flight.last_s)
        events, lost = self._events, self._lost
        self._events, self._lost = [], False
        return events, lost

    def drop(self) -> None:
        """The hub that was told of requests is gone: another one knows nothing of them."""
        self._events.clear()
        self._known.clear()
        self._lost = False

    # -- inside -------------------------------------------------------------------------

    def _note(self, flight: Flight, what: int, *told: object) -> None:
        if flight.request in self._known:
            self._events.append((what, flight.request, *told))

    def _catch_up(self, flight: Flight) -> None:
        """What the flight was changed in since it was told of last: its tokens were thrown away with an
        attempt that failed, or another attempt than the one dispatched last is the one that counts."""
        number = flight.request
        if number in self._failed:
            self._failed.discard(number)
            if not flight.reported_tokens:
                self._note(flight, RESET)
        told = self._at.get(number)
        if told is not None and told != (flight.lane, flight.dispatched_s):
            self._at[number] = (flight.lane, flight.dispatched_s)
            prices = (flight.input_usd, flight.output_usd)
            self._note(flight, CHOSEN, *flight.lane, flight.dispatched_s, *prices)

    def _over(self, flight: Flight) -> None:
        self._at.pop(flight.request, None)
        self._failed.discard(flight.request)
        self._known.discard(flight.request)
        self._live.pop(flight.request, None)


class ReportedHonour(Honour):
    """Stands where `policies.honour.Honour` stands in a single process, for what requests tell it."""

    def __init__(self, loop: Loop, pool: str) -> None:
        super().__init__()
        assert isinstance(loop, ReportedLoop)
        self._loop, self._pool = loop, pool

    def answered(
        self,
        objective: str,
        priority: int,
        queue_s: float | None,
        now_s: float,
        *,
        sent_s: float | None = None,
    ) -> None:
        self._loop.honoured(self._pool, objective, priority, queue_s, now_s, sent_s)
