"""How long Setpoint's imports take: `python -X importtime -m gateway.cli serve`."""

import re
import subprocess
import sys
from collections.abc import Sequence

from tests.bench.arena import Arena
from tests.bench.peers.peer import Launch, Peer, Site
from tests.bench.peers.setpoint import SETPOINT
from tests.bench.result import Result, figure, result
from tests.bench.rounds import Figures, alternate
from tests.bench.sizes import Sizes

_LINE = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)


def import_time_s(said: str) -> float:
    """The sum of the modules' own times in what `-X importtime` says."""
    return sum(map(int, _LINE.findall(said))) / 1e6


def measure(arena: Arena, sizes: Sizes, _: Sequence[Peer]) -> Result:
    """Raises BenchError."""

    def launch(site: Site) -> Launch:
        command = SETPOINT.launch(site).command
        return Launch(command=[command[0], "-X", "importtime", *command[1:]])

    timed = Peer(name="Setpoint, imports", launch=launch)
    with arena.serving(timed):
        pass  # what has changed since the last start is compiled

    def once(name: str) -> Figures:
        if name == "Python alone":
            command = [sys.executable, "-X", "importtime", "-c", "pass"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            return {"import_s": import_time_s(done.stderr)}
        with arena.serving(timed) as contender:
            said = contender.log.read_text(encoding="utf-8", errors="replace")
            return {"import_s": import_time_s(said)}

    outcomes = alternate(["Python alone", "Setpoint"], sizes.rounds, once)
    said = (
        f"{sizes.rounds} starts with `-X importtime`; all modules that are imported until the first answer, "
        "by their own times."
    )
    return result("Import time", said, outcomes, [figure("ms", "import_s", scale=1e3, digits=0)])
