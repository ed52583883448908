"""A gateway's inner parts in virtual time: pools over scripted transports, and sinks that remember."""

import asyncio
from collections.abc import Callable

import pytest
from fakes.scripted import ScriptedTransport

from adapters.dialect import EndpointState
from adapters.registry import dialect_for
from contracts.config import Engine
from contracts.inference import Timeouts
from gateway.pools import Pool, PoolOptions

MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool() -> MakePool:
    """`make_pool("local", transport, ...)`: a pool whose endpoints are ready, on the loop's own clock."""

    def make(
        pool_id: str,
        *transports: ScriptedTransport,
        engine: Engine = "openai",
        ready: bool = True,
        slots: int | None = None,
        max_inflight: int | None = None,
        max_waiting: int = 10,
        queue_timeout_s: float = 5.0,
        timeouts: Timeouts | None = None,
        retries: int = 1,
    ) -> Pool:
        pool = Pool(
            pool_id,
            engine=engine,
            dialect=dialect_for(engine),
            transports=list(transports),
            options=PoolOptions(
                max_inflight=max_inflight,
                max_waiting=max_waiting,
                queue_timeout_s=queue_timeout_s,
                timeouts=timeouts or Timeouts(),
                retries=retries,
                probe_interval_s=1.0,
            ),
            clock=asyncio.get_running_loop().time,
        )
        for endpoint in pool.endpoints:
            pool.learn(endpoint, EndpointState(live=True, ready=ready, why="ok", slots=slots))
        return pool

    return make
