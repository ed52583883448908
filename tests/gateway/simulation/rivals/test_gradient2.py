"""Gradient2: a window's mean against the long mean, up, down, and its known weakness."""

import pytest

from gateway.simulation.rivals.gradient2 import Gradient2

pytestmark = pytest.mark.req("INT-12")


class Windows:
    """Feeds one window after the other, ten requests each."""

    def __init__(self) -> None:
        self.rival = Gradient2()
        self._now_s = 0.0

    def feed(self, *rtts_s: float, inflight: int = 1000) -> float:
        for rtt_s in rtts_s:
            self._now_s += 2.0
            for _ in range(10):
                self.rival.finished(self._now_s, rtt_s, inflight, True)
        return self.rival.limit


def test_a_steady_rtt_raises_the_limit_by_a_fifth_of_the_queue() -> None:
    # L' = .8 * 20 + .2 * (20 + 4)
    windows = Windows()
    assert windows.feed(1.0) == 20.0  # 20.8 in whole requests
    assert windows.feed(1.0) == 21.0
    assert windows.feed(*[1.0] * 8) == 28.0


def test_an_rtt_within_the_tolerance_is_no_queue() -> None:
    windows = Windows()
    windows.feed(*[1.0] * 10)
    before = windows.rival.limit
    assert windows.feed(1.49) >= before


def test_a_longer_rtt_lowers_the_limit_by_the_gradient() -> None:
    windows = Windows()
    windows.feed(*[1.0] * 100)
    assert windows.rival.limit == 100.0
    # long = 1 + 2/601 * 2; g = 1.5 * long / 3; L' = .8 L + .2 (g L + 4)
    assert windows.feed(3.0) == 90.0
    # g is never below a half
    assert windows.feed(1e6) == pytest.approx(0.8 * 90.8 + 0.2 * (45.4 + 4.0), abs=1.0)


def test_the_limit_stays_between_20_and_200() -> None:
    windows = Windows()
    assert windows.feed(*[1.0] * 300) == 200.0
    assert windows.feed(*[100.0 * 1.1**n for n in range(60)]) == 20.0


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    windows = Windows()
    assert windows.feed(*[1.0] * 20, inflight=9) == 20.0
    assert windows.feed(*[1.0] * 20, inflight=20) > 30.0


def test_a_window_lasts_a_second_and_ten_requests() -> None:
    rival = Gradient2()
    for _ in range(9):
        rival.finished(5.0, 1.0, 1000, True)
    assert rival._windows == 0
    rival.finished(5.0, 1.0, 1000, True)
    assert rival._windows == 1
    for _ in range(50):
        rival.finished(5.9, 1.0, 1000, True)
    assert rival._windows == 1
    rival.finished(6.1, 1.0, 1000, True)
    assert rival._windows == 2


def test_the_window_takes_the_mean_rtt_and_the_most_in_flight() -> None:
    rival = Gradient2()
    for number in range(10):
        rival.finished(1.0, float(number), 10 if number == 0 else 1, True)
    assert rival._long_s == 4.5
    assert rival._limit == pytest.approx(20.8)


def test_the_long_mean_is_plain_at_first_and_slow_after() -> None:
    windows = Windows()
    windows.feed(*[float(n) for n in range(1, 11)])
    assert windows.rival._long_s == pytest.approx(5.5)
    windows.feed(6.0)
    assert windows.rival._long_s == pytest.approx(5.5 + 0.5 * 2.0 / 601.0)


def test_a_long_mean_far_above_comes_down_faster() -> None:
    windows = Windows()
    windows.feed(*[10.0] * 10)
    windows.feed(1.0)
    assert windows.rival._long_s == pytest.approx((10.0 - 9.0 * 2.0 / 601.0) * 0.95)


def test_under_lasting_overload_the_baseline_drifts_up_and_the_limit_with_it() -> None:
    windows = Windows()
    windows.feed(*[1.0] * 100)
    fallen = min(windows.feed(3.0) for _ in range(100))
    assert fallen == 20.0
    assert windows.feed(*[3.0] * 400) == 200.0
