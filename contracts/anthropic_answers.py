"""Anthropic's answers as this gateway sends them, for the published API description.

Shapes only: `gateway.inbound.messages_answer` writes the bytes. Source: the types of the `anthropic` SDK 2.x.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from contracts.errors import ErrorBody


class ThinkingTokens(msgspec.Struct, kw_only=True):
    thinking_tokens: int


class MessageUsage(msgspec.Struct, kw_only=True):
    """`input_tokens` are those that no cache knew; what is not known is left out. `estimated`: the backend told
    nothing. In `message_start`, `input_tokens` is an estimate always: `message_delta` has the count."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | UnsetType = UNSET
    cache_creation_input_tokens: int | UnsetType = UNSET
    output_tokens_details: ThinkingTokens | UnsetType = UNSET
    estimated: bool | UnsetType = UNSET


class AnswerText(msgspec.Struct, tag_field="type", tag="text", kw_only=True):
    text: str


class AnswerThinking(msgspec.Struct, tag_field="type", tag="thinking", kw_only=True):
    """`signature` is empty where the model is none of Anthropic's."""

    thinking: str
    signature: str


class AnswerRedactedThinking(
    msgspec.Struct, tag_field="type", tag="redacted_thinking", kw_only=True
):
    data: str


class AnswerToolUse(msgspec.Struct, tag_field="type", tag="tool_use", kw_only=True):
    id: str
    name: str
    input: dict[str, Any]


AnswerBlock = AnswerText | AnswerThinking | AnswerRedactedThinking | AnswerToolUse


class StopDetails(msgspec.Struct, kw_only=True):
    type: Literal["refusal"]
    category: None
    explanation: str | None


class AnthropicMessage(msgspec.Struct, kw_only=True):
    """`POST /v1/messages`, not streamed. `stop_sequence` where the backend tells which one it was; where it does
    not, an answer that ended at one ends as `end_turn`."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnswerBlock]
    stop_reason: str | None
    stop_sequence: str | None
    stop_details: StopDetails | UnsetType | None = UNSET
    usage: MessageUsage


class MessageEvent(msgspec.Struct, kw_only=True):
    """The data of one event of a streamed message; its name is its type. What else is in it depends on that."""

    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    ]


class AnthropicError(msgspec.Struct, kw_only=True):
    """The body of every 4xx and 5xx under `/v1/messages`, and the data of an `error` event."""

    type: Literal["error"]
    error: ErrorBody
    request_id: str
