"""Envoy's law: the squeeze, the gradient, and when it squeezes again."""

from math import sqrt

import pytest

from gateway.simulation.rivals.envoy import Envoy

pytestmark = pytest.mark.req("INT-12")


def measured(min_rtt_s: float = 1.0, *, at_s: float = 10.0, seed: int = 0) -> Envoy:
    """A limiter whose first squeeze ended at `at_s`."""
    rival = Envoy(seed)
    for _ in range(50):
        rival.finished(at_s, min_rtt_s, 3, True)
    return rival


def updated(rival: Envoy, now_s: float, rtt_s: float) -> float:
    """The limit after one more update with this RTT."""
    rival.finished(now_s, rtt_s, 3, True)
    rival.tick(now_s)
    return rival.limit


def grown(limit: float) -> Envoy:
    rival, now_s = measured(), 11.0
    while rival.limit < limit:
        updated(rival, now_s, 0.001)
        now_s += 1.0
    return rival


def test_it_begins_with_a_squeeze_of_50_requests_three_at_a_time() -> None:
    rival = Envoy()
    for _ in range(49):
        rival.finished(1.0, 1.0, 3, True)
        rival.tick(1.0)
    assert rival.limit == 3.0
    rival.finished(1.0, 1.0, 3, True)
    rival.tick(1.0)
    assert updated(rival, 2.0, 0.1) > 3.0


@pytest.mark.parametrize(
    ("rtt_s", "gradient"), [(1.25, 1.0), (1.0, 1.25), (2.5, 0.5), (99.0, 0.5), (0.01, 2.0)]
)
def test_the_limit_follows_the_gradient_with_a_root_of_headroom(
    rtt_s: float, gradient: float
) -> None:
    rival = grown(50.0)
    carried = rival.limit * gradient
    assert updated(rival, 60.0, rtt_s) == int(carried + sqrt(carried))


def test_it_compares_medians() -> None:
    rival = Envoy()
    for number in range(50):
        rival.finished(0.0, 100.0 if number < 20 else 2.0, 3, True)
    for rtt_s in (2.5, 2.5, 99.0):
        rival.finished(1.0, rtt_s, 3, True)
    rival.tick(1.0)
    assert rival.limit == int(3.0 + sqrt(3.0))


def test_it_moves_four_times_a_second_and_only_when_something_finished() -> None:
    rival = measured(at_s=10.0)
    rival.tick(11.0)
    assert rival.limit == 3.0
    assert updated(rival, 11.1, 0.1) == 3.0
    assert updated(rival, 11.25, 0.1) == 8.0


def test_the_limit_stays_between_3_and_1000() -> None:
    rival = grown(1000.0)
    assert rival.limit == 1000.0
    for number in range(30):
        updated(rival, 30.0 + number * 0.25, 1e6)
    assert rival.limit == 3.0


def test_it_squeezes_again_after_a_minute_and_a_little() -> None:
    for seed in range(20):
        rival = measured(at_s=10.0, seed=seed)
        updated(rival, 11.0, 0.1)
        rival.tick(69.9)
        assert rival.limit == 8.0
        rival.tick(79.1)
        assert rival.limit == 3.0


def test_after_a_squeeze_it_goes_on_from_where_it_was_with_a_new_baseline() -> None:
    rival = measured(1.0, at_s=10.0)
    updated(rival, 11.0, 0.1)
    rival.tick(80.0)
    for _ in range(50):
        rival.finished(90.0, 2.0, 3, True)
    assert rival.limit == 8.0
    assert updated(rival, 91.0, 2.5) == int(8.0 + sqrt(8.0))


def test_what_started_before_the_squeeze_and_what_failed_teaches_nothing() -> None:
    rival = measured(1.0, at_s=10.0)
    updated(rival, 11.0, 0.1)
    rival.tick(80.0)
    for _ in range(99):
        rival.finished(90.0, 10.5, 3, True)
        rival.finished(90.0, 1.0, 3, False)
    assert rival.limit == 3.0


def test_five_updates_at_the_least_call_for_a_squeeze_at_once() -> None:
    rival = measured(1.0, at_s=10.0)
    for number in range(5):
        assert updated(rival, 11.0 + number, 99.0) == 3.0
    rival.tick(16.0)
    # In a squeeze: however fast, fifty must finish first.
    assert updated(rival, 17.0, 0.001) == 3.0
    rival.finished(17.0, 0.5, 3, True)
    assert updated(rival, 18.0, 0.001) == 3.0


def test_what_it_remembers_of_a_time_without_ticks_is_bounded() -> None:
    rival = measured()
    for _ in range(20_000):
        rival.finished(11.0, 1.0, 3, True)
    assert len(rival._rtts_s) == 10_000
