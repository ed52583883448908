"""How full a pool is, by what was scraped and by what was counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_settings import Saturation
from adapters.fakellmd.saturation import (
    Load,
    concurrency,
    has_room_by_count,
    has_room_by_metrics,
    utilization,
)
from adapters.fakellmd.scrapes import PodMetrics

pytestmark = pytest.mark.req("INT-9")
DEFAULT = Saturation()


def pod(waiting: int = 0, kv_usage: float = 0.0, at_s: float = 0.0) -> PodMetrics:
    return PodMetrics(at_s, 1, waiting, kv_usage)


@pytest.mark.parametrize(
    ("pods", "saturation"),
    [
        ([], 1.0),
        ([pod()], 0.0),
        ([pod(waiting=5)], 1.0),
        ([pod(waiting=1, kv_usage=0.4)], 0.5),
        ([pod(kv_usage=0.8)], 1.0),
        ([pod(waiting=10), pod()], 1.0),  # the mean hides that one is hot
        ([pod(waiting=50)], 10.0),  # not clamped
    ],
)
def test_utilization_is_the_mean_of_each_pods_most_constrained_resource(
    pods: list[PodMetrics], saturation: float
) -> None:
    assert utilization(pods, 0.0, DEFAULT) == saturation


def test_metrics_that_are_too_old_count_as_a_full_pod() -> None:
    pods = [pod(), pod(at_s=0.5)]
    assert utilization(pods, 0.2, DEFAULT) == 0.0
    assert utilization(pods, 0.25, DEFAULT) == 0.5
    assert utilization(pods, 9.0, DEFAULT) == 1.0
    patient = Saturation(metrics_staleness_s=60.0)
    assert utilization(pods, 9.0, patient) == 0.0


@pytest.mark.parametrize(
    ("mode", "saturation"), [("requests", 0.5), ("tokens", 0.75), ("hybrid", 0.75)]
)
def test_concurrency_is_what_is_in_flight_over_the_capacity_of_all(
    mode: str, saturation: float
) -> None:
    settings = Saturation(
        detector="concurrency",
        concurrency_mode=mode,
        max_concurrency=10,
        max_token_concurrency=100,
    )
    assert concurrency([Load(10, 150), Load(0, 0)], settings) == saturation
    assert concurrency([], settings) == 1.0


def test_as_a_filter_each_detector_looks_at_one_pod_and_grants_headroom() -> None:
    tight = Saturation(max_concurrency=10, max_token_concurrency=100)
    loose = Saturation(max_concurrency=10, max_token_concurrency=100, headroom=0.5)
    assert has_room_by_count(Load(9, 500), tight)
    assert not has_room_by_count(Load(10, 0), tight)
    assert has_room_by_count(Load(14, 0), loose)
    assert has_room_by_metrics(pod(waiting=4), 0.0, tight)
    assert not has_room_by_metrics(pod(waiting=5), 0.0, tight)
    assert has_room_by_metrics(pod(waiting=7, kv_usage=1.0), 0.0, loose)
    assert not has_room_by_metrics(pod(), 9.0, loose)
    both = Saturation(max_concurrency=10, max_token_concurrency=100, concurrency_mode="hybrid")
    assert not has_room_by_count(Load(1, 100), both)
    assert has_room_by_count(Load(9, 99), both)


pods_in_any_state = st.builds(
    PodMetrics, st.integers(0, 3), st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.0, 0.5])
)


@given(
    pods=st.lists(pods_in_any_state, min_size=1, max_size=5),
    more=st.integers(0, 4),
    now_s=st.integers(3, 4),
)
def test_a_longer_queue_never_makes_a_pool_look_emptier(
    pods: list[PodMetrics], more: int, now_s: int
) -> None:
    longer = [PodMetrics(p.at_s, p.running, p.waiting + more, p.kv_usage) for p in pods]
    settings = Saturation(metrics_staleness_s=2.0)
    assert utilization(longer, now_s, settings) >= utilization(pods, now_s, settings)
