"""Candidates, admitters, filters: where a call may go."""

from collections.abc import Callable
from typing import Any

import pytest

from adapters.fakellmd import epp_drops
from adapters.fakellmd.epp_settings import EppSettings, Saturation
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.scheduler import Scheduler
from adapters.fakellmd.settings import LlmdSettings

pytestmark = pytest.mark.req("INT-9")
Build = Callable[..., LlmdSettings]
MakeCall = Callable[..., Call]


class FakeEngine:
    def __init__(self, running: int = 0, waiting: int = 0, *, alive: bool = True) -> None:
        self.running = running
        self.waiting = waiting
        self.alive = alive

    def kv_usage(self, now_s: float) -> float:
        return 0.5


@pytest.fixture
def scheduler_of(exact: Build) -> Callable[..., Scheduler]:
    def build(*engines: FakeEngine, **epp: Any) -> Scheduler:
        settings = exact(epp=EppSettings(scrape_interval_s=0.0, flow_control=True, **epp))
        return Scheduler(engines, settings, started_s=0.0)

    return build


Make = Callable[..., Scheduler]


def test_without_filters_any_pod_will_do_if_one_is_alive(
    scheduler_of: Make, make_call: MakeCall
) -> None:
    engines = [FakeEngine(alive=False), FakeEngine(waiting=99)]
    scheduler = scheduler_of(*engines)
    assert scheduler.alive() == [1]
    assert scheduler.choose(0.0, make_call()) is None
    engines[1].alive = False
    assert scheduler.choose(0.0, make_call()) is epp_drops.NO_CANDIDATES
    assert scheduler.saturation(0.0) == 1.0


def test_only_pods_that_are_alive_count_for_saturation(scheduler_of: Make) -> None:
    engines = [FakeEngine(waiting=10), FakeEngine()]
    scheduler = scheduler_of(*engines)
    assert scheduler.saturation(0.0) == pytest.approx((2.0 + 0.625) / 2)
    engines[0].alive = False
    assert scheduler.saturation(0.0) == pytest.approx(0.625)


def test_the_concurrency_filter_may_leave_no_pod(scheduler_of: Make, make_call: MakeCall) -> None:
    detector = Saturation(detector="concurrency", max_concurrency=1, filters=True)
    scheduler = scheduler_of(FakeEngine(running=1), FakeEngine(), saturation=detector)
    assert scheduler.choose(0.0, make_call()) == 1
    for number, pod in ((1, 1), (2, 0)):
        scheduler.inflight.add(make_call(number))
        scheduler.inflight.place(number, pod)
        assert scheduler.saturation(0.0) == number / 2
    assert scheduler.choose(0.0, make_call(3)) is epp_drops.FILTERED
    scheduler.inflight.remove(2)
    assert scheduler.choose(0.0, make_call(3)) == 0


def test_the_utilization_filter_lets_all_through_rather_than_none(
    scheduler_of: Make, make_call: MakeCall
) -> None:
    engines = [FakeEngine(waiting=9), FakeEngine(running=2, waiting=1), FakeEngine(waiting=4)]
    scheduler = scheduler_of(*engines, saturation=Saturation(filters=True))
    assert scheduler.choose(0.0, make_call()) == 1
    for engine in engines:
        engine.waiting += 5
    assert scheduler.choose(0.0, make_call()) == 1


def test_an_admitters_reason_is_in_the_words_of_a_500(
    scheduler_of: Make, make_call: MakeCall
) -> None:
    engine = FakeEngine(running=5, waiting=50)
    scheduler = scheduler_of(engine, admitters=("latency-slo-admitter", "probabilistic-admitter"))
    denied = scheduler.choose(0.0, make_call(priority=-1, ttft_slo_s=0.1))
    assert isinstance(denied, epp_drops.Drop)
    assert denied.text.endswith(
        "cannot be admitted: no valid endpoint available to serve the request"
    )
    unlucky = scheduler.choose(0.0, make_call(priority=-1))
    assert isinstance(unlucky, epp_drops.Drop)
    assert "probabilistic-admitter: rejected, saturation=10.000 prob=1.00" in unlucky.text
    assert scheduler.choose(0.0, make_call(ttft_slo_s=0.1)) is None


def test_nobody_has_the_prefix_that_a_conditional_decode_asks_for(
    scheduler_of: Make, make_call: MakeCall
) -> None:
    call = make_call(if_available=True)
    assert scheduler_of(FakeEngine()).choose(0.0, call) is epp_drops.NO_PREFIX
