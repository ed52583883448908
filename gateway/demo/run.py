"""The demo from beginning to end: processes up, load on, processes down, twice; then the outcome.

The only place of this package that starts things. Must stay true: whatever happens, no child is left
behind; the two runs differ in one line of the policy.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TextIO

import uvloop

from gateway.demo import deployment
from gateway.demo.load import Load
from gateway.demo.outcome import Files, save, tell
from gateway.demo.processes import Child
from gateway.demo.record import Record, RunName
from gateway.demo.scenario import Scenario, arrivals
from gateway.demo.screen import Screen, glance, make_screen
from gateway.demo.verdict import Verdict, judge
from gateway.demo.watcher import Watcher

REFRESH_S = 0.25


class Interrupted(Exception):
    """Somebody asked for an end; everything was stopped."""


def run(plan: Scenario, files: Files, out: TextIO) -> Verdict:
    """Both runs, told and saved. About twice the scenario's span.

    Raises Interrupted, DidNotStart, OSError, plots.NoMatplotlib.
    """
    demo = Demo(plan, make_screen(out, plan.promise))
    try:
        off, on = uvloop.run(demo.both())
    except asyncio.CancelledError as exc:
        raise Interrupted from exc
    finally:
        demo.close()
    verdict = judge(plan, off, on)
    tell(out, plan, off, on, verdict)
    save(files, plan, off, on, verdict)
    for path in files.each():
        out.write(f"wrote {path}\n")
    return verdict


class Demo:
    """`both` once, then `close`."""

    def __init__(self, plan: Scenario, screen: Screen) -> None:
        self._plan = plan
        self._screen = screen
        self._children: list[Child] = []
        self._stopping = False

    def close(self) -> None:
        """The last resort: children that are still there are killed."""
        self._screen.close()
        self._kill()

    async def both(self) -> tuple[Record, Record]:
        """Loop off, then loop on. SIGINT and SIGTERM cancel it; a second one does not wait for anybody."""
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, task)
        with tempfile.TemporaryDirectory(prefix="setpoint-demo-") as folder:
            off = await self._one("loop off", _made(folder, "off"))
            on = await self._one("loop on", _made(folder, "on"))
        return off, on

    def _stop(self, task: "asyncio.Task[object]") -> None:
        if self._stopping:
            self._kill()
        self._stopping = True
        task.cancel()

    def _kill(self) -> None:
        for child in self._children:
            child.kill()

    async def _one(self, name: RunName, folder: Path) -> Record:
        """One run, with processes of its own."""
        self._screen.say(f"{name}: starting a gateway and {len(deployment.ENGINES)} llm-d clusters")
        async with self._deployed(folder, act=name == "loop on") as (gateway, url):
            began_s, began_at = time.monotonic(), time.time()

            def clock() -> float:
                return time.monotonic() - began_s

            load = Load(url, arrivals(self._plan), clock)
            watcher = Watcher(url, clock, began_at)
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(watcher.run()),
                    group.create_task(self._refresh(name, clock, load, watcher)),
                ]
                await load.run()
                for task in beside:
                    task.cancel()
            return Record(
                run=name,
                exchanges=tuple(load.exchanges),
                sights=tuple(watcher.sights),
                heard=tuple(watcher.heard),
                ended_s=clock(),
                errors=gateway.errors(),
            )

    @contextlib.asynccontextmanager
    async def _deployed(self, folder: Path, *, act: bool) -> AsyncIterator[tuple[Child, str]]:
        """The gateway and its URL. What was started is stopped, the last first."""
        async with contextlib.AsyncExitStack() as stack:

            async def up(name: str, arguments: list[str]) -> tuple[Child, str]:
                child = Child(name, arguments, folder)
                self._children.append(child)
                stack.push_async_callback(child.stop)
                return child, await child.start()

            urls = {}
            for engine in deployment.ENGINES:
                command = engine.command(self._plan.seed)
                _, urls[engine.pool] = await up(f"llmd-{engine.pool}", command)
            config_file = self._write_configuration(folder, urls, act=act)
            yield await up("gateway", ["serve", "--config", os.fspath(config_file)])

    def _write_configuration(self, folder: Path, urls: dict[str, str], *, act: bool) -> Path:
        policy_file, config_file = folder / "policy.yaml", folder / "setpoint.yaml"
        policy_file.write_text(deployment.policy(self._plan.promise, act=act))
        config_file.write_text(deployment.configuration(urls, policy_file.name))
        return config_file

    async def _refresh(
        self, name: RunName, clock: Callable[[], float], load: Load, watcher: Watcher
    ) -> None:
        while True:
            self._screen.show(
                glance(self._plan, name, clock(), load.exchanges, watcher.sights, watcher.heard)
            )
            await asyncio.sleep(REFRESH_S)


def _made(parent: str, name: str) -> Path:
    folder = Path(parent, name)
    folder.mkdir()
    return folder
