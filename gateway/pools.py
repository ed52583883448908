"""The pools at run time: their endpoints, what probes said of them, and the slots of work they are given.

The queue's decisions are `policies.admission`'s; this is the shell that gives them futures and a
clock. Everything runs on one event loop, so nothing here needs a lock.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Collection

from adapters.dialect import Dialect, EndpointState
from adapters.transport import Transport
from contracts.errors import (
    DeadlineUnreachable,
    NobodyListens,
    NoReadyBackend,
    QueueFull,
    QueueTimeout,
    Shed,
)
from contracts.snapshot import PoolSignals
from gateway import logs
from gateway.settings import PoolOptions
from policies.admission import AdmissionQueue, AdmissionSettings, Admit, Effect, Refuse
from policies.lines import Ticket

SLOTS_UNKNOWN = 64
"""Requests at once for an endpoint that does not tell how many it works on."""


class Endpoint:
    """One backend process. `index` counts from 0; people see `where`, never the address."""

    def __init__(self, pool_id: str, index: int, transport: Transport) -> None:
        self.index = index
        self.where = f"pool {pool_id}, endpoint {index + 1}"
        self.transport = transport
        self.state = EndpointState()
        self.inflight = 0

    @property
    def slots(self) -> int:
        return self.state.slots or SLOTS_UNKNOWN


class Slot:
    """A place in the pool. `release` when the work has ended; more than once does no harm."""

    def __init__(self, pool: "Pool", request: int, waited_s: float, endpoint: Endpoint) -> None:
        self._pool = pool
        self._request: int | None = request
        self.ticket = request
        """Its number in the pool's queue."""
        self.waited_s = waited_s
        self.endpoint = endpoint

    def release(self) -> None:
        if self._request is not None:
            request, self._request = self._request, None
            self.endpoint.inflight -= 1
            self._pool.free(request)


class Entry:
    """A request at the pool's door. Await `slot` (raises QueueFull, QueueTimeout, DeadlineUnreachable,
    NoReadyBackend), or `leave`."""

    def __init__(self, pool: "Pool", request: int, slot: "asyncio.Future[Slot]") -> None:
        self._pool = pool
        self._request = request
        self.slot = slot

    def leave(self) -> None:
        """The caller is gone: the place is free again, whether it was waiting or just admitted."""
        if self.slot.done() and not self.slot.cancelled() and self.slot.exception() is None:
            self.slot.result().release()
        else:
            self.slot.cancel()
            self._pool.leave(self._request)


