"""A hub and its workers in the test's own event loop, over real sockets in a folder: no process is started."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.configuration import load
from gateway.runtime import Gateway
from gateway.workers import hub, worker
from gateway.workers.handover import Handover, link_socket
from gateway.workers.hub import Hub
from gateway.workers.hub_link import HubLink
from gateway.workers.hub_pool import HubPool
from gateway.workers.shared_pool import SharedPool

CONFIG = """
pools:
  - {id: local, engine: openai, endpoints: ["http://127.0.0.1:9"], max_inflight: LIMIT}
models:
  - {name: served, pool: local, price: {input: 1, output: 1}}
"""


class Member:
    """One worker."""

    def __init__(self, gateway: Gateway, link: HubLink) -> None:
        self.gateway = gateway
        self.link = link
        pool = gateway.pools["local"]
        assert isinstance(pool, SharedPool)
        self.pool = pool
        self._running = asyncio.get_running_loop().create_task(link.run())

    async def die(self) -> None:
        """As a process does: its connection ends."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


class Several:
    """One gateway of several members."""

    def __init__(self, folder: Path, config: str, policies: str) -> None:
        (folder / "policies.yaml").write_text(policies)
        file = folder / "setpoint.yaml"
        file.write_text(f"{config}\npolicies: policies.yaml\n")
        self._loaded = load(file, env={})
        self._folder = folder
        self.members: list[Member] = []
        self.banners: list[str] = []
        self.gateway: Gateway
        self.hub: Hub
        self._background: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    def _handover(self, number: int, count: int, alive: tuple[int, ...] = ()) -> Handover:
        return Handover(
            loaded=self._loaded,
            part="worker",
            number=number,
            count=count,
            folder=self._folder,
            port=0,
            first=True,
            alive=alive,
        )

    async def begin_hub(self, count: int, alive: tuple[int, ...] = ()) -> None:
        self.gateway = Gateway(self._loaded, parts=hub.PARTS)
        for endpoint in self.gateway.pools["local"].endpoints:
            self.be_ready(endpoint.index)
        self.hub = Hub(self.gateway, self._handover(-1, count, alive), self.banners.append)
        self.hub.tick()
        self._server = await asyncio.start_unix_server(self.hub.meet, link_socket(self._folder))
        self._background = [asyncio.get_running_loop().create_task(self.hub.run())]

    def be_ready(self, index: int) -> None:
        """A probe found the endpoint ready."""
        pool = self.gateway.pools["local"]
        endpoint = pool.endpoints[index]
        endpoint.probed_s = pool.now_s()
        state = type(endpoint.state)(live=True, ready=True, why="ok")
        pool.learn(endpoint, state)

    async def end_hub(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.hub.part(0.0)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.gateway.aclose()
        os.unlink(link_socket(self._folder))  # uvloop does it, asyncio does not

    def join(self, number: int, count: int) -> Member:
        gateway = Gateway(self._loaded, parts=worker.PARTS)
        return Member(gateway, HubLink(gateway, self._handover(number, count)))

    @property
    def pool(self) -> HubPool:
        pool = self.gateway.pools["local"]
        assert isinstance(pool, HubPool)
        return pool


@asynccontextmanager
async def several(
    folder: Path,
    *,
    count: int = 2,
    limit: int = 4,
    config: str = CONFIG,
    policies: str = "intents: []",
) -> AsyncIterator[Several]:
    """All of them, ready to serve."""
    made = Several(folder, config.replace("LIMIT", str(limit)), policies)
    await made.begin_hub(count)
    made.members = [made.join(number, count) for number in range(count)]
    try:
        for member in made.members:
            await asyncio.wait_for(member.link.ready.wait(), 10)
        yield made
    finally:
        for member in made.members:
            await member.die()
            await member.gateway.aclose()
        await made.end_hub()
