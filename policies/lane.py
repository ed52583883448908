"""One model of one pool, as its queue sees it: how many requests it may have, and how fast it is.

The limit is a number here; which number it should be is `policies.limit`'s affair. Lower classes can be
held to a share of it (`hold_back`), so that a higher one finds a free place when it comes.
"""

from collections.abc import Mapping

from policies.drain import Drain
from policies.prefill import PrefillModel


class Lane:
    """`limit` is what it may work on at once, fractions rounded down, never below one."""

    def __init__(self, name: str, limit: float) -> None:
        self.name = name
        self.limit = limit
        self.inflight = 0
        self.waiting = 0
        self.turned_away = 0
        """Requests that found no place at once since somebody looked last: the limit was binding."""
        self.drain = Drain()
        self.prefill = PrefillModel()
        self.share: int | None = None
        """What this process may run of the limit, where several processes share it; None: all of it."""
        self.elsewhere = 0
        """How many the other processes ran lately."""
        self._shares: Mapping[int, float] = {}

    def forget(self, limit: float, now_s: float) -> None:
        """Another engine answers from now on: what was measured of it says nothing, so it begins as a
        new lane does. Whoever runs or waits is still there."""
        self.limit = limit
        self.drain, self.prefill = Drain(), PrefillModel()
        self.drain.busy(now_s, self.waiting > 0)

    def hold_back(self, shares: Mapping[int, float]) -> None:
        """`shares[p]` of the limit, at most, for every request of a priority below p."""
        self._shares = dict(shares)

    @property
    def limit(self) -> float:
        return self._limit

    @limit.setter
    def limit(self, limit: float) -> None:
        self._limit = limit
        self._most = _places(limit)

    @property
    def held_back(self) -> Mapping[int, float]:
        return self._shares

    def places(self, priority: int) -> int:
        """How many may run for one of this priority to be let in."""
        if not self._shares:
            return self._most
        share = min((s for above, s in self._shares.items() if priority < above), default=1.0)
        return _places(self.limit * share)

    def free(self, priority: int) -> int:
        """How many of this priority may be let in now; below zero where a limit has dropped."""
        if self.share is None:
            return self.places(priority) - self.inflight
        in_part = any(priority < above for above in self._shares)
        # A class's part is of what all processes run together, which is known late, by a tick.
        left = self.places(priority) - self.elsewhere if in_part else self.share
        return min(self.share, left) - self.inflight

    def has_room(self, priority: int) -> bool:
        if self.share is None and not self._shares:
            return self.inflight < self._most
        return self.free(priority) > 0

    @property
    def full(self) -> bool:
        """No class whatever could be let in."""
        most = max(int(self.limit), 1) if self.share is None else self.share
        return self.inflight >= most

    def wait_s(
        self, ahead: int, priority: int, now_s: float, *, pool_free: int | None = None
    ) -> float | None:
        """How long somebody with `ahead` others before it will wait; None: the drain is not known.
        `pool_free`: places that the pool has left, where its limit counts too."""
        free = max(self.free(priority), 0)
        behind = ahead + 1 - (free if pool_free is None else min(free, max(pool_free, 0)))
        if behind <= 0:
            return 0.0
        rate = self.drain.per_s(now_s)
        return behind / rate if rate else None


def _places(limit: float) -> int:
    """Fractions are rounded down, but for what adding up floats takes off a whole number."""
    return max(int(limit + 1e-9), 1)
