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
from typing import Literal

import msgspec

from policies.budget_limit import BudgetLimit, Kind
from policies.usage_window import SLOTS, CalendarDay, Moment, SlidingWindow

Why = Literal[
    "used",  # it comes free with time
    "under_way",  # it is reserved by requests that have not ended
    "too_large",  # the claim is more than the whole limit
]
Amount = tuple[int, int]
"""What is sure, and what is a guess on top of it."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may use, beside being one request. `cost` in picodollars; None: no price is known,
    and limits of money have no say.

    `assumed_tokens` and `assumed_cost` come on top: a guess at an answer that has no limit of its own. A
    guess takes of what is free, and refuses nobody as long as something is; the rest would be a debt.
    """

    tokens: int
    cost: int | None = None
    assumed_tokens: int = 0
    assumed_cost: int = 0

    def amounts(self) -> dict[Kind, Amount]:
        """What it takes of a limit of each kind. What costs nothing, or nobody knows what, takes nothing."""
        money = (0, 0) if self.cost is None else (self.cost, self.assumed_cost)
        return {"requests": (1, 0), "tokens": (self.tokens, self.assumed_tokens), "cost": money}


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

    held: tuple[int, ...]
    """What each limit holds of it, or has booked at once."""
    places: tuple[int, ...]
    """The slot or day of what was booked."""
    over: bool = False


class Allowance:
    """A process's part of a limit: `units` of it are this one's to use, all of them where it is alone. What
    others use or hold is `elsewhere`, as it was lately, and has left the window at `empty_at_s` (monotonic)."""

    __slots__ = ("elsewhere", "empty_at_s", "units")

    def __init__(self, units: int = 0) -> None:
        self.units = units
        self.elsewhere = 0
        self.empty_at_s = 0.0


class _Meter:
    """One limit, and how far it is used."""

    __slots__ = ("allowance", "books", "count", "held", "kind", "limit")

    def __init__(self, limit: BudgetLimit, allowance: Allowance | None = None) -> None:
        self.limit, self.kind = limit, limit.kind
        self.allowance = Allowance(limit.amount) if allowance is None else allowance
        self.books = limit.kind == "requests"
        """At once; the other kinds hold what is claimed, and book what was used."""
        self.count = CalendarDay() if limit.calendar_day else SlidingWindow(limit.per_s)
        self.held = 0

    def room(self, amount: Amount, now: Moment) -> int | None:
        """What it would hold of it: all that is sure, and of the guess what is free; None: there is no room
        for it now. What costs nothing always has room."""
        if now.monotonic_s >= self.count.due_s:
            self.count.advance(now)
        sure, guess = amount
        # below zero where there are debts
        free = self.allowance.units - self.count.used - self.held
        if sure + guess <= free:
            return sure + guess
        if sure > free or (not sure and free < 1):
            return None if sure or guess else 0
        return free

    def refuses(self, amount: Amount, now: Moment) -> Refused | None:
        """Why there is no room for it now; None where there is."""
        if self.room(amount, now) is not None:
            return None
        sure, guess = amount
        asked = max(sure, min(guess, 1))
        missing = asked - (self.allowance.units - self.count.used - self.held)
        if asked > self.limit.amount:
            return Refused(limit=self.limit, why="too_large", asked=asked)
        shared = self.allowance
        if shared.elsewhere and missing > self.count.used:
            wait_s = max(self.count.empties_s(now), shared.empty_at_s - now.monotonic_s)
            return Refused(limit=self.limit, why="used", asked=asked, retry_after_s=wait_s)
        if missing > self.count.used:
            return Refused(limit=self.limit, why="under_way", asked=asked)
        wait_s = self.count.frees_s(missing, now)
        return Refused(limit=self.limit, why="used", asked=asked, retry_after_s=wait_s)

    def standing(self, now: Moment) -> Standing:
        if now.monotonic_s >= self.count.due_s:
            self.count.advance(now)
        used, shared = self.count.used + self.held, self.allowance
        if self.held and not self.limit.calendar_day:
            reset_s = self.limit.per_s * (SLOTS + 1) / SLOTS  # if it were settled this moment
        else:
            reset_s = self.count.empties_s(now) if used else 0.0
        if shared.elsewhere:
            used += shared.elsewhere
            reset_s = max(reset_s, shared.empty_at_s - now.monotonic_s)
        left = self.limit.amount - used
        return Standing(self.limit, used, left if left > 0 else 0, reset_s)

    def occupied(self, now: Moment) -> tuple[int, float]:
        """What this process uses or holds of it, and in how long all that is used has left the window."""
        self.count.advance(now)
        return self.count.used + self.held, self.count.empties_s(now)


