"""`setpoint simulate`: a trace against simulated engines. What it does is in `gateway.simulation`."""

import argparse
import os
import sys

from gateway.cli.command import FAILED, OK, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import complain, naming_the_file


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "simulate",
        "replay a trace against simulated engines: what would be decided, and what came of it",
        "setpoint simulate --config setpoint.yaml --trace trace.csv.gz --load 1.6 "
        "--drift at=180s,itl=1.5x --json result.json",
        _add_flags,
        _run,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from gateway.simulation import command

    add_config(parser)
    command.add_flags(parser)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.simulation import command

    with naming_the_file():
        undone = command.simulate(arguments, config_path(arguments), os.environ, sys.stdout)
    if undone:
        complain(f"setpoint simulate: {undone}")
    return FAILED if undone else OK
