"""What the loop holds, as one value that a decision is made with.

Must stay true: with the same holding and the same draws the same request is decided alike, so that a
decision can be replayed; the empty holding costs a decision nothing. Who is spared to compare with,
and who is shed, is decided by draws that are handed in: evenly spread, and not by chance.
"""

import msgspec

from contracts.policy import Rung

HOLDOUT = 0.1
"""Of the requests that a per-request action would treat, so many are spared while it is not verified;
none of a protected class."""
PROTECTED_ABOVE = 0
"""A class of a priority above this is protected: it is never experimented with."""
_GOLDEN, _SILVER = 0.6180339887498949, 0.4142135623730951
"""Irrational, and unlike each other: their multiples fill [0, 1) evenly, in every stretch of them."""


class HeldRung(msgspec.Struct, frozen=True, kw_only=True):
    """A per-request action of the request's own intent."""

    action: int
    rung: Rung
    unverified: bool = False
    hedge_after_s: float | None = None


class Decline(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of a priority below `below` are turned away from `pools`: `share` of them, of the
    sheddable only (`shed`), or all (`refuse`), for the sake of `intent`."""

    action: int
    rung: Rung
    intent: str
    below: int
    pools: frozenset[str]
    share: float = 1.0
    sheddable_only: bool = False
    retry_after_s: float = 1.0

    def concerns(self, priority: int, pool: str) -> bool:
        return (
            priority < self.below
            and pool in self.pools
            and not (self.sheddable_only and priority >= 0)
        )


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in force, by intent. `until_s`: the first lease that runs out."""

    rungs: dict[str, tuple[HeldRung, ...]] = {}
    declines: tuple[Decline, ...] = ()
    until_s: float = float("inf")


CALM = Holding()


class Draws(msgspec.Struct, frozen=True):
    """Two numbers in [0, 1) for one request."""

    spare: float = 1.0
    shed: float = 1.0


NO_DRAWS = Draws()
"""Of a request that is only rehearsed: it is neither spared nor shed by a share."""


def draws(nth: int) -> Draws:
    """Those of the nth request. Source: additive recurrence (Weyl 1916)."""
    return Draws(nth * _GOLDEN % 1.0, nth * _SILVER % 1.0)
