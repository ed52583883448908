"""What rules may ask about the pools at the moment of a decision."""

import msgspec


class PoolSignals(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, now. Plain counts; windows of latencies come with the control loop."""

    inflight: int = 0
    queued: int = 0
    """Requests that wait, each with a client that waits for it."""
    queued_tasks: int = 0
    """Tasks that wait, apart: a rule for a deep queue must not fire because of a night's work."""
    limit: int = 0
    """Requests it is given at once."""
    endpoints: int = 0
    ready_endpoints: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All pools by id. A pool that is missing is answered with zeros."""

    pools: dict[str, PoolSignals] = {}
