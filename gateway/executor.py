"""Carry out a RoutingPlan: `infer(request, plan) -> events`, the same for every backend.

Attempts are made one after the other: on a repeatable fault again on the same target, then on the
next one. Where the plan says so, a second one may run beside a slow first (`gateway.hedge`), and one that
broke after its first content may be gone on with by another (`gateway.resumable`); otherwise there is no
attempt after the first content. A caller that goes away (the coroutine is cancelled) takes the
running attempt with it, wherever it is.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import msgspec

from adapters.dialect import AttemptContext
from contracts.catalog import Catalog
from contracts.errors import (
    REPEATABLE,
    BelowQualityFloor,
    ConnectFailed,
    FaultClass,
    GatewayError,
    NoReadyBackend,
    Shed,
    UnsupportedParameter,
    UpstreamFault,
)
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.attempt import Attempt, EventSink, Watch
from gateway.breakers import Breakers
from gateway.hedge import Entrant, HedgeBudget, Race
from gateway.pools import Endpoint, Pool, Slot
from gateway.progress import AttemptRecord, Progress
from gateway.resumable import Resumable, may_resume
from gateway.sinks import AnswerSink, Recorder
from policies.resume import Sent, Way, ways, worth_resuming
from policies.retry_budget import RetryBudget

T = TypeVar("T")

BACKOFF_BASE_S, BACKOFF_MAX_S = 0.1, 2.0
RETRY_AFTER_PATIENCE_S = 5.0
"""A backend that asks for more than this is not waited for: the next target, or the client, is told."""
STALLED_S = 5.0
"""An engine that was silent for so long before it broke off would be so again: others are asked first."""
MAX_RESUMES = 3
"""Attempts to go on with one broken stream."""

_WORTH_REPEATING: frozenset[FaultClass] = REPEATABLE | {"stream_broken"}
"""A broken stream comes here only while nothing of it has been sent on."""
_NO_TARGET: frozenset[FaultClass] = frozenset({"client", "content"})
"""The request itself is at fault; no other target will like it better."""


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """One inference: what all its attempts share."""

    infer: InferRequest
    plan: RoutingPlan
    catalog: Catalog
    sink: AnswerSink
    progress: Progress
    recorder: Recorder
    resumable: Resumable | None
    """The sink, where a broken stream may be gone on with."""

    @property
    def going_on(self) -> bool:
        """The client has had content, of an attempt that broke."""
        return self.resumable is not None and self.resumable.sent.deltas > 0


class Executor:
    """`draw` gives uniform numbers in [0, 1) for the jitter; `new_id` ids for tool calls without one."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        *,
        draw: Callable[[], float],
        new_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._pools = pools
        self._draw = draw
        self._new_id = new_id
        self._hedges: dict[str, HedgeBudget] = {}
        """By route; those that are not configured share one."""
        self.breakers = Breakers(clock)
        self._retries = {
            pool_id: RetryBudget(pool.options.retry_budget) for pool_id, pool in pools.items()
        }

    async def infer(
        self,
        infer: InferRequest,
        plan: RoutingPlan,
        catalog: Catalog,
        sink: AnswerSink,
        progress: Progress,
        recorder: Recorder,
    ) -> None:
        """Run to the end. Raises GatewayError if no content could be had from any target."""
        resumable = Resumable(sink) if may_resume(infer, plan, sink) else None
        run = _Run(
            infer=infer,
            plan=plan,
            catalog=catalog,
            sink=resumable or sink,
            progress=progress,
            recorder=recorder,
            resumable=resumable,
        )
        self._hedge_budget(plan).request()
        answered = await self._to_an_answer(run)
        if resumable is not None and resumable.fault is not None:
            await self._go_on(run, resumable, answered)

    async def _to_an_answer(self, run: _Run) -> Entrant:
        """Until some attempt has had content, and has come to its end with it."""
        error: GatewayError | None = None
        refused: UnsupportedParameter | None = None
        too_long_for = 0.0
        """The prompt did not fit into so many tokens."""
        order, gone_round = list(range(len(run.plan.targets))), set[int]()
        for position in order:
            target = run.plan.targets[position]
            pool = self._pools[target.pool]
            if not self._holds(target, too_long_for) or (position in gone_round and error):
                continue
            if position not in gone_round and self._goes_round(run.plan, position, too_long_for):
                gone_round.add(position)
                order.append(position)  # for want of anybody else who can do what is asked
                continue
            tried: list[Endpoint] = []
            self._retries[pool.id].request()
            for done in range(1 + pool.options.retries):
                may_repeat = done < pool.options.retries
                untried = sum(endpoint not in tried for endpoint in pool.ready)
                elsewhere = (may_repeat and untried > 1) or self._another(
                    run.plan, position, too_long_for
                )
                try:
                    return await self._attempt(run, position, tried, is_last=not elsewhere)
                except UnsupportedParameter as exc:
                    if error is None and not gone_round:
                        raise
                    refused = refused or exc
                    break  # what the client hears of is the failure of what it asked for
                except GatewayError as exc:
                    error = exc if error is None or not isinstance(exc, NoReadyBackend) else error
                    if _is_final(exc):
                        raise
                    if isinstance(exc, UpstreamFault) and exc.fault == "context_length":
                        context = self._context_of(target)
                        too_long_for = math.inf if context is None else max(too_long_for, context)
                    backoff_s = self._backoff_s(exc, done, pool, tried) if may_repeat else None
                    if backoff_s is None or self._goes_round(run.plan, position, too_long_for):
                        break
                    if _stalled(run.progress) and self._another(run.plan, position, too_long_for):
                        break
                    if not self._retries[pool.id].take(self._clock()):
                        break
                    run.progress.backoff_s += backoff_s
                    await asyncio.sleep(backoff_s)
        why = error or refused
        assert why is not None  # who has nowhere else to go has been somewhere
        raise why

    def _goes_round(self, plan: RoutingPlan, position: int, too_long_for: float) -> bool:
        """Whether a target is left alone because it failed lately and a later one has not. Who has nowhere
        else to go is sent there, and hears the backend's own error."""
        return self._another(plan, position, too_long_for) and self.breakers.open(
            self._pools[plan.targets[position].pool]
        )

    def _another(self, plan: RoutingPlan, position: int, too_long_for: float) -> bool:
        """Whether a later target is there that could take over."""
        return any(
            self._pools[target.pool].ready
            and not self.breakers.open(self._pools[target.pool])
            and self._holds(target, too_long_for)
            for target in plan.targets[position + 1 :]
        )

    def _holds(self, target: Target, too_long_for: float) -> bool:
        """Whether a prompt that did not fit into so many tokens may fit there. Where nobody knows how much
        fits, it is not tried: the same request would fail in the same way."""
        return not too_long_for or (self._context_of(target) or 0) > too_long_for

    def _context_of(self, target: Target) -> int | None:
        """Tokens that fit there: as configured, else as its endpoints say."""
        told = [e.state.context for e in self._pools[target.pool].ready if e.state.context]
        return target.context or min(told, default=None)

    def _hedge_budget(self, plan: RoutingPlan) -> HedgeBudget:
        budget = self._hedges.get(plan.route)
        if budget is None:
            budget = self._hedges[plan.route] = HedgeBudget(plan.hedge_budget)
        return budget

    async def _attempt(
        self, run: _Run, position: int, tried: list[Endpoint], *, is_last: bool
    ) -> Entrant:
        target = run.plan.targets[position]
        slot = await self._slot(run, target, tried)
        tried.append(slot.endpoint)
        try:
            return await self._dispatch(run, position, slot, is_last)
        except BaseException:
            slot.release()  # an attempt does so when it ends; this is for one that never began
            raise

    async def _dispatch(self, run: _Run, position: int, slot: Slot, is_last: bool) -> Entrant:
        """One attempt from its dispatch to its last event. Where the plan allows a hedge, a second one may
        begin beside it; the first content decides, and of the other the client sees nothing."""
        target = run.plan.targets[position]
        hedged = run.plan.hedge_after_s is not None and not run.going_on
        race = Race(run.sink, run.recorder, run.progress) if hedged else None
        first = winner = self._enter(run, race, target, slot, is_last)
        entrants = [first] if race is None else race.entrants
        try:
            first.attempt.start()
            run.progress.dropped = first.attempt.dropped
            run.sink.attach(first.attempt, target.model)
            if race is None:
                await self._patiently(first.attempt.committed, run)
            else:
                await self._run_race(run, race, first, position)
                winner = race.winner or first
            await self._to_the_end(run, winner)
        except GatewayError as exc:
            winner.record.fault = winner.record.fault or exc.code
            run.recorder.attempt_failed(exc)
            raise
        finally:
            for entrant in entrants:
                self._close(entrant)
            self._sum_up(run.progress, winner)
        return winner

    async def _run_race(self, run: _Run, race: Race, first: Entrant, position: int) -> None:
        """Until some attempt has content. Raises the last error if none has."""
        running = [first]
        if not await self._any_of((first.attempt.committed,), run, run.plan.hedge_after_s):
            place = self._spare_place(run, position, first.slot)
            if place is not None:
                second = self._enter(run, race, *place, is_last=True)
                try:
                    second.attempt.start()
                except GatewayError as exc:  # it cannot be said there: the first one runs alone
                    second.record.fault = exc.code
                else:
                    self._hedge_budget(run.plan).spend()
                    running.append(second)
        while len(running) > 1:
            futures = {entrant.attempt.committed: entrant for entrant in running}
            for future in await self._any_of(futures, run):
                if not future.cancelled() and future.exception() is None:
                    return
                running.remove(futures[future])  # the other one still runs: no end of the request
        if not running:
            raise race.entrants[-1].attempt.fault or NoReadyBackend("both attempts were given up")
        await self._patiently(running[0].attempt.committed, run)

    def _spare_place(self, run: _Run, position: int, slot: Slot) -> tuple[Target, Slot] | None:
        """A free place elsewhere, now: another endpoint of the pool, or the next target's pool. Nobody
        waits for a hedge."""
        if not self._hedge_budget(run.plan).allowed():
            return None
        for target in run.plan.targets[position : position + 2]:
            pool = self._pools[target.pool]
            avoid = [slot.endpoint, *self.breakers.shunned(pool)]
            if all(endpoint in avoid for endpoint in pool.ready):
                continue
            entry = run.recorder.enter(pool, target, avoid)
            if entry.slot.done() and entry.slot.exception() is None:
                place = entry.slot.result()
                if place.endpoint not in avoid:
                    return target, place
            entry.leave()
        return None

    # -- going on with a stream that broke ----------------------------------------------

    async def _go_on(self, run: _Run, stream: Resumable, broken: Entrant) -> None:
        """Have another attempt go on where the client's stream broke, or end it with the fault. What goes
        wrong on the way is in the attempts' records: the client hears why its own stream broke."""
        tried: dict[str, list[Endpoint]] = {broken.target.pool: [broken.slot.endpoint]}
        fault, attempts, progress = stream.fault, 0, run.progress
        assert fault is not None
        pending = self._ways(run, stream, broken, fault)
        for number, way in enumerate(pending, 1):
            pool = self._pools[run.plan.targets[way.position].pool]
            if attempts == MAX_RESUMES or not worth_resuming(fault):
                break
            repeats = run.infer.operation == "chat" and pool.dialect.prefill() == "repeats"
            if not stream.begin(run.infer, continues=way.continues, repeats=repeats):
                continue
            if not self._retries[pool.id].take(self._clock()):
                continue
            attempts += 1
            run.recorder.attempt_failed(fault)
            is_last = number == len(pending) or attempts == MAX_RESUMES
            seen = tried.setdefault(pool.id, [])
            try:
                entrant = await self._attempt(run, way.position, seen, is_last=is_last)
            except GatewayError:
                continue  # nothing new of it has reached the client
            if stream.diverged:
                entrant.record.fault = "resume_diverged"
            if stream.complete:
                progress.fault, progress.usage = None, stream.usage
                return
            fault = stream.fault or fault
        progress.fault = fault
        if attempts:  # what the client has is of the stream that broke
            progress.target, progress.finish_reasons = broken.target, []
            progress.usage = stream.told_so_far(run.infer.facts.prompt_tokens)
        stream.give_up(fault)

    def _ways(
        self, run: _Run, stream: Resumable, broken: Entrant, fault: GatewayError
    ) -> list[Way]:
        """How it may be gone on with, now: where somebody is there, those that fail last."""
        timed_out = isinstance(fault, UpstreamFault) and fault.fault == "timeout"
        stalled = timed_out or _stalled(run.progress)
        found = ways(run.plan, run.plan.targets.index(broken.target), stalled=stalled)
        pools = [self._pools[target.pool] for target in run.plan.targets]
        able = [way for way in found if pools[way.position].ready and stream.sent.allows(way)]
        return sorted(able, key=lambda way: self.breakers.open(pools[way.position]))

    # -- what all attempts have in common -----------------------------------------------

    def _enter(
        self, run: _Run, race: Race | None, target: Target, slot: Slot, is_last: bool
    ) -> Entrant:
        record = _record(target, self._pools[target.pool], slot.endpoint)
        progress = run.progress
        if progress.trace is not None:
            record.trace = progress.trace.child()
        progress.target = target
        progress.attempts.append(record)
        progress.ended_s = None
        if not run.going_on:
            progress.first_token_s = progress.usage = None
            progress.finish_reasons = []
        run.recorder.dispatched(target, slot)
        self.breakers.sent(self._pools[target.pool], slot.endpoint)
        if race is None:
            watch = None if run.going_on else run.recorder
            attempt = self._new_attempt(run, record, slot, run.sink, watch, is_last)
            entrant = Entrant(attempt=attempt, target=target, slot=slot, record=record)
        else:
            gate = race.gate()
            attempt = self._new_attempt(run, record, slot, gate, gate, is_last)
            entrant = race.enter(
                gate, Entrant(attempt=attempt, target=target, slot=slot, record=record)
            )
        if not run.going_on:
            progress.dispatched_s = attempt.times.dispatched_s
        return entrant

    def _new_attempt(
        self,
        run: _Run,
        record: AttemptRecord,
        slot: Slot,
        sink: EventSink,
        watch: Watch | None,
        is_last: bool,
    ) -> Attempt:
        target = record.target
        pool = self._pools[target.pool]
        context = attempt_context(
            run.plan,
            target,
            pool,
            slot.endpoint,
            run.catalog,
            self._clock() - run.progress.accepted_s,
            run.recorder.prefill_s(pool, target),
        )
        infer = run.infer
        if run.resumable is not None and run.resumable.continued is not None:
            infer = run.resumable.continued
            context = _continuing(context, run.infer, run.resumable.sent)
        return Attempt(
            infer,
            context,
            dialect=pool.dialect,
            slot=slot,
            sink=sink,
            timeouts=pool.options.timeouts,
            is_last=is_last,
            new_id=self._new_id,
            clock=self._clock,
            watch=watch,
            may_be_slow=is_last or not (run.resumable is not None or run.sink.keeps_back),
            headers=record.trace.headers() if record.trace else (),
        )

    async def _to_the_end(self, run: _Run, winner: Entrant) -> None:
        """From the first content on."""
        progress, attempt = run.progress, winner.attempt
        if progress.first_token_s is None:
            progress.target = winner.target
            progress.dropped = attempt.dropped
            progress.dispatched_s = attempt.times.dispatched_s
            progress.first_token_s = attempt.times.first_token_s
        await run.sink.open(progress)
        await attempt.finished
        if attempt.fault is not None:
            if run.sink.keeps_back:
                raise attempt.fault
            progress.fault = attempt.fault

    def _close(self, entrant: Entrant) -> None:
        """The books of one attempt: its record, and what its endpoint is to be thought of."""
        attempt, record = entrant.attempt, entrant.record
        pool, endpoint = self._pools[entrant.target.pool], entrant.slot.endpoint
        if attempt.times.ended_s is None:
            attempt.cancel()  # the client is gone, by whichever exception that came, or a race is lost
        times, fault = attempt.times, attempt.fault
        record.dispatched_s, record.first_token_s = times.dispatched_s, times.first_token_s
        record.ended_s, record.usage = times.ended_s or self._clock(), attempt.usage
        record.quiet_s = attempt.quiet_s
        if fault is not None:
            record.fault = fault.code
            record.status = fault.upstream_status if isinstance(fault, UpstreamFault) else None
            if isinstance(fault, ConnectFailed):
                pool.lost(endpoint)
        if fault is not None or attempt.whole:
            self.breakers.ended(pool, endpoint, fault)
        else:
            self.breakers.abandoned(pool, endpoint)

    def _sum_up(self, progress: Progress, winner: Entrant) -> None:
        attempt = winner.attempt
        progress.usage = attempt.usage
        progress.finish_reasons = attempt.finish_reasons
        progress.ended_s = attempt.times.ended_s or self._clock()
        progress.engine_s += progress.ended_s - attempt.times.dispatched_s

    async def _slot(self, run: _Run, target: Target, tried: list[Endpoint]) -> Slot:
        pool = self._pools[target.pool]
        entry = run.recorder.enter(pool, target, [*tried, *self.breakers.shunned(pool)])
        run.sink.entered(entry)
        asked_s = self._clock()
        try:
            slot = await self._patiently(entry.slot, run)
        except BaseException:  # also what the sink raises when its client has gone
            entry.leave()
            run.progress.queue_s += self._clock() - asked_s
            raise
        run.progress.queue_s += slot.waited_s
        return slot

    async def _patiently(self, future: "asyncio.Future[T]", run: _Run) -> T:
        """Await `future`, telling the sink whenever it takes another `patience_s`."""
        if run.sink.patience_s is None:
            return await future
        await self._any_of((future,), run)
        return future.result()

    async def _any_of(
        self,
        futures: "Collection[asyncio.Future[T]]",
        run: _Run,
        timeout_s: float | None = None,
    ) -> "set[asyncio.Future[T]]":
        """Those that are done as soon as one is; none after `timeout_s`. Tells the sink meanwhile."""
        left_s = math.inf if timeout_s is None else timeout_s
        patience_s = math.inf if run.sink.patience_s is None else run.sink.patience_s
        while True:
            step_s = min(left_s, patience_s)
            done, _ = await asyncio.wait(
                futures,
                timeout=None if math.isinf(step_s) else step_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            left_s -= step_s
            if done or left_s <= 0:
                return done
            await run.sink.waiting(run.progress)

    def _backoff_s(
        self, error: GatewayError, done: int, pool: Pool, tried: list[Endpoint]
    ) -> float | None:
        """How long to wait before the same target is asked again; None: it is not worth it."""
        if not isinstance(error, UpstreamFault) or error.fault not in _WORTH_REPEATING:
            return None
        if any(endpoint not in tried for endpoint in pool.ready):
            return 0.0  # what one endpoint asked for is not what the next one needs
        if error.fault == "timeout":
            return None  # it would be silent again
        asked_s = error.retry_after_s
        if asked_s is not None and asked_s > RETRY_AFTER_PATIENCE_S:
            return None
        jittered_s: float = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2**done) * self._draw()
        return max(asked_s or 0.0, jittered_s)


