"""Metrics are those of the last scrape: at its time, however late somebody looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.scrapes import PodMetrics, Scrapes

pytestmark = pytest.mark.req("INT-9")


class FakePod:
    """A pod whose queue is set by hand, and which counts how often it is asked."""

    def __init__(self) -> None:
        self.running = 1
        self.waiting = 0
        self.asked = 0

    def kv_usage(self, now_s: float) -> float:
        self.asked += 1
        return 0.25


def settings(interval_s: float, **members: object) -> EppSettings:
    return EppSettings(flow_control=True, scrape_interval_s=interval_s, **members)


def test_what_is_read_is_what_the_last_scrape_found() -> None:
    pod = FakePod()
    scrapes = Scrapes([pod], settings(0.5), started_s=10.0)
    scrapes.look(10.2)
    pod.waiting = 3
    assert scrapes.read(10.4) == [PodMetrics(10.0, 1, 0, 0.25)]
    assert scrapes.next_s() == 10.5
    scrapes.look(11.7)  # the change after this look is none of the scrapes' at 10.5, 11.0, 11.5
    pod.waiting = 9
    assert scrapes.read(11.9) == [PodMetrics(11.5, 1, 3, 0.25)]
    assert scrapes.read(12.0) == [PodMetrics(12.0, 1, 9, 0.25)]


def test_without_an_interval_metrics_are_always_of_now() -> None:
    pod = FakePod()
    scrapes = Scrapes([pod], settings(0.0), started_s=0.0)
    pod.waiting = 3
    assert scrapes.read(1.0) == [PodMetrics(1.0, 1, 3, 0.25)]
    assert scrapes.next_s() == float("inf")


def test_nobody_asks_the_pods_where_nothing_depends_on_it() -> None:
    pod = FakePod()
    scrapes = Scrapes([pod], EppSettings(), started_s=0.0)
    asked = pod.asked
    for now_s in range(100):
        scrapes.look(float(now_s))
    assert pod.asked == asked
    pod.waiting = 2
    assert scrapes.read(100.0)[0].waiting == 2


def test_paused_scrapes_leave_metrics_as_they_were_and_let_them_grow_old() -> None:
    pod = FakePod()
    for interval_s in (0.0, 0.5):
        scrapes = Scrapes([pod], settings(interval_s), started_s=0.0)
        scrapes.reconfigure(3.0, settings(interval_s, scrape_paused=True))
        before = scrapes.read(3.0)
        pod.waiting += 1
        assert scrapes.read(99.0) == before
        assert before[0].at_s <= 3.0
        scrapes.reconfigure(99.0, settings(interval_s))
        assert scrapes.read(99.0) == [PodMetrics(99.0, 1, pod.waiting, 0.25)]


@given(
    interval=st.sampled_from([0.05, 0.1, 0.3, 0.5]),
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=30),
)
def test_a_scrape_sees_the_state_at_its_tick_and_is_never_older_than_the_interval(
    interval: float, steps: list[tuple[int, int]]
) -> None:
    pod = FakePod()
    scrapes = Scrapes([pod], settings(interval), started_s=0.0)
    history = [(0.0, 0)]
    now_s = 0.0
    for hundredths, waiting in steps:
        now_s += hundredths / 100
        scrapes.look(now_s)
        seen = scrapes.read(now_s)[0]
        assert now_s - interval < seen.at_s + 1e-6 * interval
        assert seen.at_s <= now_s + 1e-6
        before = [value for at_s, value in history if at_s < seen.at_s - 1e-9]
        then = [value for at_s, value in history if abs(at_s - seen.at_s) <= 1e-9]
        assert seen.waiting in {*then, before[-1] if before else 0}
        assert scrapes.next_s() > now_s
        pod.waiting = waiting
        history.append((now_s, waiting))
