"""The hub: the one process of several that carries no request. It decides, lends, probes, and speaks for all.

It is a gateway like any other (`gateway.runtime`), only that its pools and its loop know of requests from
what workers report. Must stay true: workers serve while it is away, under what it said last; a new one
begins with what they still hold.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from gateway import logs
from gateway.banner import banner
from gateway.listener import FLUSH_S
from gateway.parts import Parts
from gateway.runtime import Gateway
from gateway.serve import warnings_of
from gateway.workers.handover import (
    Handover,
    listening_mark,
    metrics_file,
)
from gateway.workers.hub_pool import HubPool
from gateway.workers.lender import Lender, pool_pot
from gateway.workers.link import Link, from_worker, spelled
from gateway.workers.loop_events import Hearing
from gateway.workers.merged_metrics import MergedMetrics
from gateway.workers.messages import (
    Back,
    BudgetUse,
    FromWorker,
    Hello,
    Listening,
    Lost,
    PoolCounts,
    Report,
    View,
    Wants,
)

VIEW_S = 0.1
"""Between two views of the whole."""
PARTS = Parts(pool=HubPool)


class _Worker:
    """What the hub knows of one that lives."""

    def __init__(self, link: Link[FromWorker], hearing: Hearing) -> None:
        self.link = link
        self.hearing = hearing
        self.budgets: dict[str, BudgetUse] = {}


class Hub:
    """One gateway's. `say` gets the banner once all workers listen, where that is `first`."""

    def __init__(self, gateway: Gateway, handover: Handover, say: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._handover = handover
        self._say = say
        self._told = not handover.first
        self._workers: dict[int, _Worker] = {}
        self._pids: dict[int, int] = {}
        """Of the workers that were here last."""
        self._listening: dict[int, str] = {}
        self._meetings: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self.metrics = MergedMetrics(metrics_file(handover.folder))
        restarts = gateway.metrics.counter("setpoint_process_restarts_total")
        restarts.inc(handover.restarts)
        self.lender = Lender(self._tell, clock=gateway.clock, expected=handover.alive)
        self.pools: dict[str, HubPool] = {}
        for pool in gateway.pools.values():
            assert isinstance(pool, HubPool)
            self.pools[pool.id] = pool
            pot = pool_pot(pool.id)
            pool.take = partial(self.lender.take, pot)
            pool.put_back = partial(self.lender.put_back, pot)

    # -- workers ----------------------------------------------------------------------------

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A worker, from its hello until it is gone."""
        me = asyncio.current_task()
        assert me is not None
        self._meetings.add(me)
        link: Link[FromWorker] = Link(reader, writer, from_worker)
        number: int | None = None
        try:
            async for said in link.heard():
                for message in said:
                    if isinstance(message, Hello):
                        number = message.worker
                        self._join(message, link)
                    elif number is not None and self._workers[number].link is link:
                        self._hear(number, message)
        except msgspec.DecodeError as exc:
            logs.failure("bug", exc)
        finally:
            link.close()
            if number is not None and self._workers[number].link is link:
                self._leave(number)
            self._meetings.discard(me)

    async def part(self, patience_s: float) -> None:
        """Wait until all workers are gone, but not for ever; then nobody is listened to any more."""
        if self._meetings:
            await asyncio.wait(self._meetings, timeout=patience_s)
        for worker in list(self._workers.values()):
            worker.link.close()
        if self._meetings:
            await asyncio.wait(self._meetings, timeout=FLUSH_S)

    def _join(self, hello: Hello, link: Link[FromWorker]) -> None:
        number, gateway = hello.worker, self._gateway
        if number in self._workers:
            self._leave(number)
        queues = {pool.id: pool.queue for pool in self.pools.values()}
        hearing = Hearing(gateway.loop, queues, gateway.honours, self._numbers)
        self._workers[number] = _Worker(link, hearing)
        for pool in self.pools.values():
            pool.report(number, PoolCounts())  # until it says more
        for name, service in hello.services.items():
            self._resume_service(self.pools[name], service)
        for name, limits in hello.limits.items():
            for model, limit in limits.items():
                if model not in self.pools[name].queue.lanes:
                    self.pools[name].queue.lane(model).limit = limit
        link.say(self._view())
        self.metrics.joined(number, hello.pid)
        again = self._pids.get(number) == hello.pid
        self._pids[number] = hello.pid
        self.lender.joined(number, hello.shares, again=again)
        gateway.metrics.gauge("setpoint_workers").set(len(self._workers))

    def _resume_service(self, pool: HubPool, service: int) -> None:
        """An earlier hub took a pool out of service, or back: this one goes on from there."""
        if service > pool.service:
            pool.service = service
            if service % 2:
                pool.drain()

    def _leave(self, number: int) -> None:
        """It died, or its connection did, which it takes as a reason to join again."""
        worker = self._workers.pop(number)
        worker.hearing.forget(self._gateway.clock())
        self._listening.pop(number, None)
        for pool in self.pools.values():
            pool.report(number, None)
        self.metrics.gone(number)
        self.lender.gone(number)
        self._gateway.metrics.gauge("setpoint_workers").set(len(self._workers))

    def _hear(self, number: int, message: FromWorker) -> None:
        match message:
            case Wants() | Back():
                self.lender.hear(number, message)
            case Report():
                self._report(number, message)
            case Listening(url=url):
                self._listens(number, url)
            case Lost(pool=pool_id, endpoint=index):
                pool = self.pools[pool_id]
                if pool.endpoints[index].state.ready:
                    pool.lost(pool.endpoints[index])
            case Hello():
                pass

    def _report(self, number: int, report: Report) -> None:
        worker = self._workers[number]
        if report.lost:
            worker.hearing.forget(self._gateway.clock())
            logs.event(logging.WARNING, "signals_lost", of_worker=number)
        for event in report.events:
            worker.hearing.hear(event)
        for name, counts in report.pools.items():
            self.pools[name].report(number, counts)
        worker.budgets = report.budgets

    def _listens(self, number: int, url: str) -> None:
        self._listening[number] = url
        if not self._told and len(self._listening) == self._handover.count:
            self._told = True
            listening_mark(self._handover.folder).touch()
            self._say(banner(self._gateway, url, warnings_of(self._gateway)))

    def _tell(self, worker: int, message: msgspec.Struct) -> None:
        if (known := self._workers.get(worker)) is not None:
            known.link.say(message)

    # -- in the background ------------------------------------------------------------------

    async def run(self) -> None:
        """Lend, and show the whole, for ever. Cancel to stop."""
        while True:
            self.tick()
            await asyncio.sleep(VIEW_S)

    def tick(self) -> None:
        """One round."""
        for pool in self.pools.values():
            limit = pool.queue.settings.limit
            self.lender.bound(pool_pot(pool.id), limit, pool.bounds())
        self.lender.step_all()
        frame = spelled(self._view())
        for worker in list(self._workers.values()):
            worker.link.send(frame)

    def _view(self) -> View:
        uses: dict[str, dict[int, BudgetUse]] = {}
        for number, worker in self._workers.items():
            for pot, use in worker.budgets.items():
                uses.setdefault(pot, {})[number] = use
        holding = self._gateway.loop.held_now(self._gateway.clock())
        pools = {pool.id: pool.view() for pool in self.pools.values()}
        return View(pools=pools, holding=holding, budgets=uses)
