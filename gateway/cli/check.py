"""`setpoint check`: everything that is wrong with a configuration and its policies."""

import argparse
import os

from contracts.problems import ProblemsFound
from gateway.cli.command import OK, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import complain, say


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "check",
        "check a configuration and its policies; prints every problem, exits 2 if there is one",
        "setpoint check --config setpoint.yaml",
        add_config,
        _run,
    )


def _run(arguments: argparse.Namespace) -> int:
    from gateway.configuration import check
    from gateway.configuration.likely_mistakes import likely_mistakes
    from gateway.policy_files import load_policies
    from gateway.route_names import with_route_names

    checked = check(config_path(arguments), env=os.environ)
    found, loaded, policy = list(checked.problems), checked.loaded, None
    if checked.policies_path is not None:
        try:
            policy = load_policies(checked.policies_path, checked.catalog, os.environ)
        except ProblemsFound as exc:
            found += exc.problems
    if loaded is None or policy is None:
        raise ProblemsFound(found)
    for warning in likely_mistakes(loaded, policy, with_route_names(loaded.catalog)):
        complain(f"warning: {warning}")
    say(
        f"ok: {loaded.file}: {len(loaded.pools)} pools, {len(loaded.catalog.models)} models; "
        f"{loaded.policies_path}: {len(policy.intents)} intents, {len(policy.rules)} rules, "
        f"version {policy.version}"
    )
    return OK
