"""What one caller may use: requests, tokens and money, each in a sliding window or a calendar day.

A claim is reserved in every limit or in none, and settled later with what was really used. Must stay true:
what is used and what is reserved never pass a limit together at the moment of a reservation; what was
refused or released leaves nothing behind; what was used beyond its claim counts as a debt.

Requests are booked when they come; tokens and money when they are settled, and are held until then. So a
stream that runs for longer than the window holds its part all the time, and what it used is not forgotten
the moment it is known.

No clock is read here: a `Moment` is an argument. Who has which budget is the shell's business.
"""

from collections.abc import Sequence
from math import inf
from typing import Literal

import msgspec

from policies.budget_limit import BudgetLimit, Kind
from policies.usage_window import SET_BACK_S, SLOTS, Moment, UsageWindow

Why = Literal[
    "used",  # it comes free with time
    "under_way",  # it is reserved by requests that have not ended
    "too_large",  # the claim is more than the whole limit
]
Amount = tuple[int, int]
"""What is sure, and what is a guess on top of it."""
Claim = tuple[Amount, Amount, Amount]
"""What a request may use of a limit of each kind, in the order of `NTH`; of requests it is `ONE`. What costs nothing,
or nobody knows what, claims no money, and limits of money have no say.

A guess is at an answer that has no limit of its own. It takes of what is free, and refuses nobody as long as something
is; the rest would be a debt.
"""
NTH: dict[Kind, int] = {"requests": 0, "tokens": 1, "cost": 2}
ONE: Amount = (1, 0)
NOTHING: Amount = (0, 0)


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was reserved. `limit` is the one that is longest in the way; `retry_after_s` None: nobody
    can say."""

    limit: BudgetLimit
    why: Why
    asked: int
    retry_after_s: float | None = None


class Standing(msgspec.Struct, frozen=True):
    """How one limit stands. `reset_s` until all of it is free again, if nothing more is used."""

    limit: BudgetLimit
    used: int
    """Requests under way included."""
    remaining: int
    reset_s: float


class Reservation(msgspec.Struct):
    """To be settled or released, once: whatever comes second counts no more."""

    parts: list[int]
    """Of each limit, how much is held for it; of a limit of requests, where it is booked: in which slot or day."""
    over: bool = False


class Allowance:
    """A process's part of a limit: `units` of it are this one's to use, all of them where it is alone. What
    others use or hold is `elsewhere`, as it was lately, and has left the window at `empty_at_s` (monotonic)."""

    __slots__ = ("elsewhere", "empty_at_s", "units")

    def __init__(self, units: int = 0) -> None:
        self.units = units
        self.elsewhere = 0
        self.empty_at_s = 0.0


class _Meter(UsageWindow):
    """One limit, and how far it is used."""

    __slots__ = ("allowance", "books", "held", "index", "limit", "lingers_s", "nth")

    def __init__(self, limit: BudgetLimit, allowance: Allowance | None = None) -> None:
        super().__init__(None if limit.calendar_day else limit.per_s)
        self.limit, self.nth = limit, NTH[limit.kind]
        self.index = 0
        """Of its budget's; to count them on the way takes twice as long."""
        self.allowance = Allowance(limit.amount) if allowance is None else allowance
        self.books = limit.kind == "requests"
        """At once; the other kinds hold what is claimed, and book what was used."""
        self.held = 0
        self.lingers_s = None if limit.calendar_day else limit.per_s * (SLOTS + 1) / SLOTS
        """For how long at most what is used this moment counts; None: as long as the day lasts."""

    def refuses(self, amount: Amount, now: Moment) -> Refused | None:
        """Why there is no room for it now; None where there is: all that is sure must have room, and of a guess
        something. What costs nothing always has."""
        sure, guess = amount
        asked = sure or min(guess, 1)
        missing = asked - (self.allowance.units - self.used - self.held)
        if not asked or missing <= 0:
            return None
        if asked > self.limit.amount:
            return Refused(limit=self.limit, why="too_large", asked=asked)
        shared = self.allowance
        if shared.elsewhere and missing > self.used:
            wait_s = max(self.empties_s(now), shared.empty_at_s - now.monotonic_s)
            return Refused(limit=self.limit, why="used", asked=asked, retry_after_s=wait_s)
        if missing > self.used:
            return Refused(limit=self.limit, why="under_way", asked=asked)
        wait_s = self.frees_s(missing, now)
        return Refused(limit=self.limit, why="used", asked=asked, retry_after_s=wait_s)


_GRAVITY: dict[Why, int] = {"under_way": 0, "used": 1, "too_large": 2}


