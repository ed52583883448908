"""The work beside requests, from start to stop: probes, the control loop, watches over files.

Must stay true: it never takes traffic down with it. What breaks is logged and started again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway import logs, policy_watch
from gateway.control import Control
from gateway.runtime import Gateway

Work = Callable[[], Awaitable[None]]
RESTART_S = 1.0


async def run_background(
    stop: asyncio.Event, hangup: asyncio.Event, gateway: Gateway, control: Control
) -> None:
    """What a gateway alone does beside requests, until `stop` is set."""
    await run_until(stop, {**probes(gateway, control), **beside_requests(gateway, hangup)})


def probes(gateway: Gateway, control: Control) -> dict[str, Work]:
    """What is done once for all processes of a gateway: it looks after engines, and decides."""
    return {
        "health": gateway.health.watch,
        "load": gateway.load_watch.run,
        "control": control.run,
        "honour": gateway.honour_watch.run,
        "self_test": gateway.self_tests.run,
    }


def follow_policies(gateway: Gateway, hangup: asyncio.Event) -> dict[str, Work]:
    """What every process does."""
    return {
        "policy_watch": lambda: policy_watch.watch(gateway),
        "hangup": lambda: policy_watch.reload_on(hangup, gateway),
    }


def beside_requests(gateway: Gateway, hangup: asyncio.Event) -> dict[str, Work]:
    """What every process does that carries requests: it tells of them as well."""
    works = follow_policies(gateway, hangup)
    if gateway.telemetry is not None:
        works["telemetry"] = gateway.telemetry.run
    return works


async def run_until(stop: asyncio.Event, works: Mapping[str, Work]) -> None:
    """Run all of them, each `supervised` under its name, until `stop` is set."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(supervised(name, work)) for name, work in works.items()]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def supervised(name: str, work: Work) -> None:
    """Background work never takes traffic down with it: log what broke it, and start it again."""
    while True:
        try:
            await work()
            return
        except Exception as exc:
            logs.failure("background_task_failed", exc, task=name, again_in_s=RESTART_S)
            await asyncio.sleep(RESTART_S)
