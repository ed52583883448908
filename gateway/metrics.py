"""The metrics of `contracts.metrics`, as Prometheus objects, and how a finished request moves them."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.inference import InferRequest, Operation
from contracts.metrics import METRICS, Metric
from gateway.executor import Progress
from gateway.pools import Pool

Family = Counter | Gauge | Histogram
OTHER_OUTCOME = "other"
"""An attempt's fault with a code of the engine's own: those may be any number of texts."""
# A `_created` series beside each one would be in no contract, and is read by nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped


def _make(spec: Metric, registry: CollectorRegistry) -> Family:
    match spec.kind:
        case "counter":
            return Counter(spec.name, spec.help, spec.labels, registry=registry)
        case "gauge":
            return Gauge(spec.name, spec.help, spec.labels, registry=registry)
        case "histogram":
            return Histogram(
                spec.name, spec.help, spec.labels, registry=registry, buckets=spec.buckets
            )


def _codes(base: type[GatewayError]) -> Iterator[str]:
    yield base.code
    for leaf in base.__subclasses__():
        yield from _codes(leaf)


_OUTCOMES = frozenset(_codes(GatewayError)) | {
    "context_length_exceeded",
    "upstream_auth",
    "upstream_first_token_timeout",
    "upstream_idle_timeout",
    "upstream_not_found",
    "upstream_rate_limited",
    "upstream_total_timeout",
    "upstream_unavailable",
}


def _outcome(code: str) -> str:
    return code if code in _OUTCOMES else OTHER_OUTCOME


class Metrics:
    """One registry a gateway, so that two of them in a process do not mix."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._families = {spec.name: _make(spec, self.registry) for spec in METRICS}
        self._before_scrape: list[Callable[[], None]] = []
        self.gauge("setpoint_build_info", version).set(1)

    def counter(self, name: str, *labels: str) -> Counter:
        family = self._families[name]
        assert isinstance(family, Counter)
        return family.labels(*labels) if labels else family

    def gauge(self, name: str, *labels: str) -> Gauge:
        family = self._families[name]
        assert isinstance(family, Gauge)
        return family.labels(*labels) if labels else family

    def histogram(self, name: str, *labels: str) -> Histogram:
        family = self._families[name]
        assert isinstance(family, Histogram)
        return family.labels(*labels) if labels else family

    def before_scrape(self, action: Callable[[], None]) -> None:
        """Set gauges only when somebody looks."""
        self._before_scrape.append(action)

    def exposition(self) -> bytes:
        for action in self._before_scrape:
            action()
        return generate_latest(self.registry)

    # -- what moves them ----------------------------------------------------------------

    def request(
        self,
        infer: InferRequest,
        decision: Decision,
        progress: Progress,
        *,
        model: str,
        status: int,
        ended_s: float,
    ) -> None:
        """A request has met its fate. `model` must be one of the catalogue's, or "unknown": what
        clients write may not become labels."""
        last = progress.attempts[-1] if progress.attempts else None
        engine = (last.engine, last.version or "unknown") if last else ("none", "none")
        intent = decision.intent or "none"
        operation = infer.operation
        self.counter(
            "setpoint_requests_total", operation, model, intent, str(status), *engine
        ).inc()
        self.histogram(
            "setpoint_request_duration_seconds", operation, model, intent, *engine
        ).observe(ended_s - progress.accepted_s)
        for rule in decision.rules:
            if rule.verdict not in ("no_match", "not_evaluated"):
                self.counter("setpoint_rules_total", rule.rule, rule.verdict).inc()
        for attempt in progress.attempts:
            self.counter(
                "setpoint_attempts_total",
                attempt.target.pool,
                "ok" if attempt.fault is None else _outcome(attempt.fault),
                attempt.engine,
                attempt.version or "unknown",
            ).inc()
        if progress.target is not None:
            self.histogram("setpoint_queue_seconds", progress.target.pool).observe(progress.queue_s)
            self._tokens(model, intent, progress, progress.target.pool, engine)

    def refusal(self, operation: Operation, status: int, elapsed_s: float) -> None:
        """A request was refused before anything was decided about it."""
        labels = ("none", "none")
        engine = ("none", "none")
        self.counter("setpoint_requests_total", operation, *labels, str(status), *engine).inc()
        self.histogram("setpoint_request_duration_seconds", operation, *labels, *engine).observe(
            elapsed_s
        )

    def _tokens(
        self, model: str, intent: str, progress: Progress, pool: str, engine: tuple[str, str]
    ) -> None:
        first_s, usage = progress.first_token_s, progress.usage
        if first_s is not None:
            self.histogram("setpoint_ttft_seconds", model, intent, *engine).observe(
                first_s - progress.accepted_s
            )
            if progress.dispatched_s is not None:
                self.histogram("setpoint_upstream_ttft_seconds", model, pool, *engine).observe(
                    first_s - progress.dispatched_s
                )
        if usage is None:
            return
        counts = {
            "prompt": usage.prompt_tokens,
            "completion": usage.completion_tokens,
            "cached": usage.cached_tokens or 0,
            "reasoning": usage.reasoning_tokens or 0,
        }
        for direction, count in counts.items():
            self.counter("setpoint_tokens_total", model, direction, *engine).inc(count)
        tpot_s = progress.tpot_s
        if tpot_s is not None:
            self.histogram("setpoint_tpot_seconds", model, intent, *engine).observe(tpot_s)

    def watch_pools(self, pools: Iterable[Pool]) -> None:
        """Show the pools' state at every scrape."""

        def look() -> None:
            # An endpoint that changed its version, or lost it, must not go on under the old one.
            self._families["setpoint_endpoint_ready"].clear()
            for pool in pools:
                now = pool.signals()
                labels = (pool.id, pool.engine)
                self.gauge("setpoint_pool_inflight_requests", *labels).set(now.inflight)
                self.gauge("setpoint_pool_queued_requests", *labels).set(now.queued)
                self.gauge("setpoint_pool_limit_requests", *labels).set(now.limit)
                for endpoint in pool.endpoints:
                    version = endpoint.state.version or "unknown"
                    number = str(endpoint.index + 1)
                    self.gauge(
                        "setpoint_endpoint_ready", pool.id, number, pool.engine, version
                    ).set(endpoint.state.ready)

        self.before_scrape(look)
