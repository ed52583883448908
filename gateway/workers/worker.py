"""A worker: it carries requests, as a gateway alone does, under limits and decisions that all share.

What is different from `gateway.serve` is who decides, lends and probes: the hub. Up, and down in good order.
"""

import asyncio
import signal

from gateway import logs
from gateway.background import beside_requests, run_until, supervised
from gateway.control import Control
from gateway.listener import Listener
from gateway.parts import Parts
from gateway.runtime import Gateway
from gateway.serve import leave_garbage_alone, start_records
from gateway.tasks.desk import TaskDesk
from gateway.workers.forwarding import Peer
from gateway.workers.handover import Handover, hub_socket, log_lock, worker_socket
from gateway.workers.hub_link import HubLink
from gateway.workers.reported_loop import ReportedHonour, ReportedLoop
from gateway.workers.shared_budgets import SharedBudgets
from gateway.workers.shared_pool import SharedPool
from gateway.workers.switch import WorkerSwitch

PARTS = Parts(pool=SharedPool, loop=ReportedLoop, honour=ReportedHonour, budgets=SharedBudgets)


async def serve_worker(handover: Handover, control_pipe: asyncio.StreamReader) -> None:
    """Until SIGINT, SIGTERM, or the supervisor's end. Raises ProblemsFound, OSError."""
    loaded, me, folder = handover.loaded, handover.number, handover.folder
    gateway = Gateway(loaded, parts=PARTS)
    output = logs.LogOutput(
        level=loaded.config.logging.level,
        form=loaded.config.logging.format,
        file=loaded.log_file,
        redact=loaded.redactor().redact,
        on_drop=gateway.metrics.counter("setpoint_log_lines_dropped_total").inc,
        process=me,
        lock=log_lock(folder),
    )
    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    hub = Peer("hub", hub_socket(folder))
    others = {
        number: Peer(f"worker {number}", worker_socket(folder, number))
        for number in range(handover.count)
        if number != me
    }
    durable = loaded.config.tasks.durable
    switch = WorkerSwitch(me, handover.count, hub, others, durable=durable)
    try:
        records = await start_records(gateway)
        keeps = records is not None and durable and me == 0
        desk = TaskDesk(gateway, records.tasks if records and keeps else None)
        link = HubLink(gateway, handover)
        async with asyncio.TaskGroup() as group:
            linked = group.create_task(supervised("hub_link", link.run))
            orphaned = group.create_task(_orphaned(control_pipe, stop))
            await _either(link.ready, stop)
            listener = await Listener.start(
                gateway,
                loaded.host,
                handover.port,
                Control(gateway),
                desk,
                switch=switch,
                inner=worker_socket(folder, me),
            )
            link.listens(listener.url)
            leave_garbage_alone()
            try:
                group.create_task(desk.run())
                writing = records and group.create_task(supervised("records", records.run))
                await run_until(stop, beside_requests(gateway, hangup))
                await listener.drain()
                desk.close()
                if writing:
                    writing.cancel()
            finally:
                await listener.close()
                linked.cancel()
                orphaned.cancel()
    finally:
        for peer in (hub, *others.values()):
            await peer.aclose()
        await gateway.aclose()
        output.close()


async def _either(ready: asyncio.Event, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(ready.wait()), group.create_task(stop.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


async def _orphaned(control_pipe: asyncio.StreamReader, stop: asyncio.Event) -> None:
    """Without a supervisor nobody would start it again, and nobody would stop it."""
    while await control_pipe.readline():
        pass
    stop.set()
