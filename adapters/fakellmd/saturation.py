"""How full a pool is: llm-d's saturation detectors, and what they are as scheduling filters. Pure.

    utilization   mean over pods of max(waiting / 5, kv / 0.8); metrics missing or too old count 1
    concurrency   in flight / capacity over the whole pool; `hybrid` is the larger of both ratios

Not clamped above 1; an empty pool is 1.0. The mean hides a hot pod (llm-d-router #2173), as it does
in llm-d. Source: llm-d-router `pkg/epp/framework/plugins/flowcontrol/saturationdetector/**`.
"""

from collections.abc import Sequence

import msgspec

from adapters.fakellmd.epp_settings import Saturation
from adapters.fakellmd.scrapes import PodMetrics


class Load(msgspec.Struct, frozen=True):
    """What the picker itself has sent to one pod and has not seen end."""

    requests: int
    tokens: int


def stale(metrics: PodMetrics, now_s: float, settings: Saturation) -> bool:
    return now_s - metrics.at_s > settings.metrics_staleness_s


def score(metrics: PodMetrics, settings: Saturation) -> float:
    """One pod's most constrained resource, as a share of its threshold."""
    queue = metrics.waiting / settings.queue_depth_threshold
    return max(queue, metrics.kv_usage / settings.kv_cache_util_threshold)


def utilization(pods: Sequence[PodMetrics], now_s: float, settings: Saturation) -> float:
    """Fails closed: a pod that nobody knows anything fresh of is full."""
    if not pods:
        return 1.0
    scores = [1.0 if stale(pod, now_s, settings) else score(pod, settings) for pod in pods]
    return sum(scores) / len(scores)


def concurrency(loads: Sequence[Load], settings: Saturation) -> float:
    if not loads:
        return 1.0
    requests = sum(load.requests for load in loads) / (len(loads) * settings.max_concurrency)
    tokens = sum(load.tokens for load in loads) / (len(loads) * settings.max_token_concurrency)
    mode = settings.concurrency_mode
    return requests if mode == "requests" else tokens if mode == "tokens" else max(requests, tokens)


def has_room_by_metrics(metrics: PodMetrics, now_s: float, settings: Saturation) -> bool:
    """`utilization` as a filter: whether a request may go to this pod."""
    room = 1.0 + settings.headroom
    return (
        not stale(metrics, now_s, settings)
        and metrics.waiting < settings.queue_depth_threshold * room
        and metrics.kv_usage < settings.kv_cache_util_threshold * room
    )


def has_room_by_count(load: Load, settings: Saturation) -> bool:
    """`concurrency` as a filter: whether a request may go to this pod."""
    room = 1.0 + settings.headroom
    requests = load.requests < int(settings.max_concurrency * room)
    tokens = load.tokens < int(settings.max_token_concurrency * room)
    mode = settings.concurrency_mode
    return requests if mode == "requests" else tokens if mode == "tokens" else (requests and tokens)
