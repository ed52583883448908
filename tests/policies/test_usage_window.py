"""What counts as used in a window or a day, against an exact account of every single use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.usage_window import DAY_S, SET_BACK_S, SLOTS, Moment, UsageWindow

pytestmark = pytest.mark.req("ADM-6")

WINDOWS_S = (10, 64, 100, 3600)
uses = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=60)
"""(seconds since the one before, amount)"""


def at(monotonic_s: float, unix_s: float = 0.0) -> Moment:
    return Moment(monotonic_s=monotonic_s, unix_s=unix_s)


def add(window: UsageWindow, amount: int, now: Moment) -> int:
    """As a budget does. The place to take it back from."""
    window.advance(now)
    window.used += amount
    return window.place


@given(per_s=st.sampled_from(WINDOWS_S), uses=uses, start_s=st.integers(0, 5000))
def test_no_use_leaves_early_and_none_later_than_a_slot(
    per_s: int, uses: list[tuple[int, int]], start_s: int
) -> None:
    window, now_s, exact = UsageWindow(per_s), start_s, []
    for wait_s, amount in uses:
        now_s += wait_s
        add(window, amount, at(now_s))
        exact.append((now_s, amount))
        in_the_window = sum(a for t, a in exact if t > now_s - per_s)
        a_slot_longer = sum(a for t, a in exact if t > now_s - per_s * (SLOTS + 1) / SLOTS)
        assert in_the_window <= window.used <= a_slot_longer


@given(
    per_s=st.sampled_from(WINDOWS_S),
    uses=uses,
    taken=st.sets(st.integers(0, 59)),
    late_s=st.integers(0, 200),
)
def test_what_is_taken_back_was_never_there(
    per_s: int, uses: list[tuple[int, int]], taken: set[int], late_s: int
) -> None:
    window, without = UsageWindow(per_s), UsageWindow(per_s)
    now_s, places = 0, {}
    for index, (wait_s, amount) in enumerate(uses):
        now_s += wait_s
        places[index] = (amount, add(window, amount, at(now_s)))
        if index not in taken:
            add(without, amount, at(now_s))
    now_s += late_s
    for each in (window, without):
        each.advance(at(now_s))
    for index in taken & places.keys():
        window.take_back(*places[index])
    assert window.used == without.used
    assert window.empties_s(at(now_s)) == without.empties_s(at(now_s))


@given(per_s=st.sampled_from(WINDOWS_S), uses=uses, share=st.integers(1, 100))
def test_it_says_to_the_moment_when_so_much_is_free(
    per_s: int, uses: list[tuple[int, int]], share: int
) -> None:
    window, now_s = UsageWindow(per_s), 0
    for wait_s, amount in uses:
        now_s += wait_s
        add(window, amount, at(now_s))
    if not window.used:
        assert window.empties_s(at(now_s)) == 0.0
        return
    before = window.used
    amount = max(1, before * share // 100)
    wait_s = window.frees_s(amount, at(now_s))
    assert wait_s > 0
    assert window.frees_s(before, at(now_s)) == window.empties_s(at(now_s))
    window.advance(at(now_s + wait_s - 2**-20))
    assert before - window.used < amount
    window.advance(at(now_s + wait_s))
    assert before - window.used >= amount


moves = st.tuples(st.integers(0, 40), st.sampled_from([0, 0, DAY_S // 2, -100, -2 * DAY_S]))
"""(seconds since the one before, how much the wall clock is set)"""


@pytest.mark.req("OPS-4")
@given(
    per_s=st.sampled_from([*WINDOWS_S, None]),
    uses=st.lists(st.tuples(moves, st.integers(0, 9)), max_size=60),
)
def test_until_its_slot_ends_a_window_need_not_be_advanced(
    per_s: int | None, uses: list[tuple[tuple[int, int], int]]
) -> None:
    one, other = (UsageWindow(per_s) for _ in range(2))
    now_s, set_s = 0, 100 * DAY_S
    for (wait_s, moved_s), amount in uses:
        now_s, set_s = now_s + wait_s, set_s + moved_s
        now = at(now_s, set_s + now_s)
        add(one, amount, now)
        clock_s = now.unix_s if other.by_wall else now.monotonic_s
        is_set_back = other.by_wall and clock_s < other.until_s - SET_BACK_S
        if clock_s >= other.until_s or is_set_back:
            other.advance(now)
        other.used += amount
        assert (other.used, other.place) == (one.used, one.place)
        assert other.empties_s(now) == one.empties_s(now)


def test_a_window_keeps_no_more_than_its_slots() -> None:
    window = UsageWindow(64)
    for tenth in range(10_000):
        add(window, 1, at(tenth / 10))
    assert len(window._earlier) <= SLOTS


# -- days ---------------------------------------------------------------------------------


def test_a_day_is_free_again_at_midnight_utc() -> None:
    day = UsageWindow()
    late = at(0, 3 * DAY_S - 1)
    add(day, 5, late)
    assert day.used == 5
    assert day.frees_s(1, late) == day.empties_s(late) == 1.0
    day.advance(at(1, 3 * DAY_S))
    assert day.used == 0


def test_a_clock_that_is_set_back_over_midnight_gives_no_second_day() -> None:
    day = UsageWindow()
    add(day, 5, at(0, 3 * DAY_S + 5))
    day.advance(at(1, 3 * DAY_S - 5))
    assert day.used == 5
    day.advance(at(11, 3 * DAY_S + 5))
    assert day.used == 5


def test_a_clock_that_was_far_ahead_does_not_lock_the_budget_until_then() -> None:
    day = UsageWindow()
    add(day, 5, at(0, 9000 * DAY_S))
    day.advance(at(1, 3 * DAY_S))
    assert day.used == 0
    assert (day.empties_s(at(1, 3 * DAY_S)), day.empties_s(at(1, 3 * DAY_S), 1)) == (0.0, DAY_S)


def test_what_was_used_yesterday_is_not_taken_back_from_today() -> None:
    day = UsageWindow()
    place = add(day, 1, at(0, DAY_S))
    add(day, 3, at(1, 2 * DAY_S))
    day.take_back(1, place)
    assert day.used == 3
