"""One request as the database keeps it: a row of `executions`, and a row of `attempts` for each try.

Plain values, named like the columns; JSON columns are JSON text. Units: Unix seconds for `accepted_s`,
seconds for durations, and seconds since acceptance for an attempt's `dispatched_s`, `first_token_s` and
`ended_s`. Thousands may wait: they hold nothing but texts and numbers, so that the garbage collector need not know.
"""

from typing import Literal

import msgspec

from gateway.records.kept import Missing

Outcome = Literal["completed", "failed", "refused", "invalid", "cancelled"]
"""`refused`: the gateway declined. `invalid`: the request was at fault. `cancelled`: its client left, or
somebody cancelled it. `failed`: the engine did not do it, or the gateway has a bug."""


class ExecutionRow(msgspec.Struct, frozen=True, gc=False):
    execution_id: str
    request_id: str
    accepted_s: float
    caller: str
    operation: str
    intent: str
    model: str
    """As the client asked."""
    served_by: str | None
    policy_version: str
    status: int
    outcome: Outcome
    error_code: str | None
    queue_s: float
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    """None: not known, which is not zero."""
    facts: str
    decision: str
    routing_snapshot: str | None
    actual_cost: str | None
    body: bytes | None
    """As everything behind the edge reads it."""
    row_bytes: int
    native: bytes | None = None
    """The same by engine, as its client wrote it, where that is another language."""
    answer: bytes | None = None
    """A `kept.Answer`."""
    body_missing: Missing | None = None
    """Why there is no `body`, or no `native`, where bodies are recorded."""


class AttemptRow(msgspec.Struct, frozen=True, gc=False):
    execution_id: str
    ordinal: int
    """From 1."""
    model: str
    pool: str
    upstream: str
    replica: str
    engine: str
    engine_version: str | None
    model_digest: str | None
    dispatched_s: float | None
    first_token_s: float | None
    ended_s: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    status: int | None
    fault: str | None


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One request. Its id makes writing it twice the same as writing it once."""

    execution: ExecutionRow
    attempts: tuple[AttemptRow, ...] = ()


encode_line = msgspec.json.Encoder().encode
"""A `Recorded` as one line of JSON, without the line break."""
decode_line = msgspec.json.Decoder(Recorded).decode
"""Raises msgspec.DecodeError, ValidationError included."""
