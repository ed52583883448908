"""Who waits for one lane: bands by priority, callers in a band, deadlines inside a caller. Pure.

Must stay true: within a caller the earliest deadline goes first and arrival breaks ties, so equal
promises are first come, first served; between callers the smallest token counter goes first.
Where the `order` rung holds, callers whose counters are nearly equal are ordered by deadline too.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator

import msgspec

from policies.fairness import TokenCounters


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A request at a pool's door. `request` is the shell's number, unique among those not yet ended.

    `deadline_s` is when its first token is due, on the queue's clock; None: it may take its time.
    Those of a priority below 0 get no benefit of the doubt when their wait is predicted.
    A `patient` one has nobody that waits for it on a connection: it has a room of its own, and never gives
    way to a newcomer. `timeout_s` bounds its wait; None: as long as the queue says. One that was `accepted`
    before, here or elsewhere, finds room in any queue: there are no more of them than were let in.
    """

    request: int
    lane: str = ""
    priority: int = 0
    caller: str = ""
    weight: float = 1.0
    prompt_tokens: int = 0
    deadline_s: float | None = None
    patient: bool = False
    timeout_s: float | None = None
    accepted: bool = False


class Waiter(msgspec.Struct):
    """A ticket that waits, since `since_s`."""

    ticket: Ticket
    since_s: float
    order: int


_INF = float("inf")


class _CallersLine:
    """One caller's requests in one band, never empty while it is in one. A sorted list and no heap, so
    that those before a deadline can be counted; moving a few thousand pointers is a microsecond."""

    def __init__(self) -> None:
        self.sorted: list[tuple[float, int, Waiter]] = []
        self.hasty: dict[int, Waiter] = {}
        self.patient: dict[int, Waiter] = {}
        """Both in the order of arrival."""

    def __len__(self) -> int:
        return len(self.sorted)

    def room(self, *, patient: bool) -> dict[int, Waiter]:
        return self.patient if patient else self.hasty

    def push(self, waiter: Waiter) -> None:
        insort(self.sorted, (*_due(waiter), waiter))
        self.room(patient=waiter.ticket.patient)[waiter.ticket.request] = waiter

    def head(self) -> Waiter:
        return self.sorted[0][2]

    def find(self, ticket: Ticket) -> int:
        """How many of its own go before one that waits here. Raises KeyError where it does not."""
        return bisect_left(self.sorted, _due(self.room(patient=ticket.patient)[ticket.request]))

    def before(self, deadline_s: float | None) -> int:
        """How many would go before a newcomer with that deadline."""
        return bisect_right(self.sorted, (_INF if deadline_s is None else deadline_s, _INF))

    def remove(self, ticket: Ticket) -> None:
        del self.sorted[self.find(ticket)]
        del self.room(patient=ticket.patient)[ticket.request]


