"""The limits of all lanes, kept at their objectives: one step of `policies.limit` each, a tick.

Writes a lane's limit and nothing else; who is admitted under it is the queue's affair.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from policies import limit, opening
from policies.admission import AdmissionQueue
from policies.lane import Lane
from policies.limit import LimitBounds, LimitReading, LimitState
from policies.reach import LaneKey, Reach
from policies.signals import Signals
from policies.trim import Trim

TPOT_ALLOWED = 0.05
"""The share of slow requests that a lane is trimmed for: a p95's."""
THROUGHPUT_SPAN_S = 5
THROUGHPUT_TICKS = 20
"""Both are the same five seconds."""
START_PER_ENDPOINT = 16.0
"""What a model begins with, and how many may wait for a first token where it opens (`policies.opening`)."""
PACE_TICKS = 8
"""A fresh pace is of the last two seconds: the second that it counts for, and the tokens it is the mean of."""
FULL = 0.9
"""Of a limit in use, from which on it may be what holds requests back."""
QUEUE_INSIDE = 5.0
"""A first token this many times slower than at its best waits in a queue that is not ours."""
INSIDE_SHARE = 0.5
"""... and takes this much of the objective for itself."""
BEST_QUANTILE = 0.05
"""Of the first tokens of the last half minute: what one takes at its best."""


class PoolBounds(msgspec.Struct, frozen=True, kw_only=True):
    """`endpoints` that are ready; `ceiling`: requests at once over all of them, never above it."""

    endpoints: int
    ceiling: float


