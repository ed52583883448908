"""`setpoint records`: what was asked, and what became of it. What it does is in `gateway.records.command`."""

import argparse
import sys

from gateway.cli.command import FAILED, OK, REFUSED, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import complain, naming_the_file


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "records",
        "what was asked, decided, tried and paid: list, show or export it",
        "setpoint records ls --config setpoint.yaml --intent interactive --since 1h --status 5xx",
        _add_flags,
        _run,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from gateway.records import command

    command.add_commands(parser, add_config)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.records import command

    try:
        with naming_the_file():
            command.run(arguments, config_path(arguments), sys.stdout)
    except command.Refused as exc:
        complain(f"setpoint records: {exc}")
        return REFUSED
    except command.Undone as exc:
        complain(f"setpoint records: {exc}")
        return FAILED
    return OK
