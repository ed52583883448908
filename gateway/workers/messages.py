"""What the processes of one gateway say to each other. Values, and nothing that acts.

The hub lends, decides and probes; workers carry requests. Each connection keeps its order, so a loan and
its return cannot overtake each other. Times are on CLOCK_MONOTONIC, which all processes of a machine share.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.dialect import EndpointState
from adapters.load_signals import UNKNOWN, LoadSignals
from adapters.rate_limits import RateLimits
from contracts.pool_answers import SelfTestReport
from policies.held import CALM, Holding

DAY = -1.0
Event = tuple[Any, ...]
"""What happened to one request: see `gateway.workers.loop_events`."""


class LaneCounts(msgspec.Struct, frozen=True, array_like=True):
    """One model of a pool at one worker. `turned_away` since the last report; `callers` that wait, by
    priority."""

    inflight: int = 0
    waiting: int = 0
    turned_away: int = 0
    callers: dict[int, int] = {}


class PoolCounts(msgspec.Struct, frozen=True, array_like=True):
    """One pool at one worker. `out`: it knows that the pool is out of service."""

    inflight: int = 0
    waiting: int = 0
    waiting_tasks: int = 0
    lanes: dict[str, LaneCounts] = {}
    endpoints: tuple[int, ...] = ()
    """Requests in flight at each."""
    out: bool = False
    limits: tuple[tuple[RateLimits, float] | None, ...] = ()
    """What the last answer of each endpoint said of its provider's limits, and when."""


class BudgetUse(msgspec.Struct, frozen=True, array_like=True):
    """How much of a limit is used or held, and when all of it that is used has left the window."""

    units: int
    empty_at_s: float


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A worker's first words. `shares` is what it holds already, by pot and lane."""

    worker: int
    pid: int
    shares: dict[str, dict[str, int]] = {}
    services: dict[str, int] = {}
    """Of each pool: see `PoolView`."""
    limits: dict[str, dict[str, float]] = {}
    """Of the models of each pool, over all workers."""


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """A worker takes connections."""

    url: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Once a tick: how its pools are, and what happened to its requests since the last report. `lost` is set
    where some of that had to be dropped: the hub forgets what it knows of requests under way."""

    pools: dict[str, PoolCounts]
    events: list[Event] = []
    budgets: dict[str, BudgetUse] = {}
    lost: bool = False


class Wants(msgspec.Struct, frozen=True, tag="wants"):
    """What a worker could use now of one lane of a pot. `total` where workers know it; `ask` is a number that
    the hub answers when no more can be had."""

    pot: str
    lane: str
    bands: dict[int, int]
    spare: int = 0
    total: int | None = None
    window_s: float = 0.0
    """How long units count after their use: what a worker that died had stays lost for so long. Of a day in
    UTC: until midnight, and this is `DAY`."""
    ask: int | None = None


class Back(msgspec.Struct, frozen=True, tag="back"):
    """Units that a worker will not use any more; perhaps none, to have answered the recall `seq`."""

    pot: str
    lane: str
    units: int
    seq: int = 0


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """Nobody listens at an endpoint: a request has found out."""

    pool: str
    endpoint: int


class Grant(msgspec.Struct, frozen=True, tag="grant"):
    """Units more."""

    pot: str
    lane: str
    units: int


class Recalled(msgspec.Struct, frozen=True, tag="recall"):
    """Give back all above `keep`, as it becomes idle; None: no longer."""

    pot: str
    lane: str
    keep: int | None
    seq: int


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """An `ask`: what could be had has been granted before this."""

    ask: int


class EndpointView(msgspec.Struct, frozen=True, array_like=True):
    """What the hub's probes say of an endpoint."""

    state: EndpointState
    probed_s: float | None = None
    probe_s: float = 0.0
    load: LoadSignals = UNKNOWN
    load_s: float | None = None
    self_test: SelfTestReport = SelfTestReport(outcome="off")


class LaneView(msgspec.Struct, frozen=True, array_like=True):
    """What the control loop set: `limit` over all workers, and the shares of classes."""

    limit: float
    hold_back: Mapping[int, float] = {}


class PoolView(msgspec.Struct, frozen=True, array_like=True):
    """One pool as a whole. `service` counts how often it was taken out of service or back: odd is out."""

    service: int
    limit: int
    lane_limit: float
    order_slack_tokens: dict[int, float]
    lanes: dict[str, LaneView]
    endpoints: tuple[EndpointView, ...]
    counts: dict[int, PoolCounts]
    """By worker."""


class View(msgspec.Struct, frozen=True, tag="view"):
    """The whole, once a tick: what holds until the next one."""

    pools: dict[str, PoolView]
    holding: Holding = CALM
    budgets: dict[str, dict[int, BudgetUse]] = {}


FromWorker = Hello | Listening | Report | Wants | Back | Lost
FromHub = Grant | Recalled | Answered | View
