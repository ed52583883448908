"""Ollama's answer objects as they are read: every member optional, unknown ones passed over.

One object for chats and for completions, which differ in where the text is. Go's JSON leaves out what is 0 or
empty. Source: Ollama's `api/types.go`, the types of the `ollama` SDK, recorded streams. Only for reading.
"""

import msgspec
from msgspec import Raw

from adapters.openai_wire import NULL
from adapters.wire_json import read_piece


class FunctionPiece(msgspec.Struct):
    """`arguments` is an object, and whole."""

    name: str | None = None
    arguments: Raw = NULL


class CallPiece(msgspec.Struct):
    id: str | None = None
    function: FunctionPiece | None = None


class MessagePiece(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[CallPiece] | None = None


class TokenPiece(msgspec.Struct):
    token: str = ""
    logprob: float = 0.0


class LogprobPiece(TokenPiece):
    top_logprobs: list[TokenPiece] | None = None


class ChunkPiece(msgspec.Struct):
    """A line of a stream, or a whole answer. `message` is a chat's, `response` and `thinking` a completion's."""

    message: MessagePiece | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: list[LogprobPiece] | None = None
    error: Raw = NULL


class EmbeddingPiece(msgspec.Struct):
    embeddings: list[list[float]] | None = None
    prompt_eval_count: int | None = None
    error: Raw = NULL


class ModelPiece(msgspec.Struct):
    name: str


class ModelList(msgspec.Struct):
    models: list[ModelPiece] = []


class VersionPiece(msgspec.Struct):
    version: str | None = None


_decode_chunk = msgspec.json.Decoder(ChunkPiece).decode
_decode_embedding = msgspec.json.Decoder(EmbeddingPiece).decode
_decode_models = msgspec.json.Decoder(ModelList).decode
_decode_version = msgspec.json.Decoder(VersionPiece).decode


def read_chunk(data: bytes) -> ChunkPiece | None:
    """A line or a whole answer; None where it is not valid."""
    return read_piece(_decode_chunk, data)


def read_embedding(body: bytes) -> EmbeddingPiece | None:
    """A whole answer; None where it is not valid."""
    return read_piece(_decode_embedding, body)


def listed_models(body: bytes) -> tuple[str, ...]:
    """Names with their tags, as Ollama sorts them; none if it is no list."""
    listed = read_piece(_decode_models, body)
    return tuple(entry.name for entry in listed.models) if listed else ()


def told_version(body: bytes) -> str | None:
    told = read_piece(_decode_version, body)
    return told.version if told else None
