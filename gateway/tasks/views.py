"""What is told of a task, or of a request that is being answered: as a line, and in full.

Values in, values out: everything is read off the decision, the attempts and the course of the answer.
"""

from typing import Any

import msgspec

from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.events import Usage
from contracts.inference import RequestFacts
from contracts.tasks import ENDED, Kind, TaskState, TaskSummary, TaskView
from gateway import logs
from gateway.answers import usage_object
from gateway.progress import AttemptRecord, Progress
from policies.admission import Place


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How the answer goes so far. Times are on the gateway's clock."""

    state: TaskState
    place: Place | None = None
    """In a pool's queue; None: it stands in none."""
    pieces: int = 0
    usage: Usage | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    finish_reason: str | None = None

    @property
    def tokens_out(self) -> int:
        return self.usage.completion_tokens if self.usage else self.pieces

    @property
    def decode_s(self) -> float | None:
        """From the first token to the last."""
        if self.first_token_s is None or self.last_token_s is None:
            return None
        return self.last_token_s - self.first_token_s

    @property
    def decode_time_ms(self) -> int:
        return round((self.decode_s or 0.0) * 1000)

    @property
    def tokens_per_s(self) -> float | None:
        """While it decodes; undefined below two tokens."""
        gaps = self.tokens_out - 1
        return round(gaps / self.decode_s, 3) if gaps > 0 and self.decode_s else None

    @property
    def queue_position(self) -> int | None:
        """0: at work; 1: next; None: not known, or over."""
        if self.state in ("starting", "streaming"):
            return 0
        return self.place.position if self.place and self.state == "queued" else None

    @property
    def predicted_start_ms(self) -> int | None:
        if self.queue_position == 0:
            return 0
        if self.state != "queued" or self.place is None or self.place.wait_s is None:
            return None
        return round(self.place.wait_s * 1000)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is told about: who asked for what, and what was decided."""

    id: str
    kind: Kind
    facts: RequestFacts
    decision: Decision
    progress: Progress
    created_s: float
    """Unix time."""
    prompt_tokens: int
    prompt_tokens_estimated: bool


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """Now, on both clocks."""

    now_s: float
    unix_s: float

    def date(self, at_s: float | None) -> str | None:
        """A moment on the gateway's clock as a date."""
        return None if at_s is None else logs.utc(self.unix_s - (self.now_s - at_s))


def summary(subject: Subject, course: Course, clocks: Clocks) -> TaskSummary:
    return TaskSummary(**_line(subject, course, clocks))


def view(
    subject: Subject,
    course: Course,
    clocks: Clocks,
    *,
    result: dict[str, Any] | None = None,
    result_truncated: bool = False,
    error: GatewayError | None = None,
    last_event_id: int | None = None,
) -> TaskView:
    """In full. `error` must be fit for its client."""
    progress = subject.progress
    last = progress.attempts[-1] if progress.attempts else None
    return TaskView(
        **_line(subject, course, clocks),
        predicted_start_ms=course.predicted_start_ms,
        decision=subject.decision.summary,
        policy_version=subject.decision.policy_version,
        prompt_tokens=course.usage.prompt_tokens if course.usage else subject.prompt_tokens,
        prompt_tokens_estimated=(
            course.usage.estimated if course.usage else subject.prompt_tokens_estimated
        ),
        pool_id=progress.target.pool if progress.target else None,
        replica_id=last.replica if last else None,
        engine=last.engine if last else None,
        engine_version=last.version if last else None,
        attempts=_outcomes(progress.attempts, course.state, error),
        ended=clocks.date(progress.ended_s if course.state in ENDED else None),
        queue_ms=None if progress.dispatched_s is None else round(progress.queue_s * 1000, 3),
        ttft_ms=_since_ms(course.first_token_s, progress.accepted_s),
        decode_time_ms=None if course.decode_s is None else course.decode_time_ms,
        tokens_per_s=course.tokens_per_s,
        usage=usage_object(course.usage) if course.usage else None,
        finish_reason=course.finish_reason,
        last_event_id=last_event_id,
        result=result,
        result_truncated=result_truncated,
        error=None if error is None else error.envelope().error,
    )


def _outcomes(
    attempts: list[AttemptRecord], state: TaskState, error: GatewayError | None
) -> list[str]:
    """Of each attempt what became of it. Where nothing was wrong with the last one, and yet its answer is
    not whole, that is what ended it: a cancel, or the end of the gateway."""
    told = [
        attempt.fault or ("running" if attempt.ended_s is None else "ok") for attempt in attempts
    ]
    if attempts and attempts[-1].fault is None and state in ENDED:
        told[-1] = "ok" if error is None else error.code
    return told


def _line(subject: Subject, course: Course, clocks: Clocks) -> dict[str, Any]:
    """The members of a `TaskSummary`."""
    progress = subject.progress
    over_s = progress.ended_s if course.state in ENDED else None
    until_s = clocks.unix_s if over_s is None else clocks.unix_s - (clocks.now_s - over_s)
    return {
        "id": subject.id,
        "kind": subject.kind,
        "state": course.state,
        "key": subject.facts.key,
        "model": subject.facts.model,
        "served_by": progress.target.model if progress.target else None,
        "intent": subject.decision.intent,
        "priority": subject.decision.constraints.priority,
        "session_id": subject.facts.session or None,
        "queue_position": course.queue_position,
        "created": logs.utc(subject.created_s),
        "started": clocks.date(progress.dispatched_s),
        "tokens_out": course.tokens_out,
        "age_s": round(max(0.0, until_s - subject.created_s), 3),
    }


def _since_ms(end_s: float | None, start_s: float) -> float | None:
    return None if end_s is None else round((end_s - start_s) * 1000, 3)
