"""Two worker processes of Setpoint against one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from tests.bench.arena import Arena
from tests.bench.measures import loads
from tests.bench.peers.peer import Peer
from tests.bench.peers.setpoint import setpoint
from tests.bench.processes import ROOT
from tests.bench.result import Result, figure, result, times
from tests.bench.rounds import Figures, alternate
from tests.bench.sizes import Sizes

OPTION = "--workers"
WORKERS = (1, 2)


def can() -> bool:
    """Whether this Setpoint has worker processes."""
    command = [sys.executable, "-m", "gateway.cli", "serve", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    return OPTION in done.stdout


def measure(arena: Arena, sizes: Sizes, _: Sequence[Peer]) -> Result:
    """Raises BenchError."""
    cores = sorted(os.sched_getaffinity(0))
    variants = [
        (setpoint(_name(count), options=(OPTION, str(count))), set(cores[:count]))
        for count in WORKERS
    ]
    with ExitStack() as stack:
        serving = [stack.enter_context(arena.serving(peer, cpus)) for peer, cpus in variants]
        contenders = {each.name: each for each in serving}

        def once(name: str) -> Figures:
            run = loads.requests(arena, contenders[name], sizes)
            return {"per_s": run.done / run.elapsed_s, "cpu_s": run.cpu_s / run.done}

        outcomes = alternate(list(contenders), sizes.rounds, once)
    columns = [
        figure("requests/s", "per_s", digits=0),
        *times("per_s", _name(1), outcomes),
        figure("CPU us a request", "cpu_s", scale=1e6),
    ]
    said = (
        f"The load of a request; {len(cores)} cores are there, and upstream and generator need one."
    )
    if len(cores) < 3:
        said += " With two cores the second worker shares its core with them."
    return result("Workers", said, outcomes, columns)


def _name(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"
