"""What was used within a while: a sliding window, or a calendar day in UTC.

A window is kept in slots, and a slot counts until the last moment of it has left the window; a calendar day is one
slot of the wall clock, and leaves as a whole. Must stay true: what counts as used is never less than what was used in
the true window that ends now; it comes free at most one slot (of a sliding window a 64th) late. Amounts are whole
numbers: what is added is taken away again without a rest. Limits, and what to do about them, are not known here
(`policies.budget`).
"""

from collections import deque

import msgspec

SLOTS = 64
"""A power of two: a slot's width is then exact in binary, and so is the slot that a moment falls in."""
DAY_S = 86_400
SET_BACK_S = 2.0 * DAY_S
"""A day's `until_s`, less this, is where the day before it begins: a wall clock that is further back was wrong before."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One moment on two clocks: sliding windows go by the first, calendar days by the second.
    `monotonic_s` never goes back; `unix_s` may."""

    monotonic_s: float
    unix_s: float


class UsageWindow:
    """Advance it to a moment that is not before `until_s`, and then add what is used to `used`: that is booked at `place`.

    What was used within `per_s` seconds, and up to a slot longer; without `per_s` what was used since midnight, UTC. A
    clock that is set back a little begins no day again; one that is set back by more than a day was wrong before.
    """

    __slots__ = (
        "_earlier",
        "_earlier_used",
        "_kept",
        "_leaves_s",
        "_slot_s",
        "by_wall",
        "place",
        "until_s",
        "used",
    )

    def __init__(self, per_s: float | None = None) -> None:
        # One class for both: whoever goes over several of them finds all alike, which Python is quickest with.
        self.by_wall = per_s is None
        # A float in any case: what compares whole numbers with floats takes three times as long.
        self._slot_s = float(DAY_S) if per_s is None else per_s / SLOTS
        self._kept = 0 if per_s is None else SLOTS
        """Slots before the one that runs."""
        self.used = 0
        self.place = -1
        """The slot that runs: what of `used` is in no other is in this one."""
        self.until_s = 0.0
        """When that slot ends, on the window's clock: nothing changes by itself before, unless a wall clock is set back
        by more than a day (`SET_BACK_S`)."""
        self._leaves_s = 0.0
        """When what is in it leaves."""
        self._earlier: deque[list[int]] = deque()
        """(slot, amount) of those before it, oldest first; one in which nothing was used is not there."""
        self._earlier_used = 0

    def advance(self, now: Moment) -> None:
        now_s = now.unix_s if self.by_wall else now.monotonic_s
        slot, earlier = int(now_s // self._slot_s), self._earlier
        if slot < self.place - 1:
            earlier.clear()
            self.used = self._earlier_used = 0
            self._begin(slot)
        elif slot > self.place:
            if (used := self.used - self._earlier_used) > 0:
                earlier.append([self.place, used])
                self._earlier_used += used
            self._begin(slot)
            while earlier and earlier[0][0] < slot - self._kept:
                self._take(earlier.popleft()[1])

    def _begin(self, slot: int) -> None:
        self.place, self._leaves_s = slot, self._leaving_s(slot)
        self.until_s = (slot + 1) * self._slot_s

    def _leaving_s(self, slot: int) -> float:
        """When the last moment of a slot has left the window."""
        return (slot + self._kept + 1) * self._slot_s

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

    def _take(self, amount: int) -> None:
        self.used -= amount
        self._earlier_used -= amount

    def frees_s(self, amount: int, now: Moment) -> float:
        """Until `amount` of what is used has left the window, of which there is so much."""
        last = self.place
        for slot, used in self._earlier:
            amount -= used
            if amount <= 0:
                last = slot
                break
        now_s = now.unix_s if self.by_wall else now.monotonic_s
        return max(0.0, self._leaving_s(last) - now_s)

    def empties_s(self, now: Moment, more: int = 0) -> float:
        """Until all of it has left, and `more` that were used this moment."""
        leaves_s = self._leaves_s
        if self.used + more == self._earlier_used:  # nothing is in that slot
            last = next((slot for slot, used in reversed(self._earlier) if used), None)
            if last is None:
                return 0.0
            leaves_s = self._leaving_s(last)
        left_s = leaves_s - (now.unix_s if self.by_wall else now.monotonic_s)
        return left_s if left_s > 0.0 else 0.0
