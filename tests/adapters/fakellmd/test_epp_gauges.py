"""What pools and queues hold, read at the scrape: llm-d's gauge names and labels."""

from collections.abc import Callable
from typing import Any

import pytest

from adapters.fakellmd.endpoint_picker import Forward
from adapters.fakellmd.epp_metrics import EppMetrics
from adapters.fakellmd.epp_settings import BandPolicy, EppSettings, Saturation
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.model import Job
from adapters.fakellmd.pickers import Pickers
from adapters.fakellmd.settings import LlmdSettings
from tests.support.exposition import Exposition

pytestmark = pytest.mark.req("INT-9", "OPS-2")
Build = Callable[..., LlmdSettings]
MakeCall = Callable[..., Call]
E = "llm_d_epp_"
ONE_AT_ONCE = Saturation(detector="concurrency", max_concurrency=1)


class Scene:
    def __init__(self, settings: LlmdSettings) -> None:
        self.now_s = 0.0
        self.fleet = Fleet(settings)
        metrics = EppMetrics(settings.epp.fairness_label_limit)
        self.pickers = Pickers(self.fleet, settings, metrics, started_s=0.0)
        metrics.watch(self.pickers.pools, lambda: self.now_s)
        self._metrics = metrics

    def arrive(self, call: Call) -> None:
        for effect in self.pickers.arrive(self.now_s, call):
            assert isinstance(effect, Forward)
            self.pickers.placed(call, 0)

    def text(self) -> str:
        return self._metrics.render().decode()

    def scrape(self) -> Exposition:
        return Exposition(self.text())


@pytest.fixture
def scene_of(exact: Build) -> Callable[..., Scene]:
    def build(replicas: int = 1, **epp: Any) -> Scene:
        changes = {"max_num_seqs": 1, "kv_cache_tokens": 160, "replicas": replicas}
        return Scene(exact(epp=EppSettings(**epp), **changes))

    return build


Make = Callable[..., Scene]


def test_a_pools_gauges_are_means_over_the_pods_that_are_alive(scene_of: Make) -> None:
    scene = scene_of(replicas=3)
    for number, replica in enumerate((0, 0, 0, 1)):
        job = Job(id=number, prompt_tokens=16, output_tokens=9)
        scene.fleet.submit(0.0, "m", job, replica=replica)
    scene.fleet.engines["m"][2].fail(0.0)
    lines = scene.text().splitlines()
    for line in (
        'ready_endpoints{name="m"} 2.0',
        'average_queue_size{name="m"} 1.0',
        'std_dev_queue_size{name="m"} 1.0',
        'average_running_requests{name="m"} 1.0',
        'average_kv_cache_utilization{name="m"} 0.1',
        'per_endpoint_queue_size{model_server_endpoint="m-0",name="m"} 2.0',
    ):
        assert E + line in lines
    assert "m-2" not in scene.text()
    for replica in (0, 1):
        scene.fleet.engines["m"][replica].fail(0.0)
    seen = scene.scrape()
    assert seen.total(f"{E}ready_endpoints") == seen.total(f"{E}average_queue_size") == 0


def test_the_pods_numbers_are_as_old_as_the_pickers_last_scrape(scene_of: Make) -> None:
    scene = scene_of(flow_control=True, scrape_interval_s=0.5)
    scene.fleet.submit(0.0, "m", Job(id=1, prompt_tokens=16, output_tokens=9))
    assert scene.scrape().total(f"{E}average_running_requests") == 0
    scene.now_s = 0.5
    assert scene.scrape().total(f"{E}average_running_requests") == 1


def test_calls_under_way_are_told_by_tenant_and_by_pod(scene_of: Make, make_call: MakeCall) -> None:
    scene = scene_of()
    for number, tenant in ((1, "a"), (2, "a"), (3, "b")):
        scene.arrive(make_call(number, fairness_id=tenant, prompt_tokens=7))
    seen = scene.scrape()
    assert seen.total(f"{E}request_running", model_name="m", fairness_id="a", priority="0") == 2
    where = {"endpoint_name": "m-0", "namespace": "default", "fairness_id": "a", "priority": "0"}
    assert seen.total(f"{E}inflight_requests", **where) == 2
    assert seen.total(f"{E}inflight_tokens", **where) == 14
    assert seen.label(f"{E}inflight_requests", "producer_name") == {"inflight-load-producer"}
    for number, tenant in ((1, "a"), (2, "a"), (3, "b")):
        scene.pickers.release(0.0, make_call(number, fairness_id=tenant))
    assert scene.scrape().total(f"{E}request_running") == 0


def test_queues_are_told_by_tenant_band_and_pool(scene_of: Make, make_call: MakeCall) -> None:
    objectives = {"batch": -5}
    scene = scene_of(flow_control=True, saturation=ONE_AT_ONCE, objectives=objectives)
    for number, priority in ((1, 0), (2, 0), (3, -5), (4, -5)):
        scene.arrive(make_call(number, priority=priority, fairness_id="t", body_bytes=50))
    seen = scene.scrape()
    labels = {"fairness_id": "t", "inference_pool": "m", "model_name": "m"}
    assert seen.total(f"{E}flow_control_queue_size", priority="-5", **labels) == 2
    assert seen.total(f"{E}flow_control_queue_bytes", priority="0", **labels) == 50
    used = f"{E}flow_control_capacity_utilization_requests"
    assert seen.total(used, priority="-5", inference_pool="m") == 2 / 5000
    share = seen.total(f"{E}flow_control_capacity_utilization_bytes", priority="-5")
    assert share == pytest.approx(1e-7)
    full = f"{E}flow_control_pool_saturation"
    assert seen.total(full, inference_pool="m", stage="effective") == 1
    assert seen.total(full, inference_pool="m", stage="decode") == 1
    assert seen.total(f"{E}flow_control_revocations_issued_total", inference_pool="m") == 0


def test_pods_that_nobody_hears_of_are_stale(scene_of: Make) -> None:
    scene = scene_of(replicas=2, flow_control=True, scrape_paused=True)
    stale = f"{E}flow_control_stale_endpoints"
    assert scene.scrape().total(stale, detector="utilization-detector") == 0
    scene.now_s = 0.3
    seen = scene.scrape()
    assert seen.total(stale) == 2
    assert seen.total(f"{E}flow_control_pool_saturation", stage="effective") == 1


def test_the_fairness_index_is_there_where_bands_share_by_attained_service(
    scene_of: Make, make_call: MakeCall
) -> None:
    index = f"{E}program_aware_jains_fairness_index"
    assert scene_of(flow_control=True).scrape().label(index, "x") == set()
    scene = scene_of(flow_control=True, default_band=BandPolicy(fairness="program-aware"))
    assert scene.scrape().total(index) == 1
    for now_s, tenant, tokens in ((0.0, "a", 9), (0.0, "b", 9), (1.0, "a", 900), (1.0, "b", 9)):
        scene.now_s = now_s
        call = make_call(int(now_s) * 2 + (tenant == "b"), fairness_id=tenant)
        scene.arrive(call)
        scene.pickers.completed(now_s, call, tokens)
        scene.pickers.release(now_s, call)
    assert 0.5 < scene.scrape().total(index) < 0.6
