"""The metrics of `contracts.metrics`, as Prometheus objects, and how a finished request moves them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.events import Usage
from contracts.inference import InferRequest, Operation
from contracts.metrics import METRICS, Metric
from gateway.endpoint import Endpoint
from gateway.instruments import Counter, CounterFamily, Histogram, HistogramFamily
from gateway.pools import Pool
from gateway.progress import Progress, Took

Family = CounterFamily | Gauge | HistogramFamily
Key = TypeVar("Key")
Value = TypeVar("Value")
NO_ENGINE = ("none", "none")
DIRECTIONS = ("prompt", "completion", "cached", "reasoning")
LOAD_OF_AN_ENDPOINT = (
    "backend_waiting_requests",
    "backend_running_requests",
    "kv_cache_usage_ratio",
)
LIMITS_OF_AN_ENDPOINT = ("ratelimit_remaining_requests", "ratelimit_remaining_tokens")
OF_AN_ENDPOINT = ("ready", "self_test", *LOAD_OF_AN_ENDPOINT, *LIMITS_OF_AN_ENDPOINT)
KEPT_CHILDREN = 1024
MOST_TOKENS = 2**53
"""An engine may claim any number, and not each is one that a counter can take."""
TOGETHER = 16
"""Requests that move what is shown at once, in 30 us. One by one each takes seven times as long."""
OTHER_OUTCOME = "other"
"""An attempt's fault with a code of the engine's own: those may be any number of texts."""


def _make(spec: Metric, registry: CollectorRegistry) -> Family:
    if spec.kind == "gauge":
        return Gauge(spec.name, spec.help, spec.labels, registry=registry)
    family = CounterFamily(spec) if spec.kind == "counter" else HistogramFamily(spec)
    registry.register(family)
    return family


def _codes(base: type[GatewayError]) -> Iterator[str]:
    yield base.code
    for leaf in base.__subclasses__():
        yield from _codes(leaf)


ATTEMPT_CODES = {
    "answer_too_large",
    "content_policy_violation",
    "context_length_exceeded",
    "hedge_lost",
    "resume_diverged",
    "upstream_auth",
    "upstream_first_token_timeout",
    "upstream_idle_timeout",
    "upstream_not_found",
    "upstream_overloaded",
    "upstream_rate_limited",
    "upstream_too_slow",
    "upstream_total_timeout",
    "upstream_unavailable",
}
"""The gateway's own words for how an attempt ended, beside those of the classes of errors."""
_OUTCOMES = ATTEMPT_CODES.union(_codes(GatewayError))


def bounded_code(code: str) -> str:
    """An error's code as a label."""
    return code if code in _OUTCOMES else OTHER_OUTCOME


def _keep(kept: dict[Key, Value], key: Key, value: Value) -> Value:
    """Remember `value`. Labels are few, by configuration; were they not, the memory begins again."""
    if len(kept) >= KEPT_CHILDREN:
        kept.clear()
    kept[key] = value
    return value


_Kind = tuple[Operation | Literal["task"], str, str, int, str | None, str, str]
"""What tells requests apart: operation, model, intent, status, pool, engine and its version."""


_Over = tuple[Took, Usage | None]
"""What a request that is over moves: how long it took, and its tokens."""


