"""What the gateway says about itself to operators and orchestrators: health and reloads."""

from typing import Literal

import msgspec


class Liveness(msgspec.Struct, kw_only=True):
    """`GET /livez`: the process runs its event loop."""

    status: Literal["ok"] = "ok"


class EndpointReadiness(msgspec.Struct, kw_only=True):
    """One endpoint of a pool, by number from 1: addresses are not told."""

    endpoint: int
    ready: bool
    why: str


class Readiness(msgspec.Struct, kw_only=True):
    """`GET /readyz`: whether it can serve, and what stands behind each pool."""

    status: Literal["ok", "draining", "no ready backend"]
    pools: dict[str, list[EndpointReadiness]]


class Reloaded(msgspec.Struct, kw_only=True):
    """`POST /admin/reload`: the policies in force now."""

    status: Literal["ok"] = "ok"
    version: str


class ReloadRefused(msgspec.Struct, kw_only=True):
    """`POST /admin/reload`: nothing has changed; `problems` name file, line and field."""

    status: Literal["refused"] = "refused"
    problems: list[str]