class Budget:
    """The limits of one caller. Each call takes the moment of it; moments never go back."""

    __slots__ = ("_from_unix_s", "_meters", "_until_s", "_until_unix_s")

    def __init__(
        self, limits: tuple[BudgetLimit, ...], allowances: Sequence[Allowance] = ()
    ) -> None:
        """`allowances`, one a limit, where several processes share the budget."""
        shared = allowances or (None,) * len(limits)
        self._meters = tuple(map(_Meter, limits, shared))
        for index, meter in enumerate(self._meters):
            meter.index = index
        # The moments in which nothing leaves any limit: none yet. Of a clock that never goes back, their beginning does
        # not matter.
        self._until_s = self._until_unix_s = -inf
        self._from_unix_s = -inf

    def _advance(self, now: Moment) -> None:
        """What counts from here on is what counts now."""
        if (
            now.monotonic_s >= self._until_s
            or not self._from_unix_s <= now.unix_s < self._until_unix_s
        ):
            self._until_s = self._until_unix_s = inf
            self._from_unix_s = -inf
            for meter in self._meters:
                meter.advance(now)
                until_s = meter.until_s
                if not meter.by_wall:
                    if until_s < self._until_s:
                        self._until_s = until_s
                elif until_s < self._until_unix_s:
                    self._until_unix_s = until_s
                    self._from_unix_s = until_s - SET_BACK_S

    def reserve(self, claim: Claim, now: Moment) -> Reservation | Refused:
        """Room for one request in every limit, or in none."""
        self._advance(now)
        parts: list[int] = []
        for meter in self._meters:
            sure, guess = claim[meter.nth]
            taken = sure + guess
            free = meter.allowance.units - meter.used - meter.held  # below 0: there are debts
            if taken > free and taken:
                if (sure or 1) > free:
                    self._let_go(parts)
                    return self._refusal(claim, now)
                taken = free
            if meter.books:
                meter.used += taken
                parts.append(meter.place)
            else:
                meter.held += taken
                parts.append(taken)
        return Reservation(parts)

    def _refusal(self, claim: Claim, now: Moment) -> Refused:
        """By the limit that is longest in the way, of those that have no room."""
        found = [meter.refuses(claim[meter.nth], now) for meter in self._meters]
        return max(filter(None, found), key=_gravity)

    def settle(
        self, reservation: Reservation, *, tokens: int, cost: int | None, now: Moment
    ) -> None:
        """The request has ended, and this is what it used, be it more or less than its claim. `cost` in
        picodollars; None: nobody knows, and no limit of money counts it."""
        if reservation.over:
            return
        reservation.over = True
        self._advance(now)
        used, parts = (0, tokens, cost or 0), reservation.parts
        for meter in self._meters:
            if not meter.books:
                meter.held -= parts[meter.index]
                meter.used += used[meter.nth]

    def release(self, reservation: Reservation) -> None:
        """As if it had never been asked for."""
        if not reservation.over:
            reservation.over = True
            self._let_go(reservation.parts)

    def _let_go(self, parts: list[int]) -> None:
        """Those of all limits, or of the first ones."""
        for meter, part in zip(self._meters, parts, strict=False):
            if meter.books:
                meter.take_back(1, part)
            else:
                meter.held -= part

    def uses(self, now: Moment) -> list[tuple[int, float]]:
        """Of each limit, in their order: what is used of it, requests under way included, and in how many seconds
        all of it is free again, if nothing more is used."""
        self._advance(now)
        told = []
        for meter in self._meters:
            held, shared = meter.held, meter.allowance
            used = meter.used + held
            if held and meter.lingers_s is not None:
                reset_s = meter.lingers_s  # if it were settled this moment
            else:
                reset_s = meter.empties_s(now, held)
            if shared.elsewhere:
                used += shared.elsewhere
                reset_s = max(reset_s, shared.empty_at_s - now.monotonic_s)
            told.append((used, reset_s))
        return told

    def standings(self, now: Moment) -> list[Standing]:
        """The same with its limit, for who is in no hurry."""
        limits = (meter.limit for meter in self._meters)
        return [
            Standing(limit, used, max(0, limit.amount - used), reset_s)
            for limit, (used, reset_s) in zip(limits, self.uses(now), strict=True)
        ]

    def occupied(self, now: Moment) -> list[int]:
        """Of each limit, in their order: what this process uses or holds of it."""
        self._advance(now)
        return [meter.used + meter.held for meter in self._meters]

    def empties_s(self, now: Moment) -> list[float]:
        """Of each limit, in their order: in how long all that this process has used has left the window."""
        self._advance(now)
        return [meter.empties_s(now) for meter in self._meters]

    def wanted(self, claim: Claim) -> list[int]:
        """Of each limit, what a claim would take if there were enough, its guess included."""
        wanted = []
        for meter in self._meters:
            sure, guess = claim[meter.nth]
            wanted.append(max(sure, min(sure + guess, meter.limit.amount)))
        return wanted

    def idle(self, now: Moment) -> bool:
        """Nothing is used and nothing reserved: a new budget would be the same."""
        self._advance(now)
        return not any(meter.held or meter.used for meter in self._meters)


def _gravity(refused: Refused) -> tuple[int, float]:
    """How long it is in the way."""
    return _GRAVITY[refused.why], refused.retry_after_s or 0.0
