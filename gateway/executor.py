"""Carry out a RoutingPlan: `infer(request, plan) -> events`, the same for every backend.

Attempts are made one after the other: on a repeatable fault again on the same target, then on the
next one. After the first content has gone out there is no further attempt. A caller that goes away
(the coroutine is cancelled) takes the running attempt with it, wherever it is.
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
from contracts.events import Usage
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.attempt import Attempt, EventSink
from gateway.pools import Endpoint, Pool, Slot

T = TypeVar("T")

BACKOFF_BASE_S, BACKOFF_MAX_S = 0.1, 2.0
RETRY_AFTER_PATIENCE_S = 5.0
"""A backend that asks for more than this is not waited for: the next target, or the client, is told."""

_WORTH_REPEATING: frozenset[FaultClass] = REPEATABLE | {"stream_broken"}
"""A broken stream comes here only while nothing of it has been sent on."""
_NO_TARGET: frozenset[FaultClass] = frozenset({"client", "content"})
"""The request itself is at fault; no other target will like it better."""


class AnswerSink(EventSink, Protocol):
    """Where an inference's answer goes."""

    async def open(self, progress: "Progress") -> None:
        """Content is coming, or the wait has become long: say so to the client. May be called twice."""
        ...

    def attach(self, attempt: Attempt, model: str) -> None:
        """The attempt that now writes; the sink may pause and resume it. `model` is what it is served
        by, as clients name it. What an earlier attempt wrote counts no more."""
        ...

    async def waiting(self, progress: "Progress") -> None:
        """Another `patience_s` went by without an answer."""
        ...

    @property
    def patience_s(self) -> float | None:
        """Seconds between two calls of `waiting`; None: never."""
        ...

    keeps_back: bool
    """The client sees nothing before the end, so another attempt may start over at any time."""


class AttemptRecord(msgspec.Struct, kw_only=True):
    """One attempt, for the log."""

    target: Target
    engine: str
    replica: str
    version: str | None
    model_digest: str | None
    fault: str | None = None
    status: int | None = None


class Progress(msgspec.Struct, kw_only=True):
    """How an inference goes; complete when `infer` has returned. Times are on the gateway's clock."""

    accepted_s: float
    target: Target | None = None
    queue_s: float = 0.0
    """In the queues of all pools that were asked, also where no place came of it."""
    engine_s: float = 0.0
    """In attempts that have ended."""
    backoff_s: float = 0.0
    attempts: list[AttemptRecord] = []
    dispatched_s: float | None = None
    """The last attempt's start."""
    first_token_s: float | None = None
    ended_s: float | None = None
    usage: Usage | None = None
    finish_reasons: list[str] = []
    fault: GatewayError | None = None
    """A fault after the first content: the client has seen it as an event."""

    @property
    def tpot_s(self) -> float | None:
        """(e2e - TTFT) / (output tokens - 1); undefined below two tokens."""
        if self.first_token_s is None or self.ended_s is None or self.usage is None:
            return None
        gaps = self.usage.completion_tokens - 1
        return (self.ended_s - self.first_token_s) / gaps if gaps > 0 else None


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

    async def infer(
        self,
        infer: InferRequest,
        plan: RoutingPlan,
        catalog: Catalog,
        sink: AnswerSink,
        progress: Progress,
    ) -> None:
        """Run to the end. Raises GatewayError if no content could be had from any target."""
        error: GatewayError | None = None
        for position, target in enumerate(plan.targets):
            pool = self._pools[target.pool]
            tried: list[Endpoint] = []
            for done in range(1 + pool.options.retries):
                may_repeat = done < pool.options.retries
                untried = sum(endpoint not in tried for endpoint in pool.ready)
                elsewhere = position + 1 < len(plan.targets) or (may_repeat and untried > 1)
                try:
                    await self._attempt(
                        infer, plan, target, catalog, sink, progress, tried, is_last=not elsewhere
                    )
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
        self,
        infer: InferRequest,
        plan: RoutingPlan,
        target: Target,
        catalog: Catalog,
        sink: AnswerSink,
        progress: Progress,
        tried: list[Endpoint],
        *,
        is_last: bool,
    ) -> None:
        pool = self._pools[target.pool]
        slot = await self._slot(pool, plan.constraints.priority, tried, sink, progress)
        tried.append(slot.endpoint)
        try:
            await self._dispatch(infer, plan, target, pool, slot, catalog, sink, progress, is_last)
        except BaseException:
            slot.release()  # an attempt does so when it ends; this is for one that never began
            raise

    async def _dispatch(
        self,
        infer: InferRequest,
        plan: RoutingPlan,
        target: Target,
        pool: Pool,
        slot: Slot,
        catalog: Catalog,
        sink: AnswerSink,
        progress: Progress,
        is_last: bool,
    ) -> None:
        progress.target = target
        record = _record(target, pool, slot.endpoint)
        progress.attempts.append(record)
        waited_s = self._clock() - progress.accepted_s
        attempt = Attempt(
            infer,
            attempt_context(plan, target, pool, slot.endpoint, catalog, waited_s),
            dialect=pool.dialect,
            slot=slot,
            sink=sink,
            timeouts=pool.options.timeouts,
            is_last=is_last,
            new_id=self._new_id,
            clock=self._clock,
        )
        progress.dispatched_s = attempt.times.dispatched_s
        progress.ended_s = progress.first_token_s = None
        try:
            attempt.start()
            sink.attach(attempt, target.model)
            await self._patiently(attempt.committed, sink, progress)
            progress.first_token_s = attempt.times.first_token_s
            await sink.open(progress)
            await attempt.finished
            if attempt.fault is not None and sink.keeps_back:
                raise attempt.fault
        except GatewayError as exc:
            record.fault = exc.code
            record.status = exc.upstream_status if isinstance(exc, UpstreamFault) else None
            if isinstance(exc, ConnectFailed):
                pool.lost(slot.endpoint)
            raise
        finally:
            if attempt.times.ended_s is None:
                attempt.cancel()  # the client is gone, by whichever exception that came
            progress.usage = attempt.usage
            progress.finish_reasons = attempt.finish_reasons
            progress.ended_s = attempt.times.ended_s or self._clock()
            progress.engine_s += progress.ended_s - progress.dispatched_s
        if attempt.fault is not None:
            record.fault = attempt.fault.code
            progress.fault = attempt.fault

    async def _slot(
        self,
        pool: Pool,
        priority: int,
        tried: list[Endpoint],
        sink: AnswerSink,
        progress: Progress,
    ) -> Slot:
        entry = pool.enter(priority, avoid=tried)
        asked_s = self._clock()
        try:
            slot = await self._patiently(entry.slot, sink, progress)
        except BaseException:  # also what the sink raises when its client has gone
            entry.leave()
            progress.queue_s += self._clock() - asked_s
            raise
        progress.queue_s += slot.waited_s
        return slot

    async def _patiently(
        self, future: "asyncio.Future[T]", sink: AnswerSink, progress: Progress
    ) -> T:
        """Await `future`, telling the sink whenever it takes another `patience_s`."""
        if sink.patience_s is None:
            return await future
        while not future.done():
            done, _ = await asyncio.wait((future,), timeout=sink.patience_s)
            if not done:
                await sink.waiting(progress)
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
