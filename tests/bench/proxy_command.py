"""How the proxies that are here to compare with are started."""

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop


def run(description: str | None, serve: Callable[[int, str], Coroutine[Any, Any, None]]) -> None:
    """`serve` at a port of loopback, in front of the upstream's base URL, until the process is stopped."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="its base URL")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.upstream))
