"""The queue in front of a pool: one fate for each request, order, bounds."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from policies.admission import (
    RETRY_MAX_S,
    RETRY_MIN_S,
    AdmissionQueue,
    AdmissionSettings,
    Admit,
    Effect,
    Refuse,
)

pytestmark = pytest.mark.req("SEC-5", "RUN-5")


def queue(limit: int = 1, max_waiting: int = 10, timeout_s: float = 5.0) -> AdmissionQueue:
    return AdmissionQueue(
        AdmissionSettings(limit=limit, max_waiting=max_waiting, timeout_s=timeout_s)
    )


def admitted(effects: list[Effect]) -> list[int]:
    return [effect.request for effect in effects if isinstance(effect, Admit)]


def test_a_free_slot_is_given_at_once() -> None:
    assert queue().offer(1, 0, 0.0) == [Admit(1, 0.0)]


def test_nobody_overtakes_an_equal() -> None:
    q = queue()
    q.offer(1, 0, 0.0)
    assert q.offer(2, 0, 1.0) == []
    assert q.offer(3, 0, 2.0) == []
    assert q.done(1, 3.0) == [Admit(2, 2.0)]
    assert q.done(2, 4.0) == [Admit(3, 2.0)]


def test_a_higher_priority_goes_first() -> None:
    q = queue()
    q.offer(1, 0, 0.0)
    q.offer(2, -5, 0.0)
    q.offer(3, 10, 1.0)
    assert admitted(q.done(1, 2.0)) == [3]
    assert admitted(q.done(3, 2.0)) == [2]


def test_a_full_queue_refuses_the_newcomer_and_nobody_else() -> None:
    q = queue(max_waiting=1)
    q.offer(1, 0, 0.0)
    q.offer(2, 0, 0.0)
    (refusal,) = q.offer(3, 99, 0.0)
    assert isinstance(refusal, Refuse)
    assert (refusal.request, refusal.reason) == (3, "queue_full")
    assert admitted(q.done(1, 1.0)) == [2]


def test_a_cancelled_waiter_never_takes_a_slot() -> None:
    q = queue()
    q.offer(1, 0, 0.0)
    q.offer(2, 0, 0.0)
    assert q.cancel(2, 1.0) == []
    assert q.done(1, 2.0) == []
    assert q.inflight == 0


def test_who_has_waited_too_long_is_told_at_the_deadline_and_not_before() -> None:
    q = queue(timeout_s=5)
    q.offer(1, 0, 0.0)
    q.offer(2, 0, 1.0)
    assert q.next_deadline_s() == 6.0
    assert q.wake(5.0) == []
    (refusal,) = q.wake(6.0)
    assert isinstance(refusal, Refuse)
    assert (refusal.request, refusal.reason) == (2, "queue_timeout")
    assert q.next_deadline_s() is None


def test_a_lowered_limit_takes_nothing_away_and_admits_nobody() -> None:
    q = queue(limit=2)
    q.offer(1, 0, 0.0)
    q.offer(2, 0, 0.0)
    q.offer(3, 0, 0.0)
    q.configure(AdmissionSettings(limit=1, max_waiting=10, timeout_s=5), 1.0)
    assert q.inflight == 2
    assert q.done(1, 2.0) == []
    assert admitted(q.done(2, 2.0)) == [3]


def test_a_raised_limit_admits_at_once() -> None:
    q = queue(limit=0)
    q.offer(1, 0, 0.0)
    q.offer(2, 0, 0.0)
    effects = q.configure(AdmissionSettings(limit=2, max_waiting=10, timeout_s=5), 1.0)
    assert admitted(effects) == [1, 2]


def test_the_hint_follows_the_measured_drain() -> None:
    q = queue(limit=1, max_waiting=4, timeout_s=1000)
    assert q.retry_after_s() == RETRY_MIN_S
    for number in range(5):
        q.offer(number, 0, 0.0)
    for number in range(3):
        q.done(number, 4.0 * (number + 1))  # one every four seconds
    assert q.waiting == 1
    assert q.retry_after_s() == pytest.approx(8.0)
    for number in range(10, 13):
        q.offer(number, 0, 12.0)
    assert q.retry_after_s() == pytest.approx(20.0)
    assert q.retry_after_s() <= RETRY_MAX_S


class Crowd(RuleBasedStateMachine):
    """Any order of arrivals, ends, departures, limits and time. Small integers make ties."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0
        self.limit, self.max_waiting, self.timeout_s = 2, 3, 4
        self.queue = AdmissionQueue(self._settings())
        self.next = 0
        self.waiting: dict[int, tuple[int, int]] = {}  # request -> (-priority, arrival order)
        self.running: set[int] = set()
        self.fates: dict[int, str] = {}

    def _settings(self) -> AdmissionSettings:
        return AdmissionSettings(
            limit=self.limit, max_waiting=self.max_waiting, timeout_s=self.timeout_s
        )

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert effect.request in self.waiting, "a fate for somebody who has met one"
            mine = self.waiting.pop(effect.request)
            if isinstance(effect, Admit):
                assert len(self.running) < self.limit, "admitted above the limit"
                assert all(mine <= other for other in self.waiting.values()), "out of order"
                self.running.add(effect.request)
                self.fates[effect.request] = "admitted"
            else:
                self.fates[effect.request] = effect.reason

    @rule(priority=st.integers(-1, 1))
    def arrive(self, priority: int) -> None:
        self.next += 1
        self._apply(self.queue.wake(self.now_s))
        self.waiting[self.next] = (-priority, self.next)
        self._apply(self.queue.offer(self.next, priority, self.now_s))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(request)
        self._apply(self.queue.done(request, self.now_s))

    @precondition(lambda self: self.waiting or self.running)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted({*self.waiting, *self.running})))
        if request in self.waiting:
            self.fates[request] = "cancelled"
        self.waiting.pop(request, None)
        self.running.discard(request)
        self._apply(self.queue.cancel(request, self.now_s))

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds
        self._apply(self.queue.wake(self.now_s))

    @rule(limit=st.integers(0, 3), max_waiting=st.integers(0, 3))
    def reconfigure(self, limit: int, max_waiting: int) -> None:
        self.limit, self.max_waiting = limit, max_waiting
        self._apply(self.queue.configure(self._settings(), self.now_s))

    @invariant()
    def books_agree(self) -> None:
        assert self.queue.inflight == len(self.running)
        assert self.queue.waiting == len(self.waiting)
        met = len(self.fates) + len(self.waiting)
        assert met == self.next, "somebody is lost"

    @invariant()
    def nobody_waits_in_front_of_a_free_slot(self) -> None:
        assert not (self.waiting and len(self.running) < self.limit)

    @invariant()
    def a_deadline_is_known_while_somebody_waits(self) -> None:
        if self.waiting:
            deadline_s = self.queue.next_deadline_s()
            assert deadline_s is not None
            assert deadline_s <= self.now_s + self.timeout_s


Crowd.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCrowd = Crowd.TestCase
