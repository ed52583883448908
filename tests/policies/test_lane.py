"""A lane: places, shares of them, and the wait that they and the drain make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.lane import Lane

pytestmark = pytest.mark.req("ADM-5", "INT-5")

LIMITS = st.one_of(st.integers(0, 40).map(float), st.floats(0, 40))
SHARES = st.dictionaries(st.integers(-2, 2), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))


def lane(limit: float = 10.0, inflight: int = 0) -> Lane:
    made = Lane("m", limit)
    made.inflight = inflight
    return made


def drained_at(rate: int, seconds: int = 10) -> Lane:
    """A full lane whose queue was served at `rate` a second up to now."""
    full = lane(10, inflight=10)
    full.drain.busy(0.0, True)
    for second in range(seconds):
        for _ in range(rate):
            full.drain.mark(float(second))
    return full


@given(limit=LIMITS, priority=st.integers(-3, 3))
def test_without_shares_all_places_are_everybodys(limit: float, priority: int) -> None:
    assert lane(limit).places(priority) == max(int(limit + 1e-9), 1)


@given(limit=LIMITS, shares=SHARES)
def test_a_higher_priority_never_has_fewer_places_and_the_lowest_one_at_least(
    limit: float, shares: dict[int, float]
) -> None:
    held = lane(limit)
    held.hold_back(shares)
    places = [held.places(priority) for priority in range(-4, 4)]
    assert places == sorted(places)
    assert places[0] >= 1
    assert places[-1] == max(int(limit + 1e-9), 1), "nobody is above the highest"


def test_those_below_a_priority_are_held_to_their_share_and_those_at_it_are_not() -> None:
    held = lane(10)
    held.hold_back({5: 0.5, 0: 0.3})
    assert [held.places(priority) for priority in (6, 5, 4, 0, -1)] == [10, 10, 5, 5, 3]
    held.inflight = 5
    assert held.has_room(5)
    assert not held.has_room(4)
    held.hold_back({})
    assert held.has_room(-1)


def test_a_share_of_a_limit_is_not_a_place_short_for_rounding() -> None:
    held = lane(10)
    held.hold_back({0: 0.7})
    assert held.places(-1) == 7
    held.limit = 100 * 0.29  # 28.999999999999996
    assert held.places(0) == 29


def test_room_is_below_the_limit_and_not_at_it() -> None:
    assert lane(2.9, inflight=1).has_room(0)
    assert not lane(2.9, inflight=2).has_room(0)
    assert not lane(0.0, inflight=1).has_room(0), "one place is left even of a limit of nothing"


def test_the_wait_is_all_who_go_before_and_oneself_at_the_drain() -> None:
    full = drained_at(4)
    assert full.drain.per_s(10.0) == pytest.approx(4)
    assert full.wait_s(0, 0, 10.0) == pytest.approx(0.25)
    assert full.wait_s(7, 0, 10.0) == pytest.approx(2.0)


def test_free_places_are_no_wait_and_shorten_that_of_the_others() -> None:
    free = drained_at(4)
    free.inflight = 8
    assert free.wait_s(1, 0, 10.0) == 0
    assert free.wait_s(2, 0, 10.0) == pytest.approx(0.25)
    free.hold_back({0: 0.8})
    assert free.wait_s(1, -1, 10.0) == pytest.approx(0.5), "none of them is its class's"


def test_places_that_the_pool_does_not_have_are_not_free() -> None:
    free = drained_at(4)
    free.inflight = 2
    assert free.wait_s(1, 0, 10.0, pool_free=0) == pytest.approx(0.5)
    assert free.wait_s(1, 0, 10.0, pool_free=-3) == pytest.approx(0.5), "over its limit"
    assert free.wait_s(1, 0, 10.0, pool_free=1) == pytest.approx(0.25)
    assert free.wait_s(1, 0, 10.0, pool_free=99) == 0


def test_an_unknown_drain_is_an_unknown_wait_unless_there_is_none() -> None:
    assert lane(1, inflight=1).wait_s(0, 0, 5.0) is None
    assert lane(1, inflight=0).wait_s(0, 0, 5.0) == 0


@pytest.mark.req("OPS-9")
def test_a_share_of_another_process_is_not_this_ones() -> None:
    shared = lane(10, inflight=2)
    shared.share = 3
    assert (shared.free(0), shared.has_room(0), shared.full) == (1, True, False)
    shared.inflight = 3
    assert (shared.free(0), shared.has_room(0), shared.full) == (0, False, True)
    shared.share = 0
    assert not shared.has_room(0)


@pytest.mark.req("OPS-9")
def test_a_class_that_is_held_back_has_its_part_of_what_all_processes_run() -> None:
    shared = lane(10, inflight=2)
    shared.share, shared.elsewhere = 5, 3
    shared.hold_back({0: 0.5})
    assert (shared.free(-1), shared.free(0)) == (0, 3)
    shared.elsewhere = 1
    assert shared.free(-1) == 2
    assert dict(shared.held_back) == {0: 0.5}
