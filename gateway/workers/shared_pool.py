"""A pool as one of several workers has it: its limits are shared, and the hub probes its endpoints.

In front of it stands this worker's own queue, under this worker's shares. Must stay true: nothing is
dispatched without a unit that was lent; what rules and people are shown is the whole, as of the last view.
"""

from collections.abc import Callable, Collection
from typing import Any

from contracts.snapshot import PoolSignals
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.pools import Pool
from gateway.workers.borrower import Borrower, Lot
from gateway.workers.messages import LaneCounts, LaneView, PoolCounts, PoolView
from policies.admission import NO_LIMIT, AdmissionSettings
from policies.shares import Need

ROOM_SPARE = 8
"""Of a room, an eighth is kept for who comes next, but so many at least."""
BUSY_S = 10.0
"""How long a model keeps a unit ready after it was asked for last."""


class SharedPool(Pool):
    """Built as `Pool` is; `join` it before the first request."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._borrower: Borrower | None = None
        self._lots: dict[str, Lot] = {}
        self._rooms: tuple[Lot, Lot] | None = None
        self._asked_s: dict[str, float] = {}
        self._others = PoolCounts()
        self._told: dict[str, LaneView] = {}
        self._total = 0
        self._service = 0
        self._lost_s: dict[Endpoint, float] = {}
        self._on_lost: Callable[[Endpoint], None] = lambda endpoint: None
        super().__init__(*args, **options)

    def join(self, borrower: Borrower, on_lost: Callable[[Endpoint], None]) -> tuple[Lot, Lot]:
        """Share from now on. Returns the lots of its two rooms: ask for them before the first request."""
        self._borrower, self._on_lost = borrower, on_lost
        pots = (("room", self.options.max_waiting), ("tasks", self.options.max_tasks))
        hasty, patient = (
            Lot(
                f"{pot}:{self.id}",
                used=self._hasty if pot == "room" else self._patient,
                need=self._room_need(self._hasty if pot == "room" else self._patient, total),
                on_change=self._reconfigure,
                total=total,
            )
            for pot, total in pots
        )
        self._rooms = (hasty, patient)
        for lot in self._rooms:
            borrower.open(lot)
        return self._rooms

    # -- what the hub says ----------------------------------------------------------------

    def look_at(self, view: PoolView, me: int) -> bool:
        """The whole as the hub sees it now. Whether an endpoint's state has changed by it."""
        self._total = view.limit
        self._others = _together([c for worker, c in view.counts.items() if worker != me])
        for endpoint in self.endpoints:
            endpoint.elsewhere = 0
        for endpoint, inflight in zip(self.endpoints, self._others.endpoints, strict=False):
            endpoint.elsewhere = inflight
        self._follow_service(view.service)
        self.queue.lane_limit = view.lane_limit
        self.queue.order_slack_tokens = view.order_slack_tokens
        self._told = view.lanes
        for name in self.queue.lanes:
            self._follow(name)
        changed = self._learn(view)
        self.wake()
        return changed

    def _follow(self, name: str) -> None:
        """One model, as the hub and the others said last."""
        lane, told = self.queue.lane(name), self._told.get(name)
        lane.limit = self.queue.lane_limit if told is None else told.limit
        lane.hold_back({} if told is None else told.hold_back)
        lane.elsewhere = self._others.lanes.get(name, LaneCounts()).inflight

    def alone(self) -> None:
        """The hub has been silent for a lease: what it held for classes lapses."""
        self.queue.order_slack_tokens = {}
        self._told = {}
        for lane in self.queue.lanes.values():
            lane.hold_back({})

    def _follow_service(self, service: int) -> None:
        """Out of service and back, as often as the operator said so."""
        if service == self._service:
            return
        out = service % 2 == 1
        if out:
            self.drain()
        else:  # back, or reloaded while it served
            self.restore()
            self.queue.forget(self.now_s())
        self._service = service

    def _learn(self, view: PoolView) -> bool:
        changed = False
        for endpoint, told in zip(self.endpoints, view.endpoints, strict=True):
            endpoint.load, endpoint.load_s = told.load, told.load_s
            endpoint.self_test = told.self_test
            lost_s = self._lost_s.get(endpoint)
            if lost_s is not None and (told.probed_s is None or told.probed_s <= lost_s):
                continue  # a request has found out more since
            self._lost_s.pop(endpoint, None)
            endpoint.probed_s, endpoint.probe_s = told.probed_s, told.probe_s
            if told.state != endpoint.state:
                self.learn(endpoint, told.state)
                changed = True
        return changed

    # -- what this worker says --------------------------------------------------------------

    @property
    def service(self) -> int:
        """As the hub counts it: see `PoolView`."""
        return self._service

    def limits(self) -> dict[str, float]:
        """Of its models, over all workers, as the hub said last."""
        return {
            name: lane.limit for name, lane in self.queue.lanes.items() if lane.limit < NO_LIMIT
        }

    def counts(self) -> PoolCounts:
        """For the next report. Who was turned away is told once."""
        queue = self.queue
        lanes = {}
        for name, lane in queue.lanes.items():
            waiting = queue.waiters(name)
            callers = {p: waiting.callers(p) for p in waiting.bands} if lane.waiting else {}
            lanes[name] = LaneCounts(lane.inflight, lane.waiting, lane.turned_away, callers)
            lane.turned_away = 0
        return PoolCounts(
            queue.inflight,
            queue.waiting,
            queue.waiting_tasks,
            lanes,
            tuple(endpoint.inflight for endpoint in self.endpoints),
            self.state in ("draining", "drained"),
            tuple(endpoint.limits_told for endpoint in self.endpoints),
        )

    # -- what differs from a pool alone -----------------------------------------------------

    def enter(
        self, priority: int = 0, avoid: Collection[Endpoint] = (), *, lane: str = "", **wants: Any
    ) -> Entry:
        self._asked_s[lane] = self.now_s()
        lot = self._lot(lane)
        entry = super().enter(priority, avoid, lane=lane, **wants)
        if entry.waits and self._borrower is not None:
            # Somebody waits: perhaps another worker has a place to spare, and the room may get full.
            for changed in (lot, *(self._rooms or ())):
                self._borrower.poke(changed)
        return entry

    def leave(self, request: int) -> None:
        super().leave(request)
        self._came_free()

    def free(self, request: int) -> None:
        super().free(request)
        self._came_free()

    def lost(self, endpoint: Endpoint) -> None:
        self._lost_s[endpoint] = self.now_s()
        super().lost(endpoint)
        self._on_lost(endpoint)

    def signals(self) -> PoolSignals:
        load, queue, others = self.load(), self.queue, self._others
        tasks = queue.waiting_tasks + others.waiting_tasks
        return PoolSignals(
            inflight=queue.inflight + others.inflight,
            queued=queue.waiting + others.waiting - tasks,
            queued_tasks=tasks,
            limit=self._total,
            endpoints=len(self.endpoints),
            ready_endpoints=len(self.ready),
            backend_waiting=load.waiting,
            backend_running=load.running,
            kv_cache_usage=load.kv_cache_usage,
        )

    def _settings(self) -> AdmissionSettings:
        room, tasks = (lot.usable for lot in self._rooms) if self._rooms else (0, 0)
        return AdmissionSettings(
            limit=sum(lot.usable for lot in self._lots.values()),
            max_waiting=room,
            max_tasks=tasks,
            timeout_s=self.options.queue_timeout_s,
        )

    # -- inside -----------------------------------------------------------------------------

    def _hasty(self) -> int:
        return self.queue.waiting - self.queue.waiting_tasks

    def _patient(self) -> int:
        return self.queue.waiting_tasks

    def _room_need(self, used: Callable[[], int], total: int) -> Callable[[], Need]:
        spare = max(total // 8, ROOM_SPARE)
        return lambda: Need(bands={0: n} if (n := used()) else {}, spare=spare)

    def _lot(self, name: str) -> Lot:
        """Of one model; it begins with the first look, and with nothing."""
        lot = self._lots.get(name)
        if lot is None:
            lot = self._lots[name] = Lot(
                f"pool:{self.id}",
                name,
                used=lambda: self.queue.lane(name).inflight,
                need=lambda: self._need(name),
                on_change=self._reconfigure,
            )
            if self._borrower is not None:
                self._borrower.open(lot)
        if self.queue.lane(name).share is None:  # new, or new again after a reload of the pool
            self.queue.lane(name).share = lot.usable
            self._follow(name)
        return lot

    def prepare(self, name: str) -> Lot:
        """A model that requests may come for: have a place ready."""
        self._asked_s[name] = self.now_s()
        return self._lot(name)

    def _need(self, name: str) -> Need:
        bands = self.queue.demand().get(name, {})
        busy = self.now_s() - self._asked_s.get(name, float("-inf")) < BUSY_S
        return Need(bands=bands, spare=max(1, sum(bands.values()) // 8) if busy else 0)

    def _reconfigure(self) -> None:
        """More or fewer units are lent."""
        for name in self._lots:
            self.queue.lane(name).share = self._lot(name).usable
        self._carry_out(self.queue.configure(self._settings(), self._clock()))

    def _came_free(self) -> None:
        """A unit that is asked back goes as soon as it is idle."""
        if self._borrower is not None:
            for lot in self._lots.values():
                if lot.share.surplus(lot.used()):
                    self._borrower.poke(lot)


def _together(counts: list[PoolCounts]) -> PoolCounts:
    """Of several workers."""
    lanes: dict[str, LaneCounts] = {}
    for one in counts:
        for name, lane in one.lanes.items():
            before = lanes.get(name, LaneCounts())
            lanes[name] = LaneCounts(before.inflight + lane.inflight, before.waiting + lane.waiting)
    return PoolCounts(
        sum(one.inflight for one in counts),
        sum(one.waiting for one in counts),
        sum(one.waiting_tasks for one in counts),
        lanes,
        tuple(map(sum, zip(*(one.endpoints for one in counts), strict=False))),
    )
