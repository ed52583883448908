"""`logprobs` of a chat's choice in OpenAI's form, for backends that tell them in another. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

Token = tuple[str, float]
"""A token's text and the natural logarithm of its probability."""
_encode = msgspec.json.Encoder().encode


def content_logprobs(tokens: Iterable[tuple[Token, Iterable[Token]]]) -> Raw:
    """Each token that was chosen, with the most likely ones at its place. No NaN, which JSON does not have."""
    told = [
        {**_entry(*chosen), "top_logprobs": [_entry(*t) for t in top]} for chosen, top in tokens
    ]
    return Raw(_encode({"content": told, "refusal": None}))


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}
