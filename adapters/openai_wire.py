"""OpenAI's answer objects as backends really write them: every member optional, several spellings.

Source: the OpenAI API reference, and the differences seen in llama.cpp, vLLM, mlx_lm, TGI and the
hosted providers. Only for reading; what the gateway writes is in `gateway.answers`.
"""

from typing import Any

import msgspec
from msgspec import Raw


class FunctionPiece(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCallPiece(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class DeltaPiece(msgspec.Struct):
    """`delta` of a chunk, or `message` of a whole answer."""

    content: str | list[Any] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPiece] | None = None
    function_call: Raw | None = None
    annotations: Raw | None = None
    audio: Raw | None = None
    reasoning_details: Raw | None = None
    images: Raw | None = None


EXTRA_MEMBERS = ("function_call", "annotations", "audio", "reasoning_details", "images")
"""Members of a delta that travel on as the backend wrote them."""


class ChoicePiece(msgspec.Struct):
    index: int | None = None
    delta: DeltaPiece | None = None
    message: DeltaPiece | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Raw | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class UsagePiece(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ChunkPiece(msgspec.Struct):
    """A chunk of a stream, or a whole chat or text completion."""

    choices: list[ChoicePiece] | None = None
    usage: UsagePiece | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    error: Raw | None = None
    detail: Raw | None = None


class ErrorPiece(msgspec.Struct):
    """The inner error object; `code` is a string at OpenAI and an integer at llama.cpp and vLLM."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


chunk_decoder = msgspec.json.Decoder(ChunkPiece)
members_decoder = msgspec.json.Decoder(dict[str, Raw])


def read_error(raw: bytes | Raw) -> ErrorPiece | None:
    """The error in `raw`, in whichever of its shapes: an object, a text, a one-element list, or an
    envelope around one of them (`error`, `detail`, `message`). None if there is none."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return _error_in(value)


def _error_in(value: object) -> ErrorPiece | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return ErrorPiece(message=value)
    if not isinstance(value, dict):
        return None
    for name in ("error", "detail"):
        if value.get(name):
            return _error_in(value[name])
    message = value.get("message") or value.get("msg")
    if not isinstance(message, str):
        return None
    texts = {
        name: v if isinstance(v := value.get(name), str) else None for name in ("type", "param")
    }
    code = value.get("code")
    return ErrorPiece(message=message, code=code if isinstance(code, str | int) else None, **texts)
