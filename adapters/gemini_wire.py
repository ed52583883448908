"""Gemini's answer objects as they are read: every member optional, unknown ones passed over.

Proto3's JSON: names in camel case, and what is 0, false or empty is not there. Source: the types of the
`google-genai` SDK 3.x and recorded streams. Only for reading.
"""

import msgspec
from msgspec import Raw

from adapters.openai_wire import NULL
from adapters.wire_json import read_piece


class PartialArg(msgspec.Struct, rename="camel"):
    """A piece of a call's arguments, at a JSONPath. One value is told, with its type in its name."""

    json_path: str = ""
    string_value: str | None = None
    number_value: Raw = NULL
    bool_value: bool | None = None


class CallPiece(msgspec.Struct, rename="camel"):
    """A call: whole, or with `willContinue` the beginning of one that is told in pieces."""

    id: str | None = None
    name: str | None = None
    args: Raw = NULL
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class BlobPiece(msgspec.Struct, rename="camel"):
    mime_type: str = "application/octet-stream"
    data: str = ""


class PartPiece(msgspec.Struct, rename="camel"):
    """One part of a candidate's content."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: CallPiece | None = None
    inline_data: BlobPiece | None = None


class ContentPiece(msgspec.Struct):
    parts: list[PartPiece] | None = None


class TokenPiece(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class TopPiece(msgspec.Struct):
    candidates: list[TokenPiece] | None = None


class LogprobsPiece(msgspec.Struct, rename="camel"):
    """Both lists have an entry for each token."""

    chosen_candidates: list[TokenPiece] | None = None
    top_candidates: list[TopPiece] | None = None


class CandidatePiece(msgspec.Struct, rename="camel"):
    index: int | None = None
    content: ContentPiece | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    logprobs_result: LogprobsPiece | None = None


class FeedbackPiece(msgspec.Struct, rename="camel"):
    """What became of the prompt, where it was not answered."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class UsagePiece(msgspec.Struct, rename="camel"):
    """Cumulative. The candidates' tokens are without the thoughts'; the prompt's are with the cached ones."""

    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    service_tier: str | None = None


class ChunkPiece(msgspec.Struct, rename="camel"):
    """A `GenerateContentResponse`: a piece of a stream, or a whole answer."""

    candidates: list[CandidatePiece] | None = None
    prompt_feedback: FeedbackPiece | None = None
    usage_metadata: UsagePiece | None = None
    response_id: str | None = None
    error: Raw = NULL


class ViolationPiece(msgspec.Struct, rename="camel"):
    quota_id: str = ""


class DetailPiece(msgspec.Struct, rename="camel"):
    """One of an error's details; which members there are depends on its type."""

    reason: str | None = None
    retry_delay: str | None = None
    violations: list[ViolationPiece] | None = None


class ErrorObject(msgspec.Struct):
    """`google.rpc.Status` as JSON."""

    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[DetailPiece] = []


class ErrorEnvelope(msgspec.Struct):
    """`{"error": {...}}`."""

    error: ErrorObject | None = None


_decode_chunk = msgspec.json.Decoder(ChunkPiece).decode
_decode_chunks = msgspec.json.Decoder(list[ChunkPiece]).decode
_decode_error = msgspec.json.Decoder(ErrorEnvelope | list[ErrorEnvelope]).decode


def read_chunk(data: bytes) -> ChunkPiece | None:
    """A piece of a stream, or None where it is not valid. A list of one counts as the one."""
    chunks = read_chunks(data)
    return chunks[0] if chunks is not None and len(chunks) == 1 else None


def read_chunks(body: bytes) -> list[ChunkPiece] | None:
    """A whole answer, which is an object or a list of a stream's pieces; None where it is not valid."""
    if body.lstrip()[:1] == b"[":
        return read_piece(_decode_chunks, body)
    chunk = read_piece(_decode_chunk, body)
    return None if chunk is None else [chunk]


def read_gemini_error(body: bytes) -> ErrorObject | None:
    """The error in `body`, which may be a list of one; None where it is none of Google's."""
    found: ErrorEnvelope | list[ErrorEnvelope] | None = read_piece(_decode_error, body)
    if isinstance(found, list):
        found = found[0] if found else None
    return found.error if found else None