class Steering:
    """`caps` are upper bounds that actions put on single lanes (`reduce_batching`)."""

    def __init__(self) -> None:
        self.caps: dict[LaneKey, float] = {}
        self._queues: dict[str, AdmissionQueue] = {}
        self._bounds: dict[str, PoolBounds] = {}
        self._states: dict[LaneKey, LimitState] = {}
        self._trims: dict[LaneKey, Trim] = {}
        self._recent: dict[LaneKey, deque[int]] = {}
        """Requests in flight at the last ticks."""
        self._rooms: dict[LaneKey, float | None] = {}
        """How far limits that are starting may open until the next tick; None: nobody has looked yet."""
        self.reasons: dict[LaneKey, limit.Reason] = {}

    def bound(self, pool: str, queue: AdmissionQueue, bounds: PoolBounds) -> None:
        """A pool to steer, or new bounds for it."""
        before = self._bounds.get(pool)
        self._queues[pool], self._bounds[pool] = queue, bounds
        queue.lane_limit = max(min(START_PER_ENDPOINT * bounds.endpoints, bounds.ceiling), 1.0)
        if before is None or before.endpoints == bounds.endpoints:
            return
        # What one endpoint can take is known: gone or added ones count at once, not after a delay.
        for name, lane in queue.lanes.items():
            state = self._states.get((pool, name))
            if not before.endpoints or state is None:
                lane.limit = max(lane.limit, queue.lane_limit)
            elif bounds.endpoints:
                lane.limit = max(state.limit * bounds.endpoints / before.endpoints, 1.0)
            if state is not None:
                self._states[pool, name] = msgspec.structs.replace(state, limit=lane.limit)

    def forget(self, pool: str) -> None:
        """Another engine answers from now on: the limits that the old one was steered to, the margin that
        its answers were judged by, and how much it had at once are of no use. Bounds stay, they are what
        probes say; so do caps, they are actions that somebody holds."""
        of_lanes = (self._states, self._trims, self._recent, self._rooms, self.reasons)
        for key in {key for measured in of_lanes for key in measured if key[0] == pool}:
            for measured in of_lanes:
                measured.pop(key, None)

    def bounds_of(self, pool: str) -> PoolBounds:
        return self._bounds.get(pool, PoolBounds(endpoints=1, ceiling=1.0))

    def limit_of(self, key: LaneKey) -> float | None:
        state = self._states.get(key)
        return None if state is None else state.limit

    def lanes(self) -> Iterator[tuple[LaneKey, Lane]]:
        """All lanes that have had work."""
        for pool, queue in self._queues.items():
            for name, lane in queue.lanes.items():
                yield (pool, name), lane

    def step(
        self,
        now_s: float,
        signals: Signals,
        reach: Reach,
        answering: Callable[[LaneKey], int],
        unanswered: Callable[[LaneKey], list[float]],
    ) -> list[tuple[LaneKey, limit.Reason, float]]:
        """One tick for every lane. `answering`: how many of a lane have had a first token; `unanswered`: when the
        others were sent. Returns the changes of regime that people should hear of."""
        told: list[tuple[LaneKey, limit.Reason, float]] = []
        for key, lane in self.lanes():
            state = self._states.get(key) or LimitState(limit=lane.limit)
            bounds = self._lane_bounds(key)
            self._inflight(key).append(lane.inflight)
            if reach.only_rehearsed(key, now_s):
                # A dry run promises not to act: its requests meet the pool's own limit and no other.
                lane.limit, lane.turned_away = bounds.ceiling, 0
                continue
            self.trim(key).step(TPOT_ALLOWED, now_s)
            reading = self._read(key, lane, now_s, signals, reach)
            opens = state.starting and reading.binding
            if opens:
                reading = self._read_start(key, reading, answering(key), now_s, signals)
                usual_s = signals.lane(key).upstream_ttft.quantile(now_s, 30, BEST_QUANTILE)
                late = _wait_inside(unanswered(key), usual_s, now_s)
                reading = msgspec.structs.replace(reading, waits_inside=late)
            state, reason = limit.step(state, reading, bounds, now_s)
            self._rooms[key] = opening.room(reading) if opens else None
            if opens and state.starting:
                state = self._opened(key, state, reading.answering)
            if reason == "unattainable":
                told.append((key, reason, state.limit))
            self._states[key], self.reasons[key] = state, reason
            lane.limit = state.limit
            lane.turned_away = 0
        return told

    def opens(
        self,
        key: LaneKey,
        answering: Callable[[LaneKey], int],
        now_s: float,
        signals: Callable[[], Signals],
        reach: Reach,
    ) -> bool:
        """Somebody finds no place in a lane between two ticks: whether its limit has grown for that. Signals
        are asked for only where the last tick has not seen to it."""
        lane = self._queues[key[0]].lane(key[1])
        state = self._states.get(key) or LimitState(limit=lane.limit)
        if not (state.starting and lane.full) or lane.limit >= self._lane_bounds(key).ceiling:
            return False
        begun = answering(key)
        if opening.opened(begun, self._unanswered(key)) <= lane.limit:
            return False
        if self._rooms.get(key) is None:
            seen = signals()
            reading = self._read(key, lane, now_s, seen, reach)
            reading = self._read_start(key, reading, begun, now_s, seen)
            self._rooms[key] = opening.room(reading)
        before, state = lane.limit, self._opened(key, state, begun)
        self._states[key], lane.limit = state, max(state.limit, lane.limit)
        return lane.limit > before

    def _opened(self, key: LaneKey, state: LimitState, answering: int) -> LimitState:
        allowed = opening.opened(answering, self._unanswered(key))
        most = min(allowed, self._rooms.get(key) or 0.0, self._lane_bounds(key).ceiling)
        return msgspec.structs.replace(state, limit=most) if most > state.limit else state

    def _unanswered(self, key: LaneKey) -> float:
        return self._queues[key[0]].lane_limit

    def trim(self, key: LaneKey) -> Trim:
        """How close to its objective a lane is steered. Tell it what became of requests."""
        found = self._trims.get(key)
        if found is None:
            found = self._trims[key] = Trim()
        return found

    def _inflight(self, key: LaneKey) -> deque[int]:
        return self._recent.setdefault(key, deque(maxlen=THROUGHPUT_TICKS))

    def refused(
        self,
        key: LaneKey,
        kind: Literal["capacity", "expired"],
        dispatched_s: float,
        now_s: float,
    ) -> None:
        """The backend declined for a lack of capacity."""
        state = self._states.get(key)
        if state is not None:
            state = limit.refused(state, self._lane_bounds(key), kind, dispatched_s, now_s)
            self._states[key] = state
            self._queues[key[0]].lane(key[1]).limit = state.limit

    def _lane_bounds(self, key: LaneKey) -> LimitBounds:
        bounds = self._bounds[key[0]]
        floor = float(max(bounds.endpoints, 1))
        ceiling = max(min(bounds.ceiling, self.caps.get(key, bounds.ceiling)), floor)
        return LimitBounds(floor=floor, ceiling=ceiling)

    def _read(
        self, key: LaneKey, lane: Lane, now_s: float, signals: Signals, reach: Reach
    ) -> LimitReading:
        seen, recent = signals.lane(key), self._inflight(key)
        ttft_s = reach.tightest(key, "ttft", now_s)
        late = False
        if ttft_s is not None and lane.prefill.slowdown > QUEUE_INSIDE:
            upstream_s = seen.upstream_ttft.quantile(now_s, 5, 0.95)
            late = upstream_s is not None and upstream_s > INSIDE_SHARE * ttft_s
        tpot_s = reach.tightest(key, "tpot", now_s)
        return LimitReading(
            tpot_s=None if tpot_s is None else seen.tpot_p95_s(now_s),
            tpot_objective_s=tpot_s,
            binding=_is_binding(lane),
            inflight=lane.inflight,
            upstream_late=late,
            tokens_per_s=seen.tokens.per_second(now_s, THROUGHPUT_SPAN_S),
            mean_inflight=sum(recent) / len(recent) if recent else None,
            theta=self.trim(key).theta,
        )

    def _read_start(
        self, key: LaneKey, seen: LimitReading, answering: int, now_s: float, signals: Signals
    ) -> LimitReading:
        """What is asked besides of a limit that is starting."""
        busy = [count for count in list(self._inflight(key))[-PACE_TICKS:] if count]
        ttft = signals.lane(key).upstream_ttft
        return msgspec.structs.replace(
            seen,
            answering=answering,
            least_inflight=min(busy, default=0),
            first_token_s=ttft.quantile(now_s, 5, 0.95) if seen.tpot_s is None else None,
        )


def _is_binding(lane: Lane) -> bool:
    """Whether it is the limit that holds requests back, and not the share of their class."""
    held_back = lane.waiting > 0 or lane.turned_away > 0
    return held_back and lane.inflight >= FULL * lane.limit - 1.0


def _wait_inside(sent_s: list[float], best_s: float | None, now_s: float) -> bool:
    """Whether most of those who have no first token wait for it far longer than one takes at its best. (Many that
    are on their way are none: a provider far away begins hundreds of answers a second, each after a second.)"""
    if best_s is None:
        return False
    overdue = sum(now_s - sent > QUEUE_INSIDE * best_s for sent in sent_s)
    return overdue > 0 and 2 * overdue >= len(sent_s)
