"""An answer in the words of OpenAI, and in those of llama.cpp and vLLM, who say some of it otherwise.

Faithful to recorded streams of all three (`tests/adapters/data`).
"""

from typing import Any, Literal

import msgspec

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

Speaker = Literal["openai", "llamacpp", "vllm"]
Chunk = dict[str, Any]
_FIRST: dict[Speaker, dict[str, Any]] = {
    "openai": {"role": "assistant", "content": "", "refusal": None},
    "llamacpp": {"role": "assistant", "content": None},
    "vllm": {"role": "assistant", "content": ""},
}
_REASONING = {"openai": "reasoning_content", "llamacpp": "reasoning_content", "vllm": "reasoning"}


def stream(answer: Answer, speaker: Speaker = "openai") -> bytes:
    deltas = _deltas(answer, speaker)
    last: dict[str, Any] = {}
    if speaker == "vllm" and answer.text and not answer.calls:
        last = deltas.pop()  # its finish may carry the last content
    chunks = [_chunk(delta, speaker) for delta in [_FIRST[speaker], *deltas]]
    chunks.append(_chunk(last, speaker, answer.finish))
    usage = {**_chunk({}, speaker), "choices": [], "usage": _usage(answer.usage, speaker)}
    return framed([*chunks, usage]) + b"data: [DONE]\n\n"


def framed(chunks: list[Chunk]) -> bytes:
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks)


def broken_by(answer: Answer, error: dict[str, Any], speaker: Speaker = "openai") -> bytes:
    """A stream that fails after its last content. Only vLLM still says that it is done."""
    chunks = [_chunk(delta, speaker) for delta in [_FIRST[speaker], *_deltas(answer, speaker)]]
    return framed([*chunks, {"error": error}]) + (b"data: [DONE]\n\n" if speaker == "vllm" else b"")


def document(answer: Answer, speaker: Speaker = "openai") -> bytes:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(answer.text) or None,
        "refusal": answer.refusal or None,
    }
    if answer.reasoning:
        message[_REASONING[speaker]] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.whole},
            }
            for call in answer.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": answer.finish}
    usage = _usage(answer.usage, speaker)
    return msgspec.json.encode({"id": "chatcmpl-1", "choices": [choice], "usage": usage})


def refusal(status: int, error: Any, **headers: str) -> Refusal:
    """An error answer. `retry_after="7"` is the header `retry-after`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(status=status, body=msgspec.json.encode({"error": error}), headers=named)


def model_list(*names: str) -> bytes:
    data = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in names]
    return msgspec.json.encode({"object": "list", "data": data})


def _chunk(delta: dict[str, Any], speaker: Speaker, finish: str | None = None) -> Chunk:
    told: Chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "real",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    if speaker == "openai":
        told |= {"service_tier": "default", "usage": None, "obfuscation": "a3Q"}
    if speaker == "llamacpp" and finish is not None:
        told["timings"] = {"predicted_n": 3, "predicted_ms": 12.5}
    return told


def _deltas(answer: Answer, speaker: Speaker) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{_REASONING[speaker]: piece} for piece in answer.reasoning]
    deltas += [{"content": piece} for piece in answer.text]
    if answer.refusal:
        deltas.append({"refusal": answer.refusal})
    for index, call in enumerate(answer.calls):
        begun = {"index": index, "id": call.id, "type": "function"}
        named = {"name": call.name, "arguments": ""}
        deltas.append({"tool_calls": [{**begun, "function": named}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in call.arguments
        ]
    return deltas


def _usage(usage: Usage, speaker: Speaker) -> dict[str, Any]:
    told: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None and speaker != "llamacpp":
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return told
