"""Does each endpoint do what the gateway relies on? Tested as soon as it is ready, and for people: no
dispatch depends on the verdict. What is asked is `gateway.self_test_steps`.

Must stay true: a test is no client. It takes one free place of the pool for all its steps, never waits
in the queue, and ends when somebody else has to wait; no intent, budget or latency hears of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from contracts.catalog import Catalog, ModelCard
from contracts.errors import ConnectFailed, GatewayError, Shed, UpstreamFault
from contracts.pool_answers import SelfTestOutcome, SelfTestReport
from gateway import logs
from gateway.endpoint import Endpoint
from gateway.pools import Pool
from gateway.self_test_steps import LOWEST, GaveWay, GeneratesNot, Trial
from gateway.slot import Slot

AGAIN_S = 5.0
"""Until an endpoint that was busy, asleep or not ready is looked at again."""
MODELS_TRIED = 4
"""Of a pool: one that only embeds says so, and the next one is asked."""


class SelfTests:
    """`present` takes out of an engine's words what clients must not know; `catalog` is the one in force."""

    def __init__(
        self,
        pools: Iterable[Pool],
        catalog: Callable[[], Catalog],
        *,
        present: Callable[[GatewayError], GatewayError],
        new_id: Callable[[], str],
    ) -> None:
        self._pools = list(pools)
        self._catalog = catalog
        self._present = present
        self._new_id = new_id
        self._locks = {pool.id: asyncio.Lock() for pool in self._pools}
        self._tested: dict[Endpoint, tuple[object, ...]] = {}
        """What stood there when the verdict was found."""
        for pool in self._pools:
            self.forget(pool)

    def forget(self, pool: Pool) -> None:
        """Its verdicts are of no use any more."""
        for endpoint in pool.endpoints:
            self._tested.pop(endpoint, None)
            endpoint.self_test = (
                _pending("it has not been ready yet")
                if pool.options.self_test
                else SelfTestReport(outcome="off", why="self_test is false")
            )

    async def run(self) -> None:
        """Test each endpoint as soon as that can be, and again when another engine or other models are
        found there; for ever. Cancel to stop."""
        async with asyncio.TaskGroup() as group:
            for pool in self._pools:
                if pool.options.self_test:
                    group.create_task(self._watch(pool))

    async def _watch(self, pool: Pool) -> None:
        while True:
            await self.test(pool)
            await asyncio.sleep(AGAIN_S)

    async def test(self, pool: Pool) -> None:
        """Test the endpoints of a pool that have no verdict, side by side. Returns within a minute or
        two; those that could not be tested now say why, and `run` comes back to them."""
        if not pool.options.self_test:
            return
        async with self._locks[pool.id], asyncio.TaskGroup() as group:
            for endpoint in pool.endpoints:
                if self._tested.get(endpoint) != _identity(endpoint):
                    group.create_task(self._test(pool, endpoint))

    async def _test(self, pool: Pool, endpoint: Endpoint) -> None:
        identity, began_s, began = _identity(endpoint), pool.now_s(), time.time()
        report = await self._report(pool, endpoint)
        if report.outcome == "pending":
            endpoint.self_test = report
            return
        took_ms = round((pool.now_s() - began_s) * 1000, 1)
        self._tested[endpoint] = identity
        endpoint.self_test = msgspec.structs.replace(report, at=logs.utc(began), took_ms=took_ms)
        logs.event(
            logging.WARNING if report.outcome == "failed" else logging.INFO,
            "self_test",
            outcome=report.outcome,
            pool_id=pool.id,
            replica_id=f"{pool.id}/{endpoint.index + 1}",
            engine=pool.engine,
            engine_version=endpoint.state.version,
            model=report.model,
            failed=[f"{failure.check}: {failure.why}" for failure in report.failed] or None,
            reason=report.why,
            took_ms=took_ms,
        )

    async def _report(self, pool: Pool, endpoint: Endpoint) -> SelfTestReport:
        if endpoint not in pool.ready:
            return _pending("it is not ready")
        if endpoint.state.sleeping:
            return _pending("it sleeps, and a test would wake it")
        report = SelfTestReport(outcome="skipped", why="no model of it is known")
        for card in _cards(self._catalog().models, pool)[:MODELS_TRIED]:
            report = await self._ask(pool, endpoint, card)
            if report.outcome != "skipped":
                break
        return report

    async def _ask(self, pool: Pool, endpoint: Endpoint, card: ModelCard) -> SelfTestReport:
        """One place, one model, all steps."""
        slot = _free_place(pool, endpoint, card.upstream)
        if slot is None:
            return _pending("no place is free")
        trial = Trial(pool, slot, card, plain=self._plain, new_id=self._new_id)
        try:
            failed = await trial.run()
        except GaveWay:
            return _pending("it gave way to somebody who waits")
        except ConnectFailed:
            return _pending("it cannot be reached")  # the next probe says the same, and why
        except GeneratesNot as exc:
            return SelfTestReport(outcome="skipped", model=card.upstream, why=exc.why)
        finally:
            slot.release()
        outcome: SelfTestOutcome = "failed" if failed else "passed"
        return SelfTestReport(outcome=outcome, ok=not failed, failed=failed, model=card.upstream)

    def _plain(self, error: GatewayError) -> str:
        """Its words, fit for anybody, without the endpoint's name, which stands beside it."""
        shown = self._present(error)
        where = shown.where if isinstance(shown, UpstreamFault) else None
        return shown.message.removeprefix(f"{where}: ") if where else shown.message


def _free_place(pool: Pool, endpoint: Endpoint, lane: str) -> Slot | None:
    """A place at this endpoint, if one is free now. It looks before it asks: to be turned away would
    count as a limit that holds requests back."""
    queue = pool.queue
    full = queue.inflight >= queue.settings.limit or endpoint.inflight >= endpoint.slots
    if full or queue.waiting or not queue.lane(lane).has_room(LOWEST):
        return None
    others = [other for other in pool.endpoints if other is not endpoint]
    try:
        entry = pool.enter(LOWEST, others, lane=lane)
    except Shed:
        return None
    if entry.given is not None and entry.given.endpoint is endpoint:
        return entry.given
    entry.leave()
    return None


def _cards(models: Mapping[str, ModelCard], pool: Pool) -> list[ModelCard]:
    """The models of a pool that clients can name, each backend's name once."""
    mine = {card.upstream: card for card in models.values() if card.pool == pool.id}
    return [mine[name] for name in sorted(mine)]


def _identity(endpoint: Endpoint) -> tuple[object, ...]:
    state = endpoint.state
    return state.version, state.model_digest, state.models


def _pending(why: str) -> SelfTestReport:
    return SelfTestReport(outcome="pending", why=why)
