"""`setpoint explain`: what would become of a request."""

import argparse
import os
import sys
from pathlib import Path

from gateway.cli.command import OK, REFUSED, CommandParser, Commands, add_command
from gateway.cli.config_flag import add_config, config_path
from gateway.cli.output import complain, naming_the_file, say


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "explain",
        "show what would be done with a request, why, and what the backend would get",
        "setpoint explain request.json --header x-setpoint-intent=batch",
        _add_flags,
        _run,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("request", metavar="FILE", help="the request's JSON body; - for stdin")
    parser.add_argument("--key", default="", help="the caller's name")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
    )
    parser.add_argument("--operation", choices=("chat", "completion", "embedding"), default="chat")
    parser.add_argument("--task", action="store_true", help="as if it were sent to /v1/tasks")
    parser.add_argument("--json", action="store_true", help="the decision as JSON")


def _run(arguments: argparse.Namespace) -> int:
    import asyncio

    from msgspec.structs import replace

    from contracts.errors import GatewayError
    from gateway import explain
    from gateway.configuration import load
    from gateway.intake import read_request
    from gateway.rehearsal import rehearse

    body = sys.stdin.buffer.read() if arguments.request == "-" else _read(arguments.request)
    loaded = load(config_path(arguments), env=os.environ)
    headers = dict(header.partition("=")[::2] for header in arguments.header)
    try:
        infer = read_request(
            body,
            arguments.operation,
            request_id="req_explained",
            key=arguments.key,
            headers={name.lower(): value for name, value in headers.items()},
        )
        if arguments.task:
            infer = replace(infer, facts=replace(infer.facts, task=True))
        told = asyncio.run(rehearse(loaded, infer))
    except GatewayError as exc:
        complain(f"{exc.status} {exc.code}: {exc.message}")
        return REFUSED
    if arguments.json:
        say(explain.as_json(told.explanation).decode())
    else:
        say(explain.as_text(told.explanation, told.policy, told.catalog, body=told.body))
    return OK if told.explanation.error is None else REFUSED


def _read(path: str) -> bytes:
    with naming_the_file():
        return Path(path).read_bytes()
