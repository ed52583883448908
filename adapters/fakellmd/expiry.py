"""When a request has waited too long for its dispatch: TTLs, and the sweeps that enforce them. Pure.

A pool with pods and an empty one have budgets of their own, and each change between the two grants
the one in force afresh: who waited out a cold start must not be dropped the moment it can be served.
llm-d v0.9 knows one budget. Who is in the queue is not known here.
Source: llm-d-router `flowcontrol/controller/internal/processor.go` (isExpired), main @ ebab687.
"""

from math import floor, inf

from adapters.fakellmd.epp_drops import DropOutcome
from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.ordering import Ask, Item

SWEEP_S = 1.0


class Expiry:
    """Sweeps are due at `started_s` + whole seconds. Times never go back."""

    def __init__(self, settings: EppSettings, *, started_s: float) -> None:
        self.settings = settings
        self.empty = False
        """Whether the pool had no pods when it was last observed."""
        self._since_s = -inf
        self._started_s = started_s

    def observe(self, now_s: float, pods: int) -> None:
        """Note when the pool ran empty, or ceased to be."""
        if (pods == 0) != self.empty:
            self.empty = not self.empty
            self._since_s = now_s

    def ttl_s(self, ask: Ask) -> float:
        """How long a newcomer may wait where there are pods; 0 is for ever. A client may shorten what
        the operator allows, and set a bound where there is none; it cannot lengthen its wait."""
        own_s = self.settings.request_ttl_s
        if ask.ttl_s is None:
            return own_s
        return min(own_s, ask.ttl_s) if own_s else ask.ttl_s

    def is_over(self, item: Item, now_s: float) -> bool:
        budget_s, since_s = item.ttl_s, -inf
        if self.settings.facts.knows_empty_pools:
            since_s = self._since_s
            budget_s = self.settings.empty_pool_ttl_s if self.empty else budget_s
        return budget_s > 0 and now_s >= max(item.enqueued_s, since_s) + budget_s

    def outcome(self) -> DropOutcome:
        """What becomes of those who are over now."""
        apart = self.empty and self.settings.facts.knows_empty_pools
        return "EvictedNoEndpoints" if apart else "EvictedTTL"

    def next_sweep_s(self, now_s: float) -> float:
        return self._started_s + (floor((now_s - self._started_s) / SWEEP_S) + 1) * SWEEP_S
