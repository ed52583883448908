"""A client's own Messages request, sent on to Anthropic as it came. Pure.

It says more than a chat can: where to cache, what was thought and signed, documents, what betas add. What must
stay true: the model is the one that was decided on, the answer is a stream, no limit of a policy is exceeded.
Where a policy wants something that this request cannot be told, there is no verbatim body.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from adapters.dialect import AttemptContext
from adapters.openai_body import capped, compose

SAME_NAMES = frozenset({"temperature", "top_p", "top_k"})
"""Parameters that a policy may set and that mean the same in both languages."""
BETA_HEADER = "anthropic-beta"
"""Names what the body uses beyond the published API: without it such a body is refused."""
_encode = msgspec.json.Encoder().encode


class _Thinking(msgspec.Struct):
    budget_tokens: float = 0


def verbatim_body(native: Mapping[str, Raw], attempt: AttemptContext) -> bytes | None:
    """`native` for this attempt; None where it must be said as a chat instead."""
    if not attempt.overrides.keys() <= SAME_NAMES:
        return None
    replace: dict[str, Raw | bytes] = dict(attempt.overrides)
    if attempt.max_tokens is not None:
        limits = capped(native, attempt.max_tokens, "max_tokens", ("max_tokens",))
        if limits and _budget(native.get("thinking")) >= attempt.max_tokens:
            return None  # Anthropic refuses to think for longer than it may answer
        replace |= limits
    replace["model"] = _encode(attempt.upstream_model)
    replace["stream"] = b"true"
    return compose(native, replace)


def _budget(thinking: Raw | None) -> float:
    try:
        told = msgspec.json.decode(thinking or b"null", type=_Thinking | None)
    except msgspec.MsgspecError:
        return 0
    return told.budget_tokens if told else 0
