"""llm-d's flow control: who waits in front of a pool, and who is dispatched when. Pure, sans-IO.

Strict priority bands, then fairness between flows, then the order inside a flow. Must stay true:

* every offered request meets exactly one fate: dispatched, dropped, or its `cancel`;
* one cycle dispatches at most one request; a cycle runs with each arrival and, while somebody waits
  and may go, every millisecond;
* a band at or above its ceiling halts itself and every band below it (head-of-line blocking);
* a full queue rejects the newcomer; nobody else is thrown out for it;
* who waited too long is found by a sweep once a second, not at once.

llm-d's ticker runs always; here nothing is due while nobody waits, and a halted queue is looked at
again only when the pool may have changed. In which pod a request ends up is not decided here.
Source: llm-d-router `pkg/epp/flowcontrol/controller/internal/processor.go`, main @ ebab687.
"""

from math import inf
from typing import Protocol

import msgspec

from adapters.fakellmd import fairness
from adapters.fakellmd.bands import Band, Bands
from adapters.fakellmd.epp_drops import DropOutcome
from adapters.fakellmd.epp_settings import EppSettings, FairnessPolicy
from adapters.fakellmd.expiry import Expiry
from adapters.fakellmd.fairness import Fairness
from adapters.fakellmd.ordering import Ask, Item
from adapters.fakellmd.service_ledger import ServiceLedger
from adapters.fakellmd.usage_limits import UsageLimits

TICK_S = 0.001


class Dispatch(msgspec.Struct, frozen=True):
    """It may go to a pod now."""

    call: int
    waited_s: float


class Dropped(msgspec.Struct, frozen=True):
    """It may not, and is out of the queue."""

    call: int
    outcome: DropOutcome
    waited_s: float


Fate = Dispatch | Dropped


class Halt(msgspec.Struct, frozen=True):
    """Why the last cycle stopped: band number `index` (highest first) is at its ceiling."""

    saturation: float
    index: int
    ceilings: list[float]


class PoolView(Protocol):
    """What flow control knows of the pool behind it."""

    def saturation(self, now_s: float) -> float: ...

    def pods(self) -> int:
        """How many there are to choose from."""
        ...

    def changes_s(self, now_s: float) -> float:
        """When, after `now_s`, the saturation may change without a `poke`; inf: never."""
        ...


