"""What a Gemini error means: by its details, then by its status word, then by its text. Pure.

A wrong API key is a 400 among the invalid arguments here, and only its reason tells. A quota is exhausted for
a minute, which is worth waiting for, or for the day, which is not. Source: Google's error model (`google.rpc`),
the Gemini API's troubleshooting guide, texts told in public issues.
"""

from adapters.gemini_wire import ErrorObject, read_gemini_error
from adapters.openai_faults import as_fault, class_of_status
from adapters.openai_wire import ErrorPiece, read_error
from contracts.errors import FaultClass, UpstreamFault

_STATUS_OF: dict[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""By which an error inside a stream, whose status was 200, is judged like one before it."""
_CONTEXT_TEXTS = (
    "exceeds the maximum number of tokens",
    "input token count",
    "maximum context length",
)
_KEY_TEXTS = ("api key not valid", "api key expired", "api key not found")
_QUOTA_TEXTS = ("prepayment credits", "enable billing", "spending cap", "spend limit")
_OVERLOAD_TEXTS = ("overloaded", "high demand")


def fault_of(body: bytes, status: int | None, retry_s: float | None = None) -> UpstreamFault:
    """An error's body as a fault. `status` None: it came inside a stream."""
    found = read_gemini_error(body)
    if found is None:  # something between here and Google spoke, or a server that only looks alike
        other = read_error(body) or ErrorPiece()
        found = ErrorObject(message=other.message, status=other.type)
    told = status if status is not None else _told_status(found)
    fault = class_of(found, told)
    piece = ErrorPiece(message=found.message, type=found.status)
    if fault in ("rate_limit", "overload", "unavailable"):
        retry_s = retry_s if retry_s is not None else _delay_s(found)
    return as_fault(fault, piece, told, status=status, retry_s=retry_s)


def class_of(found: ErrorObject, status: int | None) -> FaultClass:
    """What kind of failure. `status` None: nothing tells it."""
    text = (found.message or "").lower()
    if any((detail.reason or "").startswith("API_KEY_") for detail in found.details):
        return "auth"
    if status == 400 and any(said in text for said in _KEY_TEXTS):
        return "auth"
    if any(said in text for said in _QUOTA_TEXTS) or (status == 429 and _is_for_the_day(found)):
        return "quota"
    if status == 400 and any(said in text for said in _CONTEXT_TEXTS):
        return "context_length"
    if found.status == "FAILED_PRECONDITION":
        return "auth"  # not about the request: the account may not use the API from where it is
    if status == 503 and any(said in text for said in _OVERLOAD_TEXTS):
        return "overload"
    return "stream_broken" if status is None else class_of_status(status)


def _told_status(found: ErrorObject) -> int | None:
    if found.code is not None and 400 <= found.code < 600:
        return found.code
    return _STATUS_OF.get(found.status or "")


def _is_for_the_day(found: ErrorObject) -> bool:
    quotas = [v.quota_id for detail in found.details for v in detail.violations or ()]
    return any("PerDay" in quota for quota in quotas)


def _delay_s(found: ErrorObject) -> float | None:
    """`google.rpc.RetryInfo`: "7s", "20.04466179s". Absurd ones count as none, as in `retry_after`."""
    for detail in found.details:
        try:
            seconds = float((detail.retry_delay or "").removesuffix("s"))
        except ValueError:
            continue
        if 0 <= seconds <= 86_400:
            return seconds
    return None
