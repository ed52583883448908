"""`setpoint llmd`: the simulated llm-d as a server of its own."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.quantities import Duration
from gateway.cli.command import OK, REFUSED, CommandParser, Commands, add_command
from gateway.cli.output import complain, say

if TYPE_CHECKING:
    from adapters.fakellmd.settings import LlmdSettings

_LATENCIES = (
    "time-to-first-token",
    "prefill-overhead",
    "prefill-time-per-token",
    "inter-token-latency",
)
_PLACE = re.compile(r"`\$\.(?:latency\.)?(\w+?)(?:_s)?(?:\[.*)?`")
"""A setting as msgspec names it."""


def add_to(commands: "Commands[CommandParser]") -> None:
    add_command(
        commands,
        "llmd",
        "run the simulated llm-d as a server of its own",
        "setpoint llmd --port 8000 --replicas 2 --time-to-first-token 100ms "
        "--inter-token-latency 15ms",
        _add_flags,
        _run,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
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


def _port(text: str) -> int:
    """0 is any free one. What is above would be cut to its low 16 bits further down."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    import uvloop

    from adapters.fakellmd.server import serve

    try:
        settings = settings_of(arguments)
    except ValueError as exc:  # msgspec's errors and a quantity's are ValueErrors
        complain(f"setpoint llmd: {_PLACE.sub(_flag, str(exc))}")
        return REFUSED

    def listening(port: int) -> None:
        names = ", ".join(model.name for model in settings.models)
        say(f"simulated llm-d listens on http://{arguments.host}:{port} with {names}")

    uvloop.run(serve(settings, arguments.host, arguments.port, on_listening=listening))
    return OK


def _flag(place: re.Match[str]) -> str:
    name = "model" if place[1] == "models" else place[1]
    return f"--{name.replace('_', '-')}"


def settings_of(arguments: argparse.Namespace) -> "LlmdSettings":
    """What the flags say. Raises ValueError, OSError."""
    import msgspec

    from adapters.fakellmd.settings import LlmdSettings, patched

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