class Lines:
    """All who wait for one lane."""

    def __init__(self, counters: Callable[[int], TokenCounters]) -> None:
        """`counters(priority)` are a band's: fairness is between requests of one priority only."""
        self._counters = counters
        self._bands: dict[int, dict[str, _CallersLine]] = {}

    def __len__(self) -> int:
        return sum(self.in_band(priority) for priority in self._bands)

    @property
    def bands(self) -> list[int]:
        """Priorities that somebody waits with, highest first."""
        return sorted(self._bands, reverse=True)

    def in_band(self, priority: int) -> int:
        return sum(map(len, self._bands.get(priority, {}).values()))

    def callers(self, priority: int) -> int:
        return len(self._bands.get(priority, ()))

    def push(self, waiter: Waiter) -> None:
        ticket = waiter.ticket
        band = self._bands.setdefault(ticket.priority, {})
        line = band.get(ticket.caller)
        if line is None:
            counters = self._counters(ticket.priority)
            counters.arrive(ticket.caller, min(map(counters.of, band), default=None))
            line = band[ticket.caller] = _CallersLine()
        line.push(waiter)

    def remove(self, ticket: Ticket) -> None:
        band = self._bands[ticket.priority]
        line = band[ticket.caller]
        line.remove(ticket)
        if not line.sorted:
            self._counters(ticket.priority).leave(ticket.caller)
            del band[ticket.caller]
            if not band:
                del self._bands[ticket.priority]

    def next(self, priority: int, slack_tokens: float = 0.0) -> Waiter | None:
        """Who of this band goes next. With slack, the earliest deadline among those callers whose
        counters are within it of the smallest: fair in the large, punctual in the small."""
        band = self._bands.get(priority)
        if not band:
            return None
        if len(band) == 1:
            return next(iter(band.values())).head()
        of = self._counters(priority).of
        smallest = min(band, key=of)
        if not slack_tokens:
            return band[smallest].head()
        bound = of(smallest) + slack_tokens
        return min((line.head() for c, line in band.items() if of(c) <= bound), key=_due)

    def ahead_of(self, ticket: Ticket) -> int:
        """How many will probably go before a newcomer: all of higher bands, its caller's own with
        deadlines no later, and as many of the others' as fairness lets pass: each caller goes as
        often as this one does."""
        ahead = sum(self.in_band(p) for p in self._bands if p > ticket.priority)
        band = self._bands.get(ticket.priority, {})
        mine = line.before(ticket.deadline_s) if (line := band.get(ticket.caller)) else 0
        turns = mine + 1
        others = sum(min(len(line), turns) for c, line in band.items() if c != ticket.caller)
        return ahead + mine + others

    def position(self, ticket: Ticket) -> int:
        """Where one that waits here stands, from 1: after all of higher bands, in its band after all
        who have their turn first. Callers take turns, the one with the smallest counter first, so all
        who wait have positions of their own, 1 to as many as there are.

        Nobody moves back when another leaves. A newcomer may go first, and so may a caller whose counter
        is nearly as small, where slack lets deadlines decide between them. Raises KeyError where the
        ticket does not wait here.
        """
        band = self._bands[ticket.priority]
        turn = band[ticket.caller].find(ticket)
        of = self._counters(ticket.priority).of
        mine = of(ticket.caller)
        before = sum(self.in_band(p) for p in self._bands if p > ticket.priority)
        equals_go_first = True  # of equal counters, the caller that has waited longer
        for caller, line in band.items():
            if caller == ticket.caller:
                before += turn
                equals_go_first = False
                continue
            counter = of(caller)
            goes_first = counter < mine or (counter == mine and equals_go_first)
            before += min(len(line), turn + goes_first)
        return before + 1

    def positions(self) -> dict[int, int]:
        """The same of all who wait, by request, in one pass."""
        found: dict[int, int] = {}
        for priority in self.bands:
            band = self._bands[priority]
            # Sorting leaves equals as they are: of them, the caller that has waited longer goes first.
            in_order = sorted(band, key=self._counters(priority).of)
            lines = [band[caller].sorted for caller in in_order]
            turn = 0
            while lines:
                for line in lines:
                    found[line[turn][2].ticket.request] = len(found) + 1
                turn += 1
                lines = [line for line in lines if len(line) > turn]
        return found

    def hasty_of_caller(self, priority: int, caller: str) -> int:
        """How many of one caller wait in a band, the patient ones apart."""
        line = self._bands.get(priority, {}).get(caller)
        return len(line.hasty) if line else 0

    def patient_below(self, priority: int) -> int:
        """How many patient ones wait in lower bands."""
        lower = (band for p, band in self._bands.items() if p < priority)
        return sum(len(line.patient) for band in lower for line in band.values())

    def last_to_go(self) -> tuple[int, int, Waiter] | None:
        """Who gives way first when the queue is full: the newest of the caller that has most waiting in
        the lowest band, with that band and how many these are. Patient ones do not count, and never
        give way. None: nobody does."""
        for lowest in sorted(self._bands):
            hasty = {c: line.hasty for c, line in self._bands[lowest].items() if line.hasty}
            if hasty:
                of = self._counters(lowest).of
                members = hasty[max(hasty, key=lambda c: (len(hasty[c]), of(c)))]
                return lowest, len(members), next(reversed(members.values()))
        return None

    def oldest(self, priority: int, *, patient: bool) -> Waiter | None:
        """Who of this band and room has waited longest."""
        rooms = (line.room(patient=patient) for line in self._bands.get(priority, {}).values())
        heads = (next(iter(room.values())) for room in rooms if room)
        return min(heads, key=lambda waiter: waiter.order, default=None)

    def __iter__(self) -> Iterator[Waiter]:
        for band in self._bands.values():
            for line in band.values():
                yield from line.hasty.values()
                yield from line.patient.values()


def _due(waiter: Waiter) -> tuple[float, int]:
    due_s = waiter.ticket.deadline_s
    return (_INF if due_s is None else due_s, waiter.order)
