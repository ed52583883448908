"""The control loop's task: a tick every 250 ms, its decisions told, and nothing more.

`policies.loop` decides, `gateway.pools` carries out. If this task dies it is started again; until then
traffic flows under the limits of the last tick, and what the loop held for requests and pools lapses.
"""

import asyncio
import datetime
import logging
import time
from collections import deque
from collections.abc import AsyncIterator

import msgspec

from contracts.control import LoggedDecision, LoopDecision
from gateway import logs
from gateway.control_metrics import ControlMetrics
from gateway.runtime import Gateway
from policies.loop import RECENT_DECISIONS, TICK_S

MAX_LISTENERS = 64
LISTENER_BACKLOG = 256
"""Decisions that a slow listener may be behind by; then the oldest are lost to it."""


class Decisions:
    """What was decided lately, and those who listen for more."""

    def __init__(self) -> None:
        self._recent: deque[LoggedDecision] = deque(maxlen=RECENT_DECISIONS)
        self._listeners: set[asyncio.Queue[LoggedDecision | None]] = set()

    def publish(self, decision: LoggedDecision) -> None:
        self._recent.append(decision)
        for listener in self._listeners:
            _put(listener, decision)

    def close(self) -> None:
        """The gateway goes down: listeners are let go."""
        for listener in self._listeners:
            _put(listener, None)

    def recent(self, *, after: int = 0, limit: int = RECENT_DECISIONS) -> list[LoggedDecision]:
        """The newest `limit` with a number above `after`, oldest first."""
        fresh = [decision for decision in self._recent if decision.seq > after]
        return fresh[-limit:] if limit else []

    @property
    def full(self) -> bool:
        return len(self._listeners) >= MAX_LISTENERS

    async def listen(self, after: int | None) -> AsyncIterator[LoggedDecision]:
        """Those after a number (None: from now on), then each as it comes, until the gateway closes."""
        queue: asyncio.Queue[LoggedDecision | None] = asyncio.Queue(LISTENER_BACKLOG)
        self._listeners.add(queue)
        try:
            for decision in [] if after is None else self.recent(after=after):
                yield decision
            while (decision_or_end := await queue.get()) is not None:
                yield decision_or_end
        finally:
            self._listeners.discard(queue)


def _put(listener: "asyncio.Queue[LoggedDecision | None]", decision: LoggedDecision | None) -> None:
    if listener.full():
        listener.get_nowait()
    listener.put_nowait(decision)


class Control:
    """The loop of one gateway at work."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._metrics = ControlMetrics(gateway.metrics, gateway.loop, gateway.clock)
        self.decisions = Decisions()

    async def run(self) -> None:
        """Tick for ever. Cancel to stop."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """One look, its decisions told, and the queues woken under their new limits."""
        gateway = self._gateway
        began_s = gateway.clock()
        for decision in gateway.loop.tick(began_s):
            self._tell(decision)
        for pool in gateway.pools.values():
            pool.wake()
        self._metrics.ticked(gateway.clock() - began_s)

    def _tell(self, decision: LoopDecision) -> None:
        told = LoggedDecision(**msgspec.structs.asdict(decision), time=_utc(time.time()))
        self.decisions.publish(told)
        self._metrics.decided(decision)
        fields = msgspec.to_builtins(told)
        del fields["at_s"]
        logs.event(logging.INFO, logs.DECISION, **fields)


def when(gateway: Gateway, at_s: float) -> str:
    """A moment on the gateway's clock as a date."""
    return _utc(time.time() - (gateway.clock() - at_s))


def _utc(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
