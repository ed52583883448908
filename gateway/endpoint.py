"""One backend process behind a pool, and what is known of it: by its probes, by its answers, by what runs there."""

from adapters.dialect import EndpointState
from adapters.load_signals import UNKNOWN
from adapters.rate_limits import RateLimits
from adapters.transport import Transport
from contracts.pool_answers import SelfTestReport
from gateway.alarms import Alarms

SLOTS_UNKNOWN = 64
"""Requests at once for an endpoint that does not tell how many it works on."""


class Endpoint:
    """`index` counts from 0; people see `where`, never the address."""

    def __init__(self, pool_id: str, index: int, transport: Transport) -> None:
        self.index = index
        self.where = f"pool {pool_id}, endpoint {index + 1}"
        self.replica = f"{pool_id}/{index + 1}"
        """In logs and metrics."""
        self.transport = transport
        self.alarms = Alarms()
        """Of what runs there."""
        self.state = EndpointState()
        """The pool must `learn` of another one."""
        self.inflight = 0
        self.elsewhere = 0
        """What other processes of the gateway had there lately."""
        self.probed_s: float | None = None
        """When the last probe began, on the pool's clock, and `probe_s`: how long it took."""
        self.probe_s = 0.0
        self.load = UNKNOWN
        """What it said of itself when it was asked at `load_s`, on the pool's clock."""
        self.load_s: float | None = None
        self.self_test = SelfTestReport(outcome="off")
        self._limits: tuple[RateLimits, float] | None = None

    def told_limits(self, limits: RateLimits | None, at_s: float) -> None:
        """What the head of an answer said of the provider's limits, on the pool's clock; None: forget it."""
        self._limits = None if limits is None else (limits, at_s)

    @property
    def limits_told(self) -> tuple[RateLimits, float] | None:
        """The last that was told, and when."""
        return self._limits

    def limits_left(self, now_s: float) -> RateLimits | None:
        """What of that still counts."""
        return None if self._limits is None else self._limits[0].after(now_s - self._limits[1])

    @property
    def slots(self) -> int:
        return self.state.slots or self.state.advised_slots or SLOTS_UNKNOWN
