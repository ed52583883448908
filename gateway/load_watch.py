"""How busy does each endpoint say it is? Its metrics are read, with the rhythm of its health probes.

Must stay true: only ready endpoints of pools that have `load_metrics` are asked, and none that sleeps; an
answer is bounded in time and size; silence makes a number unknown, never 0, and is logged once. What becomes
of the numbers is the business of `Pool.load`.
"""

import asyncio
import logging
from collections.abc import Iterable

from adapters.dialect import WireRequest
from adapters.load_signals import PAGE_BYTES, UNKNOWN, LoadMetrics, LoadSignals, read_load
from contracts.errors import UpstreamFault
from gateway import logs
from gateway.endpoint import Endpoint
from gateway.pools import Pool
from gateway.upstream import fetch

SCRAPE_TIMEOUT_S = 2.0


class LoadWatch:
    """One task an endpoint."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._watched = [
            (pool, names)
            for pool in pools
            if pool.options.load_metrics and (names := pool.dialect.load_metrics()) is not None
        ]
        self._silence: dict[Endpoint, str] = {}
        """Why an endpoint's numbers could not be read the last time."""

    async def run(self) -> None:
        """Look for ever. Cancel to stop."""
        async with asyncio.TaskGroup() as group:
            for pool, names in self._watched:
                for endpoint in pool.endpoints:
                    group.create_task(self._watch(pool, endpoint, names))

    async def _watch(self, pool: Pool, endpoint: Endpoint, names: LoadMetrics) -> None:
        while True:
            await self.look(pool, endpoint, names)
            await asyncio.sleep(pool.options.probe_interval_s)

    async def look(self, pool: Pool, endpoint: Endpoint, names: LoadMetrics) -> None:
        """Ask one endpoint, if it may be asked. What it says counts from the moment of the question."""
        state = endpoint.state
        if not state.ready or state.sleeping:
            return
        asked_s = pool.now_s()
        load, silence = await _ask(pool, endpoint, names)
        endpoint.load, endpoint.load_s = load, asked_s
        if silence != self._silence.get(endpoint, ""):
            self._silence[endpoint] = silence
            logs.event(
                logging.WARNING if silence else logging.INFO,
                "load_metrics_unread" if silence else "load_metrics_read",
                pool_id=pool.id,
                replica_id=f"{pool.id}/{endpoint.index + 1}",
                engine=pool.engine,
                reason=silence or None,
            )


async def _ask(pool: Pool, endpoint: Endpoint, names: LoadMetrics) -> tuple[LoadSignals, str]:
    """The numbers, and if there are none why."""
    key = pool.options.api_key
    access = pool.dialect.access(key.reveal() if key else None)
    request = WireRequest(
        method="GET", path=names.path, headers=(("accept", "text/plain"), *access)
    )
    try:
        head, page = await fetch(
            endpoint.transport, request, timeout_s=SCRAPE_TIMEOUT_S, max_bytes=PAGE_BYTES
        )
    except UpstreamFault as exc:
        return UNKNOWN, exc.message.removeprefix(f"{endpoint.where}: ")
    if head.status != 200:
        return UNKNOWN, f"its metrics answer with status {head.status}"
    load = read_load(page, names)
    return load, "" if load.known else "its metrics say nothing of its load"
