"""`/metrics` by vLLM's names: what is counted once, what is read at the scrape, for each replica."""

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.metrics import LlmdMetrics
from adapters.fakellmd.model import Done, Job
from adapters.fakellmd.settings import LlmdSettings, ServedModel
from tests.support.exposition import Exposition

pytestmark = pytest.mark.req("INT-9", "OPS-2")
Build = Callable[..., LlmdSettings]
PICKER_READS = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:lora_requests_info",
    "vllm:cache_config_info",
)
"""What llm-d's endpoint picker scrapes from each pod."""


class Scene:
    """Two replicas of one model, and a clock."""

    def __init__(self, settings: LlmdSettings) -> None:
        self.now_s = 0.0
        self.settings = settings
        self.fleet = Fleet(settings)
        self.metrics = LlmdMetrics(self.fleet, lambda: self.now_s, lambda: self.settings)
        self.one, self.two = self.metrics.engines["m"]

    def scrape(self) -> Exposition:
        return Exposition(self.metrics.render().decode())


@pytest.fixture
def scene(exact: Build) -> Scene:
    return Scene(exact(replicas=2, max_num_seqs=1, kv_cache_tokens=160))


def done(output_tokens: int) -> Done:
    return Done(
        job_id=1,
        submitted_s=1.0,
        started_s=1.5,
        first_token_s=2.5,
        at_s=6.5,
        output_tokens=output_tokens,
    )


def test_every_series_is_there_before_the_first_request(scene: Scene) -> None:
    """A rate over a counter that appears with its first count misses that count."""
    families = list(text_string_to_metric_families(scene.metrics.render().decode()))
    assert set(PICKER_READS) <= {family.name for family in families}
    for family in families:
        replicas = {sample.labels["engine"] for sample in family.samples}
        assert replicas == {"0", "1"}, family.name
        assert {sample.labels["model_name"] for sample in family.samples} == {"m"}
    reasons = scene.scrape().label("vllm:request_success_total", "finished_reason")
    assert reasons == set()
    text = scene.metrics.render().decode()
    for reason in ("stop", "length", "abort", "error"):
        assert f'finished_reason="{reason}"' in text


def test_two_models_are_two_sets_of_series(exact: Build) -> None:
    settings = exact(models=(ServedModel(name="a"), ServedModel(name="b")))
    metrics = LlmdMetrics(Fleet(settings), lambda: 0.0, lambda: settings)
    metrics.engines["b"][0].refused()
    seen = Exposition(metrics.render().decode())
    assert seen.total("vllm:admission_rejections_total", model_name="a") == 0
    assert seen.total("vllm:admission_rejections_total", model_name="b") == 1


def test_gauges_are_read_at_the_scrape_and_not_before(scene: Scene) -> None:
    for number in (1, 2, 3):
        scene.fleet.submit(0.0, "m", Job(id=number, prompt_tokens=16, output_tokens=8))
    seen = scene.scrape()
    assert seen.total("vllm:num_requests_running") == 2
    assert seen.total("vllm:num_requests_waiting", engine="0") == 1
    assert seen.total("vllm:kv_cache_usage_perc", engine="1") == pytest.approx(0.1)
    assert seen.total("vllm:cache_config_info", block_size="16", num_gpu_blocks="10") == 2
    scene.now_s = 100.0
    scene.fleet.advance(scene.now_s)
    seen = scene.scrape()
    assert seen.total("vllm:num_requests_running") == 0
    assert seen.total("vllm:num_requests_waiting") == 0
    assert seen.total("vllm:kv_cache_usage_perc") == 0


def test_the_settings_in_force_are_shown(scene: Scene, exact: Build) -> None:
    scene.settings = exact(replicas=2, kv_cache_tokens=320)
    assert scene.scrape().total("vllm:cache_config_info", num_gpu_blocks="20") == 2


def test_a_scrape_changes_nothing(scene: Scene) -> None:
    scene.one.first_token(0.1, 7)
    scene.one.token(0.02)
    assert scene.metrics.render() == scene.metrics.render()


def test_each_token_is_counted_once_and_the_first_one_is_no_gap(scene: Scene) -> None:
    scene.one.first_token(0.5, prompt_tokens=7)
    for _ in range(3):
        scene.one.token(0.25)
    seen = scene.scrape()
    assert seen.total("vllm:generation_tokens_total", engine="0") == 4
    assert seen.total("vllm:prompt_tokens_total") == 7
    assert seen.total("vllm:time_to_first_token_seconds_sum") == 0.5
    assert seen.total("vllm:inter_token_latency_seconds_count") == 3
    assert seen.total("vllm:generation_tokens_total", engine="1") == 0
    # No prefix cache: all is asked for, nothing is found.
    assert seen.total("vllm:prefix_cache_queries_total") == 7
    assert seen.total("vllm:prefix_cache_hits_total") == 0


def test_the_gaps_old_name_tells_the_same(scene: Scene) -> None:
    for gap_s in (0.001, 0.03, 0.5, 200.0):
        scene.two.token(gap_s)
    seen = scene.metrics.render().decode()
    new, old = "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"
    lines = {name: [li for li in seen.splitlines() if li.startswith(name)] for name in (new, old)}
    assert [line.replace(old, new) for line in lines[old]] == lines[new]
    assert lines[old]


def test_the_phases_of_a_request_add_up(scene: Scene) -> None:
    scene.one.done(done(output_tokens=5), "stop")
    seen = scene.scrape()
    phase = {
        name: seen.total(f"vllm:{name}_seconds_sum")
        for name in (
            *("request_queue_time", "request_prefill_time", "request_decode_time"),
            *("request_inference_time", "e2e_request_latency", "request_time_per_output_token"),
        )
    }
    assert phase["request_queue_time"] == 0.5
    assert (
        phase["request_prefill_time"] + phase["request_decode_time"]
        == phase["request_inference_time"]
    )
    assert (
        phase["request_queue_time"] + phase["request_inference_time"]
        == phase["e2e_request_latency"]
    )
    assert phase["request_time_per_output_token"] == 1.0


def test_one_token_alone_has_no_time_per_output_token(scene: Scene) -> None:
    scene.one.done(done(output_tokens=1), "length")
    seen = scene.scrape()
    assert seen.total("vllm:request_time_per_output_token_seconds_count") == 0
    assert seen.total("vllm:e2e_request_latency_seconds_count") == 1


def test_a_finished_tool_call_stopped_and_a_lost_job_is_an_error(scene: Scene) -> None:
    for reason in ("stop", "tool_calls", "length"):
        scene.one.done(done(output_tokens=2), reason)
    scene.one.lost()
    seen = scene.scrape()
    counts = {
        reason: seen.total("vllm:request_success_total", finished_reason=reason)
        for reason in ("stop", "length", "abort", "error")
    }
    assert counts == {"stop": 2, "length": 1, "abort": 0, "error": 1}
    assert seen.total("vllm:e2e_request_latency_seconds_count") == 3
