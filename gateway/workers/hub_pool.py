"""A pool as the hub has it: it probes and steers, and has no requests of its own but its tests.

What runs and waits is what the workers report; the control loop, `/v1/pools` and the metrics read it here
as they would read a pool that is alone. Must stay true: nothing is dispatched without a unit of the ledger.
"""

from collections.abc import Callable, Collection
from typing import Any

from contracts.errors import NoReadyBackend
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.pools import Pool
from gateway.slot import Slot
from gateway.workers.messages import (
    EndpointView,
    LaneCounts,
    LaneView,
    PoolCounts,
    PoolView,
)
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.lines import Lines


class MergedLines(Lines):
    """Who waits for a lane, anywhere: only how many callers there are."""

    def __init__(self, counts: Callable[[], Collection[LaneCounts]]) -> None:
        self._counts = counts

    def callers(self, priority: int) -> int:
        """At one worker, the one with most: each orders only those who wait there."""
        return max((lane.callers.get(priority, 0) for lane in self._counts()), default=0)


class MergedQueue(AdmissionQueue):
    """The queues of all workers as one. Nobody waits in it."""

    def __init__(self, settings: AdmissionSettings) -> None:
        super().__init__(settings)
        self.reported: dict[int, PoolCounts] = {}
        """The last report of each worker."""
        self.own = 0
        """Tests of the hub's that run."""

    @property
    def inflight(self) -> int:
        return self.own + sum(counts.inflight for counts in self.reported.values())

    @property
    def waiting(self) -> int:
        return sum(counts.waiting for counts in self.reported.values())

    @property
    def waiting_tasks(self) -> int:
        return sum(counts.waiting_tasks for counts in self.reported.values())

    def waiters(self, lane: str) -> Lines:
        return MergedLines(lambda: self._of(lane))

    def take(self, worker: int, counts: PoolCounts | None) -> None:
        """What a worker says now; None: it is gone."""
        if counts is None:
            self.reported.pop(worker, None)
        else:
            self.reported[worker] = counts
            for name, told in counts.lanes.items():
                self.lane(name).turned_away += told.turned_away
        for name, lane in self.lanes.items():
            lanes = self._of(name)
            lane.inflight = sum(told.inflight for told in lanes)
            lane.waiting = sum(told.waiting for told in lanes)

    def _of(self, lane: str) -> list[LaneCounts]:
        return [c.lanes[lane] for c in self.reported.values() if lane in c.lanes]


class HubPool(Pool):
    """Built as `Pool` is. `take` and `put_back` are the ledger's, for the lane of a model."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.merged = MergedQueue(self._settings())
        self.queue = self.merged
        self.service = 0
        """How often it was taken out of service or back: odd is out."""
        self.take: Callable[[str, int], bool] = lambda lane, priority: False
        self.put_back: Callable[[str], None] = lambda lane: None
        self._tests: dict[int, tuple[str, Endpoint]] = {}

    def report(self, worker: int, counts: PoolCounts | None) -> None:
        """What a worker says of it now; None: it is gone."""
        self.merged.take(worker, counts)
        reports = self.merged.reported.values()
        for endpoint in self.endpoints:
            own = sum(endpoint is tested for _, tested in self._tests.values())
            at_workers = (c.endpoints[endpoint.index] for c in reports if c.endpoints)
            endpoint.inflight = own + sum(at_workers)
            told = [c.limits[endpoint.index] for c in reports if c.limits]
            newest = max((one for one in told if one), key=lambda one: one[1], default=None)
            before = endpoint.limits_told
            if newest is not None and (before is None or before[1] < newest[1]):
                endpoint.told_limits(*newest)
        self._note_empty()

    def view(self) -> PoolView:
        """For all workers."""
        return PoolView(
            self.service,
            self.queue.settings.limit,
            self.queue.lane_limit,
            self.queue.order_slack_tokens,
            {name: LaneView(lane.limit, lane.held_back) for name, lane in self.queue.lanes.items()},
            tuple(
                EndpointView(e.state, e.probed_s, e.probe_s, e.load, e.load_s, e.self_test)
                for e in self.endpoints
            ),
            self.merged.reported,
        )

    def bounds(self) -> dict[str, int]:
        """What each model may have at once, over all workers."""
        return {name: max(int(lane.limit), 1) for name, lane in self.queue.lanes.items()}

    # -- what differs from a pool alone -----------------------------------------------------

    def drain(self) -> None:
        if self.service % 2 == 0:
            self.service += 1
        super().drain()

    def restore(self) -> None:
        self.service += 1 if self.service % 2 else 2
        super().restore()

    def enter(
        self, priority: int = 0, avoid: Collection[Endpoint] = (), *, lane: str = "", **wants: Any
    ) -> Entry:
        """A place for a test, now or not at all. Raises NoReadyBackend."""
        if not self.ready:
            raise self.not_ready()
        if not self.take(lane, priority):
            raise NoReadyBackend("no place is free")
        self._entered += 1
        request, endpoint = self._entered, self._choose(avoid, None)
        self._tests[request] = (lane, endpoint)
        self.merged.own += 1
        endpoint.inflight += 1
        return Entry(self, request, Slot(self, request, 0.0, endpoint))

    def free(self, request: int) -> None:
        lane, _ = self._tests.pop(request)
        self.merged.own -= 1
        self.put_back(lane)
        self._note_empty()

    def leave(self, request: int) -> None:
        """Nobody waits here."""

    def _note_empty(self) -> None:
        """Empty is a pool only when every worker knows that it is out of service."""
        if all(counts.out for counts in self.merged.reported.values()):
            super()._note_empty()
