"""One pool, as the gateway builds it: what is not said follows from its engine."""

from collections.abc import Iterable

from adapters.fakellmd.settings import LlmdSettings
from contracts.config import Engine, Pool
from contracts.inference import Timeouts
from gateway.secrets import SecretValue
from gateway.settings import PoolSpec
from policies.breaker import BreakerSettings

_TELLS_LOAD: frozenset[Engine] = frozenset({"vllm", "tgi"})
"""Engines whose metrics are there unasked, and read without doing anything to them."""
_OWN_MACHINES: frozenset[Engine] = frozenset({"llmd", "embedded", "llamacpp", "vllm"})
"""Engines whose tokens cost nothing but time: a self-test asks for some without being told to."""


def pool_spec(
    pool: Pool,
    endpoints: Iterable[str],
    api_key: SecretValue | None,
    simulated: dict[str, LlmdSettings] | None = None,
) -> PoolSpec:
    """`endpoints` and `api_key` as they are used; `simulated` as in `PoolSpec`. Its `ca_file` and whether
    it discovers models are the caller's to add."""
    return PoolSpec(
        id=pool.id,
        engine=pool.engine,
        endpoints=tuple(endpoints),
        api_key=api_key,
        namespace=pool.namespace,
        max_inflight=pool.max_inflight,
        max_waiting=pool.queue.max_requests,
        max_tasks=pool.queue.max_tasks,
        queue_timeout_s=float(pool.queue.timeout),
        timeouts=Timeouts(
            connect_s=float(pool.timeouts.connect),
            first_token_s=float(pool.timeouts.first_token),
            idle_s=float(pool.timeouts.idle),
            total_s=float(pool.timeouts.total),
            min_tokens_per_s=pool.timeouts.min_tokens_per_s,
        ),
        retries=pool.retries,
        retry_budget=float(pool.retry_budget),
        breaker=BreakerSettings(
            failures=pool.breaker.failures,
            window_s=float(pool.breaker.window),
            cooldown_s=float(pool.breaker.cooldown),
        ),
        probe_interval_s=float(pool.probe_interval),
        verify_tls=pool.verify_tls,
        ca_file=None,
        discovers=False,
        metrics=pool.metrics,
        priority_scheduling=pool.priority_scheduling,
        inference_ttl=pool.inference_ttl,
        load_metrics=(
            pool.engine in _TELLS_LOAD and bool(pool.endpoint or pool.endpoints)
            if pool.load_metrics is None
            else pool.load_metrics
        ),
        unsupported=pool.unsupported,
        self_test=(pool.engine in _OWN_MACHINES) if pool.self_test is None else pool.self_test,
        simulated=simulated or {},
    )
