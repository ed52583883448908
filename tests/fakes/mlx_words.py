"""An answer in the words of `mlx_lm.server` 0.32: the role in each delta, whole calls, a usage of another kind.

Faithful to a recorded stream (`tests/adapters/data/transcripts`) and to the server's source.
"""

from typing import Any

import msgspec

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

ID = "chatcmpl-5a20f283-d250-4109-9ca8-86d6b440670b"
DEFAULT = "default_model"
FINGERPRINT = "0.32.2-0.32.4-Linux-x86_64-with-glibc2.36"
NOT_FOUND = (
    "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk and "
    "outgoing traffic has been disabled."
)
DEAD = "generation thread died"
VOCABULARY = 49_152


def stream(answer: Answer, *, after: str = "") -> bytes:
    """`after` is text that the model goes on with."""
    pieces = [_chunk(delta) for delta in _deltas(answer)]
    pieces += [_chunk({"content": after})] if after else []
    usage = {**_head("chat.completion"), "choices": [], "usage": _usage(answer.usage)}
    return b"".join(
        [
            b": keepalive 1/1\n\n",
            *map(_framed, [*pieces, _chunk({}, answer.finish), usage]),
            b"data: [DONE]\n\n",
        ]
    )


def as_text(stream: bytes) -> bytes:
    """A chat's stream as a text completion's."""
    lines = []
    for line in stream.split(b"\n\n"):
        if line.startswith(b"data: {"):
            chunk = msgspec.json.decode(line.removeprefix(b"data: "))
            for choice in chunk["choices"]:
                choice["text"] = choice.pop("delta").get("content", "")
            line = b"data: " + msgspec.json.encode({**chunk, "object": "text_completion"})
        lines.append(line)
    return b"\n\n".join(lines)


def broken_by(answer: Answer) -> bytes:
    """A stream that fails after its last content: the connection closes, and that is all."""
    return b"".join(_framed(_chunk(delta)) for delta in _deltas(answer))


def document(answer: Answer) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text)}
    if answer.reasoning:
        message["reasoning"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = _calls(answer, numbered=False)
    choice = {"index": 0, "finish_reason": answer.finish, "message": message}
    return msgspec.json.encode(
        {**_head("chat.completion"), "choices": [choice], "usage": _usage(answer.usage)}
    )


def refusal(status: int, said: str) -> Refusal:
    return Refusal(status=status, body=msgspec.json.encode({"error": said}))


def no_route() -> Refusal:
    return Refusal(status=404, body=b"Not Found")


def model_list(*names: str) -> bytes:
    data = [{"id": name, "object": "model", "created": 1795239402} for name in names]
    return msgspec.json.encode({"object": "list", "data": data})


def _head(kind: str) -> dict[str, Any]:
    return {
        "id": ID,
        "system_fingerprint": FINGERPRINT,
        "object": kind,
        "model": DEFAULT,
        "created": 1795239405,
    }


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "delta": {"role": "assistant", **delta}}
    return {**_head("chat.completion.chunk"), "choices": [choice]}


def _framed(chunk: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(chunk)


def _deltas(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"reasoning": piece} for piece in answer.reasoning]
    deltas += [{"content": piece} for piece in answer.text]
    deltas += [{"tool_calls": [call]} for call in _calls(answer, numbered=True)]
    return deltas


def _calls(answer: Answer, *, numbered: bool) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": call.whole}
        told.append({"function": function, "type": "function", "id": call.id})
        if numbered:
            told[-1]["index"] = index
    return told


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
    }
