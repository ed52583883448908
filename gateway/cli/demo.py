"""`setpoint demo`: a spike with the loop off and on. What it does is in `gateway.demo`."""

import argparse
import sys
from pathlib import Path

from gateway.cli.command import (
    FAILED,
    INTERRUPTED,
    OK,
    REFUSED,
    CommandParser,
    Commands,
    add_command,
)
from gateway.cli.output import complain


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "demo",
        "a real gateway in front of two simulated llm-d clusters, under a real load: calm, a spike, "
        "calm; once with the loop off, once with it on. Exits 0 if the promise was broken with the "
        "loop off and kept with it on, 1 if not",
        "setpoint demo --seconds 20 --report demo.html --png demo.png --decisions demo.jsonl",
        _add_flags,
        _run,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of each of the three phases; default 20"
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("demo.html"),
        metavar="FILE",
        help="the result as HTML; default demo.html",
    )
    parser.add_argument("--png", type=Path, metavar="FILE", help="its picture")
    parser.add_argument(
        "--decisions", type=Path, metavar="FILE", help="the decision logs as JSON Lines"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the load; default 1")


def _run(arguments: argparse.Namespace) -> int:
    from gateway.demo import run as demo
    from gateway.demo.outcome import Files
    from gateway.demo.scenario import scenario

    files = Files(report=arguments.report, png=arguments.png, decisions=arguments.decisions)
    try:
        plan = scenario(arguments.seconds, arguments.seed)
        files.check()
    except ValueError as exc:
        complain(f"setpoint demo: {exc}")
        return REFUSED
    try:
        verdict = demo.run(plan, files, sys.stdout)
    except (demo.Interrupted, KeyboardInterrupt):
        return INTERRUPTED
    return OK if verdict.shown else FAILED
