"""A client's own Messages request, sent on to Anthropic as it came. Pure.

It says more than a chat can: where to cache, what was thought and signed, documents, what betas add. What must
stay true: the model is the one that was decided on, the answer is a stream, no limit of a policy is exceeded.
Where a policy wants something that this request cannot be told, or another engine has answered in this
conversation before in a way that Anthropic refuses to read, there is no verbatim body.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from adapters.dialect import AttemptContext
from adapters.openai_body import Value, capped, compose

SAME_NAMES = frozenset({"temperature", "top_p", "top_k"})
"""Parameters that a policy may set and that mean the same in both languages."""
BETA_HEADER = "anthropic-beta"
"""Names what the body uses beyond the published API: without it such a body is refused."""
_AN_ID = re.compile(r"[a-zA-Z0-9_-]+")
"""Of a call: Anthropic refuses others."""


class _Thinking(msgspec.Struct):
    budget_tokens: float = 0


class _Block(msgspec.Struct):
    """What tells whether Anthropic wrote it; members of other blocks are not looked at."""

    type: str = ""
    signature: str | None = None
    id: str | None = None
    tool_use_id: str | None = None

    @property
    def readable(self) -> bool:
        if self.type == "thinking":
            return bool(self.signature)
        ids = (self.id, self.tool_use_id)
        return all(told is None or _AN_ID.fullmatch(told) for told in ids)


class _Turn(msgspec.Struct):
    content: str | list[_Block] = ""


_read_turns = msgspec.json.Decoder(list[_Turn]).decode


def verbatim_body(native: Mapping[str, Raw], attempt: AttemptContext) -> bytes | None:
    """`native` for this attempt; None where it must be said as a chat instead."""
    if not attempt.overrides.keys() <= SAME_NAMES:
        return None
    if not _readable(native.get("messages")):
        return None
    replace: dict[str, Value] = {**attempt.overrides}
    if attempt.max_tokens is not None:
        limits = capped(native, attempt.max_tokens, "max_tokens", ("max_tokens",))
        if limits and _budget(native.get("thinking")) >= attempt.max_tokens:
            return None  # Anthropic refuses to think for longer than it may answer
        replace |= limits
    replace["model"] = attempt.upstream_model
    replace["stream"] = True
    return compose(native, replace)


def _readable(messages: Raw | None) -> bool:
    """Whether all that was said is in Anthropic's words. Other engines sign no thinking, and some number their
    calls in characters of their own."""
    try:
        turns = _read_turns(messages or b"[]")
    except (msgspec.MsgspecError, RecursionError):
        return True  # it is Anthropic's to say what is wrong with it
    return all(
        block.readable
        for turn in turns
        if not isinstance(turn.content, str)
        for block in turn.content
    )


def _budget(thinking: Raw | None) -> float:
    try:
        told = msgspec.json.decode(thinking or b"null", type=_Thinking | None)
    except msgspec.MsgspecError:
        return 0
    return told.budget_tokens if told else 0