class _Children:
    """What requests of one kind move, kept because finding each by its labels takes longer than to
    move it. Each comes to be when it is first moved: one that nothing has moved is not shown."""

    def __init__(self, metrics: "Metrics", kind: _Kind) -> None:
        self._metrics = metrics
        self._operation, self._model, self._intent, self._status, pool, *self._engine = kind
        self._pool = pool

    def move(self, over: list[_Over]) -> None:
        """All of these have met their fate."""
        self.requests.inc(len(over))
        self.duration.observe_all([took.e2e_s for took, _ in over])
        if self._pool is None:  # they never came to a queue
            return
        self.queue.observe_all([took.queue_s for took, _ in over])
        if times := [took.ttft_s for took, _ in over if took.ttft_s is not None]:
            self.ttft.observe_all(times)
        if times := [took.upstream_ttft_s for took, _ in over if took.upstream_ttft_s is not None]:
            self.upstream_ttft.observe_all(times)
        if times := [took.tpot_s for took, _ in over if took.tpot_s is not None]:
            self.tpot.observe_all(times)
        if usages := [usage for _, usage in over if usage is not None]:
            self._move_tokens(usages)

    def _move_tokens(self, usages: list[Usage]) -> None:
        counts = [
            (u.prompt_tokens, u.completion_tokens, u.cached_tokens or 0, u.reasoning_tokens or 0)
            for u in usages
        ]
        for counter, tokens in zip(self.tokens, zip(*counts, strict=True), strict=True):
            counter.inc(min(sum(tokens), MOST_TOKENS))

    @cached_property
    def requests(self) -> Counter:
        return self._metrics.counter(
            "setpoint_requests_total",
            *(self._operation, self._model, self._intent, str(self._status), *self._engine),
        )

    @cached_property
    def duration(self) -> Histogram:
        return self._metrics.histogram(
            "setpoint_request_duration_seconds",
            *(self._operation, self._model, self._intent, *self._engine),
        )

    @cached_property
    def queue(self) -> Histogram:
        return self._metrics.histogram("setpoint_queue_seconds", self._pool or "none")

    @cached_property
    def ttft(self) -> Histogram:
        return self._metrics.histogram(
            "setpoint_ttft_seconds", self._model, self._intent, *self._engine
        )

    @cached_property
    def upstream_ttft(self) -> Histogram:
        return self._metrics.histogram(
            "setpoint_upstream_ttft_seconds", self._model, self._pool or "none", *self._engine
        )

    @cached_property
    def tpot(self) -> Histogram:
        return self._metrics.histogram(
            "setpoint_tpot_seconds", self._model, self._intent, *self._engine
        )

    @cached_property
    def tokens(self) -> tuple[Counter, ...]:
        """In the order of `DIRECTIONS`; all of them are shown, as soon as there are any tokens."""
        return tuple(
            self._metrics.counter("setpoint_tokens_total", self._model, direction, *self._engine)
            for direction in DIRECTIONS
        )