_GRAVITY: dict[Why, int] = {"under_way": 0, "used": 1, "too_large": 2}


class Budget:
    """The limits of one caller. Each call takes the moment of it; moments never go back."""

    def __init__(
        self, limits: tuple[BudgetLimit, ...], allowances: Sequence[Allowance] = ()
    ) -> None:
        """`allowances`, one a limit, where several processes share the budget."""
        shared = allowances or (None,) * len(limits)
        self._meters = tuple(map(_Meter, limits, shared))

    def reserve(self, claim: Claim, now: Moment) -> Reservation | Refused:
        """Room for one request in every limit, or in none."""
        held: tuple[int, ...] = ()
        amounts = claim.amounts()
        for meter in self._meters:
            room = meter.room(amounts[meter.kind], now)
            if room is None:
                return self._refusal(amounts, now)
            held = (*held, room)
        places: tuple[int, ...] = ()
        for meter, amount in zip(self._meters, held, strict=True):
            place = 0
            if meter.books:
                place = meter.count.add(amount, now)
            else:
                meter.held += amount
            places = (*places, place)
        return Reservation(held, places)

    def _refusal(self, amounts: dict[Kind, Amount], now: Moment) -> Refused:
        """By the limit that is longest in the way, of those that have no room."""
        found = [meter.refuses(amounts[meter.kind], now) for meter in self._meters]
        return max(filter(None, found), key=_gravity)

    def settle(
        self, reservation: Reservation, *, tokens: int, cost: int | None, now: Moment
    ) -> None:
        """The request has ended, and this is what it used, be it more or less than its claim. `cost` in
        picodollars; None: nobody knows, and no limit of money counts it."""
        if reservation.over:
            return
        reservation.over = True
        for meter, held in zip(self._meters, reservation.held, strict=True):
            if not meter.books:
                meter.held -= held
                if now.monotonic_s >= meter.count.due_s:
                    meter.count.advance(now)
                meter.count.add(tokens if meter.kind == "tokens" else cost or 0, now)

    def release(self, reservation: Reservation) -> None:
        """As if it had never been asked for."""
        if reservation.over:
            return
        reservation.over = True
        parts = zip(self._meters, reservation.held, reservation.places, strict=True)
        for meter, held, place in parts:
            if meter.books:
                meter.count.take_back(held, place)
            else:
                meter.held -= held

    def standings(self, now: Moment) -> list[Standing]:
        """How each limit stands, in the order of the limits."""
        return [meter.standing(now) for meter in self._meters]

    def occupied(self, now: Moment) -> list[tuple[int, float]]:
        """Of each limit, in their order: see `_Meter.occupied`."""
        return [meter.occupied(now) for meter in self._meters]

    def wanted(self, claim: Claim) -> list[int]:
        """Of each limit, what a claim would take if there were enough, its guess included."""
        amounts, wanted = claim.amounts(), []
        for meter in self._meters:
            sure, guess = amounts[meter.kind]
            wanted.append(max(sure, min(sure + guess, meter.limit.amount)))
        return wanted

    def idle(self, now: Moment) -> bool:
        """Nothing is used and nothing reserved: a new budget would be the same."""
        for meter in self._meters:
            meter.count.advance(now)
        return not any(meter.held or meter.count.used for meter in self._meters)


def _gravity(refused: Refused) -> tuple[int, float]:
    """How long it is in the way."""
    return _GRAVITY[refused.why], refused.retry_after_s or 0.0