class Pool:
    """One engine behind one queue."""

    def __init__(
        self,
        pool_id: str,
        *,
        engine: str,
        dialect: Dialect,
        transports: list[Transport],
        options: PoolOptions,
        clock: Callable[[], float],
    ) -> None:
        self.id = pool_id
        self.engine = engine
        self.dialect = dialect
        self.options = options
        self.endpoints = [Endpoint(pool_id, i, t) for i, t in enumerate(transports)]
        self._clock = clock
        self._numbers = itertools.count(1)
        self._waiters: dict[int, asyncio.Future[Slot]] = {}
        self._avoid: dict[int, tuple[Endpoint, ...]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_s = 0.0
        self.queue = AdmissionQueue(self._settings())
        """For the control loop to steer; `wake` it after that."""
        self.on_bounds: Callable[[Pool], None] = lambda pool: None
        """Called when more or fewer endpoints are ready than before."""

    # -- what it is like now ------------------------------------------------------------

    @property
    def ready(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints if endpoint.state.ready]

    @property
    def limit(self) -> int:
        """Requests at once: the operator's number, never above what the backends can work on."""
        able = sum(endpoint.slots for endpoint in self.ready)
        if able == 0:
            return 0
        if self.options.max_inflight is None:
            return able
        # slots that a backend did tell are hard: work must not queue inside it
        told = [e for e in self.ready if e.state.slots is not None]
        return min(self.options.max_inflight, able) if told else self.options.max_inflight

    def signals(self) -> PoolSignals:
        return PoolSignals(
            inflight=self.queue.inflight,
            queued=self.queue.waiting,
            limit=self.queue.settings.limit,
            endpoints=len(self.endpoints),
            ready_endpoints=len(self.ready),
        )

    def learn(self, endpoint: Endpoint, state: EndpointState) -> None:
        """A probe has answered; the limit follows what the backends can do."""
        endpoint.state = state
        self.on_bounds(self)
        self._carry_out(self.queue.configure(self._settings(), self._clock()))

    def lost(self, endpoint: Endpoint) -> None:
        """Nobody listens there any more: no work for it until a probe has found it well."""
        why = "it cannot be reached"
        if endpoint.state.ready:
            replica = f"{self.id}/{endpoint.index + 1}"
            logs.event(
                logging.WARNING,
                "endpoint_not_ready",
                pool_id=self.id,
                replica_id=replica,
                engine=self.engine,
                reason=why,
            )
        self.learn(endpoint, EndpointState(why=why))

    # -- slots --------------------------------------------------------------------------

    def enter(
        self,
        priority: int = 0,
        avoid: Collection[Endpoint] = (),
        *,
        lane: str = "",
        caller: str = "",
        weight: float = 1.0,
        prompt_tokens: int = 0,
        deadline_s: float | None = None,
    ) -> "Entry":
        """Ask for a place in the lane of a model; it may be there at once. `deadline_s`, on the pool's
        clock, is when the first token is due. Endpoints to `avoid` are taken only if no other is ready.

        Raises NoReadyBackend when no endpoint is ready on arrival.
        """
        if not self.ready:
            raise self.not_ready()
        request = next(self._numbers)
        entry = Entry(self, request, asyncio.get_running_loop().create_future())
        self._waiters[request] = entry.slot
        if avoid:
            self._avoid[request] = tuple(avoid)
        ticket = Ticket(
            request=request,
            lane=lane,
            priority=priority,
            caller=caller,
            weight=weight,
            prompt_tokens=prompt_tokens,
            deadline_s=deadline_s,
        )
        self._carry_out(self.queue.offer(ticket, self._clock()))
        return entry

    def leave(self, request: int) -> None:
        """Whoever waited, or was just admitted, is gone."""
        self._waiters.pop(request, None)
        self._avoid.pop(request, None)
        self._carry_out(self.queue.cancel(request, self._clock()))

    def free(self, request: int) -> None:
        self._carry_out(self.queue.done(request, self._clock()))

    def wake(self) -> None:
        """The control loop has changed a limit: let in whom there is room for now."""
        self._carry_out(self.queue.wake(self._clock()))

    def not_ready(self) -> NoReadyBackend:
        """Why nothing can be served, without addresses: NobodyListens if no endpoint answers at all."""
        states = "; ".join(f"endpoint {e.index + 1}: {e.state.why}" for e in self.endpoints)
        dead = not any(endpoint.state.live for endpoint in self.endpoints)
        return (NobodyListens if dead else NoReadyBackend)(
            f"no backend of pool {self.id!r} is ready ({states})",
            retry_after_s=max(1.0, self.options.probe_interval_s),
        )

    def _settings(self) -> AdmissionSettings:
        return AdmissionSettings(
            limit=self.limit,
            max_waiting=self.options.max_waiting,
            timeout_s=self.options.queue_timeout_s,
        )

    def _least_loaded(self, avoid: tuple[Endpoint, ...]) -> Endpoint | None:
        """The ready endpoint with the smallest used share; the first of equals."""
        ready = self.ready
        liked = [endpoint for endpoint in ready if endpoint not in avoid] if avoid else ready
        return min(liked or ready, key=lambda e: (e.inflight / e.slots, e.index), default=None)

    def _carry_out(self, effects: list[Effect]) -> None:
        left = deque(effects)
        while left:
            effect = left.popleft()
            waiter = self._waiters.pop(effect.request, None)
            avoid = self._avoid.pop(effect.request, ())
            if waiter is None or waiter.done():
                continue
            match effect:
                case Admit():
                    left += self._admit(effect, waiter, avoid)
                case Refuse():
                    waiter.set_exception(self._refusal(effect))
        self._arm()

    def _admit(
        self, effect: Admit, waiter: "asyncio.Future[Slot]", avoid: tuple[Endpoint, ...]
    ) -> list[Effect]:
        """Give the slot; what else comes of it."""
        endpoint = self._least_loaded(avoid)
        if endpoint is None:  # the last ready one has just gone, and the queue does not know yet
            waiter.set_exception(self.not_ready())
            return self.queue.cancel(effect.request, self._clock())
        endpoint.inflight += 1
        waiter.set_result(Slot(self, effect.request, effect.waited_s, endpoint))
        return []

    def _refusal(self, effect: Refuse) -> Shed:
        if effect.reason in ("deadline", "deadline_passed"):
            return DeadlineUnreachable(
                f"the first token could not come in time: pool {self.id!r} is busy "
                f"({self.queue.waiting} waiting, waited {effect.waited_s:.3g} s)",
                retry_after_s=effect.retry_after_s,
            )
        if effect.reason == "queue_full":
            return QueueFull(
                f"the queue of pool {self.id!r} is full ({self.queue.waiting} waiting)",
                retry_after_s=effect.retry_after_s,
            )
        return QueueTimeout(
            f"waited {self.options.queue_timeout_s:g} s in the queue of pool {self.id!r}",
            retry_after_s=effect.retry_after_s,
        )

    def _arm(self) -> None:
        """Wake the queue at its next deadline. The timer is moved when it fires or when somebody is due
        earlier, so a busy queue does not make one timer a request."""
        deadline_s = self.queue.next_deadline_s()
        if deadline_s is None:
            return
        if self._timer is not None:
            if deadline_s >= self._armed_s:
                return
            self._timer.cancel()
        self._armed_s = deadline_s
        delay_s = max(0.0, deadline_s - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self.queue.wake(self._clock()))

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for endpoint in self.endpoints:
            await endpoint.transport.aclose()
