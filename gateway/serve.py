"""`setpoint serve`: from a checked configuration to a listening gateway, and down again in good order."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from contracts.problems import Problem
from gateway import logs
from gateway.background import run_background, supervised
from gateway.banner import banner
from gateway.configuration.likely_mistakes import likely_mistakes
from gateway.control import Control
from gateway.importing import importing
from gateway.listener import Listener
from gateway.routing_plan import plan
from gateway.runtime import Gateway
from gateway.settings import LoadedConfig
from gateway.tasks.desk import TaskDesk

if TYPE_CHECKING:
    from gateway.records.keeper import Records

GARBAGE_OBJECTS = 10_000
"""How many more objects there are than at the last search before the newest are searched: at most 1 ms."""


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
        records = await start_records(gateway)
        await gateway.health.first_look()
        control = Control(gateway)
        durable = loaded.config.tasks.durable
        desk = TaskDesk(gateway, records.tasks if records and durable else None)
        listener = await Listener.start(gateway, loaded.host, loaded.port, control, desk)
        leave_garbage_alone()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(desk.run())
                writing = records and group.create_task(supervised("records", records.run))
                say(banner(gateway, listener.url, warnings_of(gateway)))
                await run_background(stop, hangup, gateway, control)
                await listener.drain()
                desk.close()
                if writing:
                    writing.cancel()
        finally:
            await listener.close()
    finally:
        await gateway.aclose()
        output.close()


def warnings_of(gateway: Gateway) -> list[Problem]:
    """What `setpoint check` warns of, logged."""
    found = likely_mistakes(gateway.loaded, gateway.policy, gateway.catalog)
    for warning in found:
        logs.event(logging.WARNING, "configuration_doubtful", problem=str(warning))
    return found


def leave_garbage_alone() -> None:
    """What is there now stays until the end, and is not searched again for garbage; what requests leave is
    gone with its last reference, nearly all of it, and is searched more seldom than by default. Saves 8%
    of a request's CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


async def start_records(gateway: Gateway) -> "Records | None":
    """Raises SchemaMismatch, an OSError."""
    spec = gateway.loaded.records
    if spec is None:
        return None
    with importing():
        from gateway.records.keeper import Records  # SQLAlchemy: 0.1 s that others need not pay

    redact = gateway.loaded.redactor().redact
    records = Records(spec, plan=plan, redact=redact, metrics=gateway.metrics, clock=gateway.clock)
    gateway.records = records
    await records.start()
    return records
