"""An answer in Ollama's words: the lines of a stream, or one object; for chats and for completions.

Faithful to recorded streams (`tests/adapters/data/recordings/ollama`) and proven by the official SDK
(`tests/fakes/test_ollama.py`): thinking comes first, a call whole and in a line of its own, counts and durations
in nanoseconds are on the last line, an error is a line.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

MODEL = "qwen3:8b"
_REASONS = {"stop": "stop", "length": "length", "tool_calls": "stop"}
Line = dict[str, Any]


def stream(answer: Answer) -> bytes:
    return framed(lines(answer))


def framed(told: list[Line]) -> bytes:
    return b"".join(as_go(line) + b"\n" for line in told)


def as_go(value: Any) -> bytes:
    """JSON as Go writes it: without what HTML or JavaScript might take for its own."""
    text = msgspec.json.encode(value)
    for char in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(char.encode(), b"\\u%04x" % ord(char))
    return text


def lines(answer: Answer) -> list[Line]:
    told = [_chat({"content": "", "thinking": piece}) for piece in answer.reasoning]
    told += [_chat({"content": piece}) for piece in answer.text]
    told += [_chat({"content": "", "tool_calls": [call]}) for call in _calls(answer)]
    return [*told, {**_chat({"content": ""}), **_ending(answer)}]


def broken_by(answer: Answer, message: str) -> bytes:
    """A stream that fails after its last content."""
    return framed([*lines(answer)[:-1], {"error": message}])


def document(answer: Answer) -> bytes:
    message: Line = {"content": "".join(answer.text)}
    if answer.reasoning:
        message["thinking"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = _calls(answer)
    return as_go({**_chat(message), **_ending(answer)})


def completion(answer: Answer) -> bytes:
    """The stream of a completion, where the text is a `response`."""
    told: list[Line] = [{**_head(), "response": piece, "done": False} for piece in answer.text]
    return framed([*told, {**_head(), "response": "", "context": [1, 2], **_ending(answer)}])


def completion_at_once(answer: Answer) -> bytes:
    return as_go({**_head(), "response": "".join(answer.text), **_ending(answer)})


def refusal(status: int, message: str, **headers: str) -> Refusal:
    """An error answer. `retry_after="7"` is the header `retry-after`."""
    return Refusal(
        status=status,
        body=as_go({"error": message}),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def too_long(tokens: int, context: int) -> Refusal:
    """As the engine inside says it: its own error is the text."""
    error = {
        "code": 400,
        "message": f"request ({tokens} tokens) exceeds the available context size ({context} tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": context,
    }
    return refusal(400, msgspec.json.encode({"error": error}).decode())


def model_list(*names: str) -> bytes:
    models = [
        {
            "name": name,
            "model": name,
            "modified_at": "2026-08-21T10:00:00.123456789+02:00",
            "size": 5_225_388_164,
            "digest": "500a1f067a9f782620b40bee6f7b0c89e17ae61f686b92c24933e4ca4b2b8b41",
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "qwen3",
                "families": ["qwen3"],
                "parameter_size": "8.2B",
                "quantization_level": "Q4_K_M",
            },
        }
        for name in names
    ]
    return msgspec.json.encode({"models": models})


def embeddings(vectors: Sequence[Sequence[float]], prompt_tokens: int) -> bytes:
    told = {"model": MODEL, "embeddings": vectors, "total_duration": 1, "load_duration": 1}
    return msgspec.json.encode({**told, "prompt_eval_count": prompt_tokens})


def _head() -> Line:
    return {"model": MODEL, "created_at": "2026-08-21T20:26:46.294874Z"}


def _chat(message: Line) -> Line:
    return {**_head(), "message": {"role": "assistant", **message}, "done": False}


def _calls(answer: Answer) -> list[Line]:
    return [
        {
            "id": call.id,
            "function": {"index": i, "name": call.name, "arguments": Raw(call.whole.encode())},
        }
        for i, call in enumerate(answer.calls)
    ]


def _ending(answer: Answer) -> Line:
    return {
        "done": True,
        "done_reason": _REASONS.get(answer.finish, answer.finish),
        **_counts(answer.usage),
    }


def _counts(usage: Usage) -> Line:
    return {
        "total_duration": 1_897_385_625,
        "load_duration": 1_631_208,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": 313_560_000,
        "eval_count": usage.completion_tokens,
        "eval_duration": 1_577_990_000,
    }
