"""`setpoint serve --workers N`: starts the processes of one gateway, starts those again that die, stops them all.

It carries no request and knows nothing of any. Must stay true: a configuration that is wrong, or a port
that is another program's, is told once and before anything is started; a process that dies again and again is
started ever more slowly; on the way down workers drain first, and the hub goes last.
"""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

from gateway import logs
from gateway.policy_files import load_policies
from gateway.port import Port
from gateway.settings import LoadedConfig
from gateway.workers.handover import Handover, check_paths, hand_over, listening_mark, log_lock

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0
SETTLED_S = 30.0
"""Who has lived for so long is started again at once, as if it had never died."""
MARGIN_S = 10.0
"""Beyond `drain_timeout`: then a worker that is still there is killed."""
HUB_STOP_S = 5.0
HUB = -1


class _Child:
    """One process, and how often it has died lately."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Process | None = None
        self.wait_s = FIRST_WAIT_S

    @property
    def name(self) -> str:
        return "hub" if self.number == HUB else f"worker {self.number}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    def tell(self, line: bytes) -> None:
        """The supervisor's word."""
        if self.alive and self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(line)

    def let_go(self) -> None:
        """Its standard input ends, and with it whatever waits for the supervisor."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


class Supervisor:
    """Of `count` workers and their hub. `run` it."""

    def __init__(self, loaded: LoadedConfig, count: int, folder: Path, port: int) -> None:
        self._loaded, self._count, self._folder, self._port = loaded, count, folder, port
        self._hub = _Child(HUB)
        self._workers = [_Child(number) for number in range(count)]
        self._stopping = asyncio.Event()
        self._code = 0
        self._restarts = 0

    async def run(self) -> int:
        """Until SIGINT or SIGTERM, or until a process could not even begin. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        async with asyncio.TaskGroup() as group:
            hub = group.create_task(self._keep(self._hub))
            workers = [group.create_task(self._keep(child)) for child in self._workers]
            await self._stopping.wait()
            self._hub.tell(b"drain\n")
            await self._down(workers, self._workers, signal.SIGTERM, self._patience_s)
            self._hub.let_go()
            await self._down([hub], [self._hub], None, HUB_STOP_S)
        return self._code

    async def _down(
        self,
        keeping: list["asyncio.Task[None]"],
        children: list[_Child],
        number: int | None,
        patience_s: float,
    ) -> None:
        """All of them, in good order if they can, and in any case soon."""
        for child in children:
            if number is not None:
                child.signal(number)
        _, late = await asyncio.wait(keeping, timeout=patience_s)
        for child in children:
            if late:
                child.signal(signal.SIGKILL)
        await asyncio.wait(keeping)

    @property
    def _patience_s(self) -> float:
        return float(self._loaded.config.drain_timeout) + MARGIN_S

    def _hang_up(self) -> None:
        for child in (self._hub, *self._workers):
            child.signal(signal.SIGHUP)

    async def _keep(self, child: _Child) -> None:
        """Run one process, again and again."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began_s = loop.time()
            process = await self._start(child)
            if self._stopping.is_set():  # it was not there yet when the others were told
                child.signal(signal.SIGTERM)
            code = await process.wait()
            child.let_go()
            if self._stopping.is_set():
                return
            if code > 0 and not self._has_listened:
                self._code = code  # what is wrong stands on standard error
                self._stopping.set()
                return
            lived_s = loop.time() - began_s
            if lived_s >= SETTLED_S:
                child.wait_s = FIRST_WAIT_S
            logs.event(
                logging.ERROR,
                "process_died",
                what=child.name,
                code=code,
                lived_s=round(lived_s, 3),
                again_in_s=child.wait_s,
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(child.wait_s):
                    await self._stopping.wait()
            child.wait_s = min(child.wait_s * 2, LONGEST_WAIT_S)
            self._restarts += 1
            self._hub.tell(b"restarted\n")

    @property
    def _has_listened(self) -> bool:
        return listening_mark(self._folder).exists()

    async def _start(self, child: _Child) -> Process:
        hub = child is self._hub
        handover = Handover(
            loaded=self._loaded,
            part="hub" if hub else "worker",
            number=child.number,
            count=self._count,
            folder=self._folder,
            port=self._port,
            first=not self._has_listened,
            restarts=self._restarts,
            alive=tuple(worker.number for worker in self._workers if worker.alive) if hub else (),
        )
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        child.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "gateway.workers.process",
            child.name.replace(" ", "-"),  # for people, in `ps`
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        child.tell(hand_over(handover))
        return child.process


async def supervise(loaded: LoadedConfig, count: int) -> int:
    """Serve with `count` workers until a signal. Returns the exit code. Raises ProblemsFound, PortInUse,
    OSError."""
    load_policies(loaded.policies_path, loaded.catalog, os.environ)
    port = Port(loaded.host, loaded.port)
    folder = Path(tempfile.mkdtemp(prefix="setpoint-"))
    try:
        check_paths(folder, count)
        output = logs.LogOutput(
            level=loaded.config.logging.level,
            form=loaded.config.logging.format,
            file=loaded.log_file,
            redact=loaded.redactor().redact,
            on_drop=lambda: None,
            process="supervisor",
            lock=log_lock(folder),
        )
        try:
            return await Supervisor(loaded, count, folder, port.number).run()
        finally:
            output.close()
    finally:
        port.close()
        shutil.rmtree(folder, ignore_errors=True)
