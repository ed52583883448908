"""The control loop: signals in, decisions out, every 250 ms. The one object that both bodies drive.

The shell says what happens to each request (`offered`, `dispatched`, `first_token`, `progressed`,
`ended`, ...) and calls `tick`; the loop steers the limits, climbs and descends the ladders, judges what
it did, and tells each change once. It reads no clock and carries nothing out: what it holds for
requests is the value `holding`, and what it holds for pools it writes into their queues' lanes, to
take effect with the queue's next `wake`.
Must stay true: a loop that nobody ticks any more changes nothing, and what it held lapses by itself;
the same calls at the same times give the same decisions.
"""

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal

from contracts.catalog import Catalog
from contracts.control import IntentStatus, LoopDecision
from contracts.policy import Intent
from policies import narrate
from policies.admission import AdmissionQueue
from policies.book import Begun, Book, Books, Ended
from policies.capacity_refusal import CapacitySignal
from policies.fairness import OUTPUT_WEIGHT
from policies.flight import SPAN_TOKENS, Flight
from policies.held import CALM, Holding
from policies.ladder import Climb, Descend, Judged, Ladder, Move, Stuck, View
from policies.objectives import objectives_of
from policies.policy_set import PolicySet
from policies.pool_actions import PoolActions
from policies.reach import LaneKey, Reach
from policies.signals import Signals
from policies.standing import Standings
from policies.steering import PoolBounds, Steering

TICK_S = 0.25
MARK_S = 0.7
"""A live stream's pace is taken at most so often."""
JUDGE_TPOT_S = 4.0
"""A long stream's pace counts as evidence at most so often: its samples are not independent."""
STANDING_S = 1.0
JUDGE_TPOT_TOKENS = 64
"""The mean of fewer is too noisy to call an answer slow that is just on time."""
RECENT_DECISIONS = 1000
MOST_TOKENS = 10**9
"""An engine may claim any number, and what it claims is added to that of others."""
TOGETHER = 16
"""Answers that are counted together at most: they take 50 us, in which nobody else is served. 64 would take 150, and
each of them 0.6 us less."""
Waiting = Literal["ttft", "e2e"]
"""What a request may be late for before it has come."""


