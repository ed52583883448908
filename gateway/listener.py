"""The listening socket, and the connections behind it until the last answer is out."""

import asyncio
import errno
import logging
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from contracts.config import Limits
from gateway import logs
from gateway.control import Control
from gateway.edge import Edge, Switch, answered_here, make_app
from gateway.port import PortInUse
from gateway.protocol import ConnectionLimits, Connections, EdgeProtocol
from gateway.runtime import Gateway
from gateway.tasks.desk import TaskDesk

BACKLOG = 1024
INNER_CONNECTIONS = 4096
"""From the other processes of this gateway."""
INNER_HEADERS = 8
"""What their HTTP client adds to a request, at most."""
LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the client gets to see the answer."""
FLUSH_S = 1.0
"""How long the last answers may take to be written when the gateway stops."""


async def run_app(edge: Edge, switch: Switch) -> tuple[web.AppRunner, web.Server]:
    """Ready for connections; `cleanup` the first of the two at the end."""
    # A client that leaves must end its handler at once, or the engine goes on for nobody.
    runner = web.AppRunner(
        make_app(edge, switch),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=FLUSH_S,  # `Listener.drain` has waited already
    )
    await runner.setup()
    manager = runner.server
    assert manager is not None
    return runner, manager


def protocol_of(
    edge: Edge,
    manager: web.Server,
    limits: Limits,
    connections: Connections,
    *,
    inner: bool = False,
) -> Callable[[], EdgeProtocol]:
    """What makes the protocol of each connection. `inner`: from other processes of this gateway, who add
    headers of their own to those of a client."""

    def make() -> EdgeProtocol:
        return EdgeProtocol(
            manager,
            connections=connections,
            direct=edge.inference,
            afterwards=edge.afterwards,
            inner=inner,
            limits=ConnectionLimits(
                header_timeout_s=float(limits.header_timeout),
                write_buffer_bytes=int(limits.write_buffer),
                slow_reader_s=float(limits.slow_reader_timeout),
            ),
            keepalive_timeout=limits.idle_timeout,
            max_line_size=int(limits.header),
            max_field_size=int(limits.header),
            max_headers=limits.headers + (INNER_HEADERS if inner else 0),
            lingering_time=LINGER_S,
            access_log=None,
        )

    return make


class Listener:
    """One listening gateway. `start` makes it; `drain`, then `close` end it in good order."""

    def __init__(
        self,
        gateway: Gateway,
        runner: web.AppRunner,
        server: asyncio.Server,
        connections: Connections,
        control: Control,
        desk: TaskDesk,
        url: str,
        inner: asyncio.Server | None = None,
    ) -> None:
        self._gateway = gateway
        self._inner = inner
        self._runner = runner
        self._server = server
        self._connections = connections
        self._control = control
        self.desk = desk
        self.url = url

    @classmethod
    async def start(
        cls,
        gateway: Gateway,
        host: str,
        port: int,
        control: Control | None = None,
        desk: TaskDesk | None = None,
        *,
        switch: Switch = answered_here,
        inner: str | None = None,
    ) -> "Listener":
        """Listen. Port 0 takes a free one. `control` and `desk` are run by the caller.

        One of several processes has a `switch` in front of what others answer, shares the port with them,
        and listens for them at the socket `inner`. Raises PortInUse, OSError.
        """
        control = control or Control(gateway)
        desk = desk or TaskDesk(gateway)
        limits = gateway.config.limits
        edge = Edge(gateway, control, desk)
        runner, manager = await run_app(edge, switch)
        connections = Connections(limits.connections)
        gateway.metrics.before_scrape(
            lambda: gateway.metrics.gauge("setpoint_open_connections").set(connections.open)
        )

        loop = asyncio.get_running_loop()
        inner_server: asyncio.Server | None = None
        try:
            if inner is not None:
                inner_server = await loop.create_unix_server(
                    protocol_of(edge, manager, limits, Connections(INNER_CONNECTIONS), inner=True),
                    inner,
                    backlog=BACKLOG,
                )
            server = await loop.create_server(
                protocol_of(edge, manager, limits, connections),
                host,
                port,
                backlog=BACKLOG,
                reuse_port=inner is not None or None,
            )
        except OSError as exc:
            await runner.cleanup()
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(exc.errno, f"{host}:{port} is already in use") from exc
            raise
        bound_host, bound_port = server.sockets[0].getsockname()[:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        url = f"http://{shown}:{bound_port}"
        return cls(gateway, runner, server, connections, control, desk, url, inner_server)

    async def drain(self) -> None:
        """Take nothing new, let what runs end, for as long as the configuration allows.

        The socket listens on meanwhile: who comes is told 503 and when to come back, and a balancer
        that asks `/readyz` is told too, where a closed port would look like a crash.
        """
        self._gateway.draining = True
        self._control.decisions.close()
        self.desk.hand_back()
        limit_s = float(self._gateway.config.drain_timeout)
        running, tasks = len(self._connections.serving), len(self.desk.registry.tasks)
        logs.event(logging.INFO, "draining", running=running, tasks=tasks, limit_s=limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await self.desk.idle.wait()
                await self._connections.quiet()
        except TimeoutError:
            cut = tuple(self._connections.serving - self.desk.streams)
            logs.event(
                logging.WARNING, "drain_timeout", cut=len(cut), tasks=len(self.desk.registry.tasks)
            )
            self.desk.cut()  # whoever reads a task is told by its last event, and needs no cutting
            for task in cut:
                task.cancel()  # while its connection is open, so that its client is told why
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._connections.quiet()

    async def close(self) -> None:
        self._server.close()
        if self._inner is not None:
            self._inner.close()
        await self._runner.cleanup()
