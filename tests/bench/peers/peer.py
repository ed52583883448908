"""What the harness has to know of a proxy in order to start it and to ask it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.bench.processes import ROOT

PEERS = ROOT / ".peers"
"""Where `make peers` installs those that need an environment of their own."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where a proxy runs."""

    folder: Path
    """Its own, for its configuration and what it writes."""
    port: int
    upstream: str
    """Base URL, without /v1."""

    @property
    def upstream_address(self) -> str:
        return self.upstream.removeprefix("http://")


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A command that serves in the foreground."""

    command: list[str]
    env: dict[str, str] = {}


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that can stand in front of the upstream."""

    name: str
    launch: Callable[[Site], Launch]
    """Writes the configuration, and says how to start. Raises Missing where it is not installed."""
    headers: Callable[[Site], list[tuple[str, str]]] = lambda _: []
    """What its clients have to send besides."""
    share: float = 1.0
    """Of the load that the others get: one that is a hundred times as slow would take all day."""


class Missing(Exception):
    """A proxy is not installed; the text says what installs it."""


def program(*places: Path, install: str) -> str:
    """The first of these files that is there. Raises Missing."""
    for place in places:
        if place.is_file():
            return str(place)
    raise Missing(f"not installed: `{install}`")


def on_path(name: str, install: str) -> str:
    """A program of the machine. Raises Missing."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed: `{install}`")
    return found
