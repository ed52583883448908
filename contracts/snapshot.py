"""What rules may ask about the pools at the moment of a decision."""

import msgspec


class PoolSignals(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, now. Plain counts; windows of latencies come with the control loop."""

    inflight: int = 0
    queued: int = 0
    limit: int = 0
    """Requests it is given at once."""
    endpoints: int = 0
    ready_endpoints: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All pools by id. A pool that is missing is answered with zeros."""

    pools: dict[str, PoolSignals] = {}
