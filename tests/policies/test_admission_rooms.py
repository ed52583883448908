"""The two rooms of the queue: those with a client that waits, and the patient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission import (
    AGING_EVERY,
    AGING_S,
    RETRY_MAX_S,
    AdmissionSettings,
    Place,
    Refuse,
)
from policies.lines import Ticket
from policies.prediction import MIN_SAMPLES
from tests.support.door import Door, admitted, refusals

pytestmark = pytest.mark.req("ADM-1", "ADM-2", "ADM-5", "SEC-5")


def test_a_full_room_of_the_patient_turns_the_newcomer_away_whoever_it_is() -> None:
    door = Door(max_waiting=10, max_tasks=2)
    door.offer(0)
    for request in (1, 2):
        assert not door.queue.turns_tasks_away
        assert door.offer(request, caller="heavy", priority=-5, patient=True) == []
    assert door.queue.turns_tasks_away
    assert door.offer(10, caller="heavy", priority=-9) == []
    for request, priority in ((3, 9), (4, 0), (5, -9)):
        effects = door.offer(request, caller="light", priority=priority, patient=True)
        assert refusals(effects) == [(request, "queue_full")]
        assert isinstance(effects[0], Refuse)
        assert effects[0].patient
    assert (door.queue.waiting, door.queue.waiting_tasks) == (3, 2)


def test_the_patient_take_no_places_of_the_others_and_the_others_none_of_theirs() -> None:
    door = Door(max_waiting=2, max_tasks=3)
    door.offer(0)
    for request in (1, 2, 3):
        assert door.offer(request, patient=True) == []
    assert door.offer(4) == door.offer(5) == []
    assert refusals(door.offer(6)) == [(6, "queue_full")]
    assert refusals(door.offer(7, patient=True)) == [(7, "queue_full")]
    door.queue.cancel(1, 0.0)
    assert door.offer(8, patient=True) == []
    assert (door.queue.waiting, door.queue.waiting_tasks) == (5, 3)


def test_a_newcomer_of_any_priority_never_pushes_out_a_patient_one() -> None:
    door = Door(max_waiting=1, max_tasks=5)
    door.offer(0)
    door.offer(1, priority=-9, patient=True)
    door.offer(2, priority=-8, patient=True)
    door.offer(3, priority=0)
    assert refusals(door.offer(4, priority=9)) == [(3, "queue_full")]
    assert refusals(door.offer(5, priority=9)) == [(5, "queue_full")]
    assert door.queue.waiting_tasks == 2


def test_no_room_for_tasks_is_not_no_tasks() -> None:
    door = Door(max_tasks=0)
    assert admitted(door.offer(1, patient=True)) == [1]
    assert refusals(door.offer(2, patient=True)) == [(2, "queue_full")]
    assert door.offer(3) == []


def test_between_those_who_wait_the_order_is_the_same_for_both_rooms() -> None:
    door = Door()
    door.offer(0)
    door.offer(1, patient=True)
    door.offer(2)
    door.offer(3, priority=5, patient=True)
    door.offer(4, priority=1)
    order, running = [], 0
    for _ in range(4):
        (running,) = door.done(running)
        order.append(running)
    assert order == [3, 4, 1, 2]


def test_a_patient_one_waits_as_long_as_it_said_and_not_as_long_as_the_queue_says() -> None:
    door = Door(timeout_s=5)
    door.offer(0)
    door.offer(1, patient=True, timeout_s=60)
    door.offer(2)
    door.offer(3, patient=True)
    assert refusals(door.queue.wake(5.0)) == [(2, "queue_timeout"), (3, "queue_timeout")]
    assert door.queue.next_deadline_s() == 60
    assert door.queue.wake(59.0) == []
    (late,) = door.queue.wake(60.0)
    assert isinstance(late, Refuse)
    assert (late.request, late.reason, late.patient) == (1, "queue_timeout", True)
    assert late.waited_s == 60


def test_a_smaller_room_drops_nobody() -> None:
    door = Door(max_tasks=3)
    for request in range(4):
        door.offer(request, patient=True)
    settings = AdmissionSettings(limit=1, max_waiting=0, timeout_s=9, max_tasks=0)
    assert door.queue.configure(settings, 0.0) == []
    assert door.queue.waiting_tasks == 3
    assert refusals(door.offer(9, patient=True)) == [(9, "queue_full")]


def test_patient_ones_of_lower_bands_do_not_make_a_client_stay_away_for_longer() -> None:
    door = Door(limit=1, max_waiting=0, max_tasks=500)
    now_s = door_that_drains(door)
    for request in range(100, 400):
        door.offer(request, now_s, priority=-1, patient=True)
    chat, work = Ticket(request=1, lane="m"), Ticket(request=1, lane="m", priority=-1, patient=True)
    assert door.queue.retry_after_s(chat, now_s) == 1.0
    assert door.queue.retry_after_s(work, now_s) == RETRY_MAX_S


def door_that_drains(door: Door) -> float:
    """One a second, for long enough that it is known; leaves request 0 running."""
    door.queue.configure(AdmissionSettings(limit=1, max_waiting=9, timeout_s=99, max_tasks=500), 0)
    return door.serves(1.0)


def test_waits_of_the_patient_say_nothing_about_how_well_waits_are_predicted() -> None:
    door = Door(max_tasks=MIN_SAMPLES + 9)
    now_s = door_that_drains(door)
    for request in range(1, MIN_SAMPLES + 9):
        door.offer(request, now_s, patient=True, timeout_s=1e6)
    running = 0
    for _ in range(MIN_SAMPLES + 5):
        now_s += 500.0
        (running,) = door.done(running, now_s)
        assert door.queue.prediction.trusted(now_s)


# -- how age lets the two rooms in --------------------------------------------------------


def test_what_waits_for_hours_does_not_keep_the_other_room_from_its_turn_by_age() -> None:
    door = Door(max_waiting=100, max_tasks=100, timeout_s=1e6)
    door.offer(0, priority=9)
    for request in range(1000, 1040):
        door.offer(request, priority=0, patient=True, timeout_s=1e6)
    for request in range(2000, 2040):
        door.offer(request, 5.0, priority=-1)
    now_s, running, aged = 5.0 + AGING_S, 0, []
    for newcomer in range(1, 4 * AGING_EVERY):
        door.offer(newcomer, now_s, priority=9)
        (running,) = door.done(running, now_s)
        aged += [running] * (running >= 1000)
    assert aged == [1000, 2000, 1001, 2001]


# -- where one stands ---------------------------------------------------------------------


def test_a_place_is_known_while_it_waits_or_runs_and_not_before_or_after() -> None:
    door = Door()
    assert door.queue.place(1, 0.0) is None
    door.offer(1)
    door.offer(2)
    assert door.queue.place(1, 0.0) == Place(0, 0.0)
    assert door.queue.place(2, 0.0) == Place(1, None)
    door.done(1)
    assert door.queue.place(1, 0.0) is None
    assert door.queue.place(2, 0.0) == Place(0, 0.0)
    door.queue.cancel(2, 0.0)
    assert door.queue.place(2, 0.0) is None


def test_a_place_says_how_long_at_the_drain_that_was_measured() -> None:
    door = Door()
    now_s = door_that_drains(door)
    rate = door.queue.lane("m").drain.per_s(now_s)
    assert rate is not None
    for request in (1, 2, 3):
        door.offer(request, now_s, patient=True, timeout_s=1e6)
    for request in (1, 2, 3):
        place = door.queue.place(request, now_s)
        assert place is not None
        assert place.position == request
        assert place.wait_s == pytest.approx(request / rate)


@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from([None, 1, 2, 3]), st.integers(-1, 1), st.booleans()),
        min_size=1,
        max_size=9,
    )
)
def test_of_one_lane_and_caller_the_positions_are_the_order_in_which_they_are_let_in(
    arrivals: list[tuple[int | None, int, bool]],
) -> None:
    door = Door()
    door.offer(0)
    for request, (due_s, priority, patient) in enumerate(arrivals, 1):
        deadline_s = None if due_s is None else 100.0 + due_s
        door.offer(request, priority=priority, deadline_s=deadline_s, patient=patient)
    waiting = range(1, len(arrivals) + 1)

    def positions() -> dict[int, int]:
        found = {r: door.queue.place(r, 0.0) for r in waiting}
        return {r: place.position for r, place in found.items() if place is not None}

    expected = sorted(waiting, key=positions().__getitem__)
    assert sorted(positions().values()) == list(waiting)
    running, order = 0, []
    for _ in waiting:
        before = positions()
        (running,) = door.done(running)
        order.append(running)
        assert all(position <= before[r] for r, position in positions().items())
    assert order == expected


def test_who_was_accepted_before_is_not_refused_for_want_of_room() -> None:
    door = Door(max_waiting=10, max_tasks=1)
    door.offer(0)
    assert door.offer(1, patient=True) == []
    assert door.offer(2, patient=True, accepted=True) == []
    assert refusals(door.offer(3, patient=True)) == [(3, "queue_full")]
    assert door.queue.waiting_tasks == 2
