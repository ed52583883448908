"""Going on with a stream that broke after its first content: by whom, how often, and how it ends if by nobody.

`policies.resume` knows the ways there are, `gateway.resumable` what the client has.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from contracts.errors import GatewayError
from contracts.inference import Target
from gateway.dispatch import Dispatch, Run
from gateway.endpoint import Endpoint
from gateway.hedge import Entrant
from gateway.pools import Pool
from gateway.resumable import Resumable
from policies.resume import Way, ways, worth_resuming
from policies.retry import STALLED_S, pause_s, timed_out, worth_repeating

MAX_RESUMES = 3
"""Attempts to go on with one broken stream."""


class GoingOn:
    """`draw` gives uniform numbers in [0, 1) for the jitter."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        dispatch: Dispatch,
        *,
        draw: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._pools = pools
        self._dispatch = dispatch
        self._draw = draw
        self._clock = clock

    async def go_on(self, run: Run, stream: Resumable, broken: Entrant) -> None:
        """Have another attempt go on where the client's stream broke, or end it with the fault. What goes
        wrong on the way is in the attempts' records: the client hears why its own stream broke."""
        fault, attempts, progress = stream.fault, 0, run.progress
        assert fault is not None
        tried: dict[str, list[Endpoint]] = {broken.target.pool: [broken.slot.endpoint]}
        failed: dict[str, GatewayError] = {broken.target.pool: fault}
        """By pool, what came of the newest attempt there."""
        pending = deque(self._ways(run, broken, fault))
        while pending and attempts < MAX_RESUMES and worth_resuming(fault):
            way = pending.popleft()
            pool = self._pool(run, way)
            seen = tried.setdefault(pool.id, [])
            wait_s = self._wait_s(pool, seen, failed.get(pool.id), attempts)
            if wait_s is None or not pool.ready or not stream.sent.allows(way):
                continue
            repeats = run.infer.operation == "chat" and pool.dialect.prefill() == "repeats"
            if not stream.begin(
                run.infer, continues=way.continues, repeats=repeats, exact=way.exact
            ):
                continue
            if not pool.retry_budget.take(self._clock()):
                continue
            attempts += 1
            run.recorder.stream_broke(fault)
            if wait_s:
                progress.backoff_s += wait_s
                await asyncio.sleep(wait_s)
            try:
                entry = self._dispatch.enter(run, self._target(run, way), seen)
                slot = entry.given or await self._dispatch.slot(run, entry)
                seen.append(slot.endpoint)
                follow = [way, *pending] if pool.untried(seen) else pending
                is_last = attempts == MAX_RESUMES or not self._may_repeat(run, follow)
                entrant = await self._dispatch.attempt(run, way.position, slot, is_last=is_last)
            except GatewayError as exc:
                failed[pool.id] = exc  # nothing new of it has reached the client
                if worth_repeating(exc) and pool.untried(seen):
                    pending.appendleft(way)
                continue
            if stream.complete:
                progress.fault, progress.usage = None, stream.usage
                return
            progress.usage, progress.finish_reasons = None, []
            if stream.diverged:
                entrant.record.fault = "resume_diverged"
                # Who is told to go on with a message may have its blanks cut off by a template: only what is
                # said again, and a prompt, are known to keep them.
                keeps_blanks = repeats or run.infer.operation == "completion"
                if way.continues and not way.exact and keeps_blanks and stream.lacks_blanks:
                    pending.appendleft(msgspec.structs.replace(way, exact=True))
            if stream.fault is not None:
                fault = failed[pool.id] = stream.fault
                if pool.untried(seen):
                    pending.appendleft(way)
        progress.fault = fault
        if attempts:  # what the client has is of the stream that broke
            progress.target, progress.finish_reasons = broken.target, []
            progress.usage = stream.told_so_far(run.infer.facts.prompt_tokens)
        stream.give_up(fault)

    def _ways(self, run: Run, broken: Entrant, fault: GatewayError) -> list[Way]:
        """How it may be gone on with, in order; those that fail last."""
        stalled = timed_out(fault) or broken.record.quiet_s >= STALLED_S
        found = ways(run.plan, run.plan.targets.index(broken.target), stalled=stalled)
        return sorted(found, key=lambda way: self._pool(run, way).failing)

    def _wait_s(
        self, pool: Pool, seen: list[Endpoint], error: GatewayError | None, attempts: int
    ) -> float | None:
        """Before that pool is asked: nothing where somebody is there who has not failed yet. None: it asks
        for more patience than a client in the middle of its stream has."""
        if error is None or pool.untried(seen):
            return 0.0
        return pause_s(error, attempts, self._draw)

    def _may_repeat(self, run: Run, following: Iterable[Way]) -> bool:
        """Whether any of those could be asked, as far as can be known now."""
        now_s = self._clock()
        pools = (self._pool(run, way) for way in following)
        return any(pool.ready and pool.retry_budget.allows(now_s) for pool in pools)

    def _target(self, run: Run, way: Way) -> Target:
        return run.plan.targets[way.position]

    def _pool(self, run: Run, way: Way) -> Pool:
        return self._pools[self._target(run, way).pool]
