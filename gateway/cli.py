"""The command line: `setpoint serve | check | explain | simulate | records | replay | demo | llmd`. Each shows an example with `--help`."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adapters.fakellmd.settings import LlmdSettings, patched
from contracts import problems
from contracts.problems import ProblemsFound
from contracts.quantities import Duration
from gateway.records import command as records_command
from gateway.records import replay_command
from gateway.simulation import command
from gateway.version import VERSION

CONFIG_VARIABLE = "SETPOINT_CONFIG"
OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; it could not be done; what the operator wrote is wrong; a signal ended it early."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ProblemsFound as exc:
        _complain(*map(str, exc.problems))
        return REFUSED
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:
        return FAILED
    except OSError as exc:
        _complain(f"setpoint: {exc.strerror or exc}")
        return FAILED


def _complain(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="setpoint",
        description="An OpenAI-compatible gateway that keeps LLM inference inside its declared intent.",
    )
    parser.add_argument("--version", action="version", version=f"setpoint {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_check(commands)
    _add_explain(commands)
    _add_simulate(commands)
    _add_records(commands)
    _add_replay(commands)
    _add_demo(commands)
    _add_llmd(commands)
    return parser


Commands = argparse._SubParsersAction  # argparse has no public name for it


def _command(
    commands: "Commands[argparse.ArgumentParser]", name: str, about: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=os.environ.get(CONFIG_VARIABLE),
        metavar="FILE",
        help=f"setpoint.yaml; ${CONFIG_VARIABLE} if not given; without either, a simulated llm-d",
    )


def _config_path(arguments: argparse.Namespace) -> Path | None:
    return Path(arguments.config) if arguments.config else None


# -- serve ------------------------------------------------------------------------------


def _add_serve(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "serve", "run the gateway", "setpoint serve --config setpoint.yaml")
    _add_config(parser)
    parser.add_argument(
        "--no-self-test", action="store_true", help="ask no backend for tokens of the gateway's own"
    )
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    import uvloop

    from gateway.configuration import load
    from gateway.serve import serve
    from gateway.settings import without_self_test

    loaded = load(_config_path(arguments), env=os.environ)
    if arguments.no_self_test:
        loaded = without_self_test(loaded)
    uvloop.run(serve(loaded, _say))
    return OK


# -- check ------------------------------------------------------------------------------


def _add_check(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "check",
        "check a configuration and its policies; prints every problem, exits 2 if there is one",
        "setpoint check --config setpoint.yaml",
    )
    _add_config(parser)
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    from gateway.configuration import check, targets_path
    from gateway.policy_files import load_policies
    from policies.quality import idle_fallbacks

    checked = check(_config_path(arguments), env=os.environ)
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
        _complain(f"warning: {warning}")
    _say(
        f"ok: {loaded.file}: {len(loaded.pools)} pools, {len(loaded.catalog.models)} models; "
        f"{loaded.policies_path}: {len(policy.intents)} intents, {len(policy.rules)} rules, "
        f"version {policy.version}"
    )
    return OK


# -- explain ----------------------------------------------------------------------------


def _add_explain(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "explain",
        "show what would be done with a request, why, and what the backend would get",
        "setpoint explain request.json --header x-setpoint-intent=batch",
    )
    _add_config(parser)
    parser.add_argument("request", metavar="FILE", help="the request's JSON body; - for stdin")
    parser.add_argument("--key", default="", help="the caller's name")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
    )
    parser.add_argument("--operation", choices=("chat", "completion", "embedding"), default="chat")
    parser.add_argument("--task", action="store_true", help="as if it were sent to /v1/tasks")
    parser.add_argument("--json", action="store_true", help="the decision as JSON")
    parser.set_defaults(run=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    from msgspec.structs import replace

    from contracts.errors import GatewayError
    from gateway import explain
    from gateway.configuration import load
    from gateway.intake import read_request
    from gateway.rehearsal import rehearse

    body = sys.stdin.buffer.read() if arguments.request == "-" else _read(arguments.request)
    loaded = load(_config_path(arguments), env=os.environ)
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
        _complain(f"{exc.status} {exc.code}: {exc.message}")
        return REFUSED
    if arguments.json:
        _say(explain.as_json(told.explanation).decode())
    else:
        _say(explain.as_text(told.explanation, told.policy, told.catalog, body=told.body))
    return OK if told.explanation.error is None else REFUSED


def _read(path: str) -> bytes:
    with _naming_the_file():
        return Path(path).read_bytes()


@contextmanager
def _naming_the_file() -> Iterator[None]:
    """An error says which file it is about."""
    try:
        yield
    except OSError as exc:
        raise OSError(exc.errno, f"{exc.filename}: {exc.strerror}") from exc


# -- simulate ---------------------------------------------------------------------------


def _add_simulate(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "simulate",
        "replay a trace against simulated engines: what would be decided, and what came of it",
        "setpoint simulate --config setpoint.yaml --trace trace.csv.gz --load 1.6 "
        "--drift at=180s,itl=1.5x --json result.json",
    )
    _add_config(parser)
    command.add_flags(parser)
    parser.set_defaults(run=_simulate)


def _simulate(arguments: argparse.Namespace) -> int:
    with _naming_the_file():
        undone = command.simulate(arguments, _config_path(arguments), os.environ, sys.stdout)
    if undone:
        _complain(f"setpoint simulate: {undone}")
    return FAILED if undone else OK


# -- records ----------------------------------------------------------------------------


def _add_records(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "records",
        "what was asked, decided, tried and paid: list, show or export it",
        "setpoint records ls --config setpoint.yaml --intent interactive --since 1h --status 5xx",
    )
    records_command.add_commands(parser, _add_config)
    parser.set_defaults(run=_records)


def _records(arguments: argparse.Namespace) -> int:
    try:
        with _naming_the_file():
            records_command.run(arguments, _config_path(arguments), sys.stdout)
    except records_command.Refused as exc:
        _complain(f"setpoint records: {exc}")
        return REFUSED
    except records_command.Undone as exc:
        _complain(f"setpoint records: {exc}")
        return FAILED
    return OK


# -- replay -----------------------------------------------------------------------------


def _add_replay(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "replay",
        "ask a recorded execution once more, with the same plan and the same parameters. Exits 0 if the "
        "text is the same, 1 if it differs, 2 if it could not be asked or compared",
        "setpoint replay exec_5f3a9c01d2e400000001 --config setpoint.yaml",
    )
    replay_command.add_flags(parser, _add_config)
    parser.set_defaults(run=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    try:
        return replay_command.run(arguments, _config_path(arguments), sys.stdout)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (replay_command.CannotReplay, OSError) as exc:
        _complain(f"setpoint replay: {exc}")
        return replay_command.UNDONE


# -- demo -------------------------------------------------------------------------------


def _add_demo(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "demo",
        "a real gateway in front of two simulated llm-d clusters, under a real load: calm, a spike, "
        "calm; once with the loop off, once with it on. Exits 0 if the promise was broken with the "
        "loop off and kept with it on, 1 if not",
        "setpoint demo --seconds 20 --report demo.html --png demo.png --decisions demo.jsonl",
    )
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
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from gateway.demo import run as demo
    from gateway.demo.outcome import Files
    from gateway.demo.scenario import scenario

    files = Files(report=arguments.report, png=arguments.png, decisions=arguments.decisions)
    try:
        plan = scenario(arguments.seconds, arguments.seed)
        files.check()
    except ValueError as exc:
        _complain(f"setpoint demo: {exc}")
        return REFUSED
    try:
        verdict = demo.run(plan, files, sys.stdout)
    except (demo.Interrupted, KeyboardInterrupt):
        return INTERRUPTED
    return OK if verdict.shown else FAILED


# -- llmd -------------------------------------------------------------------------------


def _add_llmd(commands: "Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "llmd",
        "run the simulated llm-d as a server of its own",
        "setpoint llmd --port 8000 --replicas 2 --time-to-first-token 100ms "
        "--inter-token-latency 15ms",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8000)
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="may be repeated; default two models"
    )
    parser.add_argument("--replicas", type=int, default=1, help="engines a model")
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--max-waiting-queue-length", type=int)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--latency-calculator", choices=("constant", "per-token"))
    for name in _LATENCIES:
        parser.add_argument(f"--{name}", metavar="DURATION")
    parser.add_argument("--time-factor-under-load", type=float)
    parser.add_argument("--failure-injection-rate", type=float, help="percent")
    parser.add_argument("--startup-duration", metavar="DURATION")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--flow-control", action="store_true", help="the endpoint picker's queue")
    parser.add_argument(
        "--objective",
        action="append",
        default=[],
        metavar="NAME=PRIORITY",
        help="an InferenceObjective; may be repeated. A name that is not here has priority 0",
    )
    parser.add_argument(
        "--settings", metavar="FILE", help="JSON as for POST /admin/config, for all the rest"
    )
    parser.set_defaults(run=_llmd)


def _port(text: str) -> int:
    """0 is any free one. What is above would be cut to its low 16 bits further down."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


