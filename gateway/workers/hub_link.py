"""A worker's line to the hub: it is told what happens here, and what it says holds here.

Must stay true: without a hub requests are served, under what it said last and with what it has lent; a
connection that is lost is made again, and the worker says anew what it has.
"""

import asyncio
import logging
import os
from collections.abc import Callable

import msgspec

from gateway import logs
from gateway.endpoint import Endpoint
from gateway.runtime import Gateway
from gateway.workers.borrower import Borrower, Lot
from gateway.workers.handover import Handover, link_socket
from gateway.workers.link import Link, from_hub
from gateway.workers.messages import (
    Answered,
    FromHub,
    Grant,
    Hello,
    Listening,
    Lost,
    Recalled,
    Report,
    View,
)
from gateway.workers.reported_loop import ReportedLoop
from gateway.workers.shared_budgets import SharedBudgets
from gateway.workers.shared_pool import SharedPool

REPORT_S = 0.1
"""Between two reports."""
AGAIN_S = 0.1
BEHIND_BYTES = 8 * 1024 * 1024
"""What the hub may not have read yet, for it to be told what happens to requests."""


class HubLink:
    """One worker's. `run` in the background; `ready` is set once the worker may listen."""

    def __init__(self, gateway: Gateway, handover: Handover) -> None:
        assert isinstance(gateway.loop, ReportedLoop)
        assert isinstance(gateway.budgets, SharedBudgets)
        self._gateway, self._handover = gateway, handover
        self._me = handover.number
        self._loop, self._budgets = gateway.loop, gateway.budgets
        self._pools: dict[str, SharedPool] = {}
        self._link: Link[FromHub] | None = None
        self._url = ""
        self.ready = asyncio.Event()
        self._borrower = Borrower(self._say)
        self._rooms: list[Lot] = []
        for pool in gateway.pools.values():
            assert isinstance(pool, SharedPool)
            self._pools[pool.id] = pool
            self._rooms += pool.join(self._borrower, self._lost(pool))
        self._budgets.join(self._borrower)

    def listens(self, url: str) -> None:
        """The worker takes connections."""
        self._url = url
        self._say(Listening(url))

    async def run(self) -> None:
        """For ever. Cancel to stop."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            while True:
                try:
                    reader, writer = await asyncio.open_unix_connection(
                        link_socket(self._handover.folder)
                    )
                except OSError:
                    await asyncio.sleep(AGAIN_S)  # it is being started
                    continue
                await self._talk(Link(reader, writer, from_hub), group)
                await asyncio.sleep(AGAIN_S)

    async def _talk(self, link: Link[FromHub], group: asyncio.TaskGroup) -> None:
        self._link = link
        self._loop.drop()
        self._say(
            Hello(
                self._me,
                os.getpid(),
                self._borrower.shares(),
                {pool.id: pool.service for pool in self._pools.values()},
                {pool.id: pool.limits() for pool in self._pools.values()},
            )
        )
        if self._url:
            self._say(Listening(self._url))
        self._borrower.tick()
        try:
            async for said in link.heard():
                for message in said:
                    self._hear(message, group)
        except msgspec.DecodeError as exc:
            logs.failure("bug", exc)
        finally:
            self._link = None
            link.close()
            self._borrower.parted()
        if not self._gateway.draining:
            logs.event(logging.WARNING, "hub_lost")

    def _hear(self, message: FromHub, group: asyncio.TaskGroup) -> None:
        match message:
            case Grant() | Recalled() | Answered():
                self._borrower.hear(message)
            case View():
                self._look_at(message)
                if not self.ready.is_set():
                    group.create_task(self._make_ready())

    def _look_at(self, view: View) -> None:
        self._loop.hold(view.holding, self._gateway.clock())
        self._budgets.look_at(view.budgets, self._me)
        changed = [self._pools[name].look_at(pool, self._me) for name, pool in view.pools.items()]
        if any(changed):
            self._gateway.discover()

    async def _make_ready(self) -> None:
        """A place in every room, and a place of every model that is known, before the first request."""
        models = {(card.pool, card.upstream) for card in self._gateway.catalog.models.values()}
        lots = [*self._rooms, *(self._pools[pool].prepare(name) for pool, name in sorted(models))]
        await asyncio.gather(*map(self._borrower.ask, lots))
        self.ready.set()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            now_s = self._gateway.clock()
            if not self._loop.hears(now_s):
                for pool in self._pools.values():
                    pool.alone()
            if self._link is None:
                self._loop.drop()
                continue
            self._borrower.tick()
            if self._link.behind_bytes > BEHIND_BYTES:
                continue  # it is told later, as far as it was kept
            events, lost = self._loop.take(now_s)
            counts = {pool.id: pool.counts() for pool in self._pools.values()}
            self._say(Report(counts, events, self._budgets.uses(), lost))

    def _lost(self, pool: SharedPool) -> Callable[[Endpoint], None]:
        return lambda endpoint: self._say(Lost(pool.id, endpoint.index))

    def _say(self, message: msgspec.Struct) -> None:
        """What cannot be said is said by the next hello."""
        if self._link is not None:
            self._link.say(message)
