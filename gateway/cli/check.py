"""`setpoint check`: everything that is wrong with a configuration and its policies."""

import argparse
import os

from contracts import problems
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
    from gateway.configuration.routes import targets_path
    from gateway.policy_files import load_policies
    from policies.quality import idle_fallbacks

    checked = check(config_path(arguments), env=os.environ)
    found, loaded, policy = list(checked.problems), checked.loaded, None
    if checked.policies_path is not None:
        try:
            policy = load_policies(checked.policies_path, checked.catalog, os.environ)
        except ProblemsFound as exc:
            found += exc.problems
    if loaded is None or policy is None:
        raise ProblemsFound(found)
    for route, index in idle_fallbacks(policy.intents.values(), loaded.catalog):
        given = loaded.config.routes.get(route, [])
        path: problems.Path = (*targets_path(route, given), index)
        target = loaded.catalog.routes[route][index]
        quality = loaded.catalog.models[target].quality
        rating = "unrated" if quality is None else f"of quality {quality:g}"
        message = f"{target!r} is {rating}: no intent with a quality floor will ever try it"
        warning = problems.Problem(
            position=checked.reading.position(path),
            path=problems.spell_path(path),
            message=message,
            hint="give the model a quality" if quality is None else "",
        )
        complain(f"warning: {warning}")
    say(
        f"ok: {loaded.file}: {len(loaded.pools)} pools, {len(loaded.catalog.models)} models; "
        f"{loaded.policies_path}: {len(policy.intents)} intents, {len(policy.rules)} rules, "
        f"version {policy.version}"
    )
    return OK
