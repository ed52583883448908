"""Carry out a RoutingPlan: `infer(request, plan) -> events`, the same for every backend.

Attempts are made one after the other: on a repeatable fault again on the same target, then on the
next one. Where the plan says so, a second one may run beside a slow first (`gateway.dispatch`), and one that
broke after its first content may be gone on with by another (`gateway.going_on`); otherwise there is no
attempt after the first content. A caller that goes away (the coroutine is cancelled) takes the
running attempt with it, wherever it is.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from contracts.catalog import Catalog
from contracts.errors import GatewayError, NoReadyBackend, UnsupportedParameter, UpstreamFault
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.dispatch import Dispatch, Run
from gateway.endpoint import Endpoint
from gateway.going_on import GoingOn
from gateway.hedge import Entrant
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.resumable import Resumable, may_resume
from gateway.sinks import AnswerSink, Recorder
from policies.retry import STALLED_S, backoff_s, is_final


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
        self._dispatch = Dispatch(pools, new_id=new_id, clock=clock)
        self._going_on = GoingOn(pools, self._dispatch, draw=draw, clock=clock)

    def infer(
        self,
        infer: InferRequest,
        plan: RoutingPlan,
        catalog: Catalog,
        sink: AnswerSink,
        progress: Progress,
        recorder: Recorder,
    ) -> Coroutine[Any, Any, object]:
        """Await it: it runs to the end. Raises GatewayError if no content could be had from any target."""
        self._dispatch.hedge_budget(plan).requests += 1
        if not may_resume(infer, plan, sink):
            return self._to_an_answer(Run(infer, plan, catalog, sink, progress, recorder))
        resumable = Resumable(sink, recorder.flight, self._clock)
        run = Run(infer, plan, catalog, resumable, progress, recorder, resumable)
        return self._to_the_end(run, resumable)

    async def _to_the_end(self, run: Run, stream: Resumable) -> None:
        """Where a stream that broke may be gone on with."""
        answered = await self._to_an_answer(run)
        if stream.fault is not None:
            await self._going_on.go_on(run, stream, answered)

    async def _to_an_answer(self, run: Run) -> Entrant:
        """Until some attempt has had content, and has come to its end with it.

        A target that failed lately is gone round while a later one is well, and asked once where none of
        those would do.
        """
        targets = run.plan.targets
        count = len(targets)
        several = count > 1
        error: GatewayError | None = None
        refused: UnsupportedParameter | None = None
        too_long_for = 0
        """The prompt did not fit into so many tokens."""
        order = list(range(count))
        for turn, position in enumerate(order):  # it grows by those that are gone round
            target = targets[position]
            pool = self._pools[target.pool]
            if too_long_for and not self._holds(target, too_long_for):
                continue
            failing = several and pool.failing
            if failing and self._another(run.plan, turn, too_long_for):
                order.append(position)
                continue
            tried: tuple[Endpoint, ...] = ()
            again = turn >= count and error is not None
            retries = 0 if again else pool.options.retries
            for done in range(1 + retries):
                may_repeat = done < retries
                try:
                    entry = self._dispatch.enter(run, target, tried)
                    slot = entry.given or await self._dispatch.slot(run, entry)
                    another = several and self._another(run.plan, turn, too_long_for)
                    if slot.shunned and another:  # it failed while this one waited
                        slot.release()
                        if not done:
                            order.append(position)
                        break
                    tried = (*tried, slot.endpoint)
                    if not done:
                        pool.retry_budget.requests += 1
                    elsewhere = another or (
                        may_repeat
                        and pool.untried(tried)
                        and pool.retry_budget.allows(self._clock())
                    )
                    return await self._dispatch.attempt(run, position, slot, is_last=not elsewhere)
                except UnsupportedParameter as exc:
                    if error is None and len(order) == count:
                        raise
                    refused = refused or exc
                    break  # what the client hears of is the failure of what it asked for
                except GatewayError as exc:
                    error = exc if error is None or not isinstance(exc, NoReadyBackend) else error
                    if is_final(exc):
                        raise
                    if isinstance(exc, UpstreamFault) and exc.fault == "context_length":
                        # Where nobody knows how much fits, it is the prompt that did not.
                        asked = max(1, run.infer.facts.prompt_tokens)
                        too_long_for = max(too_long_for, self._context_of(target) or asked)
                    if not may_repeat:
                        break
                    wait_s = backoff_s(exc, done, self._draw, untried=pool.untried(tried))
                    if wait_s is None:
                        break
                    turns_away = pool.failing or _stalled(run.progress)
                    if turns_away and self._another(run.plan, turn, too_long_for):
                        break
                    if not pool.retry_budget.take(self._clock()):
                        break
                    run.progress.backoff_s += wait_s
                    await asyncio.sleep(wait_s)
        why = error or refused
        assert why is not None  # who has nowhere else to go has been somewhere
        raise why

    def _another(self, plan: RoutingPlan, turn: int, too_long_for: int) -> bool:
        """Whether a later target is there that could take over. Those that were gone round are no better."""
        for target in plan.targets[turn + 1 :]:
            pool = self._pools[target.pool]
            if not pool.ready or pool.failing:
                continue
            if not too_long_for or self._holds(target, too_long_for):
                return True
        return False

    def _holds(self, target: Target, too_long_for: int) -> bool:
        """Whether a prompt that did not fit into so many tokens may fit there. Where nobody knows how much
        fits, it is not tried: the same request would fail in the same way."""
        return (self._context_of(target) or 0) > too_long_for

    def _context_of(self, target: Target) -> int | None:
        """Tokens that fit there: as configured, else as its endpoints say."""
        told = [e.state.context for e in self._pools[target.pool].ready if e.state.context]
        return target.context or min(told, default=None)


def _stalled(progress: Progress) -> bool:
    return bool(progress.attempts) and progress.attempts[-1].quiet_s >= STALLED_S
