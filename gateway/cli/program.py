"""`setpoint` itself: which command it is, and how it ends."""

import argparse
from collections.abc import Sequence

from contracts.problems import ProblemsFound
from gateway.cli import check, demo, explain, llmd, records, replay, serve, simulate
from gateway.cli.command import FAILED, OK, REFUSED, CommandParser
from gateway.cli.output import complain
from gateway.version import VERSION


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ProblemsFound as exc:
        complain(*map(str, exc.problems))
        return REFUSED
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:
        return FAILED
    except OSError as exc:
        complain(f"setpoint: {exc.strerror or exc}")
        return FAILED


def make_parser() -> argparse.ArgumentParser:
    """`run` of what it parses carries the command out."""
    parser = argparse.ArgumentParser(
        prog="setpoint",
        description="An OpenAI-compatible gateway that keeps LLM inference inside its declared intent.",
    )
    parser.add_argument("--version", action="version", version=f"setpoint {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    for command in (serve, check, explain, simulate, records, replay, demo, llmd):
        command.add_to(commands)
    return parser
