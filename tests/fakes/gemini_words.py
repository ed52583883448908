"""An answer in Gemini's words: the pieces of a stream, or one object.

Faithful to recorded streams (`tests/adapters/data/recordings/gemini`) and proven by the official SDK
(`tests/fakes/test_gemini.py`): counts are cumulative and on every piece, calls come whole and the first of them
is signed, the last piece has the reason and an empty text, nothing marks the end, an error is bare JSON.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

MODEL = "gemini-3-flash"
SIGNATURE = "c2lnbmVk"
RESPONSE_ID = "b36LacjwM668nsEP2tbsgQQ"
STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_REASONS = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
Piece = dict[str, Any]


def stream(answer: Answer, index: int = 0) -> bytes:
    return framed(pieces(answer, index))


def framed(told: list[Piece]) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % msgspec.json.encode(piece) for piece in told)


def pieces(answer: Answer, index: int = 0) -> list[Piece]:
    told = [_piece([part], answer.usage, index=index) for part in _parts(answer)]
    if answer.calls:
        told.append(_piece(_calls(answer), answer.usage, index=index))
    ending = {"content": {"parts": [{"text": ""}], "role": "model"}, **_ending(answer)}
    if answer.text and answer.reasoning:
        ending["content"]["parts"][0]["thoughtSignature"] = SIGNATURE
    usage = counts(answer.usage)
    return [*told, _about([{**ending, "index": index}], usage)]


def broken_by(answer: Answer, status: str, message: str) -> bytes:
    """A stream that fails after its last content, in many lines and without `data:`."""
    error = msgspec.json.format(refusal(status, message).body, indent=2)
    return framed(pieces(answer)[:-1]) + error + b"\n"


def document(answer: Answer) -> bytes:
    parts = [
        *([{"text": "".join(answer.reasoning), "thought": True}] if answer.reasoning else ()),
        *([{"text": "".join(answer.text)}] if answer.text else ()),
        *_calls(answer),
    ]
    candidate = {"content": {"parts": parts, "role": "model"}, **_ending(answer), "index": 0}
    return msgspec.json.format(
        msgspec.json.encode(_about([candidate], counts(answer.usage))), indent=2
    )


def blocked(reason: str, prompt_tokens: int = 9) -> bytes:
    """The stream of a prompt that is not answered."""
    usage = {"promptTokenCount": prompt_tokens, "totalTokenCount": prompt_tokens}
    told = {"promptFeedback": {"blockReason": reason}, **_about([], usage)}
    del told["candidates"]
    return framed([told])


def refusal(status: str, message: str, *details: Piece, **headers: str) -> Refusal:
    """An error answer. `retry_after="7"` is the header `retry-after`."""
    error: Piece = {"code": STATUS[status], "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return Refusal(
        status=STATUS[status],
        body=msgspec.json.format(msgspec.json.encode({"error": error}), indent=2),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def wrong_key() -> Refusal:
    return refusal(
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        },
        {
            "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
            "locale": "en-US",
            "message": "API key not valid. Please pass a valid API key.",
        },
    )


def exhausted(*quota_ids: str, delay: str | None = None) -> Refusal:
    """429, with the quotas that are used up and when to come back."""
    violations = [
        {"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": quota}
        for quota in quota_ids
    ]
    details: list[Piece] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations},
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"url": "https://ai.dev"}]},
    ]
    if delay is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return refusal("RESOURCE_EXHAUSTED", "You exceeded your current quota.", *details)


def model_list(*names: str) -> bytes:
    models = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name.title(),
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        for name in names
    ]
    other = {"name": "models/imagen", "supportedGenerationMethods": ["predict"]}
    return msgspec.json.encode({"models": [*models, other]})


def embeddings(vectors: Sequence[Sequence[float]]) -> bytes:
    return msgspec.json.encode({"embeddings": [{"values": list(vector)} for vector in vectors]})


def counts(usage: Usage) -> Piece:
    """Thoughts are not among the candidates' tokens; what is 0 is not there."""
    thoughts = usage.reasoning_tokens or 0
    told = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens - thoughts,
        "totalTokenCount": usage.total_tokens,
        "cachedContentTokenCount": usage.cached_tokens or 0,
        "thoughtsTokenCount": thoughts,
    }
    details = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt_tokens}]}
    return {**{name: count for name, count in told.items() if count}, **details}


def _piece(parts: list[Piece], usage: Usage, *, index: int) -> Piece:
    so_far = {"promptTokenCount": usage.prompt_tokens, "totalTokenCount": usage.prompt_tokens}
    return _about([{"content": {"parts": parts, "role": "model"}, "index": index}], so_far)


def _about(candidates: list[Piece], usage: Piece) -> Piece:
    return {
        "candidates": candidates,
        "usageMetadata": {**usage, "serviceTier": "standard"},
        "modelVersion": MODEL,
        "responseId": RESPONSE_ID,
    }


def _parts(answer: Answer) -> list[Piece]:
    thoughts = [{"text": piece, "thought": True} for piece in answer.reasoning]
    return [*thoughts, *({"text": piece} for piece in answer.text)]


def _calls(answer: Answer) -> list[Piece]:
    told: list[Piece] = []
    for call in answer.calls:
        function: Piece = {"name": call.name, "id": call.id}
        if call.whole != "{}":
            function["args"] = Raw(call.whole.encode())
        told.append({"functionCall": function})
    if told:
        told[0]["thoughtSignature"] = SIGNATURE
    return told


def _ending(answer: Answer) -> Piece:
    said = {"finishMessage": answer.refusal} if answer.refusal else {}
    return {"finishReason": _REASONS[answer.finish], **said}
