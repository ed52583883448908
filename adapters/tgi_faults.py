"""What a TGI error means: by its text, which is the same before a stream and inside it, then by status. Pure.

Inside a stream each error calls itself 422, an overload too. Source: the router's `InferError` and
`ValidationError`, version 3.
"""

from adapters.openai_faults import class_of
from adapters.openai_wire import ErrorPiece
from contracts.errors import FaultClass

_CONTEXT_TEXTS = ("`inputs` tokens +", "`inputs` must have less than", "`inputs` must be")
_BY_TEXT: tuple[tuple[str, FaultClass], ...] = (
    ("model is overloaded", "overload"),
    ("input validation error", "client"),
    ("template error", "client"),
    ("missing template va", "client"),
    ("tool error", "client"),
    ("request failed during generation", "upstream_bug"),
    ("incomplete generation", "upstream_bug"),
    ("stream serialization error", "upstream_bug"),
)
_BY_STATUS: dict[int, FaultClass] = {424: "upstream_bug", 429: "overload"}
"""424: a shard failed at the request. 429: as many requests as it takes at once are there."""


def class_of_tgi(found: ErrorPiece, status: int | None) -> FaultClass:
    """What kind of failure. `status` None: it came inside a stream."""
    text = (found.message or "").lower()
    if any(said in text for said in _CONTEXT_TEXTS):
        return "context_length"
    for said, fault in _BY_TEXT:
        if text.startswith(said):
            return fault
    return _BY_STATUS.get(status or 0) or class_of(found, status)
