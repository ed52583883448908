"""`make bench-control`: what the control loop reaches, against bounds, rivals and its own promises.

Everything runs in virtual time in the simulator, so that the figures hang on the code and the seeds
and not on the machine; the last row alone is about the machine, and simulates an hour twice through
the command line. Exit code 1 if a target is missed.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import control_ladders as ladders
import control_loads as loads
from control_cases import SCENARIOS, Case, Job, Measured, Row, work

from gateway.simulation.traffic import poisson

HERE = Path(__file__).resolve().parent
TRACES_VARIABLE = "SETPOINT_TRACES"
HOUR_S, HOUR_RPS = 3600.0, 5.0
TARGET_S = 5.0


def all_cases(folder: Path, *, quick: bool) -> list[Case]:
    """`quick` is for the tests: everything runs, nothing is long enough to judge."""
    seeds, minute_s = (1, 5.0) if quick else (5, 60.0)
    return [
        *loads.steady_loads(seeds, 4 * minute_s),
        *([] if quick else loads.traces(folder)),
        loads.step(seeds, minute_s),
        ladders.two_intents(seeds, 10 * minute_s),
        ladders.cost(seeds, minute_s),
        ladders.spike(seeds, minute_s),
        ladders.crowded(seeds, minute_s),
        *([] if quick else ladders.trace_with_ladder(folder)),
        ladders.steady(minute_s),
    ]


def bench(chosen: Sequence[Case], workers: int) -> list[Row]:
    """Run all jobs, as many at once as there are workers, and judge them."""
    with ProcessPoolExecutor(workers) as pool:
        running = [(case, [pool.submit(_counted, job) for job in case.jobs]) for case in chosen]
        measured = [(case, [one.result() for one in futures]) for case, futures in running]
    print(file=sys.stderr)
    rows = [row for case, mine in measured for row in case.rows(mine)]
    acted = [one for case, mine in measured if case.acts for one in mine]
    return [*rows, ladders.verdict_row(acted)] if acted else rows


def _counted(job: Job) -> Measured:
    measured = work(job)
    print(".", end="", file=sys.stderr, flush=True)
    return measured


def hour_row(span_s: float) -> Row:
    """The command line, twice, on an hour of traffic: how long, and whether both say the same."""
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as name:
        folder = Path(name)
        trace = folder / "trace.csv"
        hour = poisson(HOUR_RPS, span_s, 1)
        lines = [f"{a.arrival_s},{a.input_tokens},{a.output_tokens}" for a in hour]
        trace.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *lines]), "utf-8")
        told = [_simulated(trace, folder / str(nth)) for nth in range(2)]
    wall_s, cpu_s = min(one[0] for one in told), min(one[1] for one in told)
    same = told[0][2] == told[1][2]
    return Row(
        case=f"simulate {span_s / 3600:g} h at {HOUR_RPS:g} requests/s",
        figure=f"{wall_s:.2f} s, {'byte-identical' if same else 'NOT THE SAME'} twice",
        target=f"< {TARGET_S:g} s",
        ok=wall_s < TARGET_S and same,
        detail=f"{cpu_s:.2f} s of CPU for {len(lines)} requests, start of Python included",
    )


def _simulated(trace: Path, folder: Path) -> tuple[float, float, bytes]:
    """Wall and CPU seconds, and what it wrote, without how long it took."""
    folder.mkdir()
    rows, result = folder / "rows.csv", folder / "result.json"
    command = [sys.executable, "-m", "gateway.cli", "simulate", "--trace", str(trace)]
    command += ["--config", str(SCENARIOS / "one_model.yaml")]
    command += ["--requests", str(rows), "--json", str(result)]
    before, started_s = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall_s, after = time.perf_counter() - started_s, os.times()
    cpu_s = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    summary = re.sub(rb'"wall_s": [0-9.]+', b"", result.read_bytes())
    return wall_s, cpu_s, rows.read_bytes() + summary


# -- showing ------------------------------------------------------------------------------


def report(rows: Sequence[Row], *, judged: bool) -> str:
    """A Markdown table, with all that is needed to read it a year later."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        f"{today}, {_machine()}, Python {platform.python_version()}.",
        "Poisson traffic with lognormal lengths; N = 96, ITL 12 ms, F = 3, prefill 30 ms + 250 us a "
        "token; TTFT 1.5 s, TPOT 25 ms. Traces: prefill 15 us a token, TTFT 3 s.",
        "",
        "| case | figure | target | | detail |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        mark = {True: "ok", False: "MISSED", None: ""}[row.ok if judged else None]
        lines.append(f"| {row.case} | {row.figure} | {row.target} | {mark} | {row.detail} |")
    return "\n".join(lines)


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8") if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    model = found[1].strip() if found else platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="parts of the names of the cases; default all")
    parser.add_argument(
        "--traces",
        type=Path,
        default=os.environ.get(TRACES_VARIABLE, HERE.parents[2] / "shared" / "traces"),
        help=f"the folder of recorded traffic; ${TRACES_VARIABLE} if not given",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--quick", action="store_true", help="short runs, of which none is judged")
    arguments = parser.parse_args()
    chosen = [
        case
        for case in all_cases(Path(arguments.traces), quick=arguments.quick)
        if not arguments.cases or any(word in case.name for word in arguments.cases)
    ]
    rows = bench(chosen, arguments.workers)
    if not arguments.cases or "hour" in arguments.cases:
        rows.append(hour_row(HOUR_S / 60 if arguments.quick else HOUR_S))
    print(report(rows, judged=not arguments.quick))
    missed = any(row.ok is False for row in rows)
    return 1 if missed and not arguments.quick else 0


if __name__ == "__main__":
    sys.exit(main())
