"""`/metrics` of the endpoint pickers, by llm-d's names (`llm_d_epp_*`): what is counted, for each fake.

The flow-control families are there only while flow control is on, as in llm-d. Label values that
clients choose are capped: beyond the cap, `other`. What is read at a scrape is in `epp_gauges`.
Source: llm-d-router `docs/metrics.md`, `pkg/epp/metrics/{metrics,cardinality}.go`.
"""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from adapters.fakellmd.endpoint_picker import EndpointPicker
from adapters.fakellmd.epp_drops import Drop, Outcome
from adapters.fakellmd.epp_gauges import MODEL, PREFIX, REQUEST, FlowGauges, PoolGauges
from adapters.fakellmd.inflight import Call

MODEL_LABELS = 1000
OTHER = "other"
_DURATION_BUCKETS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0),
    *(1200.0, 1800.0, 2700.0, 3600.0),
)
_QUEUE_BUCKETS = (
    *(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0),
)


class BoundedLabel:
    """The first `limit` values that it sees, and `other` for all that follow."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            return OTHER
        # A header may bring bytes that are not UTF-8, which no exposition can carry.
        if value != value.encode(errors="replace").decode():
            return OTHER
        self._seen.add(value)
        return value


class CallMetrics:
    """The instruments of forwarded calls that have the same labels."""

    def __init__(self, metrics: "EppMetrics", labels: tuple[str, ...], stream: bool) -> None:
        self.forwarded = metrics.total.labels(*labels).inc
        self.completed = metrics.duration.labels(*labels).observe
        """From the call's receipt to the end of its answer, seconds."""
        self.first_token = metrics.ttft.labels(*labels, "true" if stream else "false").observe
        """From the call's receipt to its first content; without a stream, that comes with all the rest."""


class EppMetrics:
    """Counts what becomes of calls; a `Witness` of what leaves the queues."""

    def __init__(self, fairness_label_limit: int) -> None:
        self._requests = CollectorRegistry()
        self._flow = CollectorRegistry()
        requests, flow = self._requests, self._flow
        name = PREFIX.__add__
        self.total = Counter(name("request"), "Requests.", REQUEST, registry=requests)
        self.errors = Counter(
            name("request_error"), "Failed requests.", (*REQUEST, "error_code"), registry=requests
        )
        self.duration = Histogram(
            name("request_duration_seconds"),
            "From a request's receipt to its end.",
            REQUEST,
            registry=requests,
            buckets=_DURATION_BUCKETS,
        )
        self.ttft = Histogram(
            name("request_ttft_seconds"),
            "From a request's receipt to its first token.",
            (*REQUEST, "streaming"),
            registry=requests,
            buckets=_DURATION_BUCKETS,
        )
        self.queue_duration = Histogram(
            name("flow_control_request_queue_duration_seconds"),
            "Time in the queue.",
            ("fairness_id", "priority", "outcome", "inference_pool", *MODEL),
            registry=flow,
            buckets=_QUEUE_BUCKETS,
        )
        self.outcomes = Counter(
            name("flow_control_requests"),
            "Requests by what became of them.",
            ("outcome", "priority", "inference_pool"),
            registry=flow,
        )
        self._fairness = BoundedLabel(fairness_label_limit)
        self._model = BoundedLabel(MODEL_LABELS)
        self._series: dict[tuple[bool, tuple[str, ...]], CallMetrics] = {}

    def watch(self, pools: Mapping[str, EndpointPicker], now_s: Callable[[], float]) -> None:
        """Read gauges from these; to be called once. `now_s` is the engines' clock."""
        self._requests.register(PoolGauges(pools, now_s, self.labels))
        self._flow.register(FlowGauges(pools, now_s, self.labels))
        self._pools = pools

    def render(self) -> bytes:
        """The text exposition."""
        text = generate_latest(self._requests)
        if any(pool.flow is not None for pool in self._pools.values()):
            text += generate_latest(self._flow)
        return text

    def labels(self, call: Call) -> tuple[str, ...]:
        """The values of model_name, target_model_name, fairness_id and priority."""
        fairness_id = self._fairness(call.wants.fairness_id)
        return (self._model(call.model), self._model(call.target), fairness_id, str(call.priority))

    # -- what happens -------------------------------------------------------------------

    def forwarded(self, call: Call) -> CallMetrics:
        """It goes to a pod; the rest of it is for the instruments that are returned."""
        key = (call.stream, self.labels(call))
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = CallMetrics(self, key[1], call.stream)
        series.forwarded()
        return series

    def refused(self, call: Call, drop: Drop) -> None:
        if drop.code is not None:
            self.errors.labels(*self.labels(call), drop.code).inc()

    def queue_left(self, call: Call, outcome: Outcome, waited_s: float) -> None:
        model, target, fairness_id, priority = self.labels(call)
        pool = call.target
        self.outcomes.labels(outcome, priority, pool).inc()
        labels = (fairness_id, priority, outcome, pool, model, target)
        self.queue_duration.labels(*labels).observe(waited_s)

    def failed(self, call: Call) -> None:
        """The engine answered a forwarded call with an error."""
        self.errors.labels(*self.labels(call), "ModelServerError").inc()
