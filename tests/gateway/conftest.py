"""A gateway's inner parts in virtual time: pools over scripted transports, and sinks that remember.
Its outside in real time: a whole gateway in front of a scripted engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from adapters.dialect import EndpointState
from adapters.registry import dialect_for
from contracts.config import Engine
from contracts.inference import Timeouts
from gateway.pools import Pool
from gateway.settings import PoolOptions
from policies.breaker import BreakerSettings
from tests.fakes.edge import Edge, start_edge
from tests.fakes.scripted import ScriptedTransport
from tests.fakes.scripted_engine import ScriptedEngine

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
        max_tasks: int = 10,
        queue_timeout_s: float = 5.0,
        timeouts: Timeouts | None = None,
        retries: int = 1,
        retry_budget: float = 0.2,
        breaker: BreakerSettings | None = None,
    ) -> Pool:
        pool = Pool(
            pool_id,
            engine=engine,
            dialect=dialect_for(engine),
            transports=list(transports),
            options=PoolOptions(
                max_inflight=max_inflight,
                max_waiting=max_waiting,
                max_tasks=max_tasks,
                queue_timeout_s=queue_timeout_s,
                timeouts=timeouts or Timeouts(),
                retries=retries,
                retry_budget=retry_budget,
                breaker=breaker or BreakerSettings(),
                probe_interval_s=1.0,
            ),
            clock=asyncio.get_running_loop().time,
        )
        for endpoint in pool.endpoints:
            pool.learn(endpoint, EndpointState(live=True, ready=ready, why="ok", slots=slots))
        return pool

    return make


# -- a gateway with its HTTP edge, on a real socket ---------------------------------------


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """An upstream that plays what the test says."""
    engine = ScriptedEngine()
    await engine.start()
    yield engine
    await engine.aclose()


class EdgeMaker(Protocol):
    async def __call__(
        self,
        config: str = "",
        *,
        policies: str | None = None,
        pool: str = "retries: 0",
        embedded: bool = False,
    ) -> Edge: ...


@pytest.fixture
async def make_edge(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[EdgeMaker]:
    """`await make_edge("limits: ...")`: a gateway in front of `engine`, which serves the model
    `served`; `pool` are members of that pool. With `embedded`, in front of the simulated llm-d."""
    edges: list[Edge] = []

    async def make(
        config: str = "",
        *,
        policies: str | None = None,
        pool: str = "retries: 0",
        embedded: bool = False,
    ) -> Edge:
        if not embedded:
            config += (
                f"\npools: [{{id: main, engine: openai, endpoint: '{engine.url}', {pool}}}]"
                "\nmodels: [{name: served, pool: main, upstream: real, quality: 0.9}]\n"
            )
        edges.append(await start_edge(tmp_path, config, policies))
        return edges[-1]

    yield make
    for edge in reversed(edges):
        await edge.aclose()
