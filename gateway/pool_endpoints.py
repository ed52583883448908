"""`/v1/pools`: what stands behind the gateway and how it is, out of service and back.

Reads pools and tells them what the operator wants; who may ask is checked before. No address is told.
"""

import asyncio
import logging
from contextlib import suppress

import msgspec

from adapters.rate_limits import Allowance, RateLimits
from contracts.errors import InvalidField, PoolNotFound
from contracts.pool_answers import (
    EndpointHealth,
    EndpointLoad,
    LaneHealth,
    PoolDrain,
    PoolHealth,
    PoolList,
    ProviderAllowance,
    ProviderLimits,
)
from contracts.problems import did_you_mean
from contracts.quantities import Duration
from gateway import logs
from gateway.control import when
from gateway.endpoint import Endpoint
from gateway.pools import Pool
from gateway.runtime import Gateway

WAIT_MAX_S = 300.0
"""A drain is waited for so long at most; who wants to wait longer asks again."""
_encode = msgspec.json.Encoder().encode


class PoolEndpoints:
    """The handlers of one gateway; whoever calls has been authenticated. Raise PoolNotFound."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._reloads = {pool_id: asyncio.Lock() for pool_id in gateway.pools}

    def pools(self) -> bytes:
        """All of them."""
        return _encode(PoolList(data=[self._report(p) for p in self._gateway.pools.values()]))

    def health(self, pool_id: str) -> bytes:
        return _encode(self._report(self._pool(pool_id)))

    async def drain(self, pool_id: str, wait: str | None) -> bytes:
        """Out of service. `wait` is how long the answer may wait until nothing runs any more. Raises
        InvalidField."""
        wait_s = _wait_s(wait)
        pool = self._pool(pool_id)
        pool.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await pool.emptied()
        tasks = pool.queue.waiting_tasks
        inflight = pool.queue.inflight
        return _encode(
            PoolDrain(id=pool.id, state=pool.state, inflight=inflight, queued_tasks=tasks)
        )

    async def reload(self, pool_id: str) -> bytes:
        """Into service, as if it were new: nothing that was measured or probed before counts. Also for a
        pool that was not drained, whose backend serves another model now. One at a time; a drain that
        comes meanwhile has the last word."""
        pool, gateway = self._pool(pool_id), self._gateway
        async with self._reloads[pool_id]:
            pool.restore()
            gateway.loop.forget(pool.id, gateway.clock())
            pool.wake()
            gateway.self_tests.forget(pool)
            await gateway.health.look_again(pool)
            await gateway.self_tests.test(pool)
            logs.event(
                logging.INFO,
                "pool_reloaded",
                pool_id=pool.id,
                engine=pool.engine,
                state=pool.state,
                self_test=[endpoint.self_test.outcome for endpoint in pool.endpoints],
            )
            return _encode(self._report(pool))

    def _pool(self, pool_id: str) -> Pool:
        pools = self._gateway.pools
        if pool_id not in pools:
            hint = did_you_mean(pool_id, pools)
            raise PoolNotFound(f"there is no pool {pool_id[:200]!r} ({hint})", param="id")
        return pools[pool_id]

    def _report(self, pool: Pool) -> PoolHealth:
        now = pool.signals()
        return PoolHealth(
            id=pool.id,
            state=pool.state,
            engine=pool.engine,
            limit=now.limit,
            inflight=now.inflight,
            queued=now.queued,
            queued_tasks=now.queued_tasks,
            endpoints=[self._endpoint(pool, endpoint) for endpoint in pool.endpoints],
            lanes=[
                LaneHealth(
                    model=name,
                    # what counts is the smaller of the two, so nobody is told of places there are not
                    limit=min(max(int(lane.limit), 1), now.limit),
                    inflight=lane.inflight,
                    queued=lane.waiting,
                )
                for name, lane in sorted(pool.queue.lanes.items())
            ],
        )

    def _endpoint(self, pool: Pool, endpoint: Endpoint) -> EndpointHealth:
        state, probed_s, load = endpoint.state, endpoint.probed_s, pool.load_of(endpoint)
        return EndpointHealth(
            endpoint=endpoint.index + 1,
            live=state.live,
            ready=state.ready,
            why=state.why,
            probed=None if probed_s is None else when(self._gateway, probed_s),
            probe_ms=None if probed_s is None else round(endpoint.probe_s * 1000, 1),
            version=state.version,
            model_digest=state.model_digest,
            models=list(state.models),
            slots=state.slots,
            context=state.context,
            inflight=endpoint.inflight,
            load=EndpointLoad(
                waiting=load.waiting, running=load.running, kv_cache_usage=load.kv_cache_usage
            )
            if load.known
            else None,
            rate_limits=_limits(pool.rate_limits_of(endpoint)),
            self_test=endpoint.self_test,
        )


def _limits(told: RateLimits | None) -> ProviderLimits | None:
    if told is None:
        return None
    return ProviderLimits(requests=_allowance(told.requests), tokens=_allowance(told.tokens))


def _allowance(told: Allowance | None) -> ProviderAllowance | None:
    if told is None:
        return None
    reset_ms = None if told.reset_s is None else round(told.reset_s * 1000, 1)
    return ProviderAllowance(remaining=told.remaining, limit=told.limit, reset_ms=reset_ms)


def _wait_s(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        wait_s = float(Duration.parse(text))
    except ValueError as exc:
        raise InvalidField(f"wait: {exc}", param="wait") from exc
    if wait_s > WAIT_MAX_S:
        raise InvalidField(f"wait must be at most {WAIT_MAX_S:g}s", param="wait")
    return wait_s