class Metrics:
    """One registry a gateway, so that two of them in a process do not mix."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._families = {spec.name: _make(spec, self.registry) for spec in METRICS}
        self._before_scrape: list[Callable[[], None]] = []
        self._children: dict[_Kind, _Children] = {}
        self._over: defaultdict[_Kind, list[_Over]] = defaultdict(list)
        """What has moved nothing yet: it does so when somebody looks, or `TOGETHER` have gathered."""
        self._gathered = 0
        self._times: defaultdict[tuple[str, ...], int] = defaultdict(int)
        """What is only counted, by its metric and labels: how often since then."""
        self.gauge("setpoint_build_info", version).set(1)
        self.gauge("setpoint_workers").set(1)

    def counter(self, name: str, *labels: str) -> Counter:
        family = self._families[name]
        assert isinstance(family, CounterFamily)
        return family.child(*labels)

    def gauge(self, name: str, *labels: str) -> Gauge:
        family = self._families[name]
        assert isinstance(family, Gauge)
        return family.labels(*labels) if labels else family

    def histogram(self, name: str, *labels: str) -> Histogram:
        family = self._families[name]
        assert isinstance(family, HistogramFamily)
        return family.child(*labels)

    def clear(self, name: str) -> None:
        """Forget the children of a family: what it shows is set anew."""
        self._families[name].clear()

    def before_scrape(self, action: Callable[[], None]) -> None:
        """Set gauges, or count what is still to be counted, when somebody looks."""
        self._before_scrape.append(action)

    def exposition(self) -> bytes:
        for action in self._before_scrape:
            action()
        self._move()
        return generate_latest(self.registry)

    # -- what moves them ----------------------------------------------------------------

    def request(
        self,
        infer: InferRequest,
        decision: Decision,
        progress: Progress,
        took: Took,
        *,
        model: str,
        status: int,
    ) -> None:
        """A request has met its fate. `model` must be one of the catalogue's, or "unknown": what
        clients write may not become labels."""
        last = progress.attempts[-1] if progress.attempts else None
        engine, version = (last.engine, last.version or "unknown") if last else NO_ENGINE
        pool = progress.target.pool if progress.target else None
        intent = decision.intent or "none"
        for rule in decision.rules:
            if rule.verdict not in ("no_match", "not_evaluated"):
                self._times["setpoint_rules_total", rule.rule, rule.verdict] += 1
        for attempt in progress.attempts:
            outcome = "ok" if attempt.fault is None else bounded_code(attempt.fault)
            labels = (attempt.target.pool, outcome, attempt.engine, attempt.version or "unknown")
            self._times["setpoint_attempts_total", *labels] += 1
        self._note(
            (infer.operation, model, intent, status, pool, engine, version),
            (took, progress.usage),
        )

    def refusal(
        self, operation: Operation | Literal["task"], status: int, elapsed_s: float
    ) -> None:
        """A request was refused before anything was decided about it."""
        kind: _Kind = (operation, "none", "none", status, None, *NO_ENGINE)
        self._note(kind, (Took(elapsed_s), None))

    def _note(self, kind: _Kind, over: _Over) -> None:
        self._over[kind].append(over)
        self._gathered += 1
        if self._gathered >= TOGETHER:
            self._move()

    def _move(self) -> None:
        """All that has gathered, into what is shown."""
        gathered, self._over = self._over, defaultdict(list)
        times, self._times = self._times, defaultdict(int)
        self._gathered = 0
        for kind, over in gathered.items():
            children = self._children.get(kind)
            if children is None:
                children = _keep(self._children, kind, _Children(self, kind))
            children.move(over)
        for (name, *labels), number in times.items():
            self.counter(name, *labels).inc(number)

    def watch_pools(self, pools: Iterable[Pool]) -> None:
        """Show the pools' state at every scrape."""

        def look() -> None:
            # An endpoint that changed its version, or lost it, must not go on under the old one.
            for name in OF_AN_ENDPOINT:
                self.clear(f"setpoint_endpoint_{name}")
            for pool in pools:
                now = pool.signals()
                labels = (pool.id, pool.engine)
                self.gauge("setpoint_pool_inflight_requests", *labels).set(now.inflight)
                queued = now.queued + now.queued_tasks
                self.gauge("setpoint_pool_queued_requests", *labels).set(queued)
                self.gauge("setpoint_pool_queued_tasks", *labels).set(now.queued_tasks)
                self.gauge("setpoint_pool_limit_requests", *labels).set(now.limit)
                out = pool.state in ("draining", "drained")
                self.gauge("setpoint_pool_in_service", *labels).set(not out)
                for endpoint in pool.endpoints:
                    version = endpoint.state.version or "unknown"
                    number = str(endpoint.index + 1)
                    self.gauge(
                        "setpoint_endpoint_ready", pool.id, number, pool.engine, version
                    ).set(endpoint.state.ready)
                    self._show_load(pool, endpoint, (pool.id, number, pool.engine, version))
                    self._show_limits(pool, endpoint, (pool.id, number, pool.engine, version))
                    passed = endpoint.self_test.ok
                    if passed is not None:
                        self.gauge(
                            "setpoint_endpoint_self_test", pool.id, number, pool.engine, version
                        ).set(passed)

        self.before_scrape(look)

    def _show_load(self, pool: Pool, endpoint: Endpoint, labels: tuple[str, ...]) -> None:
        load = pool.load_of(endpoint)
        told = (load.waiting, load.running, load.kv_cache_usage)
        for name, value in zip(LOAD_OF_AN_ENDPOINT, told, strict=True):
            if value is not None:
                self.gauge(f"setpoint_endpoint_{name}", *labels).set(value)

    def _show_limits(self, pool: Pool, endpoint: Endpoint, labels: tuple[str, ...]) -> None:
        limits = pool.rate_limits_of(endpoint)
        if limits is None:
            return
        told = (limits.requests, limits.tokens)
        for name, allowance in zip(LIMITS_OF_AN_ENDPOINT, told, strict=True):
            if allowance is not None:
                self.gauge(f"setpoint_endpoint_{name}", *labels).set(allowance.remaining)
