"""OpenAI's answer objects as backends really write them: every member optional, several spellings.

Source: the OpenAI API reference, and the differences seen in llama.cpp, vLLM, mlx_lm, TGI and the
hosted providers. Only for reading; what the gateway writes is in `gateway.answers`.
"""

from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from adapters.wire_json import as_utf8, read_piece

NULL = Raw(b"null")
"""A raw member that is not there. `Raw | None` would not do: msgspec reads it as "null only".

What is read has no cycles: the garbage collector need not know of it (`gc=False`)."""


class FunctionPiece(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCallPiece(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class DeltaPiece(msgspec.Struct, gc=False):
    """`delta` of a chunk, or `message` of a whole answer."""

    content: str | list[Any] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPiece] | None = None
    function_call: Raw = NULL
    annotations: Raw = NULL
    audio: Raw = NULL
    reasoning_details: Raw = NULL
    images: Raw = NULL


_EXTRA_MEMBERS = ("function_call", "annotations", "audio", "reasoning_details", "images")
"""Members of a delta that travel on as the backend wrote them."""
_NO_EXTRA = (NULL,) * len(_EXTRA_MEMBERS)
_extra_values = attrgetter(*_EXTRA_MEMBERS)


class ChoicePiece(msgspec.Struct, gc=False):
    index: int | None = None
    delta: DeltaPiece | None = None
    message: DeltaPiece | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: Raw = NULL
    """vLLM: the stop sequence that was met, as a text; or a token's number."""
    logprobs: Raw = NULL


class PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class UsagePiece(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ChunkPiece(msgspec.Struct, gc=False):
    """A chunk of a stream, or a whole chat or text completion."""

    choices: list[ChoicePiece] | None = None
    usage: UsagePiece | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    error: Raw = NULL
    detail: Raw = NULL


class TextDelta(msgspec.Struct, gc=False):
    """A `DeltaPiece` that says a text and nothing else."""

    content: Annotated[str, Meta(min_length=1)]
    reasoning: None = None
    reasoning_content: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    annotations: None = None
    audio: None = None
    reasoning_details: None = None
    images: None = None


class TextChoice(msgspec.Struct, gc=False):
    """A `ChoicePiece` of the first choice, with such a delta."""

    delta: TextDelta
    index: Literal[0] | None = None
    message: None = None
    text: None = None
    finish_reason: None = None
    stop_reason: None = None
    logprobs: None = None


class TextChunk(msgspec.Struct, gc=False):
    """A `ChunkPiece` with one such choice, as most of them are: what can be read as one says nothing else. The
    three have all members that what they stand for has."""

    choices: tuple[TextChoice]
    usage: None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    error: None = None
    detail: None = None


class ErrorPiece(msgspec.Struct, gc=False):
    """The inner error object; `code` is a string at OpenAI and an integer at llama.cpp and vLLM."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


members_decoder = msgspec.json.Decoder(dict[str, Raw])
_decode_any = msgspec.json.Decoder().decode
_decode_chunk = msgspec.json.Decoder(ChunkPiece).decode
_decode_text = msgspec.json.Decoder(TextChunk).decode


def read_chunk(data: bytes) -> ChunkPiece | None:
    """A chunk, or None where `data` is none."""
    try:
        return _decode_chunk(data if data.isascii() else as_utf8(data))
    except (msgspec.MsgspecError, RecursionError):
        return None


def read_texts(datas: list[bytes]) -> list[str]:
    """What the first of `datas` say, up to one that is more or less than a text of the first choice."""
    chunks: list[TextChunk] = []
    try:  # noqa: SIM105  # with `suppress` it takes three calls more
        chunks.extend(map(_decode_text, datas))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # those before it are there
    return [chunk.choices[0].delta.content for chunk in chunks]


def is_present(piece: Raw) -> bool:
    """Is a raw member there and not null?"""
    return piece is not NULL and bytes(piece) != b"null"


def has_items(piece: Raw) -> bool:
    """Is a raw member there and neither null nor empty?"""
    return piece is not NULL and bytes(piece) not in (b"null", b"{}", b"[]", b'""', b"false")


def extra_members(piece: DeltaPiece) -> dict[str, Raw] | None:
    """Those that are there and not empty; None where there are none."""
    values = _extra_values(piece)
    if values == _NO_EXTRA:  # nearly always
        return None
    found = {n: v.copy() for n, v in zip(_EXTRA_MEMBERS, values, strict=True) if has_items(v)}
    return found or None


def read_error(raw: bytes | Raw) -> ErrorPiece | None:
    """The error in `raw`, in whichever of its shapes: an object, a text, a list (its first), or an
    envelope around one of them (`error`, `detail`, `message`). None if there is none."""
    return _error_in(read_piece(_decode_any, bytes(raw)))


def _error_in(value: object) -> ErrorPiece | None:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str) and value:
        return ErrorPiece(message=value)
    if not isinstance(value, dict):
        return None
    for name in ("error", "detail"):
        found = _error_in(value.get(name))
        if found is not None:
            return found
    texts = {
        name: v if isinstance(v := value.get(name), str) and v else None
        for name in ("message", "type", "param")
    }
    if texts["message"] is None and isinstance(value.get("msg"), str):
        texts["message"] = value["msg"]  # FastAPI's own validation errors
    code = value.get("code")
    piece = ErrorPiece(code=code if isinstance(code, str | int) else None, **texts)
    return piece if piece.message or piece.code else None
