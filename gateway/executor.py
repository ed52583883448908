"""Carry out a RoutingPlan: `infer(request, plan) -> events`, the same for every backend.

Attempts are made one after the other: on a repeatable fault again on the same target, then on the
next one. Where the plan says so, a second one may run beside a slow first (`gateway.hedge`). After the
first content has gone out there is no further attempt. A caller that goes away (the coroutine is
cancelled) takes the running attempt with it, wherever it is.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

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
    UpstreamFault,
)
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.attempt import Attempt, EventSink, Watch
from gateway.hedge import Entrant, HedgeBudget, Race
from gateway.pools import Endpoint, Entry, Pool, Slot
from gateway.progress import AttemptRecord, Progress

T = TypeVar("T")

BACKOFF_BASE_S, BACKOFF_MAX_S = 0.1, 2.0
RETRY_AFTER_PATIENCE_S = 5.0
"""A backend that asks for more than this is not waited for: the next target, or the client, is told."""

_WORTH_REPEATING: frozenset[FaultClass] = REPEATABLE | {"stream_broken"}
"""A broken stream comes here only while nothing of it has been sent on."""
_NO_TARGET: frozenset[FaultClass] = frozenset({"client", "content"})
"""The request itself is at fault; no other target will like it better."""


class Recorder(Watch, Protocol):
    """Who is told what becomes of a request, and knows what the queue orders it by."""

    def enter(self, pool: Pool, target: Target, avoid: list[Endpoint]) -> Entry:
        """Ask for a place. Raises NoReadyBackend."""
        ...

    def prefill_s(self, pool: Pool, target: Target) -> float | None:
        """How long the first token will take there, where that was measured."""
        ...

    def dispatched(self, target: Target, slot: Slot) -> None: ...

    def attempt_failed(self, error: GatewayError) -> None: ...


class AnswerSink(EventSink, Protocol):
    """Where an inference's answer goes."""

    async def open(self, progress: Progress) -> None:
        """Content is coming, or the wait has become long: say so to the client. May be called twice."""
        ...

    def attach(self, attempt: Attempt, model: str) -> None:
        """The attempt that now writes; the sink may pause and resume it. `model` is what it is served
        by, as clients name it. What an earlier attempt wrote counts no more."""
        ...

    def entered(self, entry: Entry) -> None:
        """It stands in the queue of a pool, or has been let in or refused there at once. Called for
        each place that is asked for."""
        ...

    async def waiting(self, progress: Progress) -> None:
        """Another `patience_s` went by without an answer."""
        ...

    @property
    def patience_s(self) -> float | None:
        """Seconds between two calls of `waiting`; None: never."""
        ...

    keeps_back: bool
    """The client sees nothing before the end, so another attempt may start over at any time."""


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """One inference: what all its attempts share."""

    infer: InferRequest
    plan: RoutingPlan
    catalog: Catalog
    sink: AnswerSink
    progress: Progress
    recorder: Recorder


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
        self._hedges = HedgeBudget()

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
        run = _Run(
            infer=infer,
            plan=plan,
            catalog=catalog,
            sink=sink,
            progress=progress,
            recorder=recorder,
        )
        self._hedges.request()
        error: GatewayError | None = None
        for position, target in enumerate(plan.targets):
            pool = self._pools[target.pool]
            tried: list[Endpoint] = []
            for done in range(1 + pool.options.retries):
                may_repeat = done < pool.options.retries
                untried = sum(endpoint not in tried for endpoint in pool.ready)
                elsewhere = position + 1 < len(plan.targets) or (may_repeat and untried > 1)
                try:
                    await self._attempt(run, position, tried, is_last=not elsewhere)
                    return
                except GatewayError as exc:
                    error = exc if error is None or not isinstance(exc, NoReadyBackend) else error
                    if _is_final(exc):
                        raise
                    backoff_s = self._backoff_s(exc, done, pool, tried) if may_repeat else None
                    if backoff_s is None:
                        break
                    progress.backoff_s += backoff_s
                    await asyncio.sleep(backoff_s)
        assert error is not None  # a plan has at least one target
        raise error

    async def _attempt(
        self, run: _Run, position: int, tried: list[Endpoint], *, is_last: bool
    ) -> None:
        target = run.plan.targets[position]
        slot = await self._slot(run, target, tried)
        tried.append(slot.endpoint)
        try:
            if run.plan.hedge_after_s is None:
                await self._dispatch(run, target, slot, is_last)
            else:
                await self._dispatch_hedged(run, position, slot, is_last)
        except BaseException:
            slot.release()  # an attempt does so when it ends; this is for one that never began
            raise

    async def _dispatch(self, run: _Run, target: Target, slot: Slot, is_last: bool) -> None:
        record = self._begin(run, target, slot)
        attempt = self._new_attempt(run, target, slot, run.sink, run.recorder, is_last)
        run.progress.dispatched_s = attempt.times.dispatched_s
        try:
            attempt.start()
            run.sink.attach(attempt, target.model)
            await self._patiently(attempt.committed, run)
            await self._to_the_end(run, attempt)
        except GatewayError as exc:
            self._lost(run, target, slot, record, exc)
            raise
        finally:
            self._sum_up(run.progress, attempt)
        self._note_fault(run.progress, record, attempt)

    async def _dispatch_hedged(self, run: _Run, position: int, slot: Slot, is_last: bool) -> None:
        """As `_dispatch`, with a second attempt beside the first where that is slow to begin. The first
        content decides; who comes second is cancelled before the client sees anything of it."""
        target = run.plan.targets[position]
        race = Race(run.sink, run.recorder)
        first = self._enter(run, race, target, slot, is_last)
        try:
            await self._run_race(run, race, first, position)
            winner = race.winner
            assert winner is not None
            run.progress.target = winner.target
            run.progress.dispatched_s = winner.attempt.times.dispatched_s
            await self._to_the_end(run, winner.attempt)
        except GatewayError as exc:
            run.recorder.attempt_failed(exc)
            if race.winner is not None:
                self._mark(race.winner.target, race.winner.slot, race.winner.record, exc)
            raise
        finally:
            for entrant in race.entrants:
                if entrant is not race.winner:
                    entrant.attempt.cancel()
            self._sum_up(run.progress, (race.winner or first).attempt)
        self._note_fault(run.progress, winner.record, winner.attempt)

    async def _run_race(self, run: _Run, race: Race, first: Entrant, position: int) -> None:
        """Until some attempt has content. Raises the last error if none has."""
        first.attempt.start()
        run.sink.attach(first.attempt, first.target.model)
        after_s = run.plan.hedge_after_s or 0.0
        await asyncio.wait((first.attempt.committed,), timeout=after_s)
        if not first.attempt.committed.done():
            place = self._spare_place(run, position, first.slot)
            if place is not None:
                self._hedges.spend()
                second = self._enter(run, race, *place, is_last=True)
                second.attempt.start()
        running = list(race.entrants)
        while True:
            futures = {entrant.attempt.committed: entrant for entrant in running}
            if len(running) == 1:
                try:
                    await self._patiently(running[0].attempt.committed, run)
                except GatewayError as exc:
                    self._mark(running[0].target, running[0].slot, running[0].record, exc)
                    raise
                return
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                entrant = futures[future]
                error = None if future.cancelled() else future.exception()
                if error is None and not future.cancelled():
                    return
                running.remove(entrant)
                if isinstance(
                    error, GatewayError
                ):  # the other one still runs: no end of the request
                    self._mark(entrant.target, entrant.slot, entrant.record, error)
                if not running:
                    raise error or NoReadyBackend("both attempts were given up")

    def _enter(self, run: _Run, race: Race, target: Target, slot: Slot, is_last: bool) -> Entrant:
        record = self._begin(run, target, slot)
        gate = race.gate()
        attempt = self._new_attempt(run, target, slot, gate, gate, is_last)
        return race.enter(gate, Entrant(attempt=attempt, target=target, slot=slot, record=record))

    def _spare_place(self, run: _Run, position: int, slot: Slot) -> tuple[Target, Slot] | None:
        """A free place elsewhere, now: another endpoint of the pool, or the next target's pool. Nobody
        waits for a hedge."""
        if not self._hedges.allowed():
            return None
        for target in run.plan.targets[position : position + 2]:
            pool = self._pools[target.pool]
            if not any(endpoint is not slot.endpoint for endpoint in pool.ready):
                continue
            entry = run.recorder.enter(pool, target, [slot.endpoint])
            if entry.slot.done() and entry.slot.exception() is None:
                place = entry.slot.result()
                if place.endpoint is not slot.endpoint:
                    return target, place
            entry.leave()
        return None

    # -- what all attempts have in common -----------------------------------------------

    def _begin(self, run: _Run, target: Target, slot: Slot) -> AttemptRecord:
        record = _record(target, self._pools[target.pool], slot.endpoint)
        run.progress.target = target
        run.progress.attempts.append(record)
        run.progress.ended_s = run.progress.first_token_s = None
        run.recorder.dispatched(target, slot)
        return record

    def _new_attempt(
        self,
        run: _Run,
        target: Target,
        slot: Slot,
        sink: EventSink,
        watch: Watch,
        is_last: bool,
    ) -> Attempt:
        pool = self._pools[target.pool]
        waited_s = self._clock() - run.progress.accepted_s
        prefill_s = run.recorder.prefill_s(pool, target)
        return Attempt(
            run.infer,
            attempt_context(
                run.plan, target, pool, slot.endpoint, run.catalog, waited_s, prefill_s
            ),
            dialect=pool.dialect,
            slot=slot,
            sink=sink,
            timeouts=pool.options.timeouts,
            is_last=is_last,
            new_id=self._new_id,
            clock=self._clock,
            watch=watch,
        )

    async def _to_the_end(self, run: _Run, attempt: Attempt) -> None:
        """From the first content on."""
        run.progress.first_token_s = attempt.times.first_token_s
        await run.sink.open(run.progress)
        await attempt.finished
        if attempt.fault is not None and run.sink.keeps_back:
            raise attempt.fault

    def _lost(
        self, run: _Run, target: Target, slot: Slot, record: AttemptRecord, error: GatewayError
    ) -> None:
        self._mark(target, slot, record, error)
        run.recorder.attempt_failed(error)

    def _mark(self, target: Target, slot: Slot, record: AttemptRecord, error: GatewayError) -> None:
        record.fault = error.code
        record.status = error.upstream_status if isinstance(error, UpstreamFault) else None
        if isinstance(error, ConnectFailed):
            self._pools[target.pool].lost(slot.endpoint)

    def _sum_up(self, progress: Progress, attempt: Attempt) -> None:
        if attempt.times.ended_s is None:
            attempt.cancel()  # the client is gone, by whichever exception that came
        progress.usage = attempt.usage
        progress.finish_reasons = attempt.finish_reasons
        progress.ended_s = attempt.times.ended_s or self._clock()
        progress.engine_s += progress.ended_s - attempt.times.dispatched_s

    def _note_fault(self, progress: Progress, record: AttemptRecord, attempt: Attempt) -> None:
        if attempt.fault is not None:
            record.fault = attempt.fault.code
            progress.fault = attempt.fault

    async def _slot(self, run: _Run, target: Target, tried: list[Endpoint]) -> Slot:
        entry = run.recorder.enter(self._pools[target.pool], target, tried)
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
        patience_s = run.sink.patience_s
        if patience_s is None:
            return await future
        while not future.done():
            done, _ = await asyncio.wait((future,), timeout=patience_s)
            if not done:
                await run.sink.waiting(run.progress)
        return future.result()

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
    )


def _is_final(error: GatewayError) -> bool:
    """No other target is asked: the request is at fault, or it is one of our own bugs."""
    if isinstance(error, UpstreamFault):
        return error.fault in _NO_TARGET
    return not isinstance(error, Shed) or isinstance(error, BelowQualityFloor)


def _record(target: Target, pool: Pool, endpoint: Endpoint) -> AttemptRecord:
    return AttemptRecord(
        target=target,
        engine=pool.engine,
        replica=f"{pool.id}/{endpoint.index + 1}",
        version=endpoint.state.version,
        model_digest=endpoint.state.model_digest,
    )
