"""An answer in the words of Triton's generate extension, and in those of its OpenAI frontend.

The first is faithful to recorded streams (`tests/adapters/data/transcripts`) and to vLLM's backend, the second
to the frontend's source: it never runs here.
"""

from typing import Any

import msgspec

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

MODEL = "llm"
DONE = b"data: [DONE]\n\n"


def stream(answer: Answer, *, counted: bool = False) -> bytes:
    """Responses of a decoupled model, one a piece of text. `counted`: as vLLM's backend tells more."""
    pieces = answer.text or ("",)
    responses = [_response(piece) for piece in pieces]
    if counted:
        rest = answer.usage.completion_tokens
        for number, response in enumerate(responses):
            last = number == len(responses) - 1
            tokens = rest if last else 1
            rest -= tokens
            response |= {
                "finish_reason": answer.finish if last else "None",
                "num_input_tokens": answer.usage.prompt_tokens,
                "num_output_tokens": tokens,
            }
    return b"".join(map(_framed, responses))


def broken_by(answer: Answer, said: str = "boom mid-stream") -> bytes:
    return b"".join(map(_framed, [*map(_response, answer.text), {"error": said}]))


def document(answer: Answer) -> bytes:
    """Of `generate`."""
    return msgspec.json.encode(_response("".join(answer.text)))


def refusal(status: int, said: str) -> Refusal:
    """The server's own."""
    return Refusal(status=status, body=msgspec.json.encode({"error": said}))


def model_error(said: str) -> Refusal:
    """A model that fails before its first response."""
    kind = "text/event-stream"
    return Refusal(status=400, body=_framed({"error": said}), kind=kind)


def index(*names: str, **others: str) -> bytes:
    """The repository. `others` are models in some other state."""
    entries = [{"name": name, "version": "1", "state": "READY"} for name in names]
    entries += [{"name": name, "version": "1", "state": state} for name, state in others.items()]
    return msgspec.json.encode(entries)


def server() -> bytes:
    return msgspec.json.encode(
        {"name": "triton", "version": "2.51.0", "extensions": ["model_repository", "generate"]}
    )


def _response(text: str) -> dict[str, Any]:
    return {"model_name": MODEL, "model_version": "1", "text_output": text}


def _framed(event: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(event)


# -- the OpenAI frontend ----------------------------------------------------------------------


def openai_stream(answer: Answer) -> bytes:
    """It says "stop" of an answer that was cut off, too."""
    finish = "tool_calls" if answer.calls else "stop"
    deltas = _openai_deltas(answer)
    last = deltas.pop() if len(deltas) > 1 else {"content": ""}
    usage = {**_openai_chunk({}), "choices": [], "usage": _usage(answer.usage)}
    chunks = [*map(_openai_chunk, deltas), _openai_chunk(last, finish), usage]
    return b"".join(map(_framed, chunks)) + DONE


def openai_broken_by(answer: Answer) -> bytes:
    """What fails inside a stream just ends it."""
    return b"".join(map(_framed, map(_openai_chunk, _openai_deltas(answer))))


def openai_document(answer: Answer) -> bytes:
    message: dict[str, Any] = {"content": "".join(answer.text), "role": "assistant"}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.whole},
            }
            for call in answer.calls
        ]
    finish = "tool_calls" if answer.calls else "stop"
    choice = {"finish_reason": finish, "index": 0, "message": message, "logprobs": None}
    told = {**_openai_chunk({}), "object": "chat.completion", "choices": [choice]}
    return msgspec.json.encode({**told, "usage": _usage(answer.usage)})


def detail(status: int, said: Any) -> Refusal:
    """FastAPI's way."""
    return Refusal(status=status, body=msgspec.json.encode({"detail": said}))


def _openai_deltas(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "function_call": None}]
    deltas += [{"role": None, "content": piece, "function_call": None} for piece in answer.text]
    for index, call in enumerate(answer.calls):
        begun = {"index": index, "id": call.id, "type": "function"}
        deltas.append({"tool_calls": [{**begun, "function": {"name": call.name}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in call.arguments
        ]
    return deltas


def _openai_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "cmpl-6930b296-7ef8-11ef-bdd1-107c6149ca79",
        "choices": [{"delta": delta, "logprobs": None, "finish_reason": finish, "index": 0}],
        "created": 1727679085,
        "model": MODEL,
        "system_fingerprint": None,
        "object": "chat.completion.chunk",
        "usage": None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "completion_tokens": usage.completion_tokens,
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.total_tokens,
    }
