"""`setpoint serve`: from a checked configuration to a listening gateway, and down again in good order."""

import asyncio
import errno
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from gateway import logs, policy_watch
from gateway.banner import banner
from gateway.control import Control
from gateway.edge import make_app
from gateway.protocol import ConnectionLimits, Connections, EdgeProtocol
from gateway.runtime import Gateway, plan
from gateway.settings import LoadedConfig
from gateway.tasks.desk import TaskDesk

if TYPE_CHECKING:
    from gateway.records.keeper import Records

BACKLOG = 1024
LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the client gets to see the answer."""
RESTART_S = 1.0
GARBAGE_OBJECTS = 10_000
"""How many more objects there are than at the last search before the newest are searched: at most 1 ms."""
FLUSH_S = 1.0
"""How long the last answers may take to be written when the gateway stops."""


class PortInUse(OSError):
    """Another program listens there."""


async def serve(loaded: LoadedConfig, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `say` gets the banner once the gateway listens.

    Raises ProblemsFound for policies that do not load, PortInUse, OSError.
    """
    gateway = Gateway(loaded)
    output = logs.LogOutput(
        level=loaded.config.logging.level,
        form=loaded.config.logging.format,
        file=loaded.log_file,
        redact=loaded.redactor().redact,
        on_drop=gateway.metrics.counter("setpoint_log_lines_dropped_total").inc,
        decisions=loaded.decisions_file,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    hangup = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        records = await _start_records(gateway)
        await gateway.health.first_look()
        control = Control(gateway)
        durable = loaded.config.tasks.durable
        desk = TaskDesk(gateway, records.tasks if records and durable else None)
        listener = await Listener.start(gateway, loaded.host, loaded.port, control, desk)
        _leave_garbage_alone()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(desk.run())
                writing = records and group.create_task(_supervised("records", records.run))
                say(banner(gateway, listener.url))
                await _until(stop, hangup, gateway, control)
                await listener.drain()
                desk.close()
                if writing:
                    writing.cancel()
        finally:
            await listener.close()
    finally:
        await gateway.aclose()
        output.close()


def _leave_garbage_alone() -> None:
    """What is there now stays until the end, and is not searched again for garbage; what requests leave is
    gone with its last reference, nearly all of it, and is searched more seldom than by default. Saves 8%
    of a request's CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


async def _start_records(gateway: Gateway) -> "Records | None":
    """Raises SchemaMismatch, an OSError."""
    spec = gateway.loaded.records
    if spec is None:
        return None
    from gateway.records.keeper import Records  # SQLAlchemy: half a second that others need not pay

    redact = gateway.loaded.redactor().redact
    records = Records(spec, plan=plan, redact=redact, metrics=gateway.metrics, clock=gateway.clock)
    gateway.records = records
    await records.start()
    return records


class Listener:
    """The listening socket and the connections behind it."""

    def __init__(
        self,
        gateway: Gateway,
        runner: web.AppRunner,
        server: asyncio.Server,
        connections: Connections,
        control: Control,
        desk: TaskDesk,
        url: str,
    ) -> None:
        self._gateway = gateway
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
    ) -> "Listener":
        """Listen. Port 0 takes a free one. `control` and `desk` are run by the caller. Raises PortInUse,
        OSError."""
        control = control or Control(gateway)
        desk = desk or TaskDesk(gateway)
        limits = gateway.config.limits
        # A client that leaves must end its handler at once, or the engine goes on for nobody.
        runner = web.AppRunner(
            make_app(gateway, control, desk),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=FLUSH_S,  # `drain` has waited already
        )
        await runner.setup()
        manager = runner.server
        assert manager is not None
        connections = Connections(limits.connections)
        gateway.metrics.before_scrape(
            lambda: gateway.metrics.gauge("setpoint_open_connections").set(connections.open)
        )

        def connection() -> EdgeProtocol:
            return EdgeProtocol(
                manager,
                connections=connections,
                limits=ConnectionLimits(
                    header_timeout_s=float(limits.header_timeout),
                    write_buffer_bytes=int(limits.write_buffer),
                    slow_reader_s=float(limits.slow_reader_timeout),
                ),
                keepalive_timeout=limits.idle_timeout,
                max_line_size=int(limits.header),
                max_field_size=int(limits.header),
                max_headers=limits.headers,
                lingering_time=LINGER_S,
                access_log=None,
            )

        try:
            server = await asyncio.get_running_loop().create_server(
                connection, host, port, backlog=BACKLOG
            )
        except OSError as exc:
            await runner.cleanup()
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(exc.errno, f"{host}:{port} is already in use") from exc
            raise
        bound_host, bound_port = server.sockets[0].getsockname()[:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        url = f"http://{shown}:{bound_port}"
        return cls(gateway, runner, server, connections, control, desk, url)

    async def drain(self) -> None:
        """Take nothing new, let what runs end, for as long as the configuration allows.

        The socket listens on meanwhile: who comes is told 503 and when to come back, and a balancer
        that asks `/readyz` is told too, where a closed port would look like a crash.
        """
        self._gateway.draining = True
        self._control.decisions.close()
        self.desk.hand_back()
        limit_s = float(self._gateway.config.drain_timeout)
        serving = self._connections.serving
        running = len(self.desk.registry.tasks)
        logs.event(logging.INFO, "draining", running=len(serving), tasks=running, limit_s=limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await self.desk.idle.wait()
                await self._connections.quiet.wait()
        except TimeoutError:
            cut = tuple(serving - self.desk.streams)
            logs.event(
                logging.WARNING, "drain_timeout", cut=len(cut), tasks=len(self.desk.registry.tasks)
            )
            self.desk.cut()  # whoever reads a task is told by its last event, and needs no cutting
            for task in cut:
                task.cancel()  # while its connection is open, so that its client is told why
            if serving:
                await asyncio.wait(tuple(serving), timeout=FLUSH_S)

    async def close(self) -> None:
        self._server.close()
        await self._runner.cleanup()


async def _until(
    stop: asyncio.Event, hangup: asyncio.Event, gateway: Gateway, control: Control
) -> None:
    """Run the background work until `stop` is set."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_supervised("health", gateway.health.watch)),
            group.create_task(_supervised("load", gateway.load_watch.run)),
            group.create_task(_supervised("control", control.run)),
            group.create_task(_supervised("honour", gateway.honour_watch.run)),
            group.create_task(_supervised("self_test", gateway.self_tests.run)),
            group.create_task(_supervised("policy_watch", lambda: policy_watch.watch(gateway))),
            group.create_task(_supervised("hangup", lambda: _reload_on(hangup, gateway))),
        ]
        if gateway.telemetry is not None:
            tasks.append(group.create_task(_supervised("telemetry", gateway.telemetry.run)))
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Background work never takes traffic down with it: log what broke it, and start it again."""
    while True:
        try:
            await work()
            return
        except Exception as exc:
            logs.failure("background_task_failed", exc, task=name, again_in_s=RESTART_S)
            await asyncio.sleep(RESTART_S)


async def _reload_on(hangup: asyncio.Event, gateway: Gateway) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        await policy_watch.refresh(gateway)
