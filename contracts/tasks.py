"""Tasks as clients see them: what they submit, what they are told, the events of a task's stream.

`TaskRequest` names only what a task adds to OpenAI's request; its other members are checked as those of a
chat or a text completion (`contracts.openai_api`) and travel on as they are.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.errors import ErrorBody

TaskState = Literal["queued", "starting", "streaming", "succeeded", "failed", "cancelled"]
"""`starting`: dispatched, and no token yet. The last three are for ever."""
ENDED: frozenset[TaskState] = frozenset({"succeeded", "failed", "cancelled"})
Kind = Literal["task", "chat", "completion", "embedding"]


DurationText = Annotated[
    str,
    Meta(
        extra_json_schema={"pattern": r"^(?=.*[1-9])[0-9]{1,6}(\.[0-9]{1,6})?(us|ms|s|m|min|h|d)$"}
    ),
]


class TaskRequest(msgspec.Struct, kw_only=True):
    """The members of `POST /v1/tasks` that OpenAI's requests do not have."""

    priority: Annotated[int, Meta(ge=-1000, le=1000)] | None = None
    """Higher goes first. A caller may only stand back behind its intent; an operator may set any."""
    session_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    """Requests of one session go where its beginning is still in the KV cache."""
    ttl: Annotated[float, Meta(gt=0, le=1e9)] | DurationText | None = None
    """How long it may wait to start: seconds, or a duration such as `10m`."""


class TaskAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The 202 of `POST /v1/tasks`. Position 0: at work; 1: next. None: not known yet."""

    task_id: str
    queue_position: int | None
    predicted_start_ms: int | None
    prompt_tokens: int
    prompt_tokens_estimated: bool
    """The backend has no tokenizer to ask; a quarter of the prompt's bytes."""


class TaskCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /v1/tasks/{id}/cancel`: the state it is in for ever."""

    task_id: str
    state: TaskState


# -- the events of a stream -----------------------------------------------------------------


class StartedEvent(msgspec.Struct, frozen=True, kw_only=True):
    queue_position: int | None
    predicted_start_ms: int | None


class TokenEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of text, and its number from 0."""

    t: str
    i: int


class GapEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens `from_` up to and with `to` have left the buffer; their text is in the task's result."""

    from_: int = msgspec.field(name="from")
    to: int


class EndEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`decode_time_ms`: from the first token to the last."""

    tokens_out: int
    decode_time_ms: int


class ErrorEvent(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    retriable: bool
    retry_after_ms: int | None
    message: str


class MetricsEvent(msgspec.Struct, frozen=True, kw_only=True):
    queue_position: int | None
    tokens_out: int
    tokens_per_s: float | None
    budget: dict[str, Any] | None = None
    """What is left of the caller's budget; None: it has none."""


# -- what is known of one -------------------------------------------------------------------


class TaskSummary(msgspec.Struct, kw_only=True):
    """One line of `GET /v1/tasks`: a task, or a request that is being answered right now."""

    id: str
    kind: Kind
    state: TaskState
    key: str
    """The caller; "" for an anonymous one."""
    model: str
    """As it was asked for."""
    served_by: str | None = None
    intent: str
    priority: int
    session_id: str | None = None
    queue_position: int | None = None
    created: str
    """RFC 3339, as all dates here."""
    started: str | None = None
    """When it was dispatched."""
    tokens_out: int = 0
    age_s: float


class TaskView(TaskSummary, kw_only=True):
    """`GET /v1/tasks/{id}`. Times in milliseconds; None where it has not come to that."""

    predicted_start_ms: int | None = None
    decision: str
    """What was decided, and by which rules, in one line."""
    policy_version: str
    prompt_tokens: int
    prompt_tokens_estimated: bool
    pool_id: str | None = None
    replica_id: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    attempts: list[str] = []
    """Of each, in order: `ok`, `running`, or the code of what went wrong."""
    ended: str | None = None
    queue_ms: float | None = None
    ttft_ms: float | None = None
    decode_time_ms: int | None = None
    tokens_per_s: float | None = None
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None
    last_event_id: int | None = None
    """The number of its stream's newest event. None: it has no stream, or nobody knows any more."""
    result: dict[str, Any] | None = None
    """OpenAI's object, as far as it has come. None for a request whose answer went to its client."""
    result_truncated: bool = False
    """The text passed the bound for one task; the beginning is here."""
    error: ErrorBody | None = None


class TaskList(msgspec.Struct, kw_only=True):
    """`GET /v1/tasks`, oldest first."""

    object: Literal["list"] = "list"
    data: list[TaskSummary]
