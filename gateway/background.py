"""The work beside requests, from start to stop: probes, the control loop, watches over files.

Must stay true: it never takes traffic down with it. What breaks is logged and started again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway import logs, policy_watch
from gateway.control import Control
from gateway.runtime import Gateway

RESTART_S = 1.0


async def run_background(
    stop: asyncio.Event, hangup: asyncio.Event, gateway: Gateway, control: Control
) -> None:
    """Run the background work until `stop` is set."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(supervised("health", gateway.health.watch)),
            group.create_task(supervised("load", gateway.load_watch.run)),
            group.create_task(supervised("control", control.run)),
            group.create_task(supervised("honour", gateway.honour_watch.run)),
            group.create_task(supervised("self_test", gateway.self_tests.run)),
            group.create_task(supervised("policy_watch", lambda: policy_watch.watch(gateway))),
            group.create_task(
                supervised("hangup", lambda: policy_watch.reload_on(hangup, gateway))
            ),
        ]
        if gateway.telemetry is not None:
            tasks.append(group.create_task(supervised("telemetry", gateway.telemetry.run)))
        await stop.wait()
        for task in tasks:
            task.cancel()


async def supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Background work never takes traffic down with it: log what broke it, and start it again."""
    while True:
        try:
            await work()
            return
        except Exception as exc:
            logs.failure("background_task_failed", exc, task=name, again_in_s=RESTART_S)
            await asyncio.sleep(RESTART_S)
