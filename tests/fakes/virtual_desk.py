"""Tasks in virtual time: a gateway without its HTTP edge, its desk, and an engine that obeys."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from adapters.dialect import EndpointState, WireHead, WireRequest
from adapters.transport import ResponseSink
from gateway.tasks.desk import Submitted, TaskDesk
from gateway.tasks.order import TaskOrder, read_order
from gateway.tasks.store import TaskStore
from tests.fakes.scripted import DONE, USAGE, chunk
from tests.fakes.virtual_gateway import VirtualGateway

POLICIES = "intents: [{name: all, match: {default: true}}]\n"
CONFIG = """\
pools:
  - id: sim
    engine: llmd
    simulate: {max_num_seqs: 64, inter_token_latency: 20ms}
    max_inflight: %d
    retries: 0
    queue: {max_tasks: %d}
models: [{name: big, pool: sim, quality: 0.9}]
policies: policies.yaml
"""
_numbers = itertools.count(1)


class Exchange:
    """One request at the engine."""

    def __init__(self, request: WireRequest, sink: ResponseSink) -> None:
        self.request = request
        self.sink = sink
        self.over = False
        """The engine works on it no more: it has ended, or was told to stop."""
        self._begun = False

    def piece(self, text: str) -> None:
        self._begin()
        self.sink.on_data(chunk({"content": text}))

    def finish(self) -> None:
        self._begin()
        self.over = True
        self.sink.on_data(chunk({}, finish="stop") + USAGE + DONE)
        self.sink.on_end()

    def break_off(self) -> None:
        self._begin()
        self.over = True
        self.sink.on_end()

    def refuse(self) -> None:
        """There is no such path here: it has no tokenizer."""
        if not self.over:
            self.over = True
            self.sink.on_head(WireHead(status=404, headers={}))
            self.sink.on_end()

    def cancel(self) -> None:
        self.over = True

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            head = WireHead(status=200, headers={"content-type": "text/event-stream"})
            self.sink.on_head(head)


class ObedientEngine:
    """A transport whose exchanges a test plays by hand."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    @property
    def running(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if not exchange.over]

    def start(self, request: WireRequest, sink: ResponseSink) -> Exchange:
        exchange = Exchange(request, sink)
        if request.path.endswith("/completions"):
            self.exchanges.append(exchange)
        else:
            asyncio.get_running_loop().call_soon(exchange.refuse)
        return exchange

    async def aclose(self) -> None: ...


class VirtualDesk:
    """`engine` is None where the simulated one answers."""

    def __init__(
        self, virtual: VirtualGateway, desk: TaskDesk, engine: ObedientEngine | None
    ) -> None:
        self.gateway = virtual.gateway
        self.desk = desk
        self._engine = engine

    @property
    def engine(self) -> ObedientEngine:
        assert self._engine is not None
        return self._engine

    def order(self, *, key: str | None = None, caller: str = "ada", **members: Any) -> TaskOrder:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, **members}
        return read_order(
            msgspec.json.encode(body),
            request_id=f"req_{next(_numbers)}",
            key=caller,
            operator=False,
            headers={},
            models=self.gateway.catalog.models,
            settings=self.gateway.config.tasks,
            accepted_unix_s=time.time(),
            idempotency_key=key,
        )

    async def submit(self, **members: Any) -> Submitted:
        return await self.desk.submit(self.order(**members))


@asynccontextmanager
async def virtual_desk(
    folder: Path,
    *,
    at_once: int = 1,
    max_tasks: int = 2,
    config: str = "",
    store: TaskStore | None = None,
    obedient: bool = True,
    ready: bool = True,
) -> AsyncIterator[VirtualDesk]:
    """A desk at work; at the end of the block it is brought down, whatever still runs."""
    text = CONFIG % (at_once, max_tasks) + config
    virtual = VirtualGateway(folder, POLICIES, text)
    await virtual.begin()
    engine = ObedientEngine() if obedient else None
    if engine is not None:
        virtual.gateway.pools["sim"].endpoints[0].transport = engine
    if not ready:
        pool = virtual.gateway.pools["sim"]
        pool.learn(pool.endpoints[0], EndpointState(why="not yet"))
    desk = TaskDesk(virtual.gateway, store)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.run())
            await asyncio.sleep(0)
            yield VirtualDesk(virtual, desk, engine)
            desk.hand_back()
            desk.cut()
            desk.close()
    finally:
        await virtual.aclose()
