"""Ask every endpoint how it is, and let its pool and the catalogue know. One task an endpoint.

Only the paths that the dialect names are asked: none of them wakes a sleeping backend or costs a
generation. A silent endpoint is not ready; nothing is dispatched to it until it answers again.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from adapters.dialect import EndpointState, WireHead, WireRequest
from contracts.errors import UpstreamFault
from gateway import logs
from gateway.endpoint import Endpoint
from gateway.pools import Pool
from gateway.upstream import fetch

PROBE_TIMEOUT_S = 2.0
PROBE_BYTES = 4 * 1024 * 1024
NO_MODELS = "it has no model list: name its models in the configuration"


class Health:
    """`on_change` is called after an endpoint's state has changed."""

    def __init__(self, pools: list[Pool], on_change: Callable[[], None]) -> None:
        self._pools = pools
        self._on_change = on_change
        self._missed: set[Endpoint] = set()

    async def first_look(self) -> None:
        """Probe everything once, side by side, so that the first request finds what is there."""
        async with asyncio.TaskGroup() as group:
            for pool in self._pools:
                for endpoint in pool.endpoints:
                    group.create_task(self._look(pool, endpoint))

    async def look_again(self, pool: Pool) -> None:
        """Probe all of a pool now, and believe nothing that was learned before."""
        async with asyncio.TaskGroup() as group:
            for endpoint in pool.endpoints:
                group.create_task(self._look(pool, endpoint, afresh=True))

    async def watch(self) -> None:
        """Probe for ever. Cancel to stop."""
        async with asyncio.TaskGroup() as group:
            for pool in self._pools:
                for endpoint in pool.endpoints:
                    group.create_task(self._watch(pool, endpoint))

    async def _watch(self, pool: Pool, endpoint: Endpoint) -> None:
        while True:
            await asyncio.sleep(pool.options.probe_interval_s)
            await self._look(pool, endpoint)

    async def _look(self, pool: Pool, endpoint: Endpoint, *, afresh: bool = False) -> None:
        began_s = pool.now_s()
        state = await probe(pool, endpoint)
        endpoint.probed_s, endpoint.probe_s = began_s, pool.now_s() - began_s
        before = endpoint.state  # as it is now: a request may have found out more meanwhile
        if not afresh:
            if self._is_busy_silence(endpoint, state):
                return
            state = _remembering(state, before)
        if state == before:
            return
        pool.learn(endpoint, state)
        if (state.ready, state.why, state.version, state.model_digest) != (
            before.ready,
            before.why,
            before.version,
            before.model_digest,
        ):
            logs.event(
                logging.INFO if state.ready else logging.WARNING,
                "endpoint_ready" if state.ready else "endpoint_not_ready",
                pool_id=pool.id,
                replica_id=f"{pool.id}/{endpoint.index + 1}",
                engine=pool.engine,
                engine_version=state.version,
                model_digest=state.model_digest,
                slots=state.slots,
                context=state.context,
                models=list(state.models),
                reason=state.why,
            )
        self._on_change()

    def _is_busy_silence(self, endpoint: Endpoint, state: EndpointState) -> bool:
        """The first probe that goes unanswered while the endpoint works: a loaded engine may be late,
        and its streams would be the proof that it lives. The second one counts."""
        if state.live or endpoint.inflight == 0 or not endpoint.state.ready:
            self._missed.discard(endpoint)
            return False
        if endpoint in self._missed:
            self._missed.discard(endpoint)
            return False
        self._missed.add(endpoint)
        return True


def _remembering(state: EndpointState, before: EndpointState) -> EndpointState:
    """What an earlier probe told stays true when a later one of the same engine does not say it: one
    missed `/props` must not lift the limit that the slots set."""
    if not state.ready or state.version not in (None, before.version):
        return state
    return msgspec.structs.replace(
        state,
        slots=state.slots or before.slots,
        context=state.context or before.context,
        version=state.version or before.version,
        model_digest=state.model_digest or before.model_digest,
    )


async def probe(pool: Pool, endpoint: Endpoint) -> EndpointState:
    """One look at one endpoint. Never raises; what could not be learned is not in the answer."""
    key = pool.options.api_key
    access = pool.dialect.access(key.reveal() if key else None)
    headers = (("accept", "application/json"), *access)
    answers: dict[str, tuple[WireHead, bytes]] = {}
    for named in pool.dialect.probes():
        method, _, path = named.rpartition(" ")
        request = WireRequest(method=method or "GET", path=path, headers=headers)
        try:
            answers[named] = await fetch(
                endpoint.transport, request, timeout_s=PROBE_TIMEOUT_S, max_bytes=PROBE_BYTES
            )
        except UpstreamFault as exc:
            if not answers:
                return EndpointState(why=_plain(exc, endpoint))
    state = pool.dialect.state(answers)
    if state.unlisted and pool.options.discovers:
        return EndpointState(live=state.live, why=NO_MODELS)
    return state


def _plain(error: UpstreamFault, endpoint: Endpoint) -> str:
    """The fault without the endpoint's name, which stands beside it wherever it is shown."""
    return error.message.removeprefix(f"{endpoint.where}: ")
