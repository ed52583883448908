"""From what a request left behind to the rows of its record.

Pure but for a counter. `Closed` is taken on the hot path and holds references only; `Recorder.rows`
does the work later.
"""

import itertools
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import Cancelled, ClientFault, GatewayError, Shed
from contracts.events import Usage
from contracts.inference import RequestFacts, RoutingPlan
from gateway.progress import AttemptRecord, Progress
from gateway.records.clean_texts import CleanTexts
from gateway.records.decided import DecidedTexts
from gateway.records.kept import Answer, Kept, Missing
from gateway.records.rows import AttemptRow, ExecutionRow, Outcome, Recorded
from gateway.records.storable import Redact, storable_json, storable_text
from policies.price import DIGITS, cost_usd

ROW_OVERHEAD_BYTES = 400
"""A row's fixed columns and index entries, as a rule."""
_CODE_CHARS = 200
_encode = msgspec.json.Encoder().encode
_UNREADABLE = b""
_NO_ANSWER = _encode(Answer(choices=(), truncated=True))
_Bodies = tuple[bytes | None, bytes | None, bytes | None, Missing | None]
"""What was asked, the same as its client wrote it where that is something else, the answer, and why the first
two are not there."""

COUNT_MAX = 2**31 - 1


class Closed(msgspec.Struct):
    """A request that has met its fate. Not to be changed: others hold the same values."""

    request_id: str
    facts: RequestFacts
    decision: Decision
    progress: Progress
    catalog: Catalog
    """As it was when the request was decided."""
    status: int
    error_code: str | None
    outcome: Outcome
    ended_s: float
    """On the gateway's clock, as the times in `progress`."""
    wall_s: float
    """The same moment in Unix time."""
    kept: Kept | None = None
    """What was asked and answered; None where bodies are not recorded."""


def outcome(status: int, error: GatewayError | None) -> Outcome:
    """What became of a request that was answered with `status`, and ended with `error`."""
    if status == Cancelled.status:
        return "cancelled"
    if error is None:
        return "completed" if status < 400 else "failed"
    if isinstance(error, Shed):
        return "refused"
    if isinstance(error, ClientFault):
        return "cancelled" if isinstance(error, Cancelled) else "invalid"
    return "failed"


class Recorder:
    """Makes rows. `plan` is what resolves a decision; it may raise NoReadyBackend."""

    def __init__(self, plan: Callable[[Decision, Catalog], RoutingPlan], redact: Redact) -> None:
        self._decided = DecidedTexts(plan, redact)
        self._clean = CleanTexts(redact)
        self._redact = redact
        self._run = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        """Drawn from any thread."""

    def rows(self, closed: Closed) -> Recorded:
        """Its record, with an id that no other has. Call once for each."""
        execution_id = f"exec_{self._run}{next(self._numbers):08x}"
        # Hardly a record has a secret in it: each text by itself is searched only where one may be.
        clean = self._clean.are_clean(_quoted(closed))
        redact = _as_it_is if clean else self._redact
        return self._rows(execution_id, closed, self._bodies(closed.kept), redact)

    def _rows(self, execution_id: str, closed: Closed, bodies: _Bodies, redact: Redact) -> Recorded:
        facts, decision, progress = closed.facts, closed.decision, closed.progress
        usage = _usage(progress)
        prompt_tokens, completion_tokens = _counts(usage)
        cost = _cost(progress, closed.catalog)
        facts_json = storable_json(facts, redact)
        decision_json, plan_json = self._decided.told(decision, closed.catalog)
        body, native, answer, missing = bodies
        attempts = tuple(
            _attempt(execution_id, number, attempt, progress.accepted_s, redact)
            for number, attempt in enumerate(progress.attempts, 1)
        )
        execution = ExecutionRow(
            execution_id=execution_id,
            request_id=closed.request_id,
            accepted_s=closed.wall_s - (closed.ended_s - progress.accepted_s),
            caller=storable_text(facts.key, redact),
            operation=facts.operation,
            intent=decision.intent,
            model=storable_text(facts.model, redact),
            served_by=progress.target.model if progress.target else None,
            policy_version=decision.policy_version,
            status=closed.status,
            outcome=closed.outcome,
            error_code=_code(closed.error_code, redact),
            queue_s=progress.queue_s,
            ttft_s=_since(progress.first_token_s, progress.accepted_s),
            tpot_s=progress.tpot_s,
            e2e_s=closed.ended_s - progress.accepted_s,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost_usd=cost,
            facts=facts_json,
            decision=decision_json,
            routing_snapshot=plan_json,
            actual_cost=_encode({"usage": usage, "usd": cost}).decode(),
            body=body,
            native=native,
            answer=answer,
            body_missing=missing,
            row_bytes=ROW_OVERHEAD_BYTES * (1 + len(attempts))
            + len(facts_json)
            + len(decision_json)
            + len(plan_json or "")
            + len(body or b"")
            + len(native or b"")
            + len(answer or b""),
        )
        return Recorded(execution, attempts)

    def _bodies(self, kept: Kept | None) -> _Bodies:
        if kept is None:
            return None, None, None, None
        body, native, missing = (
            self._said(kept.members),
            self._said(kept.native or None),
            kept.missing,
        )
        if _UNREADABLE in (body, native):
            body, native, missing = None, None, "unreadable"
        answer = self._said(kept.answer.told())
        return body, native, _NO_ANSWER if answer is _UNREADABLE else answer, missing

    def _said(self, value: Any) -> bytes | None:
        """As JSON; `_UNREADABLE` where there is none: what others wrote costs a record its words at most."""
        if value is None:
            return None
        try:
            return storable_json(value, self._redact).encode()
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return _UNREADABLE


