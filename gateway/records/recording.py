"""From what a request left behind to the rows of its record.

Pure but for a counter. A row is made as its request ends: what it is made of is at hand then, and need not be
held on to. What was asked and answered is long, and put into the row later, off the event loop.
"""

import itertools
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

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
TEXT_CHARS = 16 * 1024
"""Of a request's headers and user, together. A request with more is recorded without them."""
_CODE_CHARS = 200
_encode = msgspec.json.Encoder().encode
_UNREADABLE = b""
_NO_ANSWER = _encode(Answer(choices=(), truncated=True))
Storable = Callable[[str], str]
"""A text as it may be stored."""
_Bodies = tuple[bytes | None, bytes | None, bytes | None, Missing | None]
"""What was asked, the same as its client wrote it where that is something else, the answer, and why the first
two are not there."""

COUNT_MAX = 2**31 - 1


class Closed(msgspec.Struct):
    """A request that has met its fate."""

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
        """Its record, with an id that no other has, and without its `kept`. Call once for each."""
        facts, decision, progress = closed.facts, closed.decision, closed.progress
        # Hardly a record has a secret in it: each text by itself is searched only where one may be.
        clean = self._clean.are_clean(_quoted(closed))
        text = _as_it_is if clean else partial(storable_text, redact=self._redact)
        execution_id = f"exec_{self._run}{next(self._numbers):08x}"
        accepted_s, first_token_s = progress.accepted_s, progress.first_token_s
        e2e_s = closed.ended_s - accepted_s
        usage, usd = _usage(progress), _cost(progress, closed.catalog)
        prompt_tokens, completion_tokens = _counts(usage)
        facts_json = self._facts(facts, clean=clean)
        decision_json, plan_json = self._decided.told(decision, closed.catalog)
        attempts = tuple(
            [
                _attempt(execution_id, number, attempt, accepted_s, text)
                for number, attempt in enumerate(progress.attempts, 1)
            ]
        )
        # In the order of the columns: by their names they would take six times as long, 1 us a request.
        execution = ExecutionRow(
            execution_id,
            closed.request_id,
            closed.wall_s - e2e_s,
            text(facts.key),
            facts.operation,
            decision.intent,
            text(facts.model),
            progress.target.model if progress.target else None,
            decision.policy_version,
            closed.status,
            closed.outcome,
            _code(closed.error_code, text),
            progress.queue_s,
            _since(first_token_s, accepted_s),
            progress.tpot_s,
            e2e_s,
            prompt_tokens,
            completion_tokens,
            usd,
            facts_json,
            decision_json,
            plan_json,
            _encode({"usage": usage, "usd": usd}).decode(),
            None,
            ROW_OVERHEAD_BYTES * (1 + len(attempts))
            + len(facts_json)
            + len(decision_json)
            + len(plan_json or ""),
        )
        return Recorded(execution, attempts)

    def with_bodies(self, recorded: Recorded, kept: Kept) -> Recorded:
        """The same, with what was asked and answered. On any thread."""
        body, native, answer, missing = self._bodies(kept)
        row = recorded.execution
        row_bytes = row.row_bytes + sum(map(len, filter(None, (body, native, answer))))
        row = replace(
            row, body=body, native=native, answer=answer, body_missing=missing, row_bytes=row_bytes
        )
        return Recorded(row, recorded.attempts)

    def _facts(self, facts: RequestFacts, *, clean: bool) -> str:
        """As JSON; texts that are clean need no more than to be written."""
        told = _encode(facts).decode() if clean else storable_json(facts, self._redact)
        if len(told) > TEXT_CHARS and _chars(facts) > TEXT_CHARS:
            return self._facts(replace(facts, headers={}, user=""), clean=clean)
        return told

    def _bodies(self, kept: Kept) -> _Bodies:
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
    execution_id: str, ordinal: int, attempt: AttemptRecord, accepted_s: float, text: Storable
) -> AttemptRow:
    target = attempt.target
    prompt_tokens, completion_tokens = _counts(attempt.usage)
    return AttemptRow(
        execution_id,
        ordinal,
        target.model,
        target.pool,
        text(target.upstream),
        attempt.replica,
        attempt.engine,
        _code(attempt.version, text),
        _code(attempt.model_digest, text),
        _since(attempt.dispatched_s, accepted_s),
        _since(attempt.first_token_s, accepted_s),
        _since(attempt.ended_s, accepted_s),
        prompt_tokens,
        completion_tokens,
        attempt.status,
        _code(attempt.fault, text),
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


def _code(code: str | None, text: Storable) -> str | None:
    """What an engine says of itself may be any text."""
    return None if code is None else text(code[:_CODE_CHARS])


def _chars(facts: RequestFacts) -> int:
    return len(facts.user) + sum(map(len, facts.headers.values()))


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
    return round(sum(costs), DIGITS) if len(costs) > 1 else costs[0] if costs else None


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
