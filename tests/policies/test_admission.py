"""The queue in front of a pool, scene by scene: places, order, lanes and classes, bounds, time."""

import pytest

from policies.admission import (
    RETRY_MAX_S,
    RETRY_MIN_S,
    AdmissionSettings,
    Admit,
    Refuse,
)
from policies.lines import Ticket
from tests.support.door import Door, admitted, refusals

pytestmark = pytest.mark.req("ADM-2", "ADM-5", "SEC-5")

# -- places and order -------------------------------------------------------------------


def test_a_free_slot_is_given_at_once() -> None:
    assert Door().offer(1) == [Admit(1, 0.0)]


def test_nobody_overtakes_an_equal() -> None:
    door = Door()
    door.offer(1, 0.0)
    assert door.offer(2, 1.0) == []
    assert door.offer(3, 2.0) == []
    assert door.queue.done(1, 3.0) == [Admit(2, 2.0)]
    assert door.queue.done(2, 4.0) == [Admit(3, 2.0)]


def test_a_higher_priority_goes_first() -> None:
    door = Door()
    door.offer(1)
    door.offer(2, priority=-5)
    door.offer(3, 1.0, priority=10)
    assert door.done(1, 2.0) == [3]
    assert door.done(3, 2.0) == [2]


def test_inside_a_caller_the_earliest_deadline_goes_first() -> None:
    door = Door()
    door.offer(1)
    for request, deadline_s in ((2, None), (3, 50.0), (4, 40.0), (5, 50.0)):
        door.offer(request, 1.0, deadline_s=deadline_s)
    order = []
    for running in (1, 4, 3, 5):
        order += door.done(running, 2.0)
    assert order == [4, 3, 5, 2]


def test_between_callers_the_one_that_was_served_less_goes_first() -> None:
    door = Door()
    door.offer(1, caller="heavy", prompt_tokens=100)
    door.offer(2, caller="heavy", prompt_tokens=100)
    door.offer(3, 1.0, caller="light", prompt_tokens=10)
    door.offer(4, 1.0, caller="light", prompt_tokens=10)
    assert door.done(1, 2.0) == [3]
    assert door.done(3, 2.0) == [4]
    assert door.done(4, 2.0) == [2]


def test_the_order_rung_lets_the_earliest_deadline_of_nearly_equal_callers_go_first() -> None:
    door = Door()
    door.offer(1)
    door.offer(2, caller="a", deadline_s=90.0)
    door.offer(3, caller="b", deadline_s=80.0)
    door.queue.counters(0).charge("b", 50)
    door.queue.order_slack_tokens = {0: 50.0}
    assert door.done(1, 1.0) == [3]


def test_a_cancelled_waiter_never_takes_a_slot() -> None:
    door = Door()
    door.offer(1)
    door.offer(2)
    assert door.queue.cancel(2, 1.0) == []
    assert door.queue.done(1, 2.0) == []
    assert door.queue.inflight == 0


def test_a_running_request_that_is_cancelled_gives_its_place_to_the_next() -> None:
    door = Door()
    door.offer(1)
    door.offer(2)
    assert admitted(door.queue.cancel(1, 1.0)) == [2]


def test_a_lowered_limit_takes_nothing_away_and_admits_nobody() -> None:
    door = Door(limit=2)
    for request in (1, 2, 3):
        door.offer(request)
    settings = AdmissionSettings(limit=1, max_waiting=10, timeout_s=5)
    assert door.queue.configure(settings, 1.0) == []
    assert door.queue.inflight == 2
    assert door.done(1, 2.0) == []
    assert door.done(2, 2.0) == [3]


def test_a_raised_limit_admits_at_once() -> None:
    door = Door(limit=0)
    door.offer(1)
    door.offer(2)
    settings = AdmissionSettings(limit=2, max_waiting=10, timeout_s=5)
    assert admitted(door.queue.configure(settings, 1.0)) == [1, 2]


def test_a_raised_limit_of_a_lane_takes_effect_with_the_next_wake() -> None:
    door = Door(limit=9)
    door.queue.lane("m").limit = 1.9
    for request in (1, 2, 3):
        door.offer(request)
    door.queue.lane("m").limit = 2.9
    assert admitted(door.queue.wake(1.0)) == [2]


# -- lanes and classes ------------------------------------------------------------------


def test_a_lane_that_is_full_does_not_block_another() -> None:
    door = Door(limit=10)
    door.queue.lane("slow").limit = 1.0
    for request in range(5):
        door.offer(request, lane="slow", priority=9)
    assert admitted(door.offer(10, 1.0, lane="fast")) == [10]
    door.queue.lane("fast").limit = 1.0
    assert door.offer(11, 1.0, lane="fast") == []
    assert door.done(10, 2.0) == [11]
    assert door.queue.waiting == 4


