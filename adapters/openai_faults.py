"""What an OpenAI-style error means: its class by what it says, and what a client gets to see of it.

Pure tables and look-ups. A backend that speaks otherwise overrides `OpenAIDialect.classify`.
"""

from adapters.openai_wire import ErrorPiece
from contracts.errors import FaultClass, UpstreamFault

QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
CONTENT_CODES = frozenset({"content_policy_violation", "content_filter"})
_GENERATED = "tool_use_failed"
"""Groq's: the model wrote a call that is none. Its type blames the request, but another attempt may fare better."""
_STATUS_OF_CODE: dict[str, int] = {
    "account_deactivated": 401,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "request_timeout": 408,
    "slow_down": 503,
}
_STATUS_OF_TYPE: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "service_unavailable_error": 503,
    "timeout_error": 504,
}
"""By which an error inside a stream, whose status was 200, is judged like one before it. The code comes first: what
is wrong with a key or a model is an `invalid_request_error` as well. A `server_error` is not among them: there it
says that the stream has failed."""


def class_of(found: ErrorPiece, status: int | None) -> FaultClass:
    """What kind of failure, by what the engine says and then by status. None: inside a stream."""
    code, kind = str(found.code or ""), found.type or ""
    if code == "context_length_exceeded" or speaks_of_context(found):
        return "context_length"
    if code in CONTENT_CODES:
        return "content"
    if code in QUOTA_CODES or kind in QUOTA_CODES:
        return "quota"
    if code == "server_is_overloaded" or kind == "overloaded_error":
        return "overload"
    if status is None:
        return "stream_broken"
    return class_of_status(status)


def class_of_status(status: int) -> FaultClass:
    match status:
        case 401 | 402 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 408 | 504:
            return "timeout"
        case 429:
            return "rate_limit"
        case 502 | 503:
            return "unavailable"
        case 529:
            return "overload"
        case _ if 400 <= status < 500 or status == 501:
            return "client"
        case _:
            return "upstream_bug"


def status_in(found: ErrorPiece) -> int | None:
    """The HTTP status that an error object names as its code (llama.cpp, vLLM, OpenRouter), or that OpenAI
    answers with to what its code or type says."""
    code = found.code
    if code == _GENERATED:
        return None
    if isinstance(code, str):
        named = _STATUS_OF_CODE.get(code)
        code = named or (int(code) if code.isdecimal() and len(code) == 3 else None)
    if code is not None and 400 <= code < 600:
        return code
    return _STATUS_OF_TYPE.get(found.type or "")


def message_for(fault: FaultClass, found: ErrorPiece, status: int | None) -> str:
    if fault == "auth":
        # The engine's own words repeat parts of the pool's key, which is not the client's to see.
        return "the engine refuses the gateway's credentials"
    if found.message:
        return found.message
    return "the engine reported an error" if status is None else f"the engine answered {status}"


def as_fault(
    fault: FaultClass,
    found: ErrorPiece,
    told: int | None,
    *,
    status: int | None,
    param: str | None = None,
    retry_s: float | None = None,
) -> UpstreamFault:
    """A classified error, as the gateway's own client gets to see it. `status` is the answer's own, None
    inside a stream; `told` is that, or what the error itself says of it."""
    shown, code, kind = presentation(fault, found, told)
    return UpstreamFault(
        message_for(fault, found, told),
        fault=fault,
        status=shown,
        code=code,
        type=kind,
        param=param,
        upstream_status=status,
        retry_after_s=retry_s,
    )


def presentation(
    fault: FaultClass, found: ErrorPiece, status: int | None
) -> tuple[int | None, str | None, str | None]:
    """Status, code and type that the gateway's own client gets to see.

    An engine's 401 is the operator's trouble (a wrong key in a pool), so the client sees a 502;
    a 501 becomes a 400, since every SDK repeats a 501.
    """
    code = found.code if isinstance(found.code, str) and not found.code.isdecimal() else None
    match fault:
        case "client":
            shown = status if status is not None and 400 <= status < 500 else 400
            return shown, code or "invalid_request", "invalid_request_error"
        case "context_length":
            return 400, "context_length_exceeded", "invalid_request_error"
        case "content":
            return 400, code or "content_policy_violation", found.type or "invalid_request_error"
        case "not_found":
            return 502, "upstream_not_found", None
        case "auth":
            return 502, "upstream_auth", None
        case "rate_limit" | "quota":
            return 429, code or "upstream_rate_limited", "rate_limit_error"
        case "overload" if status == 429:
            return 429, code or "upstream_overloaded", "rate_limit_error"
        case "overload" | "unavailable" | "slo_shed":
            return 503, code or "upstream_unavailable", "overloaded_error"
        case "timeout":
            return 504, "upstream_timeout", None
        case "stream_broken" | "upstream_bug":
            return 502, code or "upstream_error", None


def speaks_of_context(found: ErrorPiece) -> bool:
    text = (found.message or "").lower()
    return "maximum context length" in text or "exceeds the available context size" in text
