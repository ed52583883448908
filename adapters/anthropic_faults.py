"""What an Anthropic error means: by its type, then by its texts, then by status. Pure.

Most of what is wrong with a request, or with an account, is `invalid_request_error`, so its texts decide
there: they are not promised to stay, and where none fits it counts as the client's fault, as it says.
Source: Anthropic's error reference, the error types of the `anthropic` SDK 2.x, texts told in public issues.
"""

from adapters.anthropic_wire import ErrorObject, read_anthropic_error
from adapters.openai_faults import as_fault, class_of_status
from adapters.openai_wire import ErrorPiece, read_error
from contracts.errors import FaultClass, UpstreamFault

_STATUS_OF: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""By which an error inside a stream, whose status was 200, is judged like one before it."""
_CONTEXT_TEXTS = (
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum context",
    "exceed the maximum allowed number of",
)
_CONTENT_TEXTS = ("content filtering policy", "content policy", "usage policy")
_QUOTA_TEXTS = ("credit balance is too low", "api usage limits")
_QUOTA_CODES = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)


def fault_of(body: bytes, status: int | None, retry_s: float | None = None) -> UpstreamFault:
    """An error's body, or an error event's data, as a fault. `status` None: it came inside a stream."""
    found = read_anthropic_error(body)
    if (
        found is None
    ):  # something between here and Anthropic spoke, or a server that only looks alike
        other = read_error(body) or ErrorPiece()
        found = ErrorObject(type=other.type, message=other.message)
    told = status if status is not None else _STATUS_OF.get(found.type or "")
    fault = class_of(found, told)
    code = found.type if found.type == "request_too_large" else None
    piece = ErrorPiece(message=found.message, type=found.type, code=code)
    return as_fault(fault, piece, told, status=status, retry_s=retry_s)


def class_of(found: ErrorObject, status: int | None) -> FaultClass:
    """What kind of failure. `status` None: nothing tells it."""
    text = (found.message or "").lower()
    code = found.details.error_code if found.details else None
    match found.type:
        case "overloaded_error":
            return "overload"
        case "billing_error":
            return "quota"
        case "rate_limit_error":
            return "quota" if code in _QUOTA_CODES else "rate_limit"
        case "invalid_request_error" if any(said in text for said in _QUOTA_TEXTS):
            return "quota"
        case "invalid_request_error" if any(said in text for said in _CONTEXT_TEXTS):
            return "context_length"
        case "invalid_request_error" if any(said in text for said in _CONTENT_TEXTS):
            return "content"
    if status == 402:
        return "quota"
    return "stream_broken" if status is None else class_of_status(status)
