"""What the log says of one inference request, in the order of its line. What is None is not said."""

import msgspec


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """Times in milliseconds, to the microsecond. A Struct and no dict, since there is one for each request: to make it
    takes a sixth of the time, and a third to write it."""

    request_id: str | None = None
    job_id: str | None = None
    operation: str | None = None
    key: str | None = None
    intent: str | None = None
    decision: str | None = None
    policy: str | None = None
    model: str | None = None
    served_by: str | None = None
    pool_id: str | None = None
    replica_id: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    model_digest: str | None = None
    status: int | None = None
    stream: bool | None = None
    attempts: list[str] | None = None
    """Of each what it failed with, or "ok"."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    dropped: tuple[str, ...] | None = None
    queue_ms: float | None = None
    ttft_ms: float | None = None
    upstream_ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    error: str | None = None
    error_message: str | None = None
    where: str | None = None
    client_retry: str | None = None


def milliseconds(seconds: float | None) -> float | None:
    """(`round` writes a number out and reads it again: twice as long.)"""
    return None if seconds is None else int(seconds * 1e6 + 0.5) / 1000
