"""The process of the hub: up, before any worker listens, and down, when the last one is gone.

What it does between is `gateway.workers.hub`'s. It goes by what the supervisor says, and by no signal: a
terminal sends those to all processes at once, and workers need it until they have drained.
"""

import asyncio
import signal
import sys

import msgspec

from gateway import logs
from gateway.background import follow_policies, probes, supervised
from gateway.control import Control
from gateway.edge import Edge
from gateway.listener import BACKLOG, FLUSH_S, INNER_CONNECTIONS, protocol_of, run_app
from gateway.protocol import Connections
from gateway.runtime import Gateway
from gateway.tasks.desk import TaskDesk
from gateway.workers.forwarding import Peer
from gateway.workers.handover import Handover, hub_socket, link_socket, log_lock, worker_socket
from gateway.workers.hub import PARTS, Hub
from gateway.workers.switch import HubSwitch


async def serve_hub(handover: Handover, control_pipe: asyncio.StreamReader) -> None:
    """Until the supervisor says so, or is gone. Raises ProblemsFound, OSError."""
    loaded = msgspec.structs.replace(handover.loaded, records=None, telemetry=None)
    gateway = Gateway(loaded, parts=PARTS)
    output = logs.LogOutput(
        level=loaded.config.logging.level,
        form=loaded.config.logging.format,
        file=loaded.log_file,
        redact=loaded.redactor().redact,
        on_drop=gateway.metrics.counter("setpoint_log_lines_dropped_total").inc,
        decisions=loaded.decisions_file,
        process="hub",
        lock=log_lock(handover.folder),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: None)  # it goes last, when the supervisor says so
    hangup = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        await gateway.health.first_look()
        control = Control(gateway)
        hub = Hub(gateway, handover, _say)
        peers = {
            number: Peer(f"worker {number}", worker_socket(handover.folder, number))
            for number in range(handover.count)
        }
        hub.tick()  # what there is to lend, before anybody asks
        desk = TaskDesk(gateway)
        switch = HubSwitch(peers, hub.metrics)
        edge = Edge(gateway, control, desk)
        runner, manager = await run_app(edge, switch)
        server = await loop.create_unix_server(
            protocol_of(
                edge, manager, gateway.config.limits, Connections(INNER_CONNECTIONS), inner=True
            ),
            hub_socket(handover.folder),
            backlog=BACKLOG,
        )
        links = await asyncio.start_unix_server(hub.meet, link_socket(handover.folder))
        try:
            async with asyncio.TaskGroup() as group:
                background = {
                    **probes(gateway, control),
                    **follow_policies(gateway, hangup),
                    "hub": hub.run,
                }
                running = [
                    group.create_task(supervised(name, work)) for name, work in background.items()
                ]
                while line := await control_pipe.readline():
                    if line == b"drain\n":
                        gateway.draining = True
                        control.decisions.close()
                    else:
                        gateway.metrics.counter("setpoint_process_restarts_total").inc()
                # All workers have ended, or the supervisor has, and they are about to.
                await hub.part(float(gateway.config.drain_timeout) + FLUSH_S)
                for task in running:
                    task.cancel()
        finally:
            server.close()
            links.close()
            await runner.cleanup()
            for peer in peers.values():
                await peer.aclose()
    finally:
        await gateway.aclose()
        output.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
