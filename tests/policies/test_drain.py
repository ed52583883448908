"""Dispatches a second: steady, in bursts, in silence, and while nobody wants any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.drain import FOLD_S, STALE_S, Drain

pytestmark = pytest.mark.req("INT-4")


def busy_from(at_s: float = 0.0) -> Drain:
    drain = Drain()
    drain.busy(at_s, True)
    return drain


def served(drain: Drain, rate: int, from_s: int, to_s: int) -> None:
    """`rate` dispatches a second, evenly."""
    for second in range(from_s, to_s):
        for nth in range(rate):
            drain.mark(second + nth / rate)


def test_nothing_is_known_before_somebody_has_waited_for_a_whole_fold() -> None:
    drain = Drain()
    assert drain.per_s(0.0) is None
    served(drain, 5, 0, 10)
    assert drain.per_s(10.0) is None, "nobody waited: this is what was asked for"
    drain.busy(10.0, True)
    drain.mark(10.5)
    assert drain.per_s(10.0 + 0.9 * FOLD_S) is None
    assert drain.per_s(10.0 + FOLD_S) == 1


@pytest.mark.parametrize("rate", [1, 3, 20])
def test_a_steady_drain_is_measured_as_it_is(rate: int) -> None:
    drain = busy_from()
    served(drain, rate, 0, 20)
    assert drain.per_s(20.0) == pytest.approx(rate)


def test_a_faster_second_counts_at_once_and_a_slower_one_by_and_by() -> None:
    drain = busy_from()
    served(drain, 4, 0, 20)
    served(drain, 40, 20, 21)
    assert drain.per_s(21.0) == 40
    served(drain, 4, 21, 22)
    after = drain.per_s(22.0)
    assert after is not None
    assert 4 < after < 40
    served(drain, 4, 22, 45)
    assert drain.per_s(45.0) == pytest.approx(4, rel=0.01)


def test_when_it_slows_down_the_average_follows() -> None:
    drain = busy_from()
    served(drain, 20, 0, 10)
    served(drain, 5, 10, 11)
    assert drain.per_s(11.0) == pytest.approx(0.7 * 20 + 0.3 * 5)
    served(drain, 5, 11, 30)
    assert drain.per_s(30.0) == pytest.approx(5, rel=0.02)


def test_a_stall_that_somebody_waits_through_is_as_many_folds_as_it_lasts() -> None:
    each_second, at_the_end = busy_from(), busy_from()
    for drain in (each_second, at_the_end):
        served(drain, 10, 0, 10)
        drain.per_s(10.0)
    for second in range(11, 31):
        each_second.per_s(float(second))
    slow = at_the_end.per_s(30.0)
    assert slow == pytest.approx(each_second.per_s(30.0))
    assert slow is not None
    assert 0 < slow < 0.01


def test_silence_does_not_make_it_slow() -> None:
    drain = busy_from()
    served(drain, 10, 0, 10)
    drain.busy(10.0, False)
    drain.mark(12.0)
    assert drain.per_s(15.0) == pytest.approx(10)
    drain.busy(15.0, True)
    assert drain.per_s(15.5) == pytest.approx(10), "a burst after silence finds what was measured"


def test_what_was_measured_long_ago_is_not_known_any_more() -> None:
    drain = busy_from()
    served(drain, 10, 0, 10)
    drain.busy(10.0, False)
    assert drain.per_s(10.0 + STALE_S) == pytest.approx(10)
    assert drain.per_s(10.5 + STALE_S) is None
    drain.busy(50.0, True)
    served(drain, 2, 50, 51)
    assert drain.per_s(51.0) == 2, "it begins anew, not with the old average"


def test_a_fold_that_nobody_waited_through_does_not_lower_the_average() -> None:
    drain = busy_from()
    served(drain, 10, 0, 10)
    drain.mark(10.0)
    drain.busy(10.2, False)
    drain.busy(10.4, True)
    assert drain.per_s(11.0) == pytest.approx(10)
    assert drain.per_s(12.0) == pytest.approx(7), "this one was waited through, and nobody went"


def test_calm_seconds_can_show_that_it_is_faster() -> None:
    drain = busy_from()
    served(drain, 2, 0, 10)
    drain.busy(10.0, False)
    served(drain, 9, 10, 11)
    assert drain.per_s(11.0) == 9
    assert drain.per_s(12.0) == pytest.approx(2), "for as long as it lasts"


def test_without_rest_between_short_queues_it_grows_old_too() -> None:
    drain = busy_from()
    served(drain, 10, 0, 10)
    for tenth in range(100, 100 + int(STALE_S + 1) * 10):
        drain.busy(tenth / 10, tenth % 2 == 0)
    assert drain.per_s(11.0 + STALE_S) is None


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["mark", "busy", "calm", "look"])))
)
def test_whatever_happens_a_rate_is_none_or_between_nothing_and_the_busiest_second(
    steps: list[tuple[int, str]],
) -> None:
    drain, now_s, marks = Drain(), 0.0, 0
    for step_s, what in steps:
        now_s += step_s
        match what:
            case "mark":
                marks += 1
                drain.mark(now_s)
            case "busy" | "calm":
                drain.busy(now_s, what == "busy")
        rate = drain.per_s(now_s)
        assert rate is None or 0 <= rate <= marks
