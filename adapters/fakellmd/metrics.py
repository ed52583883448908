"""`/metrics` with vLLM's names, one registry for each fake.

Gauges are read from the engines when somebody scrapes; nothing here is asked by the engines, so
numbers can be stale only as far as the scrape is. `engine` is the replica's number.
Names and buckets: vLLM, as llm-d's endpoint picker and llm-d-inference-sim use them.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.model import Done
from adapters.fakellmd.settings import LlmdSettings
from adapters.fakellmd.text import FinishReason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BLOCK_TOKENS = 16
_LABELS = ("model_name", "engine")
_TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_GAP_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
_REQUEST_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


class EngineMetrics:
    """The instruments of one replica."""

    def __init__(self, metrics: "LlmdMetrics", model: str, replica: int) -> None:
        labels = (model, str(replica))
        self._prompt_tokens = metrics.prompt_tokens.labels(*labels)
        self._generation_tokens = metrics.generation_tokens.labels(*labels)
        self._finished = {
            reason: metrics.finished.labels(*labels, reason)
            for reason in ("stop", "length", "abort", "error")
        }
        self._refused = metrics.refused.labels(*labels, "queue_full")
        self._cache_queries = metrics.cache_queries.labels(*labels)
        metrics.cache_hits.labels(*labels)
        self._ttft = metrics.ttft.labels(*labels)
        self._gap = metrics.gap.labels(*labels)
        self._tpot = metrics.tpot.labels(*labels)
        self._queue = metrics.queue.labels(*labels)
        self._prefill = metrics.prefill.labels(*labels)
        self._decode = metrics.decode.labels(*labels)
        self._inference = metrics.inference.labels(*labels)
        self._e2e = metrics.e2e.labels(*labels)

    def refused(self) -> None:
        """The waiting queue was full."""
        self._refused.inc()

    def first_token(self, ttft_s: float, prompt_tokens: int) -> None:
        """A prompt was processed and its first token came."""
        self._prompt_tokens.inc(prompt_tokens)
        self._cache_queries.inc(prompt_tokens)
        self._generation_tokens.inc()
        self._ttft.observe(ttft_s)

    def token(self, gap_s: float) -> None:
        """A further token came."""
        self._generation_tokens.inc()
        self._gap.observe(gap_s)

    def done(self, done: Done, reason: FinishReason) -> None:
        """A job ended well. vLLM calls a finished tool call "stop"."""
        self._finished["length" if reason == "length" else "stop"].inc()
        self._queue.observe(done.started_s - done.submitted_s)
        self._prefill.observe(done.first_token_s - done.started_s)
        self._decode.observe(done.at_s - done.first_token_s)
        self._inference.observe(done.at_s - done.started_s)
        self._e2e.observe(done.at_s - done.submitted_s)
        if done.output_tokens > 1:
            self._tpot.observe((done.at_s - done.first_token_s) / (done.output_tokens - 1))

    def lost(self) -> None:
        """A job went down with its engine."""
        self._finished["error"].inc()


class LlmdMetrics:
    """What has been counted (in `engines`, by model and replica), and what `fleet` holds now.

    `now_s` is the clock that the fleet is driven by; `settings` returns those in force.
    """

    def __init__(
        self, fleet: Fleet, now_s: Callable[[], float], settings: Callable[[], LlmdSettings]
    ) -> None:
        registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"vllm:{name}", text, (*_LABELS, *labels), registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...] = _REQUEST_BUCKETS
        ) -> Histogram:
            return Histogram(f"vllm:{name}", text, _LABELS, registry=registry, buckets=buckets)

        self.prompt_tokens = counter("prompt_tokens", "Prefill tokens processed.")
        self.generation_tokens = counter("generation_tokens", "Generation tokens processed.")
        self.cache_queries = counter(
            "prefix_cache_queries", "Tokens looked up in the prefix cache."
        )
        self.cache_hits = counter("prefix_cache_hits", "Tokens found in the prefix cache.")
        self.finished = counter("request_success", "Finished requests.", "finished_reason")
        self.refused = counter("admission_rejections", "Requests refused.", "reason")
        self.ttft = histogram("time_to_first_token_seconds", "Time to first token.", _TTFT_BUCKETS)
        self.gap = histogram("inter_token_latency_seconds", "Gap between tokens.", _GAP_BUCKETS)
        self.tpot = histogram(
            "request_time_per_output_token_seconds", "Mean gap of a request.", _GAP_BUCKETS
        )
        self.queue = histogram("request_queue_time_seconds", "Time in the waiting queue.")
        self.prefill = histogram("request_prefill_time_seconds", "Time in prefill.")
        self.decode = histogram("request_decode_time_seconds", "Time in decode.")
        self.inference = histogram("request_inference_time_seconds", "Time in prefill and decode.")
        self.e2e = histogram("e2e_request_latency_seconds", "Whole time in the engine.")
        self.engines = {
            model: [EngineMetrics(self, model, replica) for replica in range(len(engines))]
            for model, engines in fleet.engines.items()
        }
        registry.register(_Gauges(fleet, now_s, settings))
        registry.register(_GapsByTheirOldName(self.gap))
        self._registry = registry

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What the engines hold at the moment of a scrape."""

    def __init__(
        self, fleet: Fleet, now_s: Callable[[], float], settings: Callable[[], LlmdSettings]
    ) -> None:
        self._fleet = fleet
        self._now_s = now_s
        self._settings = settings

    def collect(self) -> Iterable[GaugeMetricFamily]:
        settings, now_s = self._settings(), self._now_s()

        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"vllm:{name}", text, labels=(*_LABELS, *labels))

        running = gauge("num_requests_running", "Requests in the batch.")
        waiting = gauge("num_requests_waiting", "Requests in the waiting queue.")
        cache = gauge("kv_cache_usage_perc", "KV cache in use; 1 is all of it.")
        sizes = gauge("cache_config_info", "The KV cache.", "block_size", "num_gpu_blocks")
        lora = gauge(
            "lora_requests_info",
            "LoRA adapters; the fake has none.",
            *("max_lora", "running_lora_adapters", "waiting_lora_adapters"),
        )
        blocks = str(settings.kv_cache_tokens // _BLOCK_TOKENS)
        for model, engines in self._fleet.engines.items():
            for replica, engine in enumerate(engines):
                labels = (model, str(replica))
                running.add_metric(labels, engine.running)
                waiting.add_metric(labels, engine.waiting)
                cache.add_metric(labels, engine.kv_usage(now_s))
                sizes.add_metric((*labels, str(_BLOCK_TOKENS), blocks), 1)
                lora.add_metric((*labels, "0", "", ""), 0)
        return (running, waiting, cache, sizes, lora)


class _GapsByTheirOldName(Collector):
    """`time_per_output_token_seconds`: what vLLM called the gap between tokens, still scraped by some."""

    def __init__(self, gap: Histogram) -> None:
        self._gap = gap

    def collect(self) -> Iterable[Metric]:
        old, new = "vllm:time_per_output_token_seconds", "vllm:inter_token_latency_seconds"
        for family in self._gap.collect():
            family.name = old
            family.samples = [
                Sample(sample.name.replace(new, old), *sample[1:]) for sample in family.samples
            ]
            yield family
