"""What the gateway says about itself to operators and orchestrators: health and reloads."""

from typing import Literal

import msgspec

from contracts.control import IntentStatus, LoggedDecision


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


class IntentHonour(msgspec.Struct, kw_only=True):
    """Whether a backend that knows of intents keeps this one: an objective that llm-d does not know is
    priority 0 there, silently."""

    pool: str
    verdict: Literal["honoured", "unconfirmed", "not_honoured"]
    why: str


class IntentReport(IntentStatus, frozen=True, kw_only=True):
    """One promise in `GET /v1/intents`."""

    since: str
    infrastructure: list[IntentHonour] = []


class IntentList(msgspec.Struct, kw_only=True):
    """`GET /v1/intents`: every promise, and whether it is kept."""

    object: Literal["list"] = "list"
    data: list[IntentReport]


class DecisionList(msgspec.Struct, kw_only=True):
    """`GET /v1/decisions`: the newest decisions, oldest first."""

    object: Literal["list"] = "list"
    data: list[LoggedDecision]
