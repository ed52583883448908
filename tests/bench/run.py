"""`make bench`: what one request, and one streamed token, costs in CPU time. Linux only.

Three contenders take the same load from the same generator in front of the same upstream: nobody (the
upstream itself, asked directly), a minimal aiohttp proxy, and Setpoint with its policies on. What is
compared is the contender's own CPU time, read from its process's CPU clock: other work on the machine
makes a run longer, but hardly dearer. Rounds alternate between the contenders, so that a slow minute
hits them all. Everything is bounded, listens on loopback only, and is stopped at the end.
"""

import argparse
import contextlib
import datetime
import os
import platform
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec
from load import Run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_S, STOP_S, RUN_S = 20.0, 10.0, 60.0
WARM_UP_REQUESTS = 200
REQUEST_TOKENS = 16
CONFIG = """\
bind_addr: 127.0.0.1:0
pools: [{id: bench, engine: openai, endpoint: UPSTREAM, max_inflight: 4096}]
models:
  - {name: instant, pool: bench, quality: 0.9}
  - {name: paced, pool: bench, quality: 0.9}
  - {name: assistant-small, pool: bench, upstream: instant, quality: 0.7}
logging: {level: info, format: json}
"""
"""Without `policies` those that ship are in force: two intents, three rules. Every request is logged."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one round asks of each contender."""

    requests: int
    concurrency: int
    streams: int
    stream_tokens: int
    pace: float


class Contender(msgspec.Struct, kw_only=True):
    """A process under load. Samples in microseconds of CPU, one a round; latencies in seconds."""

    name: str
    url: str
    pid: int
    request_us: list[float] = []
    token_us: list[float] = []
    whole_s: list[float] = []
    first_s: list[float] = []


class BenchError(Exception):
    """A process did not start, or an answer was wrong; the text says which."""


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of all threads of a process so far.

    The kernel's clock of another process counts in nanoseconds, where /proc/PID/stat counts in
    hundredths of a second. Its id is made as in clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)


# -- processes ----------------------------------------------------------------------------


