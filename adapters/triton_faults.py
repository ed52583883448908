"""What a Triton error means. Its server refuses in JSON; a model that fails answers 400 as an event. Pure.

Source: seen at Triton 2.51, its HTTP server's table of statuses, texts of its queue and of its backends.
"""

from adapters.openai_faults import class_of, class_of_status
from adapters.openai_wire import ErrorPiece, read_error
from contracts.errors import FaultClass

_CONTEXT_TEXTS = (
    "maximum context length",
    "maximum model length",
    "exceeds maximum input length",
    "exceeds max_input_len",
    "max_seq_len",
)
_OVERLOAD_TEXTS = ("exceeds maximum queue size", "request timeout expired")
"""Of a model's own queue: full, or waited in it for too long."""
_UNREADABLE_TEXTS = ("failed to parse the request", "unable to parse", "attempt to ")
"""How it says, with a 500, that a member of the request is of the wrong type."""
_UNKNOWN_TEXTS = ("request for unknown model", "model version not ready", "unknown model:")


def error_in(body: bytes) -> ErrorPiece | None:
    """The error in a body: JSON, or the first event of a stream."""
    text = body.strip()
    if text.startswith(b"data:"):
        text = text.removeprefix(b"data:").partition(b"\n")[0].strip()
    return read_error(text)


def class_of_triton(found: ErrorPiece, status: int | None, *, by_model: bool = False) -> FaultClass:
    """What kind of failure. `by_model`: it is the model that speaks, not the server. `status` None: inside a
    stream, where only models speak."""
    text = (found.message or "").lower()
    if any(said in text for said in _CONTEXT_TEXTS):
        return "context_length"
    if any(said in text for said in _OVERLOAD_TEXTS):
        return "overload"
    if any(said in text for said in _UNKNOWN_TEXTS):
        return "not_found"
    if status is None or by_model:
        return "upstream_bug"
    if status == 500 and text.startswith(_UNREADABLE_TEXTS):
        return "client"
    return class_of_status(status) if found.code is None else class_of(found, status)