def test_where_the_pool_is_short_lanes_are_served_by_priority_and_then_by_fairness() -> None:
    door = Door(limit=1)
    door.offer(1)
    door.offer(2, lane="a", caller="heavy")
    door.offer(3, lane="b", caller="light")
    door.offer(4, lane="b", caller="light", priority=1)
    door.queue.counters(0).charge("heavy", 10)
    assert door.done(1, 1.0) == [4]
    assert door.done(4, 1.0) == [3]
    assert door.done(3, 1.0) == [2]


def test_lanes_begin_with_the_limit_that_nobody_has_set_yet() -> None:
    door = Door(limit=10)
    door.queue.lane_limit = 2.0
    assert [admitted(door.offer(request, lane="new")) for request in (1, 2, 3)] == [[1], [2], []]


def test_a_lower_class_is_held_to_its_share_and_leaves_room_for_a_higher_one() -> None:
    door = Door(limit=10)
    lane = door.queue.lane("m")
    lane.limit = 4.0
    lane.hold_back({5: 0.5})
    for request in (1, 2, 3):
        door.offer(request, priority=0)
    assert door.queue.inflight == 2
    assert admitted(door.offer(4, priority=5)) == [4]
    assert admitted(door.offer(5, priority=9)) == [5]
    assert door.done(4, 1.0) == [], "two of four are still above its share"
    assert door.done(5, 1.0) == []
    assert door.done(1, 1.0) == [3]


def test_who_found_no_place_is_counted_for_the_limit() -> None:
    door = Door(limit=10, max_waiting=1)
    door.queue.lane("m").limit = 1.0
    for request in (1, 2, 3):
        door.offer(request)
    door.offer(4, lane="other")
    assert (door.queue.lane("m").turned_away, door.queue.lane("other").turned_away) == (2, 0)


# -- bounds -----------------------------------------------------------------------------


def test_a_full_queue_refuses_the_newcomer_if_nobody_has_to_give_way() -> None:
    door = Door(max_waiting=1)
    door.offer(1)
    door.offer(2)
    assert refusals(door.offer(3)) == [(3, "queue_full")]
    assert refusals(door.offer(4, priority=-1)) == [(4, "queue_full")]
    assert refusals(door.offer(5, caller="light")) == [(5, "queue_full")], "one each is even"
    assert door.done(1, 1.0) == [2]


def test_the_newest_of_the_lowest_band_gives_way_to_a_higher_one() -> None:
    door = Door(max_waiting=4)
    door.offer(1)
    for request, priority in ((2, -1), (3, -2), (4, -2), (5, 0)):
        door.offer(request, 1.0, priority=priority)
    assert refusals(door.offer(6, 2.0, priority=5)) == [(4, "queue_full")]
    assert refusals(door.offer(7, 2.0, priority=5)) == [(3, "queue_full")]
    assert refusals(door.offer(8, 2.0, priority=-1)) == [(8, "queue_full")]
    assert refusals(door.offer(9, 2.0, priority=-2)) == [(9, "queue_full")]
    assert refusals(door.offer(10, 2.0, priority=5)) == [(2, "queue_full")]


def test_a_caller_with_much_more_waiting_gives_way_to_a_light_one() -> None:
    door = Door(max_waiting=4)
    door.offer(1)
    for request in (2, 3, 4, 5):
        door.offer(request, 1.0, caller="heavy")
    (refusal,) = door.offer(6, 3.0, caller="light")
    assert refusal == Refuse(5, "queue_full", RETRY_MIN_S, waited_s=2.0)
    assert refusals(door.offer(7, 3.0, caller="light")) == [(4, "queue_full")]
    assert refusals(door.offer(8, 3.0, caller="light")) == [(8, "queue_full")], "two each"
    assert refusals(door.offer(9, 3.0, caller="heavy")) == [(9, "queue_full")]
    assert door.queue.waiting == 4


def test_a_lane_that_hangs_does_not_keep_all_places_of_the_queue() -> None:
    door = Door(limit=10, max_waiting=4)
    for lane in ("hangs", "works"):
        door.queue.lane(lane).limit = 1.0
    for request in range(5):
        door.offer(request, lane="hangs")
    door.offer(10, lane="works")
    assert refusals(door.offer(11, lane="works")) == [(4, "queue_full")]
    assert refusals(door.offer(12, lane="works")) == [(3, "queue_full")]
    assert refusals(door.offer(13, lane="works")) == [(13, "queue_full")], "two each"
    assert refusals(door.offer(14, lane="works", priority=1)) == [(2, "queue_full")]


def test_a_smaller_queue_drops_nobody_who_waits() -> None:
    door = Door(max_waiting=3)
    for request in (1, 2, 3, 4):
        door.offer(request)
    settings = AdmissionSettings(limit=1, max_waiting=0, timeout_s=9)
    assert door.queue.configure(settings, 1.0) == []
    assert refusals(door.offer(5, 1.0)) == [(5, "queue_full")]
    assert door.queue.waiting == 3


