"""`make bench`: what Setpoint costs beside other proxies, in CPU time, memory and latency. Linux only.

All of them take the same load from the same generator in front of the same upstream, and every answer is
checked: one wrong answer, and its contender has no figure. CPU time is read from the kernel's books of the
contender's processes: other work on the machine makes a run longer, but hardly dearer. Rounds alternate.
Everything is bounded, listens on loopback only, and is stopped at the end.

    make bench                                          all measurements, some ten minutes
    make bench ARGS="--only requests,tokens --rounds 2"
    make bench ARGS="--all"                             LiteLLM and Portkey too, which `make peers` installs
    make bench ARGS="--write --json bench.json"         the tables into docs/bench.md, the figures into a file
"""

import argparse
import datetime
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tests.bench.arena import Arena, arena
from tests.bench.machine import allow_files, described, load_average
from tests.bench.measures import (
    idle_streams,
    imports,
    latency,
    many_streams,
    requests,
    starts,
    tokens,
    variants,
    workers,
)
from tests.bench.peers.aiohttp_minimal import AIOHTTP
from tests.bench.peers.bare_relay import BARE_RELAY
from tests.bench.peers.litellm import LITELLM
from tests.bench.peers.nginx import NGINX
from tests.bench.peers.peer import Peer
from tests.bench.peers.portkey import PORTKEY
from tests.bench.peers.setpoint import SETPOINT
from tests.bench.peers.vllm_router import VLLM_ROUTER
from tests.bench.processes import ROOT, BenchError
from tests.bench.report import Run, faults, text, written
from tests.bench.result import Result
from tests.bench.sizes import Sizes

DOCUMENT = ROOT / "docs" / "bench.md"
MEASURES: dict[str, Callable[[Arena, Sizes, Sequence[Peer]], Result]] = {
    "requests": requests.measure,
    "tokens": tokens.measure,
    "latency": latency.measure,
    "first-token": latency.measure_first_token,
    "many-streams": many_streams.measure,
    "idle-streams": idle_streams.measure,
    "rules": variants.measure_rules,
    "callers": variants.measure_callers,
    "starts": starts.measure,
    "imports": imports.measure,
    "workers": workers.measure,
}
USUAL: tuple[Peer, ...] = (SETPOINT, VLLM_ROUTER, NGINX, AIOHTTP, BARE_RELAY)
FURTHER: tuple[Peer, ...] = (PORTKEY, LITELLM)


def bench(names: Sequence[str], sizes: Sizes, peers: Sequence[Peer], folder: Path) -> Run:
    """Carry out the measurements of these names. Raises BenchError, OSError."""
    allow_files()
    results: dict[str, Result] = {}
    now = datetime.datetime.now(datetime.UTC)
    load = load_average()
    with arena(folder) as ground:
        for name in names:
            print(f"{name} ", end="", file=sys.stderr, flush=True)
            results[name] = MEASURES[name](ground, sizes, peers)
            print(file=sys.stderr)
        return Run(
            date=now.date().isoformat(),
            machine=f"{described()}, load average {load:.1f} before",
            missing=ground.missing,
            results=results,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="NAMES", help=f"of these, with commas: {', '.join(MEASURES)}"
    )
    parser.add_argument("--all", action="store_true", help="LiteLLM and Portkey too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/bench.md")
    for field in msgspec.structs.fields(Sizes):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=int, default=field.default, metavar="N")
    return parser.parse_args()


def _names(only: str | None) -> list[str]:
    names = only.split(",") if only else list(MEASURES)
    for name in names:
        if name not in MEASURES:
            raise SystemExit(
                f"--only {name}: there is no such measurement, but {', '.join(MEASURES)}"
            )
    if "workers" in names and not workers.can():
        print("workers: left out, `setpoint serve` has no --workers", file=sys.stderr)
        names.remove("workers")
    return names


def main() -> int:
    arguments = _arguments()
    sizes = msgspec.convert(vars(arguments), Sizes)
    names = _names(arguments.only)
    peers = USUAL + FURTHER if arguments.all else USUAL
    # Being told to stop must end the servers too: an exception runs their `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        try:
            run = bench(names, sizes, peers, Path(folder))
        except BenchError as exc:
            print(exc, file=sys.stderr)
            return 1
    print(text(run), end="")
    if arguments.json:
        encoded = msgspec.json.format(msgspec.json.encode(run), indent=1)
        arguments.json.write_bytes(encoded + b"\n")
    wrong = faults(run.results)
    for line in wrong:
        print(line, file=sys.stderr)
    if arguments.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8"), run), "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
