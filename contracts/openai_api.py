"""OpenAI's requests, as far as the gateway routes on them or knows them to be wrong.

Tolerant: unknown members are not looked at here and travel on byte for byte. What is named here is
checked, with OpenAI's own bounds. What a request has no word for, and others have, is a class variable: it is
never read from a body, and whoever asks need not know which request it is. Source: the OpenAI API reference.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw

Probability = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Tokens = Annotated[int, Meta(ge=1, le=2**31)]
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class StreamOptions(msgspec.Struct):
    """`stream_options` of a streamed request."""

    include_usage: bool | None = None


class Message(msgspec.Struct):
    """One message. Its content travels on as it is."""

    role: Role
    content: str | list[Any] | None = None


class Sampling(msgspec.Struct, kw_only=True):
    """Members that chat and text completions share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None


class ChatRequest(Sampling, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Tokens | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class CompletionRequest(Sampling, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[Any]

    messages: ClassVar[tuple[()]] = ()
    tools: ClassVar[None] = None


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/embeddings`."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | list[Any]
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None

    messages: ClassVar[tuple[()]] = ()
    tools: ClassVar[None] = None
    stream: ClassVar[None] = None
    stream_options: ClassVar[None] = None
    n: ClassVar[None] = None


class ModelEntry(msgspec.Struct, kw_only=True):
    """One model of `GET /v1/models`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    context: int | None = None
    """Tokens, where known. Not OpenAI's."""


class ModelList(msgspec.Struct, kw_only=True):
    """`GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


Members = dict[str, Raw]
