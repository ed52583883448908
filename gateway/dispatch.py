"""One attempt of a run, from its place in a queue to its last event; where the plan hedges, two.

Who is asked, in which order and how often, is not decided here.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from contracts.catalog import Catalog
from contracts.errors import GatewayError, NoReadyBackend, UpstreamFault
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.attempt import Attempt
from gateway.attempt_context import attempt_context, continuing
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.hedge import Entrant, HedgeBudget, Race
from gateway.patience import any_of, patiently
from gateway.pools import Pool
from gateway.progress import AttemptRecord, Progress
from gateway.receiving import EventSink, Watch
from gateway.resumable import Resumable
from gateway.sinks import AnswerSink, Recorder
from gateway.slot import Slot
from policies.retry import is_final


class Run(msgspec.Struct, frozen=True):
    """One inference: what all its attempts share."""

    infer: InferRequest
    plan: RoutingPlan
    catalog: Catalog
    sink: AnswerSink
    progress: Progress
    recorder: Recorder
    resumable: Resumable | None = None
    """The sink, where a broken stream may be gone on with."""

    @property
    def going_on(self) -> bool:
        """The client has had content, of an attempt that broke."""
        return self.resumable is not None and self.resumable.sent.deltas > 0


class Dispatch:
    """`new_id` makes ids for tool calls without one."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        *,
        new_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._pools = pools
        self._new_id = new_id
        self._clock = clock
        self._hedges: dict[str, HedgeBudget] = {}
        """By route; those that are not configured share one."""

    def hedge_budget(self, plan: RoutingPlan) -> HedgeBudget:
        if plan.route not in self._hedges:
            self._hedges[plan.route] = HedgeBudget(plan.hedge_budget)
        return self._hedges[plan.route]

    def enter(self, run: Run, target: Target, tried: Sequence[Endpoint]) -> Entry:
        """Ask for a place for an attempt: `attempt` what is given, or release it; where none is, wait for its
        `slot`. Raises Shed."""
        entry = run.recorder.enter(self._pools[target.pool], target, tried)
        run.sink.entered(entry)
        return entry

    async def slot(self, run: Run, entry: Entry) -> Slot:
        """The place that is not given yet. Raises Shed if none comes."""
        asked_s = self._clock()
        try:
            slot = await patiently(entry.slot, run.sink, run.progress)
        except BaseException:  # also what the sink raises when its client has gone
            entry.leave()
            run.progress.queue_s += self._clock() - asked_s
            raise
        run.progress.queue_s += slot.waited_s
        return slot

    async def attempt(self, run: Run, position: int, slot: Slot, *, is_last: bool) -> Entrant:
        """To the last event of whoever has content first. Raises GatewayError where nobody has."""
        target, sink, progress = run.plan.targets[position], run.sink, run.progress
        hedged = run.plan.hedge_after_s is not None and not run.going_on
        race = Race(sink, run.recorder, progress) if hedged else None
        try:
            first = winner = self._enter(run, race, target, slot, is_last)
        except BaseException:
            slot.release()  # an attempt does so when it ends
            raise
        entrants = [first] if race is None else race.entrants
        try:
            first.attempt.start()
            progress.dropped = first.attempt.dropped
            sink.attach(first.attempt, target.model)
            if race is not None:
                await self._run_race(run, race, first, position)
                winner = race.winner or first
            elif not sink.keeps_back:
                await patiently(first.attempt.committed, sink, progress)
            attempt = winner.attempt
            if not sink.keeps_back:
                self._begun(progress, winner)
                await sink.open(progress)
            await attempt.finished
            if attempt.fault is not None:
                if sink.keeps_back:
                    raise attempt.fault
                progress.fault = attempt.fault
            elif attempt.first_token_s is None:
                raise asyncio.CancelledError  # its own sink has cut it off
        except GatewayError as exc:
            if race is not None:
                winner = race.winner or first
            winner.record.fault = winner.record.fault or exc.code
            if run.going_on:
                run.recorder.stream_broke(exc)
            else:
                run.recorder.attempt_failed(exc)
            raise
        finally:
            for entrant in entrants:
                self._close(entrant)
            self._sum_up(progress, winner)
        return winner

    # -- two beside each other ----------------------------------------------------------

    async def _run_race(self, run: Run, race: Race, first: Entrant, position: int) -> None:
        """Until some attempt has content. Raises a final refusal at once, else, where all have failed, the
        first one's error."""
        running = [first]
        only = (first.attempt.committed,)
        if not await any_of(only, run.sink, run.progress, run.plan.hedge_after_s):
            second = self._second(run, race, position, first.slot)
            if second is not None:
                running.append(second)
        while running:
            futures = {entrant.attempt.committed: entrant for entrant in running}
            for future in await any_of(futures, run.sink, run.progress):
                if race.winner is not None:
                    return
                error, entrant = futures[future].attempt.fault, futures[future]
                running.remove(entrant)  # the other one still runs: no end of the request
                if error is not None and is_final(error):
                    race.settle_on(entrant)
                    raise error
        race.settle_on(first)
        raise first.attempt.fault or NoReadyBackend("both attempts were given up")

    def _second(self, run: Run, race: Race, position: int, first: Slot) -> Entrant | None:
        """The hedge, under way; None where it may not be, has no place, or cannot be said there."""
        if not self.hedge_budget(run.plan).allowed():
            return None
        place = self._spare_place(run, position, first)
        if place is None:
            return None
        try:
            second = self._enter(run, race, *place, is_last=True)
        except GatewayError:
            return None
        second.attempt.start()
        self.hedge_budget(run.plan).spend()
        return second

    def _spare_place(self, run: Run, position: int, first: Slot) -> tuple[Target, Slot] | None:
        """A free place elsewhere, now: another endpoint of the pool, or the next target's pool. Nobody
        waits for a hedge."""
        avoid = [first.endpoint]
        for target in run.plan.targets[position : position + 2]:
            pool = self._pools[target.pool]
            if not pool.untried(avoid):
                continue
            entry = run.recorder.enter(pool, target, avoid)
            place = entry.given
            if place and place.endpoint is not first.endpoint and not place.shunned:
                return target, place
            entry.leave()
        return None

    # -- what all attempts have in common -----------------------------------------------

    def _enter(
        self, run: Run, race: Race | None, target: Target, slot: Slot, is_last: bool
    ) -> Entrant:
        pool, endpoint, progress = self._pools[target.pool], slot.endpoint, run.progress
        state = endpoint.state
        record = AttemptRecord(
            target, pool.engine, endpoint.replica, state.version, state.model_digest
        )
        if progress.trace is not None:
            record.trace = progress.trace.child()
        going_on = run.resumable is not None and run.going_on
        gate = None if race is None else race.gate()
        if gate is None:
            watch = None if going_on else run.recorder
            attempt = self._new_attempt(run, record, slot, run.sink, watch, is_last)
        else:
            attempt = self._new_attempt(run, record, slot, gate, gate, is_last)
        attempt.prepare()  # what cannot be said there is no attempt
        progress.target = target
        progress.attempts.append(record)
        progress.ended_s = None
        if not going_on:
            progress.first_token_s = progress.usage = None
            progress.finish_reasons = []
        run.recorder.dispatched(target, slot)
        entrant = Entrant(attempt, target, slot, record)
        if race is not None and gate is not None:
            race.enter(gate, entrant)
        if not going_on:
            progress.dispatched_s = attempt.dispatched_s
        return entrant

    def _new_attempt(
        self,
        run: Run,
        record: AttemptRecord,
        slot: Slot,
        sink: EventSink,
        watch: Watch | None,
        is_last: bool,
    ) -> Attempt:
        target = record.target
        pool, now_s = self._pools[target.pool], self._clock()
        context = attempt_context(
            run.plan,
            target,
            pool,
            slot.endpoint,
            run.catalog,
            now_s - run.progress.accepted_s,
            # Only the time that a backend may let a request wait is reckoned with it.
            run.recorder.prefill_s(pool, target) if pool.options.inference_ttl else None,
            # A pace is measured piece by piece.
            joins=run.sink.keeps_back and pool.options.timeouts.min_tokens_per_s is None,
        )
        infer = run.infer
        if run.resumable is not None and run.resumable.continued is not None:
            infer = run.resumable.continued
            context = continuing(context, run.infer, run.resumable.sent)
        return Attempt(
            infer,
            context,
            pool.dialect,
            slot,
            sink,
            pool.options.timeouts,
            is_last,
            self._new_id,
            self._clock,
            watch,
            is_last or not (run.resumable is not None or run.sink.keeps_back),
            record.trace.headers() if record.trace else (),
            now_s,
        )

    def _close(self, entrant: Entrant) -> None:
        """Write down one attempt. What its endpoint is to be thought of was told when it ended."""
        attempt, record = entrant.attempt, entrant.record
        attempt.let_go()  # it may run still: the client is gone, by whichever exception that came
        fault = attempt.fault
        record.dispatched_s, record.first_token_s = attempt.dispatched_s, attempt.first_token_s
        record.ended_s, record.usage = attempt.ended_s or self._clock(), attempt.usage
        if record.usage is None:
            record.usage = attempt.counted()
        record.quiet_s = attempt.quiet_s
        if fault is not None:
            record.fault = fault.code
            record.status = fault.upstream_status if isinstance(fault, UpstreamFault) else None

    def _begun(self, progress: Progress, winner: Entrant) -> None:
        """Its content is the answer's first, if it has any."""
        attempt = winner.attempt
        if progress.first_token_s is None and attempt.first_token_s is not None:
            progress.target = winner.target
            progress.dropped = attempt.dropped
            progress.dispatched_s = attempt.dispatched_s
            progress.first_token_s = attempt.first_token_s

    def _sum_up(self, progress: Progress, winner: Entrant) -> None:
        attempt = winner.attempt
        self._begun(progress, winner)
        progress.usage = attempt.usage
        progress.finish_reasons = attempt.finish_reasons
        progress.ended_s = attempt.ended_s or self._clock()
        progress.engine_s += progress.ended_s - attempt.dispatched_s
