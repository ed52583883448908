"""`setpoint serve`: the gateway."""

import argparse
import gc
import os

from gateway.cli.command import OK, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import say


def add_to(commands: "Commands[CommandParser]") -> None:
    example = "setpoint serve --config setpoint.yaml"
    add_command(commands, "serve", "run the gateway", example, _add_flags, _run)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--no-self-test", action="store_true", help="ask no backend for tokens of the gateway's own"
    )


def _run(arguments: argparse.Namespace) -> int:
    gc.disable()  # what is imported stays; looking for garbage in it takes a tenth of the start
    import uvloop

    from gateway.configuration import load
    from gateway.serve import serve
    from gateway.settings import without_self_test

    gc.enable()
    loaded = load(config_path(arguments), env=os.environ)
    if arguments.no_self_test:
        loaded = without_self_test(loaded)
    uvloop.run(serve(loaded, say))
    return OK
