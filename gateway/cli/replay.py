"""`setpoint replay`: a recorded execution once more. What it does is in `gateway.records.replay_command`."""

import argparse
import sys

from gateway.cli.command import INTERRUPTED, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import complain


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "replay",
        "ask a recorded execution once more, with the same plan and the same parameters. Exits 0 if the "
        "text is the same, 1 if it differs, 2 if it could not be asked or compared",
        "setpoint replay exec_5f3a9c01d2e400000001 --config setpoint.yaml",
        _add_flags,
        _run,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from gateway.records import replay_command

    replay_command.add_flags(parser, add_config)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.records import replay_command

    try:
        return replay_command.run(arguments, config_path(arguments), sys.stdout)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (replay_command.CannotReplay, OSError) as exc:
        complain(f"setpoint replay: {exc}")
        return replay_command.UNDONE