_LATENCIES = (
    "time-to-first-token",
    "prefill-overhead",
    "prefill-time-per-token",
    "inter-token-latency",
)


def _llmd(arguments: argparse.Namespace) -> int:
    import uvloop

    from adapters.fakellmd.server import serve

    try:
        settings = _llmd_settings(arguments)
    except ValueError as exc:  # msgspec's errors and a quantity's are ValueErrors
        _complain(f"setpoint llmd: {_PLACE.sub(_flag, str(exc))}")
        return REFUSED

    def listening(port: int) -> None:
        names = ", ".join(model.name for model in settings.models)
        _say(f"simulated llm-d listens on http://{arguments.host}:{port} with {names}")

    uvloop.run(serve(settings, arguments.host, arguments.port, on_listening=listening))
    return OK


_PLACE = re.compile(r"`\$\.(?:latency\.)?(\w+?)(?:_s)?(?:\[.*)?`")
"""A setting as msgspec names it."""


def _flag(place: re.Match[str]) -> str:
    name = "model" if place[1] == "models" else place[1]
    return f"--{name.replace('_', '-')}"


def _llmd_settings(arguments: argparse.Namespace) -> LlmdSettings:
    given = vars(arguments)
    latency: dict[str, object] = {
        f"{name.replace('-', '_')}_s": _duration_s(name, text)
        for name in _LATENCIES
        if (text := given[name.replace("-", "_")]) is not None
    }
    for name in ("latency_calculator", "time_factor_under_load"):
        if given[name] is not None:
            latency[name] = given[name]
    fields: dict[str, object] = {
        name: given[name]
        for name in (
            "replicas",
            "max_num_seqs",
            "max_waiting_queue_length",
            "max_model_len",
            "failure_injection_rate",
            "seed",
        )
        if given[name] is not None
    }
    if given["startup_duration"] is not None:
        fields["startup_duration_s"] = _duration_s("startup-duration", given["startup_duration"])
    if latency:
        fields["latency"] = latency
    if given["model"]:
        fields["models"] = [{"name": name} for name in given["model"]]
    elif latency:
        fields["models"] = [{"name": "sim-large"}, {"name": "sim-small"}]
    fields["epp"] = {
        "flow_control": given["flow_control"],
        "objectives": dict(map(_objective, given["objective"])),
    }
    settings = msgspec.convert(fields, LlmdSettings)
    return (
        patched(settings, Path(given["settings"]).read_bytes()) if given["settings"] else settings
    )


def _objective(text: str) -> tuple[str, int]:
    name, _, priority = text.rpartition("=")
    if not name or not priority.lstrip("-").isdecimal():
        raise ValueError(f"--objective: expected NAME=PRIORITY such as batch=-10, got {text!r}")
    return name, int(priority)


def _duration_s(flag: str, text: str) -> float:
    try:
        return float(Duration.parse(text))
    except ValueError as exc:
        raise ValueError(f"--{flag}: {exc}") from exc


if __name__ == "__main__":
    sys.exit(main())
