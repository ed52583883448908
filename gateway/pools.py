"""One engine behind one queue, at run time: which endpoints may be given work, and to whom they are given.

The queue's decisions are `policies.admission`'s; this is the shell that gives them futures and a
clock. Everything runs on one event loop, so nothing here needs a lock.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from adapters.dialect import Dialect, EndpointState
from adapters.load_signals import UNKNOWN, LoadSignals, together
from adapters.rate_limits import RateLimits
from adapters.transport import Transport
from contracts.errors import (
    DeadlineUnreachable,
    NobodyListens,
    NoReadyBackend,
    PoolDraining,
    QueueFull,
    QueueTimeout,
    Shed,
    TaskExpired,
)
from contracts.pool_answers import PoolState
from contracts.snapshot import PoolSignals
from gateway import logs
from gateway.breakers import Breakers
from gateway.endpoint import SLOTS_UNKNOWN, Endpoint
from gateway.entry import Entry
from gateway.settings import PoolOptions
from gateway.slot import Slot
from policies.admission import AdmissionQueue, AdmissionSettings, Admit, Effect, Place, Refuse
from policies.affinity import Session, Sessions, prefer
from policies.lines import Ticket
from policies.retry_budget import RetryBudget

LOAD_PROBES = 3
"""What an endpoint said of its load counts for so many intervals between its probes."""
DRAINED_RETRY_S = 10.0
"""When to ask again for a pool that is out of service: only its operator knows how long that is."""


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
        sessions: Sessions | None = None,
    ) -> None:
        self.id = pool_id
        self.engine = engine
        self.dialect = dialect
        self.options = options
        self.endpoints = [Endpoint(pool_id, i, t) for i, t in enumerate(transports)]
        self.breakers = Breakers(
            options.breaker,
            pool_id=pool_id,
            engine=engine,
            endpoints=len(transports),
            clock=clock,
        )
        self.retry_budget = RetryBudget(options.retry_budget)
        self._clock = clock
        self._entered = 0
        """The number of the request that came last."""
        self._entries: dict[int, Entry] = {}
        """Those whose fate is open, by request."""
        self._sessions = Sessions() if sessions is None else sessions
        self._timer: asyncio.TimerHandle | None = None
        self._armed_s = 0.0
        self._emptied: asyncio.Event | None = None
        """Out of service; set once nothing runs any more."""
        self.ready: list[Endpoint] = []
        """Those that may be given work: none of them, while the pool is out of service."""
        self._only: Endpoint | None = None
        """The one that is ready, where no other is."""
        self.queue = AdmissionQueue(self._settings())
        """For the control loop to steer; `wake` it after that."""
        self.on_bounds: Callable[[Pool], None] = lambda pool: None
        """Called when more or fewer endpoints are ready than before."""

    # -- what it is like now ------------------------------------------------------------

    @property
    def failing(self) -> bool:
        """Whether all that is ready is to be left alone: it failed lately."""
        if not (self.breakers.unwell and self.ready):
            return False
        return all(self.breakers.shuns(e.index) for e in self.ready)

    def untried(self, tried: Collection[Endpoint]) -> bool:
        """Whether a ready endpoint that is not to be left alone is none of those."""
        for endpoint in self.ready:
            if endpoint not in tried and not self.breakers.shuns(endpoint.index):
                return True
        return False

    @property
    def state(self) -> PoolState:
        if self._emptied is not None:
            return "drained" if self._emptied.is_set() else "draining"
        return "serving" if self.ready else "no_ready_endpoint"

    def now_s(self) -> float:
        return self._clock()

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

    def load_of(self, endpoint: Endpoint) -> LoadSignals:
        """What an endpoint says of itself; what it said too long ago is not known."""
        oldest_s = self._clock() - LOAD_PROBES * self.options.probe_interval_s
        if endpoint.load_s is None or endpoint.load_s < oldest_s:
            return UNKNOWN
        return endpoint.load

    def rate_limits_of(self, endpoint: Endpoint) -> RateLimits | None:
        """What its provider said is left of its limits, as far as it is known now."""
        return endpoint.limits_left(self._clock())

    def load(self) -> LoadSignals:
        """What the ready endpoints say of themselves, together."""
        if not self.options.load_metrics:
            return UNKNOWN
        return together([self.load_of(endpoint) for endpoint in self.ready])

    def signals(self) -> PoolSignals:
        load, queue = self.load(), self.queue
        return PoolSignals(
            inflight=queue.inflight,
            queued=queue.waiting - queue.waiting_tasks,
            queued_tasks=queue.waiting_tasks,
            limit=queue.settings.limit,
            endpoints=len(self.endpoints),
            ready_endpoints=len(self.ready),
            backend_waiting=load.waiting,
            backend_running=load.running,
            kv_cache_usage=load.kv_cache_usage,
        )

    def learn(self, endpoint: Endpoint, state: EndpointState) -> None:
        """A probe has answered; the limit follows what the backends can do."""
        endpoint.state = state
        self._follow_ready()

    def lost(self, endpoint: Endpoint) -> None:
        """Nobody listens there any more: no work for it until a probe has found it well."""
        why = "it cannot be reached"
        if endpoint.state.ready:
            logs.event(
                logging.WARNING,
                "endpoint_not_ready",
                pool_id=self.id,
                replica_id=endpoint.replica,
                engine=self.engine,
                reason=why,
            )
        self.learn(endpoint, EndpointState(why=why))

    # -- out of service, and back -------------------------------------------------------

    def drain(self) -> None:
        """Dispatch nothing more. What runs goes on. Whoever waits is refused with PoolDraining, so that
        its request goes to the next target, if it has one; tasks wait on, until `restore` or the end of
        their time. Probes go on and change nothing about it. Once is as good as often."""
        if self._emptied is not None:
            return
        self._emptied = asyncio.Event()
        self._follow_ready()
        logs.event(
            logging.INFO,
            "pool_draining",
            pool_id=self.id,
            engine=self.engine,
            running=self.queue.inflight,
            waiting=self.queue.waiting,
        )
        for request, entry in list(self._entries.items()):
            ticket = self.queue.waiting_ticket(request)
            if ticket is not None and not ticket.patient and entry.waits:
                self.leave(request)
                entry.refuse(self.not_ready())
        self._note_empty()

    async def emptied(self) -> None:
        """Wait until nothing runs in a pool that drains. At once if it is in service."""
        if self._emptied is not None:
            await self._emptied.wait()

    def restore(self) -> None:
        """Take it back into service, to be dispatched to as its endpoints are found ready: what was known
        of them may be of another backend. Without a drain before, nobody is stopped meanwhile."""
        self._sessions.forget(self.id)
        if self._emptied is None:
            return
        self._emptied.set()  # nobody waits for it any more
        self._emptied = None
        for endpoint in self.endpoints:
            endpoint.state = EndpointState(live=endpoint.state.live, why="not probed yet")
            endpoint.load_s = None
            endpoint.told_limits(None, self._clock())
        self._follow_ready()
        logs.event(logging.INFO, "pool_restored", pool_id=self.id, engine=self.engine)

    def _note_empty(self) -> None:
        """Of a pool out of service: said once, when its last request has ended."""
        empty = self._emptied
        if empty is not None and not empty.is_set() and self.queue.inflight == 0:
            empty.set()
            logs.event(logging.INFO, "pool_drained", pool_id=self.id, engine=self.engine)

    def _follow_ready(self) -> None:
        serves = self._emptied is None
        self.ready = [endpoint for endpoint in self.endpoints if serves and endpoint.state.ready]
        self._only = self.ready[0] if len(self.ready) == 1 else None
        self.on_bounds(self)
        self._carry_out(self.queue.configure(self._settings(), self._clock()))

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
        patient: bool = False,
        timeout_s: float | None = None,
        accepted: bool = False,
        session: tuple[str, str] | None = None,
    ) -> Entry:
        """Ask for a place in the lane of a model; it may be there at once. `deadline_s`, on the pool's
        clock, is when the first token is due. A `patient` one waits in the room of tasks, for `timeout_s`;
        None: as long as the queue says; one that was `accepted` before is never refused for want of room.
        Endpoints to `avoid` are taken only if no other is ready, and those whose breakers are open when it
        is let in only if there are none but such. One of a `session` (caller, name) goes to the endpoint that
        served it last, if that has room.

        Raises NoReadyBackend when no endpoint is ready on arrival.
        """
        if not self.ready:
            raise self.not_ready()
        now_s, request = self._clock(), self._entered + 1
        self._entered = request
        home = None if session is None else (self.id, *session)
        ticket = Ticket(
            request,
            lane,
            priority,
            caller,
            weight,
            prompt_tokens,
            deadline_s,
            patient,
            timeout_s,
            accepted,
        )
        if self.queue.admits(ticket, now_s):
            return Entry(self, request, self._admit(request, avoid, home, 0.0))
        entry = Entry(self, request, avoid=tuple(avoid), session=home)
        self._entries[request] = entry
        self._carry_out(self.queue.offer(ticket, now_s))
        return entry

    def place(self, request: int) -> Place | None:
        return self.queue.place(request, self._clock())

    def places(self) -> dict[int, Place]:
        """Where everybody stands, by request."""
        return self.queue.places(self._clock())

    def leave(self, request: int) -> None:
        """Whoever waited, or was just admitted, is gone."""
        self._entries.pop(request, None)
        self._carry_out(self.queue.cancel(request, self._clock()))
        self._note_empty()

    def free(self, request: int) -> None:
        effects = self.queue.done(request, self._clock())
        if effects:  # else nobody comes in, and nobody is due any earlier
            self._carry_out(effects)
        if self._emptied is not None:
            self._note_empty()

    def wake(self) -> None:
        """The control loop has changed a limit: let in whom there is room for now."""
        self._carry_out(self.queue.wake(self._clock()))

    def not_ready(self) -> NoReadyBackend:
        """Why nothing can be served, without addresses: PoolDraining if it is out of service,
        NobodyListens if no endpoint answers at all."""
        if self._emptied is not None:
            return PoolDraining(
                f"pool {self.id!r} is taken out of service", retry_after_s=DRAINED_RETRY_S
            )
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
            max_tasks=self.options.max_tasks,
            timeout_s=self.options.queue_timeout_s,
        )

    def _choose(self, avoid: Collection[Endpoint], session: Session | None) -> Endpoint:
        """The session's endpoint if it is ready and has room, else the ready one with the smallest used
        share; the first of equals."""
        liked = self.ready
        if avoid or self.breakers.unwell:
            well = [e for e in liked if not self.breakers.shuns(e.index)] or liked
            liked = [e for e in well if e not in avoid] or well
        if session is None:
            return prefer(None, liked, told_slots=SLOTS_UNKNOWN)
        now_s = self._clock()
        home = self._sessions.home(session, now_s)
        chosen = prefer(home, liked, told_slots=SLOTS_UNKNOWN)
        self._sessions.served(session, chosen.index, now_s)
        return chosen

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:  # it grows by what comes of them
            entry = self._entries.pop(effect.request, None)
            if entry is None or not entry.waits:
                continue
            match effect:
                case Admit() if self.ready:
                    asked = entry.request, entry.avoid, entry.session
                    entry.give(self._admit(*asked, effect.waited_s))
                case Admit():  # the last ready one has just gone, and the queue does not know yet
                    entry.refuse(self.not_ready())
                    effects += self.queue.cancel(effect.request, self._clock())
                case Refuse():
                    entry.refuse(self._refusal(effect))
        deadline_s = self.queue.next_deadline_s()
        if deadline_s is not None:
            self._arm(deadline_s)

    def _admit(
        self, request: int, avoid: Collection[Endpoint], session: Session | None, waited_s: float
    ) -> Slot:
        """The queue has let it in: a place at one of those that are ready."""
        endpoint = self._only
        if endpoint is None or session is not None:
            endpoint = self._choose(avoid, session)
        endpoint.inflight += 1
        slot = Slot(self, request, waited_s, endpoint)
        if self.breakers.unwell:
            slot.shunned = self.breakers.shuns(endpoint.index)
            slot.probe = self.breakers.given(endpoint.index)
        return slot

    def _refusal(self, effect: Refuse) -> Shed:
        if effect.reason in ("deadline", "deadline_passed"):
            return DeadlineUnreachable(
                f"the first token could not come in time: pool {self.id!r} is busy "
                f"({self.queue.waiting} waiting, waited {effect.waited_s:.3g} s)",
                retry_after_s=effect.retry_after_s,
            )
        tasks = self.queue.waiting_tasks
        if effect.reason == "queue_full" and effect.patient:
            return QueueFull(
                f"the task queue of pool {self.id!r} is full ({tasks} waiting)",
                retry_after_s=effect.retry_after_s,
            )
        if effect.reason == "queue_full":
            return QueueFull(
                f"the queue of pool {self.id!r} is full ({self.queue.waiting - tasks} waiting)",
                retry_after_s=effect.retry_after_s,
            )
        if effect.patient:
            return TaskExpired(
                f"the task could not start in time: it waited {effect.waited_s:.3g} s "
                f"in the queue of pool {self.id!r}",
                retry_after_s=effect.retry_after_s,
            )
        return QueueTimeout(
            f"waited {self.options.queue_timeout_s:g} s in the queue of pool {self.id!r}",
            retry_after_s=effect.retry_after_s,
        )

    def _arm(self, deadline_s: float) -> None:
        """Wake the queue then. The timer is moved when it fires or when somebody is due earlier, so a busy
        queue does not make one timer a request."""
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
