"""`make profile`: where Setpoint's CPU time goes under the bench's own load, by function, and as a flame graph.

py-spy samples whoever holds the interpreter, so waiting does not count and a thread that waits for its turn does
not either. Beside it stands each thread's CPU time by the kernel's books, and what of it was the kernel's own. The
profiler stops the process for each sample, which makes a run dearer by a tenth: read the shares, and `make bench`.

    make profile                            a request that is not streamed
    make profile ARGS="tokens --top 60"     a token of 200 streams
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.bench.arena import Arena, Contender, arena
from tests.bench.machine import described
from tests.bench.peers.setpoint import SETPOINT
from tests.bench.plan import Plan, Run
from tests.bench.processes import ROOT, BenchError

PY_SPY = ROOT / ".peers" / "py-spy" / "bin" / "py-spy"
SAMPLES_PER_S = 500
SETTLED_S = 1.5
LOADS = {
    "requests": Plan(url="", model="instant", requests=14_000, concurrency=16, tokens=16),
    "tokens": Plan(
        url="", model="paced-50", requests=200, concurrency=200, tokens=600, stream=True
    ),
}
_LINE = re.compile(r":\d+\)$")


def shares(folded: str) -> list[tuple[str, float]]:
    """Each function's share of all samples, what it calls included, largest first: `("f (file.py)", 0.25)`.
    `folded` is one stack a line, outermost first, with its number of samples at the end."""
    inclusive: Counter[str] = Counter()
    total = 0
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        total += int(count)
        inclusive.update(dict.fromkeys((_LINE.sub(")", f) for f in stack.split(";")), int(count)))
    return [(name, count / total) for name, count in inclusive.most_common()] if total else []


def thread_cpu_s(pid: int) -> dict[str, float]:
    """CPU seconds of each thread so far."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended just now
            name = f"{(task / 'comm').read_text().strip()} {task.name}"
            found[name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def profile(ring: Arena, contender: Contender, plan: Plan, seconds: int, svg: Path | None) -> str:
    """The report. Raises BenchError."""
    warm = Plan(url="", model=plan.model, requests=400, concurrency=plan.concurrency, tokens=16)
    ring.generate(contender, warm)
    runs: list[Run] = []
    before_s = thread_cpu_s(contender.pid)
    load = threading.Thread(target=lambda: runs.append(ring.generate(contender, plan)))
    load.start()
    time.sleep(SETTLED_S)
    folded = ring.folder / "stacks"
    _sample(contender.pid, seconds, "raw", folded)
    if svg is not None:
        _sample(contender.pid, max(2, seconds // 2), "flamegraph", svg)
    load.join()
    after_s = thread_cpu_s(contender.pid)
    if not runs or runs[0].complaint():
        raise BenchError(runs[0].complaint() if runs else "the load generator failed")
    units = runs[0].done * (plan.tokens if plan.stream else 1)
    lines = [f"{runs[0].cpu_s / units * 1e6:.1f} us of CPU a unit, of which each thread:"]
    lines += [
        f"  {spent * 1e6 / units:7.1f} us  {name}"
        for name, spent in sorted(
            ((n, s - before_s.get(n, 0.0)) for n, s in after_s.items()), key=lambda each: -each[1]
        )
        if spent * 1e6 / units >= 0.1
    ]
    lines.append("Shares of the interpreter's time, what is called included:")
    lines += [f"  {share:6.1%}  {name}" for name, share in shares(folded.read_text("utf-8"))]
    return "\n".join(lines)


def _sample(pid: int, seconds: int, form: str, into: Path) -> None:
    command = [str(PY_SPY), "record", "--gil", "--rate", str(SAMPLES_PER_S), "--format", form]
    command += ["--duration", str(seconds), "--output", str(into), "--pid", str(pid)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + 60
    )
    if done.returncode != 0:
        raise BenchError(f"py-spy failed: {done.stderr[-500:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", nargs="?", choices=LOADS, default="requests")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--svg", type=Path, help="write a flame graph there as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="setpoint-profile-") as folder:
        try:
            with arena(Path(folder)) as ring, ring.serving(SETPOINT) as contender:
                plan = LOADS[arguments.load]
                told = profile(ring, contender, plan, arguments.seconds, arguments.svg)
        except BenchError as exc:
            print(exc, file=sys.stderr)
            return 1
    print(described())
    print("\n".join(told.splitlines()[: arguments.top]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
