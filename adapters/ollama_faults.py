"""What an Ollama error means: by its text where the status says little, else by status. Pure.

An error is a text, and nothing else; but the engines inside speak for themselves, so the text can be another
error in JSON. Source: Ollama's `server/routes.go` and `server/sched.go`, texts told in public issues.
"""

from adapters.openai_faults import as_fault, class_of_status
from adapters.openai_wire import ErrorPiece, read_error
from contracts.errors import FaultClass, UpstreamFault

_CONTEXT_TEXTS = (
    "exceeds the context length",
    "exceeds the available context size",
    "longer than the context length",
    "exceeds maximum context length",
    "prompt too long",
)
_CLIENT_TEXTS = ("does not support", "invalid image", "only supports one image")
"""What another attempt will hear as well, whichever status it comes with."""
_BUSY_TEXTS = ("server busy", "maximum pending requests")
MAX_WRAPPINGS = 4


def fault_of(body: bytes, status: int | None, retry_s: float | None = None) -> UpstreamFault:
    """An error's body, or an error line. `status` None: it came inside a stream."""
    found = _innermost(read_error(body) or ErrorPiece())
    fault = class_of(found, status)
    return as_fault(fault, found, status, status=status, retry_s=retry_s)


def class_of(found: ErrorPiece, status: int | None) -> FaultClass:
    """What kind of failure. `status` None: inside a stream, where only the engine can still fail."""
    text = (found.message or "").lower()
    if found.type == "exceed_context_size_error" or any(said in text for said in _CONTEXT_TEXTS):
        return "context_length"
    if any(said in text for said in _BUSY_TEXTS):
        return "overload"
    if any(said in text for said in _CLIENT_TEXTS):
        return "client"
    return "upstream_bug" if status is None else class_of_status(status)


def _innermost(found: ErrorPiece) -> ErrorPiece:
    for _ in range(MAX_WRAPPINGS):
        text = (found.message or "").strip()
        inner = read_error(text.encode()) if text.startswith("{") else None
        if inner is None:
            break
        found = inner
    return found
