"""Anthropic's answer objects as they are read: every member optional, unknown ones passed over.

Source: the types of the `anthropic` SDK 2.x and recorded streams. Only for reading.
"""

from typing import Any

import msgspec
from msgspec import Raw

from adapters.openai_wire import NULL
from adapters.wire_json import read_piece


class OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class UsagePiece(msgspec.Struct):
    """Cumulative. `input_tokens` are those neither read from the cache nor written to it."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None
    service_tier: str | None = None


class BlockPiece(msgspec.Struct):
    """A content block, as it begins in a stream or as it is whole in a document."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None


class StopDetails(msgspec.Struct):
    explanation: str | None = None


class DeltaPiece(msgspec.Struct):
    """`delta` of a content block or of the message."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class MessagePiece(msgspec.Struct):
    """A message: the head of a stream, or a whole answer."""

    type: str | None = None
    content: list[BlockPiece] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: UsagePiece | None = None
    error: Raw = NULL


class EventPiece(msgspec.Struct):
    """One event of a stream."""

    type: str | None = None
    index: int | None = None
    message: MessagePiece | None = None
    content_block: BlockPiece | None = None
    delta: DeltaPiece | None = None
    usage: UsagePiece | None = None
    error: Raw = NULL
    """Where servers that only look alike put an error."""


class ErrorDetails(msgspec.Struct):
    error_code: str | None = None


class ErrorObject(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    details: ErrorDetails | None = None


class ErrorEnvelope(msgspec.Struct):
    """`{"type": "error", "error": {...}}`: the body of an error answer, and an error event's data."""

    error: ErrorObject | None = None


_decode_event = msgspec.json.Decoder(EventPiece).decode
_decode_message = msgspec.json.Decoder(MessagePiece).decode
_decode_error = msgspec.json.Decoder(ErrorEnvelope).decode


def read_event(data: bytes) -> EventPiece | None:
    """An event's data, or None where it is not valid."""
    return read_piece(_decode_event, data)


def read_message(body: bytes) -> MessagePiece | None:
    """A whole answer, or None where it is not valid."""
    return read_piece(_decode_message, body)


def read_anthropic_error(body: bytes | Raw) -> ErrorObject | None:
    """The error in `body`; None where it is none of Anthropic's."""
    told = read_piece(_decode_error, body)
    return told.error if told else None
