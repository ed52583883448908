"""What the gateway says of its pools: `GET /v1/pools`, a pool's health, and the answer of a drain.

Endpoints are told by number from 1, never by address. Dates are RFC 3339, times in milliseconds.
"""

from typing import Literal

import msgspec

PoolState = Literal["serving", "draining", "drained", "no_ready_endpoint"]
"""`draining`: taken out of service, and something still runs. `drained`: nothing runs any more."""
SelfTestOutcome = Literal["passed", "failed", "skipped", "pending", "off"]
"""`pending`: not tested yet, and will be. `skipped`: it cannot be tested, `why` says why."""
Check = Literal["decode", "cancel", "telemetry"]


class SelfTestFailure(msgspec.Struct, frozen=True, kw_only=True):
    """One check that failed, and how."""

    check: Check
    why: str


class SelfTestReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an endpoint does what the gateway relies on. `ok` is null while there is no verdict."""

    outcome: SelfTestOutcome
    ok: bool | None = None
    failed: list[SelfTestFailure] = []
    why: str | None = None
    """Why there is no verdict (yet)."""
    model: str | None = None
    """The backend's name of the model that was asked."""
    at: str | None = None
    took_ms: float | None = None


class EndpointLoad(msgspec.Struct, kw_only=True):
    """How busy an endpoint says it is, whoever sent it its work. Null: it does not say."""

    waiting: int | None
    """Requests in its own queue."""
    running: int | None
    kv_cache_usage: float | None
    """The share of its KV cache in use, 0 to 1."""


class ProviderAllowance(msgspec.Struct, kw_only=True):
    """What may still be asked of a provider before its limit is reset. Null: it does not say."""

    remaining: int
    limit: int | None
    reset_ms: float | None


class ProviderLimits(msgspec.Struct, kw_only=True):
    """What a provider says is left of its limits, with its last answer. Null: it does not say, or that is
    over its reset."""

    requests: ProviderAllowance | None
    tokens: ProviderAllowance | None


class EndpointHealth(msgspec.Struct, kw_only=True):
    """One backend process, as its last probe found it. Null: it does not say."""

    endpoint: int
    live: bool
    """It answers."""
    ready: bool
    """Its own health check says that it takes work."""
    why: str
    probed: str | None
    probe_ms: float | None
    version: str | None
    model_digest: str | None
    models: list[str]
    slots: int | None
    """Requests that it says it works on at once."""
    context: int | None
    inflight: int
    """Requests of this gateway that it works on."""
    load: EndpointLoad | None
    """Null: it is not asked (`load_metrics`), or has not answered lately."""
    rate_limits: ProviderLimits | None
    """Null: its answers say nothing of it, or not lately."""
    self_test: SelfTestReport


class LaneHealth(msgspec.Struct, kw_only=True):
    """One model of a pool. `limit` is the control loop's."""

    model: str
    limit: int
    inflight: int
    queued: int


class PoolHealth(msgspec.Struct, kw_only=True):
    """`GET /v1/pools/{id}/health`, and one entry of `GET /v1/pools`."""

    id: str
    state: PoolState
    engine: str
    limit: int
    """Requests at once that it is given now; 0 while it is out of service."""
    inflight: int
    queued: int
    """Requests with a client that waits."""
    queued_tasks: int
    endpoints: list[EndpointHealth]
    lanes: list[LaneHealth]


class PoolList(msgspec.Struct, kw_only=True):
    """`GET /v1/pools`, in the order of the configuration."""

    object: Literal["list"] = "list"
    data: list[PoolHealth]


class PoolDrain(msgspec.Struct, kw_only=True):
    """`POST /v1/pools/{id}/drain`: how far it has come."""

    id: str
    state: PoolState
    inflight: int
    """What still runs."""
    queued_tasks: int
    """Tasks that wait here until the pool is reloaded, or their `ttl` is over."""
