"""The control loop's task: a tick every 250 ms, its decisions told, and nothing more.

`policies.loop` decides, `gateway.pools` carries out. If this task dies it is started again; until then
traffic flows under the limits of the last tick, and what the loop held for requests and pools lapses.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

from contracts.control import LoggedDecision, LoopDecision
from contracts.errors import TooManyConnections
from gateway import logs
from gateway.control_metrics import ControlMetrics
from gateway.runtime import Gateway
from policies.loop import RECENT_DECISIONS, TICK_S

_Queue = asyncio.Queue[LoggedDecision | None]
MAX_LISTENERS = 64
LISTENER_BACKLOG = 256
"""Decisions that a slow listener may be behind by; then the oldest are lost to it."""


class Decisions:
    """What was decided lately, and those who listen for more."""

    def __init__(self) -> None:
        self._recent: deque[LoggedDecision] = deque(maxlen=RECENT_DECISIONS)
        self._listeners: set[_Queue] = set()
        self._closed = False

    def publish(self, decision: LoggedDecision) -> None:
        self._recent.append(decision)
        if not self._closed:
            for listener in self._listeners:
                _put(listener, decision)

    def close(self) -> None:
        """The gateway goes down: listeners are let go, and whoever comes now gets nothing new."""
        self._closed = True
        for listener in self._listeners:
            _put(listener, None)

    def recent(self, *, after: int = 0) -> list[LoggedDecision]:
        """Those with a number above `after`, oldest first. Numbers begin anew with each start of the
        gateway: one that was not given yet is of an earlier start, and everything is newer."""
        if not self._recent or after > self._recent[-1].seq:
            return list(self._recent)
        return [decision for decision in self._recent if decision.seq > after]

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listen(self, after: int | None) -> Iterator[AsyncIterator[LoggedDecision]]:
        """Those after a number (None: from now on), then each as it comes, until the gateway closes.
        What is decided while it is busy waits for it, `LISTENER_BACKLOG` at most: then it loses the
        oldest. Raises TooManyConnections."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise TooManyConnections("too many listen for decisions", retry_after_s=5.0)
        queue: _Queue = asyncio.Queue(LISTENER_BACKLOG)
        if self._closed:
            queue.put_nowait(None)
        self._listeners.add(queue)
        try:
            yield _each([] if after is None else self.recent(after=after), queue)
        finally:
            self._listeners.discard(queue)


async def _each(missed: list[LoggedDecision], queue: _Queue) -> AsyncIterator[LoggedDecision]:
    for decision in missed:
        yield decision
    while (decision_or_end := await queue.get()) is not None:
        yield decision_or_end


def _put(listener: _Queue, decision: LoggedDecision | None) -> None:
    if listener.full():
        listener.get_nowait()
    listener.put_nowait(decision)


class Control:
    """The loop of one gateway at work."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._metrics = ControlMetrics(
            gateway.metrics, gateway.loop, gateway.honour_watch, gateway.clock
        )
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
        told = LoggedDecision(**msgspec.structs.asdict(decision), time=logs.utc(time.time()))
        self.decisions.publish(told)
        self._metrics.decided(decision)
        fields = msgspec.to_builtins(told)
        del fields["at_s"]
        logs.decision(**fields)


def when(gateway: Gateway, at_s: float) -> str:
    """A moment on the gateway's clock as a date."""
    return logs.utc(time.time() - (gateway.clock() - at_s))
