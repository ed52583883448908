"""`setpoint simulate` as a command: its flags, and the order in which things are done with them.

Must stay true: the flags cost no import beyond argparse; nothing is simulated before everything that
was given is known to be right, and what came of it is printed before a report can fail.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from gateway.simulation.drift import DriftAsked
    from gateway.simulation.run import Result
    from gateway.simulation.traffic_source import TrafficSource

LEAST_LOAD, MOST_LOAD = 0.001, 1000.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """All but those that every command has."""
    traffic = parser.add_mutually_exclusive_group(required=True)
    traffic.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="CSV, or CSV.gz: arrival_s,input_tokens,output_tokens[,tenant][,intent][,model]",
    )
    traffic.add_argument(
        "--records",
        nargs="?",
        const="",
        metavar="URL",
        help="the executions in the records of the configuration, or in another database",
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="with --records: a duration ago such as 1h, or a date such as 2026-01-31T12:00",
    )
    parser.add_argument(
        "--load",
        type=_load,
        metavar="X",
        help="stretch the arrivals so that their work is X times what the simulated engines can "
        "do within the strictest tpot objective of the trace's intents; default: as they are",
    )
    parser.add_argument(
        "--controller",
        type=_controller,
        default="setpoint",
        metavar="NAME",
        help="setpoint (default), none, static:N, vegas, gradient2 or envoy",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the engines' jitter; default 1")
    parser.add_argument(
        "--drift",
        type=_drift,
        action="append",
        default=[],
        metavar="at=TIME,itl=1.5x",
        help="an engine changes: itl as a factor or a duration, factor=N, model=NAME; repeatable",
    )
    parser.add_argument("--requests", type=Path, metavar="FILE", help="CSV: a row a request")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="the results as JSON; wall_s, the seconds that it took, is the one number that "
        "differs between two runs with the same inputs",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="the results as HTML")


def simulate(
    arguments: argparse.Namespace, config: Path | None, env: Mapping[str, str], out: TextIO
) -> str:
    """Carry it out; prints to `out`. What could not be done, "" if all was.

    Raises ProblemsFound for what an operator wrote, OSError for a file that cannot be written.
    """
    from gateway.simulation.plan import read_plan
    from gateway.simulation.run import run, save
    from gateway.simulation.summary_text import write_summary

    started_s = time.perf_counter()
    plan = read_plan(
        config,
        _source(arguments),
        env,
        load_x=arguments.load,
        controller=arguments.controller,
        seed=arguments.seed,
        drifts=tuple(arguments.drift),
    )
    result = run(plan, watch=arguments.report is not None, started_s=started_s)
    save(result, rows=arguments.requests, summary=arguments.json)
    write_summary(result.summary, out, notes=plan.notes)
    return "" if arguments.report is None else _report(result, arguments.report)


def _source(arguments: argparse.Namespace) -> "TrafficSource":
    """Raises ProblemsFound."""
    from contracts.problems import Position, Problem, ProblemsFound
    from gateway.records.command import Refused, since_s
    from gateway.simulation.recorded_traffic import RecordedTraffic
    from gateway.simulation.traffic_source import TraceFile

    try:
        if arguments.trace is not None:
            if arguments.since is not None:
                raise Refused("a trace is simulated as a whole: --since goes with --records")
            return TraceFile(arguments.trace)
        since = None if arguments.since is None else since_s(arguments.since, time.time())
    except Refused as exc:
        raise ProblemsFound([Problem(position=Position("--since"), message=str(exc))]) from exc
    return RecordedTraffic(arguments.records, since_s=since)


def _report(result: "Result", path: Path) -> str:
    from gateway.simulation import report
    from gateway.simulation.plots import NoMatplotlib
    from gateway.simulation.run_report import report_of

    try:
        page = report.html(report_of(result))
    except NoMatplotlib as exc:
        return str(exc)
    path.write_text(page, encoding="utf-8")
    return ""


def _load(text: str) -> float:
    try:
        load = float(text)
    except ValueError:
        load = 0.0
    if not LEAST_LOAD <= load <= MOST_LOAD:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a load from {LEAST_LOAD:g} to {MOST_LOAD:g}, such as 1.6"
        )
    return load


def _controller(text: str) -> str:
    from gateway.simulation.rivals.registry import make_rival

    if text != "setpoint":
        try:
            make_rival(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"{exc}; and setpoint") from exc
    return text


def _drift(text: str) -> "DriftAsked":
    from gateway.simulation.drift import parse_drift

    try:
        return parse_drift(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
