"""Nobody starves in the queue, neither a low class behind a high one nor a caller behind a heavy one."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission import AGING_EVERY, AGING_S, Effect
from policies.fairness import OUTPUT_WEIGHT, PROMPT_WEIGHT
from tests.support.door import Door, admitted, refusals

pytestmark = pytest.mark.req("ADM-5")

# -- nobody starves ---------------------------------------------------------------------


FIRST = 1_000_000


def taken(door: Door) -> Door:
    """Its one place is taken by the first of a `stream`."""
    door.offer(FIRST, 0.0, priority=5)
    return door


def stream(door: Door, seconds: int, per_s: int = 10, priority: int = 5) -> Iterator[list[int]]:
    """One place, passed on `per_s` times a second, and always somebody of a high priority waiting.
    Yields who was admitted, second by second."""
    numbers = iter(range(FIRST + 1, 2 * FIRST))
    running = FIRST
    for second in range(seconds):
        gone = []
        for nth in range(per_s):
            now_s = second + nth / per_s
            door.offer(next(numbers), now_s, priority=priority)
            (running,) = door.done(running, now_s)
            gone.append(running)
        yield gone


def test_under_endless_high_priority_a_low_band_gets_one_admission_in_twenty() -> None:
    door = taken(Door(max_waiting=10_000))
    for request in range(500):
        door.offer(request, 0.0, priority=-5, caller=f"caller {request % 3}")
    seconds = list(stream(door, 110))
    low = [[request for request in gone if request < 500] for gone in seconds]
    assert not any(low[: int(AGING_S)]), "nothing before that"
    aged = sum(map(len, low[int(AGING_S) :]))
    assert aged == pytest.approx(100 * 10 / AGING_EVERY, abs=1)
    assert all(len(gone) == 10 for gone in seconds)


def test_every_twentieth_and_not_twenty_at_once() -> None:
    door = taken(Door(max_waiting=10_000))
    for request in range(500):
        door.offer(request, 0.0, priority=-5)
    admissions = [request < 500 for gone in stream(door, 60) for request in gone]
    turns = [nth for nth, low in enumerate(admissions) if low]
    assert {later - earlier for earlier, later in pairwise(turns)} == {AGING_EVERY}


def test_however_long_the_high_ones_have_waited_themselves_the_low_band_has_its_turn() -> None:
    door = taken(Door(max_waiting=10_000))
    for request in range(1000, 2000):
        door.offer(request, 0.0, priority=5)
    for request in range(20):
        door.offer(request, 0.5, priority=-5)
    low = [request for gone in stream(door, 50) for request in gone if request < 20]
    assert len(low) == pytest.approx(40 * 10 / AGING_EVERY, abs=1)


def test_of_several_starved_bands_the_one_that_has_waited_longest_has_the_turn() -> None:
    door = taken(Door(max_waiting=10_000))
    for second in range(20):
        door.offer(second, 0.0, priority=-1 - second % 2, lane="mn"[second // 2 % 2])
    low = [request for gone in stream(door, 60) for request in gone if request < 20]
    assert low == sorted(low)
    assert len(low) == 20


def test_a_class_that_is_held_back_in_one_lane_does_not_starve_behind_its_equals_in_another() -> (
    None
):
    door = Door(limit=2, max_waiting=10_000)
    held = door.queue.lane("held")
    held.limit = 9.0
    held.hold_back({5: 0.12})
    door.offer(0, 0.0, lane="held", priority=5)
    door.offer(1, 0.0, lane="free")
    door.offer(2, 0.0, lane="held")
    running, seen = 1, []
    for number in range(100, 400):
        now_s = number / 10
        door.offer(number, now_s, lane="free")
        (running,) = door.done(running, now_s)
        seen.append(running)
    assert 2 in seen


def test_a_starved_band_is_fair_inside_too() -> None:
    door = taken(Door(max_waiting=10_000))
    for request in range(300):
        door.offer(request, 0.0, priority=-5, caller="flood", prompt_tokens=10)
    for request in range(300, 310):
        door.offer(request, 0.0, priority=-5, caller="few", prompt_tokens=10)
    low = [request for gone in stream(door, 50) for request in gone if request < 310]
    assert len(low) >= 18
    assert sum(request >= 300 for request in low) == pytest.approx(len(low) / 2, abs=1)


def test_a_class_that_is_held_back_does_not_starve_behind_those_who_never_wait() -> None:
    """The higher class always finds its place free, so it is never in the queue."""
    door = Door(limit=100)
    lane = door.queue.lane("m")
    lane.limit = 10.0
    lane.hold_back({5: 0.5})
    for request in range(6):
        door.offer(request, 0.0, priority=5)
    assert door.offer(900, 0.0, priority=0) == []
    seen, running = [], list(range(6))
    for number in range(10, 410):
        now_s = number / 10
        seen += admitted(door.offer(number, now_s, priority=5))
        running.append(number)
        seen += door.done(running.pop(0), now_s)
    assert 900 in seen
    assert seen.index(900) >= 90, "its share is not just waived"


def test_whoever_is_too_late_at_the_head_does_not_use_up_the_turn_of_its_band() -> None:
    door = Door(limit=2, max_waiting=10_000)
    door.knows_prefill(2.0)
    for request in (6_000, 7_000):
        door.offer(request, 0.0)
    for request in range(5):
        door.offer(request, 0.0, priority=-5, deadline_s=20.0, prompt_tokens=100)
    door.offer(5, 0.0, priority=-5)
    for number in range(3 * AGING_EVERY):
        door.offer(8_000 + number, 1.0, priority=5)
    running, effects = 7_000, list[Effect]()
    for _ in range(AGING_EVERY):
        effects = door.queue.done(running, 18.5)
        (running,) = admitted(effects)
        if running < 100:
            break
    assert refusals(effects) == [(request, "deadline_passed") for request in range(5)]
    assert running == 5


def test_age_changes_nothing_inside_the_highest_band() -> None:
    """However long the old ones of a heavy caller have waited, the light one has its turns."""
    door = Door(max_waiting=10_000)
    door.offer(0, 0.0)
    for request in range(1, 400):
        door.offer(request, 0.0, caller="heavy", prompt_tokens=1000)
    running, order = 0, []
    for number in range(1000, 1200):
        now_s = 60.0 + number
        door.offer(number, now_s, caller="light", prompt_tokens=1)
        (running,) = door.done(running, now_s)
        order.append(running)
    assert sum(request < 1000 for request in order) <= 1


# -- fairness, through the queue --------------------------------------------------------


@given(
    sizes=st.lists(
        st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.integers(1, 50), st.integers(0, 20)),
        min_size=2,
        max_size=4,
    ),
    places=st.integers(1, 4),
    second_s=st.integers(0, 5),
)
def test_who_always_has_work_waiting_is_served_in_proportion_to_its_weight(
    sizes: list[tuple[float, int, int]], places: int, second_s: int
) -> None:
    """Each counter is ahead of any other by at most what its own requests in flight are charged. Slow
    queues, with waits of minutes, are not less fair."""
    door = Door(limit=places, max_waiting=10_000)
    served = [0.0] * len(sizes)
    owner: dict[int, int] = {}

    def offer(caller: int, now_s: float) -> list[Effect]:
        weight, prompt, _ = sizes[caller]
        owner[len(owner)] = caller
        return door.offer(
            len(owner) - 1, now_s, caller=str(caller), weight=weight, prompt_tokens=prompt
        )

    def start(effects: Iterable[Effect]) -> None:
        for request in admitted(effects):
            caller = owner[request]
            served[caller] += PROMPT_WEIGHT * sizes[caller][1] / sizes[caller][0]
            running.append(request)

    running: list[int] = []
    for caller in range(len(sizes)):
        for _ in range(places + 2):
            start(offer(caller, 0.0))
    history = [list(served)]
    for turn in range(50):
        now_s = float(turn * second_s)
        request = running.pop(0)
        caller = owner[request]
        weight, _, output = sizes[caller]
        door.queue.counters(0).charge(str(caller), OUTPUT_WEIGHT * output, weight)
        served[caller] += OUTPUT_WEIGHT * output / weight
        start(door.queue.done(request, now_s))
        history.append(list(served))
        for another in range(len(sizes)):
            while door.queue.waiters("m").hasty_of_caller(0, str(another)) < 2:
                start(offer(another, now_s))
    own = [places * (PROMPT_WEIGHT * p + OUTPUT_WEIGHT * o) / w for w, p, o in sizes]
    for one in range(len(sizes)):
        for other in range(one):
            ahead = [mine[one] - mine[other] for mine in history]
            assert max(ahead) - min(ahead) <= own[one] + own[other] + 1e-6


def test_calm_times_save_nothing_up_for_whoever_was_away() -> None:
    """A thousand requests were served without anybody waiting; then somebody new comes to a queue."""
    door = Door(max_waiting=100)
    for request in range(1000):
        door.offer(request, float(request), caller="busy", prompt_tokens=100)
        door.done(request, float(request))
    door.offer(1000, 1000.0, caller="busy", prompt_tokens=100)
    for number in range(10):
        door.offer(2000 + number, 1000.0, caller="busy", prompt_tokens=100)
        door.offer(3000 + number, 1000.0, caller="new", prompt_tokens=100)
    running, order = 1000, []
    for _ in range(10):
        (running,) = door.done(running, 1001.0)
        order.append(running // 1000)
    assert order.count(2) >= 4, "not all ten of the new one first"


def test_busy_times_save_nothing_up_either() -> None:
    """The same where the busy one was served from the queue, as fast as it could be."""
    door = Door(max_waiting=100)
    for request in range(1000):
        door.offer(request, caller="busy", prompt_tokens=100)
        if request:
            door.done(request - 1)
    for number in range(10):
        door.offer(2000 + number, caller="busy", prompt_tokens=100)
        door.offer(3000 + number, caller="new", prompt_tokens=100)
    running, order = 999, []
    for _ in range(10):
        (running,) = door.done(running)
        order.append(running // 1000)
    assert order.count(2) >= 4


def test_a_caller_that_waits_in_a_slow_lane_keeps_its_turn_while_others_are_served_elsewhere() -> (
    None
):
    door = Door(limit=10)
    for lane in ("slow", "fast"):
        door.queue.lane(lane).limit = 1.0
    door.offer(1, 0.0, lane="slow", caller="x")
    door.offer(2, 0.0, lane="slow", caller="patient", prompt_tokens=10)
    for request in range(100, 200):
        door.offer(request, 0.0, lane="fast", caller="busy", prompt_tokens=1000)
        door.done(request, 0.0)
    door.offer(3, 1.0, lane="slow", caller="new", prompt_tokens=10)
    door.offer(4, 1.0, lane="slow", caller="patient", prompt_tokens=10)
    assert door.done(1, 2.0) == [2]
    assert door.done(2, 3.0) == [3], "the new one begins where the patient one is, not the busy one"