class Loop:
    """`now_s` is the shell's monotonic clock, in seconds."""

    def __init__(self, policy: PolicySet, catalog: Catalog, now_s: float) -> None:
        self._signals = Signals()
        self.steering = Steering()
        self.holding: Holding = CALM
        self.decisions: deque[LoopDecision] = deque(maxlen=RECENT_DECISIONS)
        self._actions = itertools.count(1)
        self._seq = itertools.count(1)
        self._flights: dict[int, Flight] = {}
        self._live: dict[int, Flight] = {}
        """Those with a first token."""
        self._books = Books(self._open_book)
        self._second_ends_s = 0.0
        """Of the second in which everything happened that is noted in the books."""
        self._ladders: dict[str, Ladder] = {}
        self._pools: dict[str, AdmissionQueue] = {}
        self._said: list[LoopDecision] = []
        self._standings = Standings(now_s)
        self._looked: dict[str, float] = {}
        self._pool_actions = PoolActions()
        self.on_opened: Callable[[str], None] = lambda pool: None
        """Called when a pool's limit has grown between two ticks, with somebody waiting: wake its queue."""
        self.reach = Reach(policy, self._signals)
        self.replace(policy, catalog, now_s)

    def replace(self, policy: PolicySet, catalog: Catalog, now_s: float) -> None:
        """New policies: what was learned stays; an intent whose ladder or promise has changed begins
        at its foot again."""
        self._close_books()
        self._policy, self._catalog = policy, catalog
        promised = {name: objectives_of(intent) for name, intent in policy.intents.items()}
        self._signals.declare(
            {name: (promised[name], float(policy.intents[name].window)) for name in promised}
        )
        ladders = {}
        for name, intent in policy.intents.items():
            old = self._ladders.get(name)
            same = (
                old is not None
                and old.rungs == tuple(intent.ladder)
                and tuple(old.objectives.values()) == promised[name]
            )
            ladders[name] = (
                old
                if old is not None and same
                else Ladder(intent.ladder, promised[name], lambda: next(self._actions))
            )
        for name, old in self._ladders.items():
            if ladders.get(name) is not old:
                self._say(narrate.replaced(name, old.held, now_s))
        self._ladders = ladders
        self.reach.follow(policy)
        self._hold(now_s)

    def replace_catalog(self, catalog: Catalog) -> None:
        """Backends have listed other models."""
        self._catalog = catalog

    def adopt(self, pool: str, queue: AdmissionQueue, bounds: PoolBounds) -> None:
        """A pool to steer. Call it again when its bounds have changed."""
        self._pools[pool] = queue
        queue.opens = lambda lane, now_s: self._opens((pool, lane), now_s)
        self.steering.bound(pool, queue, bounds)

    def forget(self, pool: str, now_s: float) -> None:
        """Another engine answers in a pool from now on: its lanes begin anew. What was promised, what is
        held for that, and what came of it stay."""
        self._close_books()
        self.steering.forget(pool)
        self._signals.forget_lanes(pool)
        queue = self._pools.get(pool)
        if queue is not None:
            queue.forget(now_s)

    # -- what happens to a request ------------------------------------------------------

    def offered(self, flight: Flight) -> None:
        """A request was decided and goes to a queue, or is refused by the loop itself."""
        now_s = flight.arrived_s
        if now_s >= self._second_ends_s:
            self._begin_second(now_s)
        self._books[flight.intent, flight.lane].arrived.append(now_s)
        self.reach.went(flight.intent, flight.lane, flight.model, flight.priority, now_s)
        self._flights[flight.request] = flight

    def dispatched(
        self, flight: Flight, lane: tuple[str, str], waited_s: float, now_s: float
    ) -> None:
        """An attempt begins. `waited_s` is what it waited for its place."""
        if lane != flight.lane:  # a fallback: its limit is to keep this promise too
            flight.lane = lane
            self.reach.went(flight.intent, lane, flight.model, flight.priority, now_s)
        flight.dispatched_s = now_s
        if now_s >= self._second_ends_s:
            self._begin_second(now_s)
        self._books[flight.intent, lane].waits.append((now_s, waited_s))

    def flow_queued(self, flight: Flight, queue_s: float, now_s: float) -> None:
        """The backend said how long the attempt waited in its own queue."""
        self._signals.lane(flight.lane).flow_queue.add(now_s, queue_s)

    def first_token(self, flight: Flight, now_s: float) -> None:
        """The first content came."""
        flight.first_token_s = flight.mark_s = flight.last_s = now_s
        flight.tokens = flight.mark_tokens = flight.tokens or 1
        self._live[flight.request] = flight
        upstream_s, somebody_waits = None, False
        if flight.dispatched_s is not None:
            upstream_s = now_s - flight.dispatched_s
            queue = self._pools.get(flight.lane[0])
            if queue is not None:
                somebody_waits = queue.first_token(flight.ticket, upstream_s, now_s)
        usd = flight.prompt_tokens * flight.input_usd
        flight.cost_usd += usd
        ttft_s, before = now_s - flight.arrived_s, flight.ttft_judged
        flight.ttft_judged = True
        if now_s >= self._second_ends_s:
            self._begin_second(now_s)
        begun = Begun(now_s, flight, ttft_s, upstream_s, usd, before)
        self._books[flight.intent, flight.lane].begun.append(begun)
        if somebody_waits and self._opens(flight.lane, now_s):
            self.on_opened(flight.lane[0])

    def attempt_failed(self, flight: Flight, refusal: CapacitySignal, now_s: float) -> None:
        """An attempt ended without content; another may follow. `refusal` is what it says of the
        backend's capacity."""
        self._live.pop(flight.request, None)
        self._settle(flight, now_s)
        if refusal != "none" and flight.dispatched_s is not None:
            self.steering.refused(flight.lane, refusal, flight.dispatched_s, now_s)
        flight.dispatched_s = None

    def refused(self, flight: Flight, now_s: float, *, shed: bool = False) -> None:
        """It met its fate without an answer. Turned away for a lack of capacity it was late for ever;
        shed by the loop's own decision it is no evidence of anything."""
        book, seen = self._book(flight, now_s), self._signals.intent(flight.intent)
        if shed:
            seen.shed.add(now_s, 1.0)
        else:
            seen.refused.add(now_s, 1.0)
            if not flight.patient:
                _late_for_ever(flight, "ttft", book, now_s)
                _late_for_ever(flight, "e2e", book, now_s)
        self._forget(flight)

    def cancelled(self, flight: Flight, now_s: float) -> None:
        """Its client left. What was generated was paid for."""
        self._settle(flight, now_s)
        self._forget(flight)

    def ended(
        self,
        flight: Flight,
        now_s: float,
        *,
        failed: bool = False,
        output_tokens: int | None = None,
        finish_reason: str = "",
    ) -> None:
        """The answer is complete, or broke: the flight is not to be changed any more. `output_tokens` from
        its usage, if that is known."""
        if output_tokens is not None:
            flight.tokens = min(output_tokens, MOST_TOKENS)
        fresh, usd = self._charge(flight)
        if now_s >= self._second_ends_s:
            self._begin_second(now_s)
        book = self._books[flight.intent, flight.lane]
        cut_short, before = finish_reason == "length", flight.e2e_judged
        book.ended.append(Ended(now_s, flight, fresh, usd, failed, cut_short, before))
        self._forget(flight)
        if len(book.ended) >= TOGETHER:  # the others wait for as many of their own, or for the tick
            book.count(self._second_ends_s - 1.0)

    # -- the tick -----------------------------------------------------------------------

    def tick(
        self, now_s: float, look: Callable[[Flight], None] | None = None
    ) -> list[LoopDecision]:
        """Look, decide, and return what is worth telling. The shell then wakes the pools' queues.

        `look` brings a flight's tokens up to date, in a body that does not count them one by one.
        """
        self._count()
        self._overdue(now_s)
        for flight in self._live.values():
            if now_s - flight.mark_s >= MARK_S:
                if look is not None:
                    look(flight)
                self.progressed(flight, now_s)
        for lane, reason, limit in self.steering.step(
            now_s, self._signals, self.reach, self._answering, self._unanswered
        ):
            self._say(narrate.limit(lane, reason, limit, now_s))
        for name, ladder in self._ladders.items():
            self._climb(name, ladder, now_s)
        self._pool_actions.regulate(self._ladders, self._signals, now_s)
        self._act(now_s)
        self._hold(now_s)
        said, self._said = self._said, []
        return said

    def progressed(self, flight: Flight, now_s: float) -> None:
        """Take a live stream's pace, if it has come far enough since the last time."""
        tokens = flight.tokens - flight.mark_tokens
        if tokens < SPAN_TOKENS:
            return
        gap_s = (flight.last_s - flight.mark_s) / tokens
        self._signals.lane(flight.lane).pace(now_s, gap_s)
        first_s, due = flight.first_token_s, now_s - flight.judged_tpot_s >= JUDGE_TPOT_S
        if first_s is not None and due and flight.tokens > JUDGE_TPOT_TOKENS:
            # What is promised is a request's mean: its so far is what it is judged by while it lives.
            tpot_s = (flight.last_s - first_s) / (flight.tokens - 1)
            flight.judged_tpot_s = now_s
            self._signals.intent(flight.intent).tpot.add(now_s, tpot_s)
            judged = [(flight, tpot_s, flight.tpot_objective_s)]
            self._book(flight, now_s).judge("tpot", judged, now_s)
        flight.mark_tokens, flight.mark_s = flight.tokens, flight.last_s
        self._settle(flight, now_s)

    def _overdue(self, now_s: float) -> None:
        """Whoever still waits past its objective is late already. They are looked for among those under way: to keep
        a list of who will be late when would be work for each of the others too."""
        late: list[tuple[float, int, Waiting]] = []
        for flight in self._flights.values():
            ttft_s, e2e_s = flight.ttft_objective_s, flight.e2e_objective_s
            if ttft_s is not None and not flight.ttft_judged and flight.arrived_s + ttft_s < now_s:
                late.append((flight.arrived_s + ttft_s, flight.request, "ttft"))
            if e2e_s is not None and not flight.e2e_judged and flight.arrived_s + e2e_s < now_s:
                late.append((flight.arrived_s + e2e_s, flight.request, "e2e"))
        for _, request, signal in sorted(late):
            flight = self._flights[request]
            _late_for_ever(flight, signal, self._book(flight, now_s), now_s)

    def _climb(self, name: str, ladder: Ladder, now_s: float) -> None:
        for action in ladder.lapsed(now_s):
            self._say(narrate.lapse(name, action, now_s))
        seen = self._signals.intent(name)
        if not ladder.held and not seen.any_bad(now_s) and now_s < self._looked.get(name, 0.0):
            return  # nothing can be proven against it; how it stands is looked at once a second
        self._looked[name] = now_s + STANDING_S
        measured = tuple(seen.evidence(now_s))
        self._standings.note(name, ladder, measured, now_s)
        if self._policy.intents[name].dry_run and not ladder.rungs:
            return
        ladder.renew(now_s)
        view = View(
            measured=measured,
            load_rps=round(self.reach.load_rps(name, now_s), 3),
            served_share=self.reach.served_share(name, now_s),
            why_not=lambda rung, objective: self.reach.why_not(
                name, rung, objective, self._catalog, self._ladders, self._pools, now_s
            ),
            cost_without=lambda action: self.reach.cost_without(name, action, now_s),
        )
        for move in ladder.step(now_s, view):
            self._carry(name, ladder, move, view, now_s)

    def _carry(self, name: str, ladder: Ladder, move: Move, view: View, now_s: float) -> None:
        match move:
            case Climb():
                self.reach.prepare(name, move.action, move.seen, view.load_rps, now_s)
                model = self.reach.usual_model(name, now_s)
                self._say(narrate.climb(name, move, model, self._catalog, view.load_rps, now_s))
            case Judged():
                self._say(narrate.judged(name, move, now_s))
            case Descend():
                self._say(narrate.descend(name, move, now_s))
            case Stuck():
                allowed = ladder.objectives[move.seen.objective].allowed
                self._say(narrate.stuck(name, move, allowed, now_s))
        if not isinstance(move, Stuck):
            self._signals.intent(name).forget_evidence()

    # -- what is known ------------------------------------------------------------------

    @property
    def signals(self) -> Signals:
        """All that was measured until now."""
        self._count()
        return self._signals

    def statuses(self, now_s: float) -> list[IntentStatus]:
        """How every promise stands."""
        self._count()
        return [
            self._standings.status(name, ladder, self._signals.intent(name), self._flights, now_s)
            for name, ladder in self._ladders.items()
        ]

    def held_now(self, now_s: float) -> Holding:
        """What is in force for a request that comes now: nothing whose lease has run out."""
        if now_s >= self.holding.until_s:
            self._count()
            for name, ladder in self._ladders.items():
                for action in ladder.lapsed(now_s):
                    self._say(narrate.lapse(name, action, now_s))
            self._act(now_s)
            self._hold(now_s)
        return self.holding

    def note(self, decision: LoopDecision) -> LoopDecision:
        """What the shell has found out, numbered among the loop's own and told with the next tick."""
        return self._say(decision)

    @property
    def flaps(self) -> int:
        """Rungs that were taken again soon after they had been given back."""
        return sum(ladder.flaps for ladder in self._ladders.values())

    @property
    def live(self) -> Mapping[int, Flight]:
        """Streams that have had their first token."""
        return self._live

    def intent(self, name: str) -> Intent:
        return self._policy.intent(name)

    # -- inside -------------------------------------------------------------------------

    def _opens(self, lane: LaneKey, now_s: float) -> bool:
        return self.steering.opens(lane, self._answering, now_s, lambda: self.signals, self.reach)

    def _answering(self, lane: LaneKey) -> int:
        """How many of a lane have had their first token."""
        return sum(flight.lane == lane for flight in self._live.values())

    def _unanswered(self, lane: LaneKey) -> list[float]:
        """When those of a lane were sent that have had none."""
        return [
            flight.dispatched_s
            for request, flight in self._flights.items()
            if flight.dispatched_s is not None and flight.lane == lane and request not in self._live
        ]

    def _ladder_of(self, intent: str) -> Ladder:
        return self._ladders.get(intent) or _NO_LADDER

    def _book(self, flight: Flight, now_s: float) -> Book:
        """Where to note what happens to a request now. (Each request's own four steps do without the call.)"""
        if now_s >= self._second_ends_s:
            self._begin_second(now_s)
        return self._books[flight.intent, flight.lane]

    def _begin_second(self, now_s: float) -> None:
        """What is noted is all of one second."""
        self._count()
        self._second_ends_s = int(now_s) + 1.0

    def _open_book(self, intent: str, lane: LaneKey) -> Book:
        return Book(
            self._signals.intent(intent),
            self._signals.lane(lane),
            self._ladder_of(intent),
            self.steering.trim(lane),
        )

    def _count(self) -> None:
        """All that is noted, into the signals and the trials: before anybody looks at them."""
        second_s = self._second_ends_s - 1.0
        for book in self._books.values():
            book.count(second_s)

    def _close_books(self) -> None:
        """What they would count into is about to change."""
        self._count()
        self._books.clear()

    def _settle(self, flight: Flight, now_s: float) -> None:
        """Count, charge and price the tokens since the last time."""
        fresh, usd = self._charge(flight)
        self._book(flight, now_s).spend(fresh, usd, now_s)

    def _charge(self, flight: Flight) -> tuple[int, float]:
        """The tokens since the last time, to who shares its queue. How many there are, and what they cost."""
        fresh = flight.tokens - flight.reported_tokens
        if fresh <= 0:
            return 0, 0.0
        flight.reported_tokens = flight.tokens
        queue = self._pools.get(flight.lane[0])
        if queue is not None:
            counters = queue.counters(flight.priority)
            counters.charge(flight.caller, OUTPUT_WEIGHT * fresh, flight.weight)
        usd = fresh * flight.output_usd
        flight.cost_usd += usd
        return fresh, usd

    def _forget(self, flight: Flight) -> None:
        self._flights.pop(flight.request, None)
        self._live.pop(flight.request, None)

    def _act(self, now_s: float) -> None:
        """What is held for pools, written into their queues and limits."""
        self._pool_actions.apply(
            self._ladders, self._policy, self.reach, self._pools, self.steering, now_s
        )

    def _hold(self, now_s: float) -> None:
        self.holding = self._pool_actions.holding(
            self._ladders, self._policy, self.reach, self._signals, now_s
        )

    def _say(self, decision: LoopDecision) -> LoopDecision:
        decision = narrate.numbered(decision, next(self._seq))
        self.decisions.append(decision)
        self._said.append(decision)
        return decision


def _late_for_ever(flight: Flight, signal: Waiting, book: Book, now_s: float) -> None:
    """It waits for it longer than it was promised, or in vain; unless it has been judged for that."""
    if signal == "ttft":
        before, flight.ttft_judged = flight.ttft_judged, True
    else:
        before, flight.e2e_judged = flight.e2e_judged, True
    if not before:
        book.judge(signal, [(flight, None, None)], now_s)


_NO_LADDER = Ladder((), (), lambda: 0)