def attempt_context(
    plan: RoutingPlan,
    target: Target,
    pool: Pool,
    endpoint: Endpoint,
    catalog: Catalog,
    waited_s: float,
    prefill_s: float | None = None,
) -> AttemptContext:
    """What the dialect needs to know beside the request itself."""
    card = catalog.models.get(target.model)
    key = pool.options.api_key
    return AttemptContext(
        upstream_model=target.upstream,
        waited_s=waited_s,
        max_tokens=plan.max_tokens,
        overrides=plan.overrides,
        constraints=plan.constraints,
        api_key=key.reveal() if key else None,
        context=endpoint.state.context or (card.context if card else None),
        prefill_s=prefill_s,
        priority_scheduling=pool.options.priority_scheduling,
        inference_ttl=pool.options.inference_ttl,
        unsupported=pool.options.unsupported,
        template=card.template if card else None,
    )


def _continuing(context: AttemptContext, infer: InferRequest, sent: Sent) -> AttemptContext:
    """The same, for an attempt that continues the client's text: of its token limit the rest is left."""
    limits = [n for n in (context.max_tokens, infer.facts.max_tokens) if n is not None]
    rest = max(1, min(limits) - sent.deltas) if limits else None
    chat = infer.operation == "chat"
    return msgspec.structs.replace(context, continues=chat, max_tokens=rest)


def _is_final(error: GatewayError) -> bool:
    """No other target is asked: the request is at fault, or it is one of our own bugs."""
    if isinstance(error, UpstreamFault):
        return error.fault in _NO_TARGET
    return not isinstance(error, Shed) or isinstance(error, BelowQualityFloor)


def _stalled(progress: Progress) -> bool:
    return bool(progress.attempts) and progress.attempts[-1].quiet_s >= STALLED_S


def _record(target: Target, pool: Pool, endpoint: Endpoint) -> AttemptRecord:
    return AttemptRecord(
        target=target,
        engine=pool.engine,
        replica=f"{pool.id}/{endpoint.index + 1}",
        version=endpoint.state.version,
        model_digest=endpoint.state.model_digest,
    )
