"""The queue under any interleaving, against a model that only knows the rules."""

from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import policies.admission
import policies.prediction
from policies.admission import (
    RETRY_MAX_S,
    RETRY_MIN_S,
    AdmissionQueue,
    AdmissionSettings,
    Admit,
    Effect,
    Place,
    Refuse,
)
from policies.lines import Ticket
from policies.prefill import MIN_SAMPLES

pytestmark = pytest.mark.req("ADM-2", "ADM-5", "SEC-5")

LANES = ("a", "b")
INF = float("inf")
Newcomer = tuple[str, int, str, int | None, bool, int | None, bool]
"""Lane, priority, caller, seconds to its deadline, whether it takes the number of one who has ended, for a
patient one how long it waits at most, and whether it looks for an empty queue before it is offered."""
NEWCOMERS = st.tuples(
    st.sampled_from(LANES),
    st.integers(-1, 1),
    st.sampled_from("xyz"),
    st.sampled_from([None, None, -1, 0, 1, 2, 3, 8]),
    st.booleans(),
    st.sampled_from([None, None, 0, 2, 30]),
    st.booleans(),
)


class Crowd(RuleBasedStateMachine):
    """Any order of arrivals, ends, departures, limits, shares and time, with small integers so that ties
    happen. Less patience for ageing and probes, so that a short run meets both."""

    AGING_EVERY, AGING_S, PROBE_EVERY = 2, 2.0, 2

    def __init__(self) -> None:
        super().__init__()
        self.patches = [
            patch.object(policies.admission, "AGING_EVERY", self.AGING_EVERY),
            patch.object(policies.admission, "AGING_S", self.AGING_S),
            patch.object(policies.prediction, "PROBE_EVERY", self.PROBE_EVERY),
        ]
        for one in self.patches:
            one.start()
        self.sound = True
        """Nothing has gone wrong yet: if it has, one failure is enough."""
        self.now_s = 0
        self.limit, self.max_waiting, self.max_tasks, self.timeout_s = 3, 12, 5, 20
        self.queue = AdmissionQueue(self._settings())
        self.limits = dict.fromkeys(LANES, 2.0)
        self.shares: dict[str, dict[int, float]] = {lane: {} for lane in LANES}
        for lane in LANES:
            self.queue.lane(lane).limit = 2.0
        for _ in range(MIN_SAMPLES):
            self.queue.lane("a").prefill.learn(1, 1.0)
        self.offered = 0
        self.waiting: dict[int, Ticket] = {}
        self.order: dict[int, int] = {}
        self.since: dict[int, int] = {}
        self.times_out: dict[int, float] = {}
        self.expires: dict[int, float] = {}
        self.running: dict[int, Ticket] = {}
        self.gave_way: set[int] = set()
        self.fates = self.cancelled = 0
        self.since_aged = 0
        self.free: list[int] = []
        """Numbers of those who have ended."""

    def teardown(self) -> None:
        try:
            if self.sound:
                self._everybody_goes()
        finally:
            for one in self.patches:
                one.stop()

    def _everybody_goes(self) -> None:
        """Whoever still runs ends; then time runs on until nobody waits, and nothing is left of anybody."""
        while self.running:
            self._end(next(iter(self.running)))
        while self.waiting:
            deadline_s = self.queue.next_deadline_s()
            assert deadline_s is not None
            self.now_s = max(self.now_s, int(deadline_s))
            self._apply(self.queue.wake(self.now_s))
            while self.running:
                self._end(next(iter(self.running)))
        assert self.fates + self.cancelled == self.offered
        assert self.queue.next_deadline_s() is None
        assert not self.queue._expiry
        assert not self.queue.prediction._probes
        assert not self.queue.prediction._said
        for lane in self.queue.lanes.values():
            assert (lane.inflight, lane.waiting) == (0, 0)
            assert not len(self.queue.waiters(lane.name))
        assert not any(counters._waiting for counters in self.queue._counters.values())

    # -- the model ----------------------------------------------------------------------

    def _settings(self) -> AdmissionSettings:
        return AdmissionSettings(
            limit=self.limit,
            max_waiting=self.max_waiting,
            max_tasks=self.max_tasks,
            timeout_s=self.timeout_s,
        )

    def _room(self, *, patient: bool, but: int | None = None) -> dict[int, Ticket]:
        """Who waits in one of the two rooms."""
        return {r: t for r, t in self.waiting.items() if t.patient == patient and r != but}

    def _inflight(self, lane: str) -> int:
        return sum(ticket.lane == lane for ticket in self.running.values())

    def _has_room(self, ticket: Ticket) -> bool:
        shares = [s for above, s in self.shares[ticket.lane].items() if ticket.priority < above]
        places = max(int(self.limits[ticket.lane] * min(shares, default=1.0) + 1e-9), 1)
        return self._inflight(ticket.lane) < places

    def _due(self, request: int) -> tuple[float, int]:
        deadline_s = self.waiting[request].deadline_s
        return (INF if deadline_s is None else deadline_s, self.order[request])

    def _apply(self, effects: list[Effect], newcomer: int | None = None) -> None:
        self.sound = False
        for effect in effects:
            assert effect.request in self.waiting, "a fate for somebody who has met one"
            assert effect.waited_s == self.now_s - self.since[effect.request]
            if isinstance(effect, Admit):
                self._admit(effect.request)
            else:
                self._refuse(effect, newcomer)
        self.sound = True

    def _admit(self, request: int) -> None:
        ticket = self.waiting[request]
        assert len(self.running) < self.limit, "admitted above the pool's limit"
        assert self._inflight(ticket.lane) < max(int(self.limits[ticket.lane]), 1), "the lane's"
        higher = any(
            other.priority > ticket.priority and self._has_room(other)
            for other in self.waiting.values()
        )
        self.since_aged += 1
        if higher or not self._has_room(ticket):
            assert self.since_aged >= self.AGING_EVERY, "out of turn, too soon"
            self.since_aged = 0
            longest = max(self.now_s - self.since[r] for r in self._equals(ticket))
            assert longest >= self.AGING_S, "out of turn, and its band has not waited"
        own = [r for r in self._equals(ticket) if self.waiting[r].caller == ticket.caller]
        assert request == min(own, key=self._due), "not the first of its caller"
        self._forget(request)
        self.running[request] = ticket

    def _equals(self, ticket: Ticket) -> list[int]:
        """Those who wait in the same lane and band, itself among them."""
        return [
            request
            for request, other in self.waiting.items()
            if (other.lane, other.priority) == (ticket.lane, ticket.priority)
        ]

    def _refuse(self, effect: Refuse, newcomer: int | None) -> None:
        request = effect.request
        ticket = self.waiting[request]
        assert RETRY_MIN_S <= effect.retry_after_s <= RETRY_MAX_S
        assert effect.patient == ticket.patient
        lane = self.queue.lanes[ticket.lane]
        match effect.reason:
            case "queue_full":
                assert newcomer is not None
                assert request == self._who_gives_way(newcomer)
            case "queue_timeout":
                assert self.times_out[request] <= self.now_s
            case "deadline":
                assert request == newcomer
                assert ticket.deadline_s is not None
                assert self._inflight(ticket.lane) > 0, "told although the lane was idle"
                assert lane.drain.per_s(self.now_s) is not None
                assert lane.prefill.samples >= MIN_SAMPLES
                assert self.queue.prediction.trusted(self.now_s)
            case "deadline_passed":
                assert ticket.deadline_s is not None
                prefill_s = lane.prefill.predict(ticket.prompt_tokens) or 0.0
                at_the_head = self.now_s > self.since[request] and self._inflight(ticket.lane) > 0
                late = at_the_head and self.now_s + prefill_s > ticket.deadline_s
                assert late or ticket.deadline_s <= self.now_s
        self._forget(request)
        self.fates += 1
        self.free.append(request)

    def _who_gives_way(self, newcomer: int) -> int:
        ticket = self.waiting[newcomer]
        others = self._room(patient=ticket.patient, but=newcomer)
        assert len(others) >= (self.max_tasks if ticket.patient else self.max_waiting)
        if ticket.patient:
            return newcomer
        lowest = min((other.priority for other in others.values()), default=INF)
        lines: dict[tuple[str, str], list[int]] = {}
        for request, other in others.items():
            if other.priority == lowest:
                lines.setdefault((other.lane, other.caller), []).append(request)
        longest = max(map(len, lines.values()), default=0)
        mine = sum(
            (other.lane, other.priority, other.caller)
            == (ticket.lane, ticket.priority, ticket.caller)
            for other in others.values()
        )
        if not (lowest < ticket.priority or (lowest == ticket.priority and longest > mine + 1)):
            return newcomer
        newest = {
            max(line, key=self.order.__getitem__) for line in lines.values() if len(line) == longest
        }
        (given,) = newest & self.gave_way or {min(newest)}
        return given

    def _forget(self, request: int) -> None:
        del self.waiting[request], self.order[request], self.since[request]
        del self.times_out[request], self.expires[request]

    # -- what happens -------------------------------------------------------------------

    @rule(newcomers=st.lists(NEWCOMERS, min_size=1, max_size=4))
    def arrive(self, newcomers: list[Newcomer]) -> None:
        for newcomer in newcomers:
            self._offer(*newcomer)

    @rule(newcomer=NEWCOMERS, times=st.integers(3, 8))
    def arrive_in_a_burst(self, newcomer: Newcomer, times: int) -> None:
        for _ in range(times):
            self._offer(*newcomer)

    def _offer(
        self,
        lane: str,
        priority: int,
        caller: str,
        deadline_in_s: int | None,
        again: bool,
        patience_s: int | None,
        looks: bool,
    ) -> None:
        self._apply(self.queue.wake(self.now_s))
        self.offered += 1
        request = self.free.pop() if again and self.free else self.offered
        deadline_s = None if deadline_in_s is None else float(self.now_s + deadline_in_s)
        ticket = Ticket(
            request=request,
            lane=lane,
            priority=priority,
            caller=caller,
            prompt_tokens=request % 3,
            deadline_s=deadline_s,
            patient=patience_s is not None,
            timeout_s=patience_s,
        )
        self.waiting[request] = ticket
        self.order[request], self.since[request] = self.offered, self.now_s
        timeout_s = self.timeout_s if patience_s is None else patience_s
        self.times_out[request] = self.expires[request] = float(self.now_s + timeout_s)
        could = len(self.running) < self.limit and self._has_room(ticket)
        alone = len(self.waiting) == 1
        if looks and self.queue.admits(ticket, self.now_s):
            assert alone
            effects: list[Effect] = [Admit(request, 0.0)]
        else:
            assert not (looks and alone and could)
            effects = self.queue.offer(ticket, self.now_s)
        assert could == (Admit(request, 0.0) in effects)
        if deadline_s is not None and not self.queue.prediction.is_probe(request):
            due_s = max(deadline_s, float(self.now_s))
            self.expires[request] = min(self.expires[request], due_s)
        before = len(self._room(patient=ticket.patient, but=request))
        self.gave_way = {e.request for e in effects if isinstance(e, Refuse)}
        self._apply(effects, newcomer=request)
        bound = self.max_tasks if ticket.patient else self.max_waiting
        assert len(self._room(patient=ticket.patient)) <= max(before, bound)

    def _end(self, request: int) -> None:
        del self.running[request]
        self.fates += 1
        self.free.append(request)
        self._apply(self.queue.done(request, self.now_s))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ttft_s=st.sampled_from([None, 0, 1]), seconds=st.integers(0, 1))
    def end(self, data: st.DataObject, ttft_s: int | None, seconds: int) -> None:
        self.time_passes(seconds)
        for request in data.draw(st.lists(st.sampled_from(sorted(self.running)), unique=True)):
            if ttft_s is not None:
                self.queue.first_token(request, float(ttft_s), self.now_s)
            self._end(request)

    @precondition(lambda self: self.waiting or self.running)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted({*self.waiting, *self.running})))
        if request in self.waiting:
            self._forget(request)
        self.running.pop(request, None)
        self.cancelled += 1
        self.free.append(request)
        self._apply(self.queue.cancel(request, self.now_s))

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds
        self._apply(self.queue.wake(self.now_s))
        assert all(expires_s > self.now_s for expires_s in self.expires.values())
        assert self.queue.next_deadline_s() == min(self.expires.values(), default=None)

    @rule(
        limit=st.integers(0, 4),
        max_waiting=st.sampled_from([0, 2, 6, 12]),
        max_tasks=st.sampled_from([0, 2, 5]),
        timeout_s=st.sampled_from([1, 6, 20]),
        slack=st.dictionaries(st.integers(-1, 1), st.sampled_from([1.0, 9.0])),
    )
    def the_operator_turns_a_knob(
        self,
        limit: int,
        max_waiting: int,
        max_tasks: int,
        timeout_s: int,
        slack: dict[int, float],
    ) -> None:
        self.limit, self.max_waiting, self.timeout_s = limit, max_waiting, timeout_s
        self.max_tasks = max_tasks
        self.queue.order_slack_tokens = dict(slack)
        self._apply(self.queue.configure(self._settings(), self.now_s))

    @rule(
        lane=st.sampled_from(LANES),
        limit=st.sampled_from([0.0, 1.0, 1.9, 2.0, 3.5, 9.0]),
        shares=st.dictionaries(st.integers(0, 1), st.sampled_from([0.0, 0.5, 1.0]), max_size=1),
        ttft_s=st.integers(0, 2),
    )
    def the_loop_steers(
        self, lane: str, limit: float, shares: dict[int, float], ttft_s: int
    ) -> None:
        steered = self.queue.lane(lane)
        self.limits[lane] = steered.limit = limit
        self.shares[lane] = shares
        steered.hold_back(shares)
        for _ in range(MIN_SAMPLES):
            steered.prefill.learn(1, float(ttft_s))
        self._apply(self.queue.wake(self.now_s))

    @rule()
    def one_ends_and_leaves_that_was_never_here_or_is_gone(self) -> None:
        for request in (10**9, *self.free[-1:]):
            self._apply(self.queue.done(request, self.now_s))
            self._apply(self.queue.cancel(request, self.now_s))

    # -- always -------------------------------------------------------------------------

    @invariant()
    def the_books_agree(self) -> None:
        assert self.queue.inflight == len(self.running)
        assert self.queue.waiting == len(self.waiting)
        assert self.queue.waiting_tasks == len(self._room(patient=True))
        for name, lane in self.queue.lanes.items():
            assert lane.inflight == self._inflight(name)
            assert lane.waiting == len(self.queue.waiters(name))
            assert lane.waiting == sum(t.lane == name for t in self.waiting.values())
        assert self.fates + self.cancelled + len(self.waiting) + len(self.running) == self.offered
        for request, ticket in self.waiting.items():
            assert self.queue.waiting_ticket(request) == ticket

    @invariant()
    def nobody_waits_in_front_of_a_place_that_is_free_for_him(self) -> None:
        if len(self.running) < self.limit:
            assert not any(map(self._has_room, self.waiting.values()))

    @invariant()
    def everybody_has_a_place_and_no_two_of_a_lane_the_same(self) -> None:
        for name in LANES:
            mine = [r for r, ticket in self.waiting.items() if ticket.lane == name]
            places = [self.queue.place(request, self.now_s) for request in mine]
            positions = sorted(place.position for place in places if place is not None)
            assert positions == list(range(1, len(mine) + 1))
            assert all(place.wait_s is None or place.wait_s >= 0 for place in places if place)
        for request in self.running:
            assert self.queue.place(request, self.now_s) == Place(0, 0.0)
        for request in (10**9, *self.free):
            assert self.queue.place(request, self.now_s) is None
        assert self.queue.places(self.now_s) == {
            request: self.queue.place(request, self.now_s)
            for request in (*self.waiting, *self.running)
        }

    @invariant()
    def it_is_known_when_to_look_again(self) -> None:
        deadline_s = self.queue.next_deadline_s()
        assert (deadline_s is None) == (not self.waiting)
        if deadline_s is not None:
            assert deadline_s <= min(self.expires.values())


Crowd.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestCrowd = Crowd.TestCase
