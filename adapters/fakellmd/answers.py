"""vLLM's answers, byte by byte: chunks of a stream, whole documents, the model list. Pure.

The parts of a chunk that never change are encoded once an answer; a token costs one string encode.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.fakellmd.bodies import Choice, Embedding, Generation
from adapters.fakellmd.embeddings import as_base64, embed
from adapters.fakellmd.settings import LlmdSettings
from adapters.fakellmd.text import Script

FINGERPRINT = "fake-llm-d"
DONE = b"data: [DONE]\n\n"
_json = msgspec.json.Encoder().encode


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def completion_tokens(choices: Sequence[Choice]) -> int:
    return sum(len(choice.script.pieces) for choice in choices)


class StreamWriter:
    """The chunks of one streamed answer. `answer_id` is without its prefix (`chatcmpl-`, `cmpl-`)."""

    def __init__(self, generation: Generation, answer_id: str, created: int) -> None:
        self._generation = generation
        self._answer_id = answer_id
        self._chat = generation.operation == "chat"
        shape = (
            ("chatcmpl-", "chat.completion.chunk") if self._chat else ("cmpl-", "text_completion")
        )
        self._members = {
            "id": shape[0] + answer_id,
            "object": shape[1],
            "created": created,
            "model": generation.model,
        }
        self._open = b"data: " + _json(self._members)[:-1] + b',"choices":['

    def token(self, number: int, index: int) -> bytes:
        """What token `index` (from 1) of choice `number` adds to the stream; nothing, if held back."""
        script = self._generation.choices[number].script
        piece = script.pieces[index - 1]
        last = index == len(script.pieces)
        if not self._chat:
            return self._text(number, piece, script, last=last) if piece or last else b""
        role = self._role(number) if index == 1 else b""
        if script.tool_name is not None:
            return role + self._tool(number, piece, index, script, last=last)
        if not piece and not last:
            return role
        return role + self._delta(number, b'{"content":' + _json(piece) + b"}", script, last=last)

    def usage(self) -> bytes:
        """The usage chunk, where the client asked for one."""
        generation = self._generation
        if not generation.include_usage:
            return b""
        total = usage(generation.prompt_tokens, completion_tokens(generation.choices))
        members = self._members | {
            "choices": [],
            "usage": total,
            "system_fingerprint": FINGERPRINT,
        }
        return b"data: " + _json(members) + b"\n\n"

    def _role(self, number: int) -> bytes:
        return b"".join(
            (
                self._open,
                b'{"index":%d,"delta":{"role":"assistant","content":""},' % number,
                b'"logprobs":null,"finish_reason":null}],',
                b'"prompt_token_ids":null,"prompt_text":null}\n\n',
            )
        )

    def _tool(self, number: int, piece: str, index: int, script: Script, *, last: bool) -> bytes:
        call: dict[str, Any] = {"index": 0, "function": {"arguments": piece}}
        if index == 1:
            call_id = f"chatcmpl-tool-{self._answer_id}-{number}"
            call = {"id": call_id, "type": "function", "index": 0}
            call["function"] = {"name": script.tool_name}
        return self._delta(
            number, _json({"content": None, "tool_calls": [call]}), script, last=last
        )

    def _delta(self, number: int, delta: bytes, script: Script, *, last: bool) -> bytes:
        finish = b'null,"token_ids":null}]}\n\n'
        if last:
            reasons = _json(script.finish_reason), _json(script.stop_reason)
            finish = b'%b,"stop_reason":%b,"token_ids":null}]}\n\n' % reasons
        return b"".join(
            (
                self._open,
                b'{"index":%d,"delta":' % number,
                delta,
                b',"logprobs":null,"finish_reason":',
                finish,
            )
        )

    def _text(self, number: int, piece: str, script: Script, *, last: bool) -> bytes:
        choice = {
            "index": number,
            "text": piece,
            "logprobs": None,
            "finish_reason": script.finish_reason if last else None,
            "stop_reason": script.stop_reason if last else None,
        }
        return self._open + _json(choice) + b"]}\n\n"


def document(generation: Generation, answer_id: str, created: int) -> bytes:
    """The answer that is not a stream."""
    chat = generation.operation == "chat"
    choices = [
        (_message if chat else _completion)(number, choice.script, answer_id)
        for number, choice in enumerate(generation.choices)
    ]
    return _json(
        {
            "id": ("chatcmpl-" if chat else "cmpl-") + answer_id,
            "object": "chat.completion" if chat else "text_completion",
            "created": created,
            "model": generation.model,
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": usage(generation.prompt_tokens, completion_tokens(generation.choices))
            | {"prompt_tokens_details": None},
            "kv_transfer_params": None,
        }
    )


def _message(number: int, script: Script, answer_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if script.tool_name else "".join(script.pieces),
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": None,
    }
    if script.tool_name:
        message["tool_calls"] = [
            {
                "id": f"chatcmpl-tool-{answer_id}-{number}",
                "type": "function",
                "function": {"name": script.tool_name, "arguments": "".join(script.pieces)},
            }
        ]
    return {
        "index": number,
        "message": message,
        "logprobs": None,
        "finish_reason": script.finish_reason,
        "stop_reason": script.stop_reason,
        "token_ids": None,
    }


def _completion(number: int, script: Script, _answer_id: str) -> dict[str, Any]:
    return {
        "index": number,
        "text": "".join(script.pieces),
        "logprobs": None,
        "finish_reason": script.finish_reason,
        "stop_reason": script.stop_reason,
    }


def embeddings(asked: Embedding, answer_id: str, created: int) -> bytes:
    """The vectors of an embeddings request."""
    vectors = [embed(text, asked.model, asked.dimensions) for text in asked.texts]
    return _json(
        {
            "id": "embd-" + answer_id,
            "object": "list",
            "created": created,
            "model": asked.model,
            "data": [
                {
                    "index": number,
                    "object": "embedding",
                    "embedding": as_base64(vector) if asked.base64 else vector,
                }
                for number, vector in enumerate(vectors)
            ],
            "usage": usage(asked.prompt_tokens, 0),
        }
    )


def model_list(settings: LlmdSettings, created: int) -> bytes:
    """`GET /v1/models`."""
    return _json(
        {
            "object": "list",
            "data": [
                {
                    "id": model.name,
                    "object": "model",
                    "created": created,
                    "owned_by": "vllm",
                    "root": model.name,
                    "parent": None,
                    "max_model_len": settings.max_model_len,
                    "permission": [],
                }
                for model in settings.models
            ],
        }
    )


def tokens(ids: list[int], settings: LlmdSettings) -> bytes:
    """`POST /tokenize`."""
    return _json(
        {
            "count": len(ids),
            "max_model_len": settings.max_model_len,
            "tokens": ids,
            "token_strs": None,
        }
    )
