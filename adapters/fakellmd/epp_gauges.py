"""What the endpoint pickers hold at the moment of a scrape, as llm-d's gauges. Nothing is counted here.

The pods' own numbers are the picker's: as old as its last scrape of them, where it makes any.
Names: llm-d-router `docs/metrics.md`.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean, pstdev

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.fakellmd.endpoint_picker import EndpointPicker
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.saturation import stale

PREFIX = "llm_d_epp_"
MODEL = ("model_name", "target_model_name")
REQUEST = (*MODEL, "fairness_id", "priority")
_NAMESPACE = "default"
_PRODUCER = "inflight-load-producer"
_QUEUE = ("fairness_id", "priority", "inference_pool", *MODEL)
_DETECTOR = "utilization-detector"

Labels = Callable[[Call], tuple[str, ...]]
"""The values of model_name, target_model_name, fairness_id and priority."""


class PoolGauges(Collector):
    """Pods, and calls under way."""

    def __init__(
        self, pools: Mapping[str, EndpointPicker], now_s: Callable[[], float], labels: Labels
    ) -> None:
        self._pools = pools
        self._now_s = now_s
        self._labels = labels

    def collect(self) -> Iterable[Metric]:
        yield from self._pods()
        yield from self._calls()

    def _pods(self) -> Iterable[Metric]:
        ready = _gauge("ready_endpoints", "Pods that may be chosen.", "name")
        queue = _gauge("per_endpoint_queue_size", "Waiting.", "name", "model_server_endpoint")
        spread = {
            (what, of): _gauge(f"{what}_{of}", "Over the ready pods.", "name")
            for what in ("average", "std_dev")
            for of in ("kv_cache_utilization", "queue_size", "running_requests")
        }
        for name, pool in self._pools.items():
            seen = pool.scheduler.scrapes.read(self._now_s())
            alive = [pod for pod, engine in enumerate(pool.scheduler.engines) if engine.alive]
            ready.add_metric((name,), len(alive))
            for pod in alive:
                queue.add_metric((name, f"{name}-{pod}"), seen[pod].waiting)
            values = {
                "kv_cache_utilization": [seen[pod].kv_usage for pod in alive],
                "queue_size": [float(seen[pod].waiting) for pod in alive],
                "running_requests": [float(seen[pod].running) for pod in alive],
            }
            for (what, of), family in spread.items():
                statistic = fmean if what == "average" else pstdev
                family.add_metric((name,), statistic(values[of]) if alive else 0.0)
        return (ready, queue, *spread.values())

    def _calls(self) -> Iterable[Metric]:
        running = _gauge("request_running", "Requests under way.", *REQUEST)
        where = ("endpoint_name", "namespace", "producer_name", "fairness_id", "priority")
        requests = _gauge("inflight_requests", "Requests sent and not ended.", *where)
        tokens = _gauge("inflight_tokens", "Prompt tokens sent and not ended.", *where)
        by_request: Tally[tuple[str, ...]] = Tally()
        by_pod: Tally[tuple[str, ...]] = Tally()
        tokens_by_pod: Tally[tuple[str, ...]] = Tally()
        for name, pool in self._pools.items():
            for flight in pool.scheduler.inflight.flights():
                labels = self._labels(flight.call)
                place = (f"{name}-{flight.pod}", _NAMESPACE, _PRODUCER, *labels[2:])
                by_request[labels] += 1
                by_pod[place] += 1
                tokens_by_pod[place] += flight.call.prompt_tokens
        counts = ((running, by_request), (requests, by_pod), (tokens, tokens_by_pod))
        for family, tally in counts:
            for values, number in tally.items():
                family.add_metric(values, number)
        return (running, requests, tokens)


class FlowGauges(Collector):
    """Queues, and what keeps them shut; nothing for pools without flow control."""

    def __init__(
        self, pools: Mapping[str, EndpointPicker], now_s: Callable[[], float], labels: Labels
    ) -> None:
        self._pools = pools
        self._now_s = now_s
        self._labels = labels

    def collect(self) -> Iterable[Metric]:
        yield from self._queues()
        yield from self._bands()
        yield from self._saturation()
        yield from self._fairness()

    def _queues(self) -> Iterable[Metric]:
        size = _gauge("flow_control_queue_size", "Requests that wait.", *_QUEUE)
        held = _gauge("flow_control_queue_bytes", "Bytes that wait.", *_QUEUE)
        sizes: Tally[tuple[str, ...]] = Tally()
        total_bytes: Tally[tuple[str, ...]] = Tally()
        for name, pool in self._pools.items():
            for call in pool.queued():
                model, target, fairness_id, priority = self._labels(call)
                labels = (fairness_id, priority, name, model, target)
                sizes[labels] += 1
                total_bytes[labels] += call.body_bytes
        for family, tally in ((size, sizes), (held, total_bytes)):
            for values, number in tally.items():
                family.add_metric(values, number)
        return (size, held)

    def _bands(self) -> Iterable[Metric]:
        where = ("priority", "inference_pool")
        text = "Share of a band's room in use."
        requests = _gauge("flow_control_capacity_utilization_requests", text, *where)
        held = _gauge("flow_control_capacity_utilization_bytes", text, *where)
        for name, pool in self._pools.items():
            for band in pool.flow.bands if pool.flow is not None else ():
                labels, policy = (str(band.priority), name), band.policy
                if policy.max_requests:
                    requests.add_metric(labels, band.requests / policy.max_requests)
                if policy.max_bytes:
                    held.add_metric(labels, band.bytes / policy.max_bytes)
        return (requests, held)

    def _saturation(self) -> Iterable[Metric]:
        now_s = self._now_s()
        full = _gauge("flow_control_pool_saturation", "1 is full.", "inference_pool", "stage")
        old = _gauge("flow_control_stale_endpoints", "Pods of unknown load.", "detector")
        issued = CounterMetricFamily(
            PREFIX + "flow_control_revocations_issued", "Evictions.", labels=("inference_pool",)
        )
        stale_pods = 0
        for name, pool in self._pools.items():
            settings = pool.scheduler.settings.epp.saturation
            for stage in ("decode", "effective"):
                full.add_metric((name, stage), pool.saturation(now_s))
            seen = pool.scheduler.scrapes.read(now_s)
            stale_pods += sum(stale(metrics, now_s, settings) for metrics in seen)
            issued.add_metric((name,), pool.reclamation.issued)
        old.add_metric((_DETECTOR,), stale_pods)
        return (full, old, issued)

    def _fairness(self) -> Iterable[Metric]:
        """llm-d has one value a process, which serves one pool: here, the least fair pool's."""
        jain = _gauge("program_aware_jains_fairness_index", "1 is equal service to all.")
        indices = [
            pool.ledger.jain_index()
            for pool in self._pools.values()
            if pool.flow is not None and pool.flow.is_program_aware
        ]
        if indices:
            jain.add_metric((), min(indices))
        return (jain,)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)