def _attempt(
    execution_id: str, ordinal: int, attempt: AttemptRecord, accepted_s: float, redact: Redact
) -> AttemptRow:
    prompt_tokens, completion_tokens = _counts(attempt.usage)
    return AttemptRow(
        execution_id=execution_id,
        ordinal=ordinal,
        model=attempt.target.model,
        pool=attempt.target.pool,
        upstream=storable_text(attempt.target.upstream, redact),
        replica=attempt.replica,
        engine=attempt.engine,
        engine_version=_code(attempt.version, redact),
        model_digest=_code(attempt.model_digest, redact),
        dispatched_s=_since(attempt.dispatched_s, accepted_s),
        first_token_s=_since(attempt.first_token_s, accepted_s),
        ended_s=_since(attempt.ended_s, accepted_s),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        status=attempt.status,
        fault=_code(attempt.fault, redact),
    )


def _quoted(closed: Closed) -> list[str]:
    """Every text in its rows that others wrote, but for bodies and what was decided."""
    facts = closed.facts
    texts = [facts.model, facts.key, facts.user, facts.session, *facts.headers]
    texts += facts.headers.values()
    codes = [closed.error_code]
    for attempt in closed.progress.attempts:
        texts.append(attempt.target.upstream)
        codes += attempt.version, attempt.model_digest, attempt.fault
    texts += [code[:_CODE_CHARS] for code in codes if code is not None]
    return texts


def _as_it_is(text: str) -> str:
    return text


def _code(text: str | None, redact: Redact) -> str | None:
    """What an engine says of itself may be any text."""
    return None if text is None else storable_text(text[:_CODE_CHARS], redact)


def _usage(progress: Progress) -> Usage | None:
    """Of what its client got. Where that broke off nobody has told a total: it is what had come until then, of
    the attempt that the client saw."""
    if progress.usage is not None or progress.first_token_s is None:
        return progress.usage
    seen = (a.usage for a in progress.attempts if a.first_token_s == progress.first_token_s)
    return next(seen, None)


def _cost(progress: Progress, catalog: Catalog) -> float | None:
    """USD of all attempts together. None as soon as one that cost something is of unknown price or size."""
    costs: list[float] = []
    for attempt in progress.attempts:
        if _worked(attempt):
            cost = cost_usd(catalog.models.get(attempt.target.model), attempt.usage)
            if cost is None:
                return None
            costs.append(cost)
    return round(sum(costs), DIGITS) if costs else None


def _worked(attempt: AttemptRecord) -> bool:
    """It has answered with something: what failed before that is not paid for, as far as anybody tells."""
    return attempt.usage is not None or attempt.first_token_s is not None


def _since(moment_s: float | None, start_s: float) -> float | None:
    return None if moment_s is None else moment_s - start_s


def _counts(usage: Usage | None) -> tuple[int | None, int | None]:
    """Tokens of the prompt and of the completion."""
    return (
        (None, None)
        if usage is None
        else (_count(usage.prompt_tokens), _count(usage.completion_tokens))
    )


def _count(tokens: int) -> int:
    """As a column takes it. What an engine says of its tokens may be any number, and one that the database
    cannot hold would be refused together with its whole batch."""
    return tokens if 0 <= tokens <= COUNT_MAX else min(max(0, tokens), COUNT_MAX)