def test_those_who_left_are_not_remembered_for_ever() -> None:
    door = Door(max_waiting=1000)
    door.offer(0)
    door.offer(1)  # this one stays in front of all those who leave
    for request in range(2, 5000):
        door.offer(request)
        door.queue.cancel(request, 0.0)
    assert door.queue.waiting == 1
    assert len(door.queue._expiry) <= 2 * door.queue.waiting + 64


def test_the_hint_follows_the_measured_drain() -> None:
    door = Door(max_waiting=8)
    now_s = door.serves(every_s=4.0)
    lane = door.queue.lane("m")
    rate = lane.drain.per_s(now_s)
    assert rate is not None
    for request in range(1, 4):
        door.offer(request, now_s)
    assert door.queue.retry_after_s(Ticket(request=99, lane="m"), now_s) == pytest.approx(4 / rate)
    for request in range(4, 9):
        door.offer(request, now_s)
    assert door.queue.retry_after_s(Ticket(request=99, lane="m"), now_s) == RETRY_MAX_S


def test_without_a_measured_drain_the_hint_is_the_shortest() -> None:
    door = Door(max_waiting=0)
    door.offer(1)
    assert door.offer(2) == [Refuse(2, "queue_full", RETRY_MIN_S)]


# -- time -------------------------------------------------------------------------------


def test_who_has_waited_too_long_is_told_then_and_not_before() -> None:
    door = Door(timeout_s=5)
    door.offer(1, 0.0)
    door.offer(2, 1.0)
    assert door.queue.next_deadline_s() == 6.0
    assert door.queue.wake(5.0) == []
    assert door.queue.wake(6.0) == [Refuse(2, "queue_timeout", RETRY_MIN_S, waited_s=5.0)]
    assert door.queue.next_deadline_s() is None


def test_whose_deadline_passes_first_is_told_at_the_deadline() -> None:
    door = Door(timeout_s=5)
    door.offer(1, 0.0)
    door.offer(2, 1.0, deadline_s=3.0)
    door.offer(3, 1.0, deadline_s=9.0)
    assert door.queue.next_deadline_s() == 3.0
    assert refusals(door.queue.wake(2.0)) == []
    assert refusals(door.queue.wake(3.0)) == [(2, "deadline_passed")]
    assert door.queue.next_deadline_s() == 6.0
    assert refusals(door.queue.wake(7.0)) == [(3, "queue_timeout")]


def test_another_timeout_does_not_change_why_somebody_is_told() -> None:
    door = Door(timeout_s=5)
    door.offer(1, 0.0)
    door.offer(2, 0.0)
    door.queue.configure(AdmissionSettings(limit=1, max_waiting=9, timeout_s=50), 1.0)
    assert refusals(door.queue.wake(5.0)) == [(2, "queue_timeout")]


def test_who_comes_too_late_already_is_told_with_the_next_wake() -> None:
    door = Door()
    door.offer(1, 5.0)
    assert door.offer(2, 5.0, deadline_s=3.0) == []
    assert door.queue.next_deadline_s() == 5.0
    assert refusals(door.queue.wake(5.0)) == [(2, "deadline_passed")]


def test_at_the_head_who_can_no_longer_be_in_time_is_dropped_for_the_next() -> None:
    door = Door(limit=2)
    door.knows_prefill(2.0)
    door.offer(1)
    door.offer(2)
    door.offer(3, 0.0, deadline_s=5.0, prompt_tokens=100)
    door.offer(4, 0.0, deadline_s=6.0, prompt_tokens=100)
    refusal, admission = door.queue.done(1, 3.5)
    assert isinstance(refusal, Refuse)
    assert (refusal.request, refusal.reason, refusal.waited_s) == (3, "deadline_passed", 3.5)
    assert admission == Admit(4, 3.5)


@pytest.mark.parametrize(("now_s", "late"), [(3.0, False), (3.001, True)])
def test_at_the_head_a_first_token_at_the_deadline_is_in_time(now_s: float, late: bool) -> None:
    door = Door(limit=2)
    door.knows_prefill(2.0)
    for request in (1, 2):
        door.offer(request)
    door.offer(3, 0.0, deadline_s=5.0, prompt_tokens=100)
    assert bool(refusals(door.queue.done(1, now_s))) is late


def test_an_idle_lane_serves_even_who_will_be_late() -> None:
    door = Door(limit=1)
    door.knows_prefill(9.0)
    assert admitted(door.offer(1, deadline_s=5.0, prompt_tokens=100)) == [1]
    door.offer(2, 0.0, deadline_s=5.0, prompt_tokens=100)
    assert door.done(1, 1.0) == [2], "nothing else runs that would be kept waiting"