@contextlib.contextmanager
def running(name: str, command: list[str], cpus: set[int], log: Path) -> Iterator[tuple[str, int]]:
    """Start a server; gives its base URL and process id, and stops it at the end, come what may."""
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
    try:
        os.sched_setaffinity(process.pid, cpus)
        yield _url(name, process, log), process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _url(name: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The URL that a server prints once it listens."""
    assert process.stdout is not None
    said = b""
    deadline_s = time.monotonic() + START_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        readable, _, _ = select.select([process.stdout], [], [], left_s)
        more = os.read(process.stdout.fileno(), 65536) if readable else b""
        said += more
        if found := re.search(rb"http://127\.0\.0\.1:\d+(?=\s)", said):
            return found[0].decode()
        if readable and not more:
            break
    words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise BenchError(f"{name} does not listen:\n{words}")


def _generate(
    contender: Contender, cpus: set[int], mode: str, requests: int, concurrency: int, tokens: int
) -> Run:
    command = [sys.executable, str(HERE / "load.py"), "--url", contender.url, "--mode", mode]
    command += ["--requests", str(requests), "--concurrency", str(concurrency)]
    command += ["--tokens", str(tokens), "--limit", str(RUN_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        os.sched_setaffinity(process.pid, cpus)
        out, _ = process.communicate(timeout=RUN_S + START_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise BenchError("the load generator failed")
    run = msgspec.json.decode(out, type=Run)
    if run.errors:
        raise BenchError(f"{contender.name}: {run.errors} of {requests} answers were wrong")
    return run


# -- measuring ----------------------------------------------------------------------------


def measure(contender: Contender, load: Load, cpus: set[int]) -> None:
    """One round: non-streamed requests as fast as they come back, then paced streams side by side."""
    before_s = cpu_s(contender.pid)
    run = _generate(contender, cpus, "whole", load.requests, load.concurrency, REQUEST_TOKENS)
    contender.request_us.append((cpu_s(contender.pid) - before_s) * 1e6 / run.done)
    contender.whole_s.append(median(run.whole_s))

    before_s = cpu_s(contender.pid)
    run = _generate(contender, cpus, "stream", load.streams, load.streams, load.stream_tokens)
    contender.token_us.append((cpu_s(contender.pid) - before_s) * 1e6 / run.tokens_seen)
    contender.first_s.append(median(run.first_s))


def bench(load: Load, rounds: int, folder: Path) -> list[Contender]:
    """Start everything, measure, stop everything. Raises BenchError, OSError."""
    cores = sorted(os.sched_getaffinity(0))
    own, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    python = sys.executable
    with contextlib.ExitStack() as stack:

        def start(name: str, command: list[str], cpus: set[int]) -> Contender:
            log = folder / f"{name.replace(' ', '_')}.log"
            url, pid = stack.enter_context(running(name, command, cpus, log))
            return Contender(name=name, url=url, pid=pid)

        upstream = start(
            "upstream, directly",
            [python, str(HERE / "upstream.py"), "--pace", str(load.pace)],
            others,
        )
        proxy = start(
            "aiohttp proxy",
            [python, str(HERE / "aiohttp_proxy.py"), "--upstream", upstream.url],
            own,
        )
        config = folder / "setpoint.yaml"
        config.write_text(CONFIG.replace("UPSTREAM", upstream.url), encoding="utf-8")
        setpoint = start(
            "Setpoint", [python, "-m", "gateway.cli", "serve", "--config", str(config)], own
        )
        contenders = [upstream, proxy, setpoint]
        for contender in contenders:
            _generate(
                contender, others, "whole", WARM_UP_REQUESTS, load.concurrency, REQUEST_TOKENS
            )
        for number in range(rounds):
            # Each round begins with another one, so that nobody is always first.
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                measure(contender, load, others)
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    return contenders


# -- showing ------------------------------------------------------------------------------


def report(contenders: list[Contender], load: Load, rounds: int) -> str:
    """A Markdown table, with all that is needed to read it a year later."""
    _, proxy, _ = contenders
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        f"{today}, {_machine()}, Python {platform.python_version()}.",
        f"Medians of {rounds} alternating rounds (least to most). A round: {load.requests} requests of "
        f"{REQUEST_TOKENS} tokens, {load.concurrency} at once; {load.streams} streams of "
        f"{load.stream_tokens} tokens at {load.pace:g} tokens/s.",
        "",
        "| | CPU us a request | x aiohttp | CPU us a streamed token | x aiohttp | p50 ms a request "
        "| p50 ms to the first token |",
        "|---|---|---|---|---|---|---|",
    ]
    for contender in contenders:
        cells = [
            contender.name,
            _spread(contender.request_us),
            f"{median(contender.request_us) / median(proxy.request_us):.2f}",
            _spread(contender.token_us),
            f"{median(contender.token_us) / median(proxy.token_us):.2f}",
            f"{median(contender.whole_s) * 1000:.2f}",
            f"{median(contender.first_s) * 1000:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(samples: list[float]) -> str:
    return f"{median(samples):.1f} ({min(samples):.1f} to {max(samples):.1f})"


def _machine() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    model = found[1].strip() if found else platform.machine()
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {kernel}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000, help="non-streamed, a round")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=250, help="of each stream")
    parser.add_argument("--pace", type=float, default=50.0, help="tokens a second of each stream")
    arguments = parser.parse_args()
    load = Load(
        requests=arguments.requests,
        concurrency=arguments.concurrency,
        streams=arguments.streams,
        stream_tokens=arguments.tokens,
        pace=arguments.pace,
    )
    # Being told to stop must end the servers too: an exception runs their `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        try:
            contenders = bench(load, arguments.rounds, Path(folder))
        except BenchError as exc:
            print(exc, file=sys.stderr)
            return 1
    print(report(contenders, load, arguments.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
