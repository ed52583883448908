"""`setpoint serve`: the gateway."""

import argparse
import os

from gateway.cli.command import OK, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import say
from gateway.importing import importing

WORKERS_MOST = 64


def add_to(commands: "Commands[CommandParser]") -> None:
    example = "setpoint serve --config setpoint.yaml"
    add_command(commands, "serve", "run the gateway", example, _add_flags, _run)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--no-self-test", action="store_true", help="ask no backend for tokens of the gateway's own"
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes that share the port, the limits and the control loop; default 1",
    )


def _run(arguments: argparse.Namespace) -> int:
    with importing():
        import uvloop

        from gateway.configuration import load
        from gateway.serve import serve
        from gateway.settings import without_self_test

    loaded = load(config_path(arguments), env=os.environ)
    if arguments.no_self_test:
        loaded = without_self_test(loaded)
    if arguments.workers > 1:
        import asyncio

        from gateway.workers.supervisor import supervise

        return asyncio.run(supervise(loaded, arguments.workers))
    uvloop.run(serve(loaded, say))
    return OK


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MOST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number from 1 to {WORKERS_MOST}: say as many as there are cores"
        )
    return int(text)
