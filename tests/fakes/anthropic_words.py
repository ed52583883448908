"""An answer in Anthropic's words: the events of a stream, or one message.

Faithful to recorded streams (`tests/adapters/data/recordings/anthropic`) and proven by the official SDK
(`tests/fakes/test_anthropic.py`): thinking comes first and is signed, each block is opened and closed, counts
of the prompt come first and those of the answer last, a ping comes between.
"""

from typing import Any

import msgspec

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

MODEL = "claude-opus-4-8"
SIGNATURE = "c2lnbmVk"
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
Event = dict[str, Any]


def stream(answer: Answer) -> bytes:
    return framed(events(answer))


def framed(told: list[Event]) -> bytes:
    """Server-sent events; each has its type as its name."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))
        for event in told
    )


def events(answer: Answer) -> list[Event]:
    told: list[Event] = [{"type": "message_start", "message": _head(answer)}]
    for index, block in enumerate(_blocks(answer)):
        begun, deltas = _in_pieces(block, answer)
        told.append({"type": "content_block_start", "index": index, "content_block": begun})
        if index == 0:
            told.append({"type": "ping"})
        told += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        told.append({"type": "content_block_stop", "index": index})
    usage = {"output_tokens": answer.usage.completion_tokens, **_details(answer.usage)}
    told.append({"type": "message_delta", "delta": _ending(answer), "usage": usage})
    return [*told, {"type": "message_stop"}]


def broken_by(answer: Answer, kind: str, message: str) -> bytes:
    """A stream that fails after its last content: `kind` is the error's type."""
    told = [e for e in events(answer) if e["type"] not in ("message_delta", "message_stop")]
    return framed([*told, {"type": "error", "error": {"type": kind, "message": message}}])


def document(answer: Answer) -> bytes:
    """The whole message."""
    usage = {
        **_counts(answer.usage),
        "output_tokens": answer.usage.completion_tokens,
        **_details(answer.usage),
    }
    blocks = _blocks(answer)
    return msgspec.json.encode(
        {**_head(answer), **_ending(answer), "content": blocks, "usage": usage}
    )


def refusal(kind: str, message: str, *, status: int | None = None, **headers: str) -> Refusal:
    """An error answer of type `kind`. `retry_after="7"` is the header `retry-after`."""
    error = {"type": kind, "message": message}
    body = {"type": "error", "error": error, "request_id": "req_011CZfake"}
    return Refusal(
        status=status or STATUS[kind],
        body=msgspec.json.encode(body),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def model_list(*names: str) -> bytes:
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name.title(),
            "created_at": "2026-02-19T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 200_000,
            "max_tokens": 64_000,
        }
        for name in names
    ]
    page = {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
    return msgspec.json.encode(page)


def _head(answer: Answer) -> dict[str, Any]:
    return {
        "id": "msg_01Fake",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**_counts(answer.usage), "output_tokens": 1, "service_tier": "standard"},
    }


def _counts(usage: Usage) -> dict[str, int]:
    """Of the prompt. What was read from the cache is not among the input tokens."""
    cached = usage.cached_tokens or 0
    return {
        "input_tokens": usage.prompt_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
    }


def _details(usage: Usage) -> dict[str, Any]:
    if usage.reasoning_tokens is None:
        return {}
    return {"output_tokens_details": {"thinking_tokens": usage.reasoning_tokens}}


def _ending(answer: Answer) -> dict[str, Any]:
    stopped = answer.stop_sequence is not None
    details = {"type": "refusal", "category": None, "explanation": answer.refusal}
    return {
        "stop_reason": "stop_sequence" if stopped else _STOP_REASONS[answer.finish],
        "stop_sequence": answer.stop_sequence,
        "stop_details": details if answer.refusal else None,
    }


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        thinking = "".join(answer.reasoning)
        blocks.append({"type": "thinking", "thinking": thinking, "signature": SIGNATURE})
    if answer.text:
        blocks.append({"type": "text", "text": "".join(answer.text)})
    for call in answer.calls:
        given = msgspec.json.decode(call.whole)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks


def _in_pieces(block: dict[str, Any], answer: Answer) -> tuple[dict[str, Any], list[Event]]:
    """A block as it begins, and what is then added to it."""
    match block["type"]:
        case "thinking":
            pieces = [{"type": "thinking_delta", "thinking": p} for p in answer.reasoning]
            signed = {"type": "signature_delta", "signature": SIGNATURE}
            return {**block, "thinking": "", "signature": ""}, [*pieces, signed]
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": p} for p in answer.text]
        case _:
            call = next(c for c in answer.calls if c.id == block["id"])
            arguments = () if call.whole == "{}" else ("", *call.arguments)
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in arguments]
            return {**block, "input": {}}, deltas
