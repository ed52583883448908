"""Asking once more what was asked before: by the gateway's own executor, with the plan of the record.

Must stay true: the request, the plan and its parameters are those of the record; nothing is decided anew
unless that is asked for, and nothing is recorded, billed or counted against a budget. The HTTP edge is not
in it: it would decide. The queues are this process's own, so a replay does not wait behind live traffic.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.inference import InferRequest, RoutingPlan
from gateway.answers import Identity
from gateway.progress import AttemptRecord, Progress
from gateway.records.comparison import Facts
from gateway.records.keeping_sink import KeepingSink
from gateway.records.kept import ANSWER_CHARS, Answer, KeptAnswer, Room
from gateway.records.recording import outcome
from gateway.records.restored import Restored
from gateway.records.storable import Redact, storable_json
from gateway.replies import FoldReply
from gateway.routing_plan import plan
from gateway.runtime import Gateway
from gateway.settings import LoadedConfig


class NotAsked(Exception):
    """It could not be asked again; the message says why."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `answer` has gone through the redactor, as recorded ones have."""

    decision: Decision
    plan: RoutingPlan
    answer: Answer | None
    error: str | None
    """What the client would have been told in place of an answer, or at its end."""
    facts: Facts


async def replay(loaded: LoadedConfig, then: Restored, *, decide: bool) -> Replayed:
    """Carry it out again. Raises NotAsked, and ProblemsFound for policies that do not load."""
    gateway = Gateway(loaded)
    try:
        await gateway.health.first_look()
        decision, routing = _anew(gateway, then) if decide else _as_it_was(gateway, then)
        return await _ask(gateway, then.infer, decision, routing, loaded.redactor().redact)
    finally:
        await gateway.aclose()


def recorded_facts(row: dict[str, Any]) -> Facts:
    """Those of an execution, from its row with `attempts`."""
    tries: Sequence[dict[str, Any]] = row["attempts"]
    last = tries[-1] if tries else None
    return Facts(
        served_by=row["served_by"],
        attempts=tuple(f"{a['replica']} {a['fault'] or 'ok'}" for a in tries),
        engine=None
        if last is None
        else _engine(last["engine"], last["engine_version"], last["model_digest"]),
        queue_s=row["queue_s"],
        ttft_s=row["ttft_s"],
        tpot_s=row["tpot_s"],
        e2e_s=row["e2e_s"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        outcome=row["error_code"] or row["outcome"],
    )


def _as_it_was(gateway: Gateway, then: Restored) -> tuple[Decision, RoutingPlan]:
    if then.plan is None:
        raise NotAsked(
            "there was no plan: a rule refused it, or no model was served; --decide decides anew"
        )
    for target in then.plan.targets:
        if target.pool not in gateway.pools:
            known = ", ".join(gateway.pools)
            raise NotAsked(
                f"its plan names pool {target.pool!r}, which {gateway.loaded.file} does not have "
                f"(it has {known}); --decide decides anew"
            )
    return then.decision, then.plan


def _anew(gateway: Gateway, then: Restored) -> tuple[Decision, RoutingPlan]:
    try:
        decision = gateway.decide(then.infer.facts, gateway.policy, gateway.catalog)
        if (reject := decision.shaping.reject) is not None:
            raise NotAsked(f"it would be refused now: {reject.status}: {reject.message}")
        return decision, plan(decision, gateway.catalog)
    except GatewayError as exc:
        raise NotAsked(f"it would be refused now: {exc.status} {exc.code}: {exc.message}") from exc


async def _ask(
    gateway: Gateway,
    infer: InferRequest,
    decision: Decision,
    routing: RoutingPlan,
    redact: Redact,
) -> Replayed:
    accepted_s = gateway.clock()
    progress = Progress(accepted_s=accepted_s)
    recorder = gateway.recorder(infer, decision, gateway.policy, gateway.catalog, accepted_s)
    kept = KeptAnswer(Room(ANSWER_CHARS))
    sink = KeepingSink(
        FoldReply(_identity(infer), max_bytes=int(gateway.config.limits.answer)), kept
    )
    error: GatewayError | None = None
    try:
        await gateway.executor.infer(infer, routing, gateway.catalog, sink, progress, recorder)
        error = progress.fault
    except GatewayError as exc:
        error = exc
    except asyncio.CancelledError:
        recorder.close(499, None, progress, gateway.clock())
        raise
    status = 200 if error is None else error.status
    recorder.close(status, error, progress, gateway.clock())
    usage, last = progress.usage, progress.attempts[-1] if progress.attempts else None
    return Replayed(
        decision=decision,
        plan=routing,
        answer=_redacted(kept.told(), redact),
        error=None if error is None else redact(f"{error.status} {error.code}: {error.message}"),
        facts=Facts(
            served_by=progress.target.model if progress.target else None,
            attempts=tuple(f"{a.replica} {a.fault or 'ok'}" for a in progress.attempts),
            engine=None if last is None else _engine_of(last),
            queue_s=progress.queue_s,
            ttft_s=_since(progress.first_token_s, accepted_s),
            tpot_s=progress.tpot_s,
            e2e_s=(progress.ended_s or gateway.clock()) - accepted_s,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            outcome=error.code if error else outcome(status, None),
        ),
    )


def _redacted(answer: Answer | None, redact: Redact) -> Answer | None:
    if answer is None:
        return None
    return msgspec.json.decode(storable_json(answer, redact), type=Answer)


def _identity(infer: InferRequest) -> Identity:
    """Nobody reads it: what is compared is the text."""
    return Identity(operation=infer.operation, id="replay", created_s=0, model=infer.facts.model)


def _engine_of(attempt: AttemptRecord) -> str:
    return _engine(attempt.engine, attempt.version, attempt.model_digest)


def _engine(engine: str, version: str | None, digest: str | None) -> str:
    return " ".join(part for part in (engine, version, digest and _short(digest)) if part)


def _short(digest: str) -> str:
    """Enough to tell models apart, behind the name of what was digested."""
    kind, colon, value = digest.rpartition(":")
    return f"{kind}{colon}{value[:12]}"


def _since(moment_s: float | None, start_s: float) -> float | None:
    return None if moment_s is None else moment_s - start_s
