"""What was used within a while: a sliding window, or a calendar day in UTC.

A sliding window is kept in slots, and a slot counts until the last moment of it has left the window. Must
stay true: what counts as used is never less than what was used in the true window that ends now; it comes
free at most one slot (a 64th of the window) late. Amounts are whole numbers: what is added is taken away
again without a rest. Limits, and what to do about them, are not known here (`policies.budget`).
"""

from collections import deque
from math import inf

import msgspec

SLOTS = 64
"""A power of two: a slot's width is then exact in binary, and so is the slot that a moment falls in."""
DAY_S = 86_400


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One moment on two clocks: sliding windows go by the first, calendar days by the second.
    `monotonic_s` never goes back; `unix_s` may."""

    monotonic_s: float
    unix_s: float


class SlidingWindow:
    """What was used within `per_s` seconds, and up to a slot longer."""

    __slots__ = ("_slot_s", "_slots", "due_s", "used")

    def __init__(self, per_s: float) -> None:
        self._slot_s = per_s / SLOTS
        self._slots: deque[list[int]] = deque()
        """(slot, amount), oldest first; one in which nothing was used is not there."""
        self.used = 0
        self.due_s = inf
        """When something leaves it next (monotonic): until then `advance` changes nothing."""

    def advance(self, now: Moment) -> None:
        slots = self._slots
        oldest = now.monotonic_s // self._slot_s - SLOTS
        while slots and slots[0][0] < oldest:
            self.used -= slots.popleft()[1]
        self.due_s = (slots[0][0] + SLOTS + 1) * self._slot_s if slots else inf

    def add(self, amount: int, now: Moment) -> int:
        """The place to take it back from."""
        slot = int(now.monotonic_s // self._slot_s)
        self.used += amount
        slots = self._slots
        if slots and slots[-1][0] == slot:
            slots[-1][1] += amount
        elif amount:
            if not slots:
                self.due_s = (slot + SLOTS + 1) * self._slot_s
            slots.append([slot, amount])
        return slot

    def take_back(self, amount: int, place: int) -> None:
        """Undo an `add`; nothing, if that has left the window meanwhile."""
        for entry in reversed(self._slots):
            if entry[0] == place:
                entry[1] -= amount
                self.used -= amount
                return

    def frees_s(self, amount: int, now: Moment) -> float:
        """Until `amount` of what is used has left the window, of which there is so much."""
        leaves = 0
        for slot, used in self._slots:
            if used:
                leaves, amount = slot + SLOTS + 1, amount - used
            if amount <= 0:
                break
        return max(0.0, leaves * self._slot_s - now.monotonic_s)

    def empties_s(self, now: Moment) -> float:
        """Until all of it has left."""
        for slot, used in reversed(self._slots):
            if used:
                left_s = (slot + SLOTS + 1) * self._slot_s - now.monotonic_s
                return left_s if left_s > 0.0 else 0.0
        return 0.0


class CalendarDay:
    """What was used since midnight, UTC. A clock that is set back a little begins no day again; one that is
    set back by more than a day was wrong before."""

    __slots__ = ("_day", "used")
    due_s = -inf
    """Its own clock tells when a day ends, and no other: `advance` has to look each time."""

    def __init__(self) -> None:
        self._day = 0
        self.used = 0

    def advance(self, now: Moment) -> None:
        day = int(now.unix_s // DAY_S)
        if day > self._day or day < self._day - 1:
            self._day, self.used = day, 0

    def add(self, amount: int, now: Moment) -> int:
        self.used += amount
        return self._day

    def take_back(self, amount: int, place: int) -> None:
        if place == self._day:
            self.used -= amount

    def frees_s(self, amount: int, now: Moment) -> float:
        return self.empties_s(now)

    def empties_s(self, now: Moment) -> float:
        """Until midnight."""
        left_s = (self._day + 1) * DAY_S - now.unix_s
        return left_s if left_s > 0.0 else 0.0
