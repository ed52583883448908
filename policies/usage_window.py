"""What was used within a while: a sliding window, or a calendar day in UTC.

A sliding window is kept in slots, and a slot counts until the last moment of it has left the window. Must
stay true: what counts as used is never less than what was used in the true window that ends now; it comes
free at most one slot (a 64th of the window) late. Amounts are whole numbers: what is added is taken away
again without a rest. Limits, and what to do about them, are not known here (`policies.budget`).

Both kinds are used alike: `advance` to a moment, and then what is used is added to `used`, and is booked at `place`.
`advance` need not be called as long as the moment is `within` its span.
"""

from collections import deque
from collections.abc import Sequence
from math import inf

import msgspec

SLOTS = 64
"""A power of two: a slot's width is then exact in binary, and so is the slot that a moment falls in."""
DAY_S = 86_400


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One moment on two clocks: sliding windows go by the first, calendar days by the second.
    `monotonic_s` never goes back; `unix_s` may."""

    monotonic_s: float
    unix_s: float


class Span(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The moments in which nothing changes by itself. (Of the monotonic clock, which never goes back, the beginning
    does not matter.)"""

    until_s: float = inf
    from_unix_s: float = -inf
    until_unix_s: float = inf


NEVER = Span(until_s=-inf)
"""No moment is in it."""


def common(spans: Sequence[Span]) -> Span:
    """The moments that are in all of them."""
    return Span(
        until_s=min((span.until_s for span in spans), default=inf),
        from_unix_s=max((span.from_unix_s for span in spans), default=-inf),
        until_unix_s=min((span.until_unix_s for span in spans), default=inf),
    )


class SlidingWindow:
    """What was used within `per_s` seconds, and up to a slot longer."""

    __slots__ = ("_earlier", "_earlier_used", "_slot_s", "place", "span", "used")

    def __init__(self, per_s: float) -> None:
        self._slot_s = per_s / SLOTS
        self.used = 0
        self.place = -1
        """The slot that runs: what of `used` is in no other is in this one."""
        self._earlier: deque[list[int]] = deque()
        """(slot, amount) of those before it, oldest first; one in which nothing was used is not there."""
        self._earlier_used = 0
        self.span = NEVER
        """Nothing leaves it, and no slot begins."""

    def advance(self, now: Moment) -> None:
        slot, earlier = int(now.monotonic_s // self._slot_s), self._earlier
        if slot > self.place:
            if (used := self.used - self._earlier_used) > 0:
                earlier.append([self.place, used])
                self._earlier_used += used
            self.place = slot
            while earlier and earlier[0][0] < slot - SLOTS:
                self._take(earlier.popleft()[1])
            self.span = Span(until_s=(slot + 1) * self._slot_s)

    def _take(self, amount: int) -> None:
        self.used -= amount
        self._earlier_used -= amount

    def take_back(self, amount: int, place: int) -> None:
        """Undo what was added at that place; nothing, if that has left the window meanwhile."""
        if place == self.place:
            self.used -= amount
            return
        for entry in reversed(self._earlier):
            if entry[0] == place:
                entry[1] -= amount
                self._take(amount)
                return

    def frees_s(self, amount: int, now: Moment) -> float:
        """Until `amount` of what is used has left the window, of which there is so much."""
        last = self.place
        for slot, used in self._earlier:
            amount -= used
            if amount <= 0:
                last = slot
                break
        return max(0.0, (last + SLOTS + 1) * self._slot_s - now.monotonic_s)

    def empties_s(self, now: Moment) -> float:
        """Until all of it has left."""
        last = self.place
        if self.used == self._earlier_used:
            last = next((slot for slot, used in reversed(self._earlier) if used), last - SLOTS - 1)
        left_s = (last + SLOTS + 1) * self._slot_s - now.monotonic_s
        return left_s if left_s > 0.0 else 0.0


class CalendarDay:
    """What was used since midnight, UTC. A clock that is set back a little begins no day again; one that is
    set back by more than a day was wrong before."""

    __slots__ = ("place", "span", "used")

    def __init__(self) -> None:
        self.used = 0
        self.place = 0
        """The day that runs, since 1970."""
        self.span = NEVER

    def advance(self, now: Moment) -> None:
        day = int(now.unix_s // DAY_S)
        if day > self.place or day < self.place - 1:
            self.place, self.used = day, 0
        self.span = Span(
            from_unix_s=(self.place - 1) * DAY_S, until_unix_s=(self.place + 1) * DAY_S
        )

    def take_back(self, amount: int, place: int) -> None:
        if place == self.place:
            self.used -= amount

    def frees_s(self, amount: int, now: Moment) -> float:
        return self.empties_s(now)

    def empties_s(self, now: Moment) -> float:
        """Until midnight."""
        left_s = (self.place + 1) * DAY_S - now.unix_s
        return left_s if left_s > 0.0 else 0.0
