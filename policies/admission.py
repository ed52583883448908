"""The queue in front of one pool: who goes next, who is told to come back later. Sans-IO.

Must stay true: every offered request meets exactly one fate (admitted, refused or cancelled); nothing
is admitted while in-flight >= limit, the pool's or its lane's (both may drop below it); higher
priority first, and yet no band starves for ever; between callers of one priority the smallest token
counter first; inside a caller the earliest deadline first. That order knows nothing of rooms: whoever
has nobody waiting on a connection (`patient`) waits in a room with a bound of its own, is bounded by its
own timeout, and is never pushed out for a newcomer. One that was accepted before is not refused for want
of room.

Regimes of deadlines: calm, nobody waits and nothing is refused. Into overload, a newcomer whose
predicted wait does not fit its deadline is told at once (the measured drain says so); whoever waits
is asked again at the head, where `now + predicted prefill` decides. Unknown drain or prefill:
everybody is let in. One refusal in a hundred is admitted all the same, as a probe: if probes
succeed, the prediction is wrong and is not used for a while.
Which number a limit should be is not decided here.
"""

from collections import defaultdict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Literal

import msgspec

from policies.fairness import PROMPT_WEIGHT, TokenCounters
from policies.lane import Lane
from policies.lines import Lines, Ticket, Waiter
from policies.prediction import Prediction

RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0
AGING_S = 10.0
AGING_EVERY = 20
"""Of so many admissions, one goes to a lower band whose oldest has waited for AGING_S: a twentieth of
the pool is what keeps a class from starving for ever, and what it can cost those above."""
PROTECTED_MARGIN = 1.3
"""A request that must not be shed is refused on arrival only if its predicted wait is this many times
too long; at the head it is judged like any other."""

NO_LIMIT = 1e9
"""A lane's limit where only the pool's counts."""

RefusalReason = Literal["queue_full", "queue_timeout", "deadline", "deadline_passed"]
"""`deadline`: on arrival, it cannot be met. `deadline_passed`: it waited, and can no longer be met."""


class AdmissionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`max_waiting` and `max_tasks` bound the two rooms apart: the second is that of the patient ones."""

    limit: int
    max_waiting: int
    timeout_s: float
    max_tasks: int = 0


class Admit(msgspec.Struct, frozen=True):
    """Dispatch it now; call `done` when it has ended, however it ends."""

    request: int
    waited_s: float


class Refuse(msgspec.Struct, frozen=True):
    """Tell the client to come back in `retry_after_s`. `waited_s` is what it waited in vain."""

    request: int
    reason: RefusalReason
    retry_after_s: float
    waited_s: float = 0.0
    patient: bool = False


Effect = Admit | Refuse


class Place(msgspec.Struct, frozen=True):
    """Where a request stands. 0: it runs; 1: it is next among those who wait for its lane. `wait_s` is how
    long it will probably still wait; None: the drain is not known."""

    position: int
    wait_s: float | None


AT_WORK = Place(0, 0.0)


class AdmissionQueue:
    """Times are seconds on one monotonic clock, never going back. Request numbers are the caller's,
    unique among those not yet ended."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        self.lanes: dict[str, Lane] = {}
        self.lane_limit = NO_LIMIT
        """Where a lane begins that nobody has set a limit for."""
        self.order_slack_tokens: dict[int, float] = {}
        """By priority: callers whose counters are within it are ordered by deadline."""
        self.prediction = Prediction()
        self.opens: Callable[[str, float], bool] = lambda lane, now_s: False
        """Whoever steers the limits is asked when a newcomer finds no place in a lane: whether it has one more."""
        self._lines: dict[str, Lines] = {}
        self._counters = defaultdict[int, TokenCounters](TokenCounters)
        self._expiry: list[tuple[float, int, Waiter]] = []
        self._waiting: dict[int, Waiter] = {}
        self._running: dict[int, Ticket] = {}
        self._arrivals = 0
        self._since_aged = 0
        """Admissions since one was owed to age."""
        self._aged_patient = False
        """The one that age has let in last came from the room of the patient."""
        self._waiting_tasks = 0

    @property
    def inflight(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Everybody, of both rooms."""
        return len(self._waiting)

    @property
    def waiting_tasks(self) -> int:
        """Those in the room of the patient."""
        return self._waiting_tasks

    @property
    def settings(self) -> AdmissionSettings:
        return self._settings

    @property
    def turns_tasks_away(self) -> bool:
        """Whoever would wait patiently finds neither a free place now nor room to wait."""
        return self.inflight >= self._settings.limit and self._is_full(patient=True)

    def lane(self, name: str) -> Lane:
        """The lane of that name; it begins with the first look."""
        if name not in self.lanes:
            self.lanes[name] = Lane(name, self.lane_limit)
            self._lines[name] = Lines(self.counters)
        return self.lanes[name]

    def counters(self, priority: int) -> TokenCounters:
        """The token counters of the callers of one priority. Charge them as tokens are served."""
        return self._counters[priority]

    def demand(self) -> dict[str, dict[int, int]]:
        """By lane and priority, how many run or wait."""
        found: dict[str, dict[int, int]] = {name: {} for name in self.lanes}
        for ticket in self._running.values():
            bands = found[ticket.lane]
            bands[ticket.priority] = bands.get(ticket.priority, 0) + 1
        for name, lane in self.lanes.items():
            if lane.waiting:
                lines, bands = self._lines[name], found[name]
                for priority in lines.bands:
                    bands[priority] = bands.get(priority, 0) + lines.in_band(priority)
        return found

    def waiters(self, lane: str) -> Lines:
        """Who waits for a lane."""
        self.lane(lane)
        return self._lines[lane]

    def waiting_ticket(self, request: int) -> Ticket | None:
        waiter = self._waiting.get(request)
        return None if waiter is None else waiter.ticket

    def place(self, request: int, now_s: float) -> Place | None:
        """Where it stands now. None: it is not here, or not any more."""
        if request in self._running:
            return AT_WORK
        ticket = self.waiting_ticket(request)
        if ticket is None:
            return None
        return self._place(ticket, self._lines[ticket.lane].position(ticket), now_s)

    def places(self, now_s: float) -> dict[int, Place]:
        """The same of everybody who is here, by request: far cheaper than one by one."""
        found = dict.fromkeys(self._running, AT_WORK)
        for lines in self._lines.values():
            for request, position in lines.positions().items():
                found[request] = self._place(self._waiting[request].ticket, position, now_s)
        return found

    # -- what happens -------------------------------------------------------------------

    def configure(self, settings: AdmissionSettings, now_s: float) -> list[Effect]:
        """New bounds; nobody who waits is dropped by a smaller queue."""
        self._settings = settings
        return self.wake(now_s)

    def admits(self, ticket: Ticket, now_s: float) -> bool:
        """A request arrives where nobody waits: whether it is let in, and so runs from now on. If not,
        nothing has happened, and it is to be offered."""
        return not self._expiry and self._lets_by(ticket, now_s)

    def offer(self, ticket: Ticket, now_s: float) -> list[Effect]:
        """A request arrives. Its own fate may be among the effects, or come later."""
        effects = self.wake(now_s)
        if self._lets_by(ticket, now_s) or (
            self.opens(ticket.lane, now_s) and self._lets_by(ticket, now_s)
        ):
            effects.append(Admit(ticket.request, 0.0))
            return effects
        lane = self.lanes[ticket.lane]
        lane.turned_away += 1
        pool_free = self._settings.limit - len(self._running)
        ahead = self._lines[lane.name].ahead_of(ticket)
        wait_s = lane.wait_s(ahead, ticket.priority, now_s, pool_free=pool_free)
        if self._cannot_be_met(ticket, lane, wait_s, now_s):
            effects.append(self._turn_away(ticket, "deadline", now_s))
            return effects
        if not ticket.accepted and self._is_full(patient=ticket.patient):
            victim = None if ticket.patient else self._gives_way(ticket)
            if victim is None:
                self.prediction.forget(ticket.request)
                effects.append(self._turn_away(ticket, "queue_full", now_s))
                return effects
            effects.append(self._refuse(victim, "queue_full", now_s))
        self._enqueue(ticket, lane, wait_s, now_s)
        return effects

    def forget(self, now_s: float) -> None:
        """Another engine answers from now on. Nobody's fate changes by it, only what is predicted."""
        for name, lane in list(self.lanes.items()):
            if lane.inflight or lane.waiting:
                lane.forget(self.lane_limit, now_s)
            else:
                del self.lanes[name], self._lines[name]
        self.prediction = Prediction()

    def done(self, request: int, now_s: float) -> list[Effect]:
        """A running request has ended; its slot goes to the next."""
        ticket = self._running.pop(request, None)
        if ticket is not None:
            self.lanes[ticket.lane].inflight -= 1
            self.prediction.forget(request)
        return self.wake(now_s) if self._expiry else []

    def cancel(self, request: int, now_s: float) -> list[Effect]:
        """The client left. Waiting or running, its place is free; nothing more is said of it."""
        waiter = self._waiting.get(request)
        if waiter is not None:
            self._leave(waiter, now_s)
        self.prediction.forget(request)
        return self.done(request, now_s)

    def wake(self, now_s: float) -> list[Effect]:
        """Refuse who has waited too long, then admit whom there is room for."""
        effects: list[Effect] = []
        if not self._expiry:  # nobody waits
            return effects
        while self._expiry and self._expiry[0][0] <= now_s:
            expired_s, _, waiter = heappop(self._expiry)
            if self._waiting.get(waiter.ticket.request) is waiter:
                due_s = waiter.ticket.deadline_s
                passed = due_s is not None and expired_s == max(due_s, waiter.since_s)
                effects.append(
                    self._refuse(waiter, "deadline_passed" if passed else "queue_timeout", now_s)
                )
        while self._waiting and self.inflight < self._settings.limit:
            next_in_order = self._choose()
            starved = self._starved(next_in_order, now_s)
            chosen = starved or next_in_order
            if chosen is None:
                break
            effect = self._try(chosen, now_s)
            if starved is not None and isinstance(effect, Admit):
                self._since_aged = 0
                self._aged_patient = starved.ticket.patient
            effects.append(effect)
        self._compact()
        return effects

    def next_deadline_s(self) -> float | None:
        """When `wake` must be called at the latest, if nothing else happens."""
        return self._expiry[0][0] if self._expiry else None

    def retry_after_s(self, ticket: Ticket, now_s: float) -> float:
        """When a place is likely: those waiting, at the drain measured last. Patient ones of lower bands
        are in nobody's way: a night's work must not send a chat away for half a minute."""
        lane = self.lane(ticket.lane)
        waiting = lane.waiting
        if self._waiting_tasks:
            waiting -= self._lines[ticket.lane].patient_below(ticket.priority)
        rate = lane.drain.per_s(now_s)
        likely_s = (waiting + 1) / rate if rate else RETRY_MIN_S
        return min(max(likely_s, RETRY_MIN_S), RETRY_MAX_S)

    def first_token(self, request: int, ttft_s: float, now_s: float) -> bool:
        """A running request's first content came `ttft_s` after its dispatch. Whether others wait for a place
        in its lane."""
        ticket = self._running.get(request)
        if ticket is None:
            return False
        lane = self.lanes[ticket.lane]
        lane.prefill.learn(ticket.prompt_tokens, ttft_s)
        self.prediction.came(request, in_time=not _late(ticket, now_s), now_s=now_s)
        return lane.waiting > 0

    # -- inside -------------------------------------------------------------------------

    def _lets_by(self, ticket: Ticket, now_s: float) -> bool:
        """Whether a newcomer finds a free place: it need not stand in a line, and takes it."""
        lane = self.lanes.get(ticket.lane) or self.lane(ticket.lane)
        if len(self._running) >= self._settings.limit or not lane.has_room(ticket.priority):
            return False
        counters = self._counters[ticket.priority]
        counters.pass_by(ticket.caller, PROMPT_WEIGHT * ticket.prompt_tokens, ticket.weight)
        self._runs(ticket, lane, now_s)
        return True

    def _place(self, ticket: Ticket, position: int, now_s: float) -> Place:
        pool_free = self._settings.limit - self.inflight
        lane = self.lanes[ticket.lane]
        wait_s = lane.wait_s(position - 1, ticket.priority, now_s, pool_free=pool_free)
        return Place(position, wait_s)

    def _cannot_be_met(
        self, ticket: Ticket, lane: Lane, wait_s: float | None, now_s: float
    ) -> bool:
        """Whether a newcomer is to be told at once. Never where nothing runs, or too little is known."""
        if ticket.deadline_s is None or wait_s is None or lane.inflight == 0:
            return False
        prefill_s = lane.prefill.predict(ticket.prompt_tokens)
        if prefill_s is None or not self.prediction.trusted(now_s):
            return False
        margin = PROTECTED_MARGIN if ticket.priority >= 0 else 1.0
        if wait_s / margin + prefill_s <= ticket.deadline_s - now_s:
            return False
        return not self.prediction.probe(ticket.request)

    def _enqueue(self, ticket: Ticket, lane: Lane, wait_s: float | None, now_s: float) -> None:
        self._arrivals += 1
        waiter = Waiter(ticket, now_s, self._arrivals)
        self._waiting[ticket.request] = waiter
        self._lines[lane.name].push(waiter)
        self._waiting_tasks += ticket.patient
        lane.waiting += 1
        lane.drain.busy(now_s, True)
        timeout_s = self._settings.timeout_s if ticket.timeout_s is None else ticket.timeout_s
        expires_s = now_s + timeout_s
        if ticket.deadline_s is not None and not self.prediction.is_probe(ticket.request):
            expires_s = min(expires_s, max(ticket.deadline_s, now_s))
        heappush(self._expiry, (expires_s, waiter.order, waiter))
        # While it is not trusted the queue holds those who will be dropped at its head: no wait that is
        # said then can come true, and to judge by them would be to distrust for ever. Nor is one that waits
        # for an hour judged: whoever comes in between and goes first was not there to be counted.
        if wait_s and not ticket.patient and self.prediction.trusted(now_s):
            self.prediction.said(ticket.request, wait_s)

    def _is_full(self, *, patient: bool) -> bool:
        if patient:
            return self._waiting_tasks >= self._settings.max_tasks
        return self.waiting - self._waiting_tasks >= self._settings.max_waiting

    def _gives_way(self, ticket: Ticket) -> Waiter | None:
        """Who leaves a full queue for a newcomer: the newest of the lowest band, if that is below the
        newcomer's, else the newest of a caller that has more waiting than the newcomer's would have.
        Never a patient one. The bound is the pool's, so a lane that hangs does not keep the places of
        the others."""
        mine = self._lines[ticket.lane].hasty_of_caller(ticket.priority, ticket.caller)
        found = [last for lines in self._lines.values() if (last := lines.last_to_go())]
        if not found:
            return None
        band, waiting, newest = min(found, key=lambda last: (last[0], -last[1]))
        lighter = band == ticket.priority and waiting > mine + 1
        return newest if band < ticket.priority or lighter else None

    def _choose(self) -> Waiter | None:
        """Who goes next among all lanes with room: the highest band, then fairness, then deadline."""
        best: Waiter | None = None
        best_key: tuple[float, float, int] | None = None
        for name, lane in self.lanes.items():
            if not lane.waiting:
                continue
            lines = self._lines[name]
            for priority in lines.bands:
                if not lane.has_room(priority):
                    continue
                waiter = lines.next(priority, self.order_slack_tokens.get(priority, 0.0))
                if waiter is not None:
                    counter = self.counters(priority).of(waiter.ticket.caller)
                    key = (-priority, counter, waiter.order)
                    if best_key is None or key < best_key:
                        best, best_key = waiter, key
                break
        return best

    def _starved(self, instead: Waiter | None, now_s: float) -> Waiter | None:
        """Once in AGING_EVERY admissions, of those kept waiting by a higher band or by the share of
        their class: the band whose oldest has waited longest, if that is long enough, and of it whom
        fairness chooses. The limit binds it too. The two rooms take turns: what waits for hours is always
        the oldest, and would keep the other room from it for ever."""
        if self._since_aged < AGING_EVERY - 1:
            return None
        found = [
            oldest
            for patient in (not self._aged_patient, self._aged_patient)
            if (self._waiting_tasks or not patient)
            and (oldest := self._longest_passed_over(instead, patient=patient)) is not None
            and now_s - oldest.since_s >= AGING_S
        ]
        if not found:
            return None
        ticket = found[0].ticket
        slack_tokens = self.order_slack_tokens.get(ticket.priority, 0.0)
        return self._lines[ticket.lane].next(ticket.priority, slack_tokens)

    def _longest_passed_over(self, instead: Waiter | None, *, patient: bool) -> Waiter | None:
        """Of one room, who has waited longest for a higher band or for the share of its class."""
        oldest: Waiter | None = None
        for name, lane in self.lanes.items():
            if not lane.waiting or lane.full:
                continue
            for priority in self._lines[name].bands:
                passed_over = instead is None or priority < instead.ticket.priority
                if passed_over or not lane.has_room(priority):
                    waiter = self._lines[name].oldest(priority, patient=patient)
                    if waiter is not None and (oldest is None or waiter.order < oldest.order):
                        oldest = waiter
        return oldest

    def _try(self, waiter: Waiter, now_s: float) -> Effect:
        """At the head, the last question: will its first token still come in time?"""
        ticket, lane = waiter.ticket, self.lanes[waiter.ticket.lane]
        if ticket.deadline_s is not None and not self.prediction.is_probe(ticket.request):
            prefill_s = lane.prefill.predict(ticket.prompt_tokens) or 0.0
            waited = now_s > waiter.since_s and lane.inflight > 0
            if waited and now_s + prefill_s > ticket.deadline_s:
                return self._refuse(waiter, "deadline_passed", now_s)
        counters = self.counters(ticket.priority)
        counters.chosen(ticket.caller)
        self._leave(waiter, now_s)
        self.prediction.waited(ticket.request, now_s - waiter.since_s, now_s)
        counters.charge(ticket.caller, PROMPT_WEIGHT * ticket.prompt_tokens, ticket.weight)
        self._runs(ticket, lane, now_s)
        return Admit(ticket.request, now_s - waiter.since_s)

    def _runs(self, ticket: Ticket, lane: Lane, now_s: float) -> None:
        self._running[ticket.request] = ticket
        lane.inflight += 1
        lane.drain.mark(now_s)
        self._since_aged += 1

    def _refuse(self, waiter: Waiter, reason: RefusalReason, now_s: float) -> Refuse:
        self._leave(waiter, now_s)
        self.prediction.forget(waiter.ticket.request)
        return self._turn_away(waiter.ticket, reason, now_s, now_s - waiter.since_s)

    def _turn_away(
        self, ticket: Ticket, reason: RefusalReason, now_s: float, waited_s: float = 0.0
    ) -> Refuse:
        hint_s = self.retry_after_s(ticket, now_s)
        return Refuse(ticket.request, reason, hint_s, waited_s, ticket.patient)

    def _leave(self, waiter: Waiter, now_s: float) -> None:
        ticket = waiter.ticket
        del self._waiting[ticket.request]
        self._lines[ticket.lane].remove(ticket)
        self._waiting_tasks -= ticket.patient
        lane = self.lanes[ticket.lane]
        lane.waiting -= 1
        if not lane.waiting:
            lane.drain.busy(now_s, False)

    def _compact(self) -> None:
        """Entries of those who left stay in the heap until here, so that leaving is cheap."""
        while self._expiry and self._gone(self._expiry[0][2]):
            heappop(self._expiry)
        if len(self._expiry) > 2 * len(self._waiting) + 64:
            self._expiry = [entry for entry in self._expiry if not self._gone(entry[2])]
            heapify(self._expiry)

    def _gone(self, waiter: Waiter) -> bool:
        return self._waiting.get(waiter.ticket.request) is not waiter


def _late(ticket: Ticket, now_s: float) -> bool:
    return ticket.deadline_s is not None and now_s > ticket.deadline_s
