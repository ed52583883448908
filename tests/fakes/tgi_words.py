"""An answer in the words of TGI 3: chats by its Messages API, text by `generate_stream`, with its oddities.

No id anywhere, "0" for every call; a call ends without a finish reason; an error inside a stream is 422
whatever it is. Faithful to recorded chats (`tests/adapters/data/recordings/tgi`) and to the router's source.
"""

from typing import Any

import msgspec

from contracts.events import Usage
from tests.fakes.answers import Answer, Refusal

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
_FINISHES = {"stop": "eos_token", "length": "length"}
DONE = b"data: [DONE]\n\n"


def stream(answer: Answer, *, ending: str = "") -> bytes:
    """A chat. `ending` is the stop sequence, which stays in the text."""
    chunks = _chunks(answer)
    chunks += [_chunk(_text(ending))] if ending else []
    if answer.finish != "tool_calls":
        chunks.append(_chunk(_text(""), _chat_finish(answer)))
    usage = {**_chunk({}), "choices": [], "usage": _usage(answer.usage)}
    return b":\n\n" + b"".join(map(_framed, [*chunks, usage])) + DONE


def broken_by(answer: Answer, said: str) -> bytes:
    """A chat that fails after its last content."""
    error = {"error": {"message": said, "http_status_code": 422}}
    return b"".join(map(_framed, [*_chunks(answer), error])) + DONE


def document(answer: Answer) -> bytes:
    """A whole chat: the arguments of a call as an object, as some versions write them."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text)}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": "0",
                "type": "function",
                "function": {
                    "description": None,
                    "name": call.name,
                    "arguments": msgspec.json.decode(call.whole),
                },
            }
            for call in answer.calls
        ]
    finish = "stop" if answer.finish == "tool_calls" else _chat_finish(answer)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    told = {**_chunk({}), "object": "chat.completion", "choices": [choice]}
    return msgspec.json.encode({**told, "usage": _usage(answer.usage)})


def text_stream(answer: Answer, *, ending: str = "") -> bytes:
    """`generate_stream`."""
    pieces = [*answer.text, *([ending] if ending else [])]
    events = [_token(number, piece) for number, piece in enumerate(pieces, 1)]
    last = _token(len(events) + 1, "</s>", special=True)
    last["generated_text"] = "".join(pieces)
    last["details"] = _details(answer)
    return b"".join(map(_framed, [*events, last]))


def text_broken_by(answer: Answer, said: str, kind: str) -> bytes:
    """`generate_stream` that fails after its last content."""
    events = [_token(number, piece) for number, piece in enumerate(answer.text, 1)]
    return b"".join(map(_framed, [*events, {"error": said, "error_type": kind}]))


def text_document(answer: Answer) -> bytes:
    """`generate`: the prompt's tokens are counted by their list."""
    details = {**_details(answer), "prefill": [{}] * answer.usage.prompt_tokens, "tokens": []}
    del details["input_length"]
    return msgspec.json.encode({"generated_text": "".join(answer.text), "details": details})


def refusal(status: int, said: str, kind: str) -> Refusal:
    return Refusal(status=status, body=msgspec.json.encode({"error": said, "error_type": kind}))


def info(**changes: Any) -> bytes:
    told = {
        "model_id": MODEL,
        "model_sha": "0e9e39f249a16976918f6564b8830bc894c89659",
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": 128,
        "max_best_of": 2,
        "max_stop_sequences": 4,
        "max_input_tokens": 4095,
        "max_total_tokens": 4096,
        "validation_workers": 2,
        "max_client_batch_size": 4,
        "router": "text-generation-router",
        "version": "3.3.6",
        "sha": None,
        "docker_label": None,
    }
    return msgspec.json.encode({**told, **changes})


def _chat_finish(answer: Answer) -> str:
    return "stop_sequence" if answer.stop_sequence else answer.finish


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "id": "",
        "created": 1741265133,
        "model": MODEL,
        "system_fingerprint": "3.3.6-native",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": None,
    }


def _framed(event: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(event)


def _text(piece: str) -> dict[str, Any]:
    return {"role": "assistant", "content": piece}


def _chunks(answer: Answer) -> list[dict[str, Any]]:
    deltas = [_text(piece) for piece in answer.text]
    for call in answer.calls:
        for number, piece in enumerate(call.arguments):
            function = {"name": None if number else call.name, "arguments": piece}
            told = {"index": 0, "id": "0", "type": "function", "function": function}
            deltas.append({"role": "assistant", "tool_calls": [told]})
    return [_chunk(delta) for delta in deltas]


def _token(number: int, text: str, *, special: bool = False) -> dict[str, Any]:
    token = {"id": 100 + number, "text": text, "logprob": -0.25, "special": special}
    return {"index": number, "token": token, "generated_text": None, "details": None}


def _details(answer: Answer) -> dict[str, Any]:
    finish = "stop_sequence" if answer.stop_sequence else _FINISHES[answer.finish]
    return {
        "finish_reason": finish,
        "generated_tokens": answer.usage.completion_tokens,
        "seed": None,
        "input_length": answer.usage.prompt_tokens,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
