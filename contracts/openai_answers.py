"""OpenAI's answers as this gateway sends them, for the published API description.

Shapes only: `gateway.answers` writes the bytes, one token at a time, without building these. A test
holds the two together. Where a backend adds members of its own they travel on, so every object is open.
Source: the OpenAI API reference.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class PromptTokensDetails(msgspec.Struct, kw_only=True):
    """`cache_write_tokens` were put into the backend's cache, where it tells so."""

    cached_tokens: int
    cache_write_tokens: int | UnsetType = UNSET


class CompletionTokensDetails(msgspec.Struct, kw_only=True):
    reasoning_tokens: int


class TokenUsage(msgspec.Struct, kw_only=True):
    """Token counts, inclusive; details only where the backend told them. `estimated`: it told nothing.

    `cost` is in USD, in a stream's usage chunk only, and only where it is known.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET
    estimated: bool | UnsetType = UNSET
    cost: float | UnsetType = UNSET


class FunctionCall(msgspec.Struct, kw_only=True):
    """`arguments` is JSON as the model wrote it."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class AnswerMessage(msgspec.Struct, kw_only=True):
    """Reasoning comes under one of two names, which the configuration chooses."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct, kw_only=True):
    index: int
    message: AnswerMessage
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class Answer(msgspec.Struct, kw_only=True):
    """What every generated answer carries; in a stream, the same in all of its chunks."""

    id: str
    created: int
    model: str
    system_fingerprint: str | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET


class ChatCompletion(Answer, kw_only=True):
    """`POST /v1/chat/completions`, not streamed."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: TokenUsage | UnsetType = UNSET


class FunctionCallPiece(msgspec.Struct, kw_only=True):
    name: str | UnsetType = UNSET
    arguments: str


class ToolCallPiece(msgspec.Struct, kw_only=True):
    """`index` counts from 0 and never changes its meaning; id, type and name come once."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionCallPiece


class ChunkDelta(msgspec.Struct, kw_only=True):
    """The role comes first; with the finish reason it is empty."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallPiece] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, kw_only=True):
    """`finish_reason` is set exactly once a choice."""

    index: int
    delta: ChunkDelta
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class ChatCompletionChunk(Answer, kw_only=True):
    """The data of one event of a streamed chat. Usage comes once, in a chunk without choices, and
    only if `stream_options.include_usage` asked for it."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    usage: TokenUsage | UnsetType | None = UNSET


class TextChoice(msgspec.Struct, kw_only=True):
    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class Completion(Answer, kw_only=True):
    """`POST /v1/completions`: the whole answer, or the data of one event of a stream."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: TokenUsage | UnsetType | None = UNSET


class Embedding(msgspec.Struct, kw_only=True):
    """`embedding` is text where base64 was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, kw_only=True):
    """`POST /v1/embeddings`: the backend's answer, under the model name that the client knows."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage | UnsetType = UNSET
