"""What is counted of calls, by llm-d's names and labels; and that clients cannot flood the labels."""

from collections.abc import Callable

import pytest

from adapters.fakellmd import epp_drops
from adapters.fakellmd.epp_metrics import BoundedLabel, EppMetrics
from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.pickers import Pickers
from adapters.fakellmd.settings import LlmdSettings
from tests.support.exposition import Exposition

pytestmark = pytest.mark.req("INT-9", "OPS-2")
Build = Callable[..., LlmdSettings]
MakeCall = Callable[..., Call]
REQUEST = {"model_name": "m", "target_model_name": "m", "fairness_id": "t", "priority": "-5"}
E = "llm_d_epp_"


class Scene:
    def __init__(self, settings: LlmdSettings) -> None:
        self.metrics = EppMetrics(settings.epp.fairness_label_limit)
        pickers = Pickers(Fleet(settings), settings, self.metrics, started_s=0.0)
        self.metrics.watch(pickers.pools, lambda: 0.0)

    def scrape(self) -> Exposition:
        return Exposition(self.metrics.render().decode())


@pytest.fixture
def scene(exact: Build) -> Scene:
    return Scene(exact(epp=EppSettings(flow_control=True)))


def test_a_forwarded_call_is_counted_with_all_its_labels(scene: Scene, make_call: MakeCall) -> None:
    call = make_call(1, priority=-5, fairness_id="t", stream=True)
    instruments = scene.metrics.forwarded(call)
    instruments.first_token(0.25)
    instruments.completed(1.5)
    seen = scene.scrape()
    assert seen.total(f"{E}request_total", **REQUEST) == 1
    assert seen.total(f"{E}request_ttft_seconds_sum", streaming="true", **REQUEST) == 0.25
    assert seen.total(f"{E}request_duration_seconds_sum", **REQUEST) == 1.5
    assert seen.total(f"{E}request_duration_seconds_count", **REQUEST) == 1
    assert seen.total(f"{E}request_error_total") == 0


def test_streams_and_documents_have_first_tokens_of_their_own(
    scene: Scene, make_call: MakeCall
) -> None:
    for number, stream in ((1, True), (2, False), (3, False)):
        scene.metrics.forwarded(make_call(number, stream=stream)).first_token(0.5)
    seen = scene.scrape()
    counts = [
        seen.total(f"{E}request_ttft_seconds_count", streaming=told) for told in ("true", "false")
    ]
    assert counts == [1, 2]
    assert seen.total(f"{E}request_total") == 3


def test_errors_are_counted_by_code_and_an_eviction_is_none(
    scene: Scene, make_call: MakeCall
) -> None:
    call = make_call(1)
    for drop in (
        epp_drops.SHED,
        epp_drops.denied("no"),
        epp_drops.NO_CANDIDATES,
        epp_drops.EVICTED,
    ):
        scene.metrics.refused(call, drop)
    scene.metrics.failed(call)
    seen = scene.scrape()
    assert seen.label(f"{E}request_error_total", "error_code") == {
        *("ResourceExhausted", "Internal", "ServiceUnavailable", "ModelServerError")
    }
    assert seen.total(f"{E}request_error_total") == 4
    assert seen.total(f"{E}request_total") == 0


def test_what_leaves_the_queue_is_counted_by_outcome(scene: Scene, make_call: MakeCall) -> None:
    scene.metrics.queue_left(make_call(1, priority=10), "Dispatched", 0.02)
    scene.metrics.queue_left(make_call(2, priority=-5), "EvictedTTL", 60.0)
    seen = scene.scrape()
    name = f"{E}flow_control_requests_total"
    assert seen.total(name, outcome="Dispatched", priority="10", inference_pool="m") == 1
    assert seen.total(name, outcome="EvictedTTL", priority="-5", inference_pool="m") == 1
    waited = f"{E}flow_control_request_queue_duration_seconds"
    labels = {"fairness_id": "default-flow", "priority": "-5", "outcome": "EvictedTTL"}
    labels |= {"inference_pool": "m", "model_name": "m", "target_model_name": "m"}
    assert seen.total(f"{waited}_sum", **labels) == 60.0
    assert seen.total(f"{waited}_bucket", le="0.025") == 1


def test_the_queues_metrics_are_there_only_with_flow_control(
    exact: Build, make_call: MakeCall
) -> None:
    off = Scene(exact())
    off.metrics.forwarded(make_call(1))
    text = off.metrics.render().decode()
    assert f"{E}request_total{{" in text
    assert "flow_control" not in text


def test_a_client_that_invents_names_fills_the_labels_up_to_their_cap(
    exact: Build, make_call: MakeCall
) -> None:
    scene = Scene(exact(epp=EppSettings(fairness_label_limit=3)))
    for number in range(2000):
        named = {"fairness_id": f"t{number % 9}", "model": f"invented-{number}"}
        scene.metrics.forwarded(make_call(number, **named))
    seen = scene.scrape()
    assert seen.label(f"{E}request_total", "fairness_id") == {"t0", "t1", "t2", "other"}
    models = seen.label(f"{E}request_total", "model_name")
    assert len(models) == 1000
    assert "other" in models
    assert seen.total(f"{E}request_total") == 2000


def test_a_label_is_bounded_and_can_always_be_written() -> None:
    label = BoundedLabel(2)
    assert [label(value) for value in ("a", "\udcff", "b", "c", "a")] == [
        "a",
        "other",
        "b",
        "other",
        "a",
    ]
    assert BoundedLabel(0)("a") == "other"