class FlowController:
    """Times are seconds on one clock and never go back. A call's number is unique while it waits.

    After each call that returns fates, carry them out before the next: the pool's saturation may
    depend on it. `next_event_s` says when `wake` is due.
    """

    def __init__(
        self, settings: EppSettings, pool: PoolView, ledger: ServiceLedger, *, started_s: float
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._waiting: dict[int, Item] = {}
        self._fairness: dict[int, tuple[FairnessPolicy, Fairness]] = {}
        self._arrivals = 0
        self._cycled_s = -inf
        self._cycle_due_s = inf
        self._sweep_due_s = inf
        self._closed = False
        self._halt: Halt | None = None
        self.bands = Bands(settings)
        self._expiry = Expiry(settings, started_s=started_s)
        self._configure(settings)

    # -- what can be seen ---------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Requests whose clients wait."""
        return len(self._waiting)

    @property
    def is_program_aware(self) -> bool:
        """Whether any band shares by attained service."""
        return any(band.policy.fairness == "program-aware" for band in self.bands)

    def take_halt(self) -> Halt | None:
        """Why the last cycle stopped, if it did and nobody has asked yet."""
        halt, self._halt = self._halt, None
        return halt

    def next_event_s(self) -> float | None:
        """When `wake` is due. None: not before something else happens."""
        if not self.bands.requests:
            return None
        return min(self._cycle_due_s, self._sweep_due_s)

    # -- what happens -------------------------------------------------------------------

    def offer(self, now_s: float, ask: Ask) -> list[Fate]:
        """A request arrives. Its own fate may be among those returned, or come later.

        Raises KeyError for a priority that the settings do not know.
        """
        fates: list[Fate] = []
        if self._closed:
            fates.append(Dropped(ask.call, "RejectedOther", 0.0))
        elif self.bands.has_room(ask.priority, ask.body_bytes):
            self._enqueue(now_s, ask)
        else:
            self._expiry.observe(now_s, self._pool.pods())
            empty = self._expiry.empty
            outcome: DropOutcome = "RejectedNoEndpoints" if empty else "RejectedCapacity"
            fates.append(Dropped(ask.call, outcome, 0.0))
        return fates + self._cycle(now_s)

    def cancel(self, now_s: float, call: int) -> float:
        """The client of a waiting request left. Returns how long it waited. Raises KeyError for others."""
        item = self._waiting.pop(call)
        item.gone = True
        return now_s - item.enqueued_s

    def wake(self, now_s: float) -> list[Fate]:
        """Do what is due."""
        fates: list[Fate] = []
        if now_s >= self._sweep_due_s:
            fates += self._sweep(now_s)
        if now_s >= self._cycle_due_s:
            fates += self._cycle(now_s)
        return fates

    def poke(self, now_s: float) -> None:
        """The pool may have changed: have a cycle, as soon as one tick has passed since the last."""
        self._cycle_due_s = min(self._cycle_due_s, max(now_s, self._cycled_s + TICK_S))

    def configure(self, now_s: float, settings: EppSettings) -> None:
        """Other settings. Nobody who waits is dropped for them; how long each may wait stays."""
        self._configure(settings)
        self.poke(now_s)

    def shutdown(self, now_s: float) -> list[Fate]:
        """Drop everybody, and reject whoever comes."""
        self._closed = True
        self._halt = None
        fates: list[Fate] = []
        for band in self.bands:
            fates += self._drop(now_s, band.sweep(lambda item: True), "EvictedOther")
        return fates

    # -- inside -------------------------------------------------------------------------

    def _configure(self, settings: EppSettings) -> None:
        self._expiry.settings = settings
        self._limits = UsageLimits(settings.usage_limit)
        self.bands.reconfigure(settings)
        for band in self.bands:
            policy, known = band.policy.fairness, self._fairness.get(band.priority)
            if known is None or known[0] != policy:
                self._fairness[band.priority] = (policy, fairness.make(policy, self._ledger))

    def _enqueue(self, now_s: float, ask: Ask) -> None:
        if not self.bands.requests:
            self._sweep_due_s = self._expiry.next_sweep_s(now_s)
        self._arrivals += 1
        item = Item(ask, now_s, self._arrivals, self._expiry.ttl_s(ask))
        self._waiting[ask.call] = item
        self.bands[ask.priority].push(item)

    def _cycle(self, now_s: float) -> list[Fate]:
        """Dispatch one request, if any may go."""
        self._expiry.observe(now_s, self._pool.pods())
        self._cycled_s = now_s
        self._cycle_due_s = inf
        self._halt = None
        if not self.bands.requests:
            return []
        saturation = self._pool.saturation(now_s)
        ceilings = self._limits.ceilings(saturation, self.bands.priorities)
        for index, band in enumerate(self.bands):
            if saturation >= ceilings[index]:
                self._halt = Halt(saturation, index, ceilings)
                pulse_s = now_s + TICK_S if self._limits.pulsing else inf
                self._cycle_due_s = min(self._pool.changes_s(now_s), pulse_s)
                return []
            flow = self._pick(band, now_s)
            if flow is not None:
                self._cycle_due_s = now_s + TICK_S
                return self._dispatch(now_s, band, flow)
        return []

    def _dispatch(self, now_s: float, band: Band, flow: str) -> list[Fate]:
        item = band.pop(flow)
        if not band.requests:
            # llm-d's next cycle finds the band empty, and a policy may begin anew then.
            self._pick(band, now_s)
        if item.gone:
            return []
        del self._waiting[item.ask.call]
        return [Dispatch(item.ask.call, now_s - item.enqueued_s)]

    def _pick(self, band: Band, now_s: float) -> str | None:
        return self._fairness[band.priority][1].pick(band, now_s)

    def _sweep(self, now_s: float) -> list[Fate]:
        """Drop who has waited too long, and give back the room of those who left."""
        expiry = self._expiry
        expiry.observe(now_s, self._pool.pods())
        fates: list[Fate] = []
        for band in self.bands:
            out = band.sweep(lambda item: item.gone or expiry.is_over(item, now_s))
            fates += self._drop(now_s, out, expiry.outcome())
        self._sweep_due_s = expiry.next_sweep_s(now_s)
        return fates

    def _drop(self, now_s: float, items: list[Item], outcome: DropOutcome) -> list[Fate]:
        return [
            Dropped(item.ask.call, outcome, now_s - item.enqueued_s)
            for item in items
            if self._waiting.pop(item.ask.call, None) is not None
        ]
