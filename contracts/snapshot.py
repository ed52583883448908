"""What rules may ask about the pools at the moment of a decision."""

from collections.abc import Mapping

import msgspec


class PoolSignals(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, now. No windows of latencies: those are the control loop's."""

    inflight: int = 0
    queued: int = 0
    """Requests that wait, each with a client that waits for it."""
    queued_tasks: int = 0
    """Tasks that wait, apart: a rule for a deep queue must not fire because of a night's work."""
    limit: int = 0
    """Requests it is given at once."""
    endpoints: int = 0
    ready_endpoints: int = 0
    backend_waiting: int | None = None
    """Requests that wait inside its backends, by their own account, whoever sent them. None: not known."""
    backend_running: int | None = None
    """Requests that its backends work on, likewise."""
    kv_cache_usage: float | None = None
    """The share of its backends' KV cache that is in use, 0 to 1, their mean. None: not known."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All pools by id. A pool that is missing is answered with zeros, and says nothing of its backends."""

    pools: Mapping[str, PoolSignals] = {}
