"""When llm-d evicts requests that run already, and how many: stop and wait. Pure.

A blocked band with somebody in it may take room from lower, sheddable priorities. Must stay true:
no victim has a priority of the demand's or above; at most `max_revocations_per_decision` at once;
no decision while an eviction is not confirmed (or timed out), nor until a grace after the last
confirmation, so that no decision is made on a gauge that cannot have seen the one before.
Source: llm-d-router `pkg/epp/flowcontrol/controller/internal/reclamation.go`.
"""

from collections.abc import Sequence
from math import ceil, inf

from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.flow_control import Halt
from adapters.fakellmd.inflight import Call


class Reclamation:
    """Times never go back."""

    def __init__(self, settings: EppSettings) -> None:
        self.settings = settings
        self.issued = 0
        self.confirmed = 0
        self.timed_out = 0
        self._outstanding: dict[int, float] = {}
        self._cool_s = -inf

    def opens_s(self) -> float:
        """When the next decision may be made at the earliest, as far as is known."""
        if self._outstanding:
            return min(self._outstanding.values()) + self.settings.eviction_timeout_s
        return self._cool_s

    def decide(
        self,
        now_s: float,
        halt: Halt,
        demand: Sequence[tuple[int, int]],
        victims: Sequence[Call],
        tracked: int,
    ) -> list[Call]:
        """Whom to evict now.

        `demand` has the priority of each band and how many wait in it, highest first; `victims` are
        in the order in which they would go; `tracked` counts everything in flight.
        """
        self._time_out(now_s)
        if self._outstanding or now_s < self._cool_s or not victims:
            return []
        for index in range(halt.index, len(demand)):
            priority, waiting = demand[index]
            if priority <= victims[0].priority:
                return []
            ceiling = halt.ceilings[index]
            # A ceiling of 0 says that the band must not go at all: no eviction can open it.
            if ceiling <= 0 or halt.saturation < ceiling or not waiting:
                continue
            return self._evict(now_s, halt.saturation, ceiling, priority, victims, tracked)
        return []

    def confirm(self, call_id: int, now_s: float) -> None:
        """A request that may be one of the evicted is over."""
        if self._outstanding.pop(call_id, None) is not None:
            self.confirmed += 1
            self._cool_s = now_s + self.settings.eviction_grace_s

    def _evict(
        self,
        now_s: float,
        saturation: float,
        ceiling: float,
        priority: int,
        victims: Sequence[Call],
        tracked: int,
    ) -> list[Call]:
        """As many as the mean footprint says are needed, and at least one."""
        footprint = saturation / tracked
        wanted = ceil((saturation - ceiling) / footprint) if footprint > 0 else 1
        number = min(max(wanted, 1), self.settings.max_revocations_per_decision)
        evicted = [call for call in victims[:number] if call.priority < priority]
        self._outstanding |= {call.id: now_s for call in evicted}
        self.issued += len(evicted)
        return evicted

    def _time_out(self, now_s: float) -> None:
        """An eviction that nobody confirms counts as confirmed after a while."""
        limit_s = self.settings.eviction_timeout_s
        late = [call for call, since_s in self._outstanding.items() if now_s - since_s >= limit_s]
        for call in late:
            del self._outstanding[call]
            self.timed_out += 1
            self._cool_s = now_s + self.settings.eviction_grace_s
