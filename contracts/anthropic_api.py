"""Anthropic's Messages requests, as far as they can be said as a chat to any backend.

What the Structs do not name is left out of such a chat; what they name is checked. Types that only Anthropic's
own servers can carry out (server tools, files that are stored there) are not here, and so are wrong.
Source: `MessageCreateParams` of the `anthropic` SDK 2.x; sampling parameters as in API version 2023-06-01.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from contracts.openai_api import Tokens

Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
CUSTOM = "custom"
"""The type of a tool that the client carries out by itself, and of one without a type."""


class _Typed(msgspec.Struct, tag_field="type", kw_only=True):
    """Told from its siblings by `type`."""


# -- what messages are made of ------------------------------------------------------------


class TextBlock(_Typed, tag="text"):
    text: str


class Base64Source(_Typed, tag="base64"):
    media_type: str
    data: str


class UrlSource(_Typed, tag="url"):
    url: str


class ImageBlock(_Typed, tag="image"):
    source: Base64Source | UrlSource


class TextSource(_Typed, tag="text"):
    data: str


class ContentSource(_Typed, tag="content"):
    content: str | list[TextBlock | ImageBlock]


class DocumentBlock(_Typed, tag="document"):
    """`citations` are not made."""

    source: Base64Source | TextSource | ContentSource
    title: str | None = None
    context: str | None = None


class SearchResultBlock(_Typed, tag="search_result"):
    source: str
    title: str
    content: list[TextBlock]


class ToolResultBlock(_Typed, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | ImageBlock | DocumentBlock | SearchResultBlock] | None = None
    is_error: bool | None = None


class ThinkingBlock(_Typed, tag="thinking"):
    """What the model thought before. Only Anthropic's own models are shown it again."""

    thinking: str
    signature: str = ""


class RedactedThinkingBlock(_Typed, tag="redacted_thinking"):
    data: str


class ToolUseBlock(_Typed, tag="tool_use"):
    id: str
    name: Name
    input: dict[str, Raw]


UserBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolResultBlock
AssistantBlock = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock


class _Turn(msgspec.Struct, tag_field="role", kw_only=True):
    """Told from its siblings by `role`."""


class UserTurn(_Turn, tag="user"):
    content: str | list[UserBlock]


class AssistantTurn(_Turn, tag="assistant"):
    content: str | list[AssistantBlock]


class SystemTurn(_Turn, tag="system"):
    content: str | list[TextBlock]


Turn = UserTurn | AssistantTurn | SystemTurn

# -- tools, thinking, output --------------------------------------------------------------


class MessagesTool(msgspec.Struct, kw_only=True):
    """A tool that the client carries out."""

    name: Name
    input_schema: dict[str, Raw]
    description: str | None = None
    strict: bool | None = None
    type: Annotated[str | None, Meta(extra_json_schema={"enum": [CUSTOM, None]})] = None


class AutoChoice(_Typed, tag="auto"):
    disable_parallel_tool_use: bool | None = None


class AnyChoice(_Typed, tag="any"):
    disable_parallel_tool_use: bool | None = None


class NamedChoice(_Typed, tag="tool"):
    name: Name
    disable_parallel_tool_use: bool | None = None


class NoChoice(_Typed, tag="none"):
    pass


MessagesToolChoice = AutoChoice | AnyChoice | NamedChoice | NoChoice


class ThinkingEnabled(_Typed, tag="enabled"):
    """Any spelling of the number will do: 2048.0 is one."""

    budget_tokens: Annotated[float, Meta(ge=1024)]


class ThinkingAdaptive(_Typed, tag="adaptive"):
    pass


class ThinkingBetweenTools(_Typed, tag="between_tools"):
    pass


class ThinkingDisabled(_Typed, tag="disabled"):
    pass


Thinking = ThinkingEnabled | ThinkingAdaptive | ThinkingBetweenTools | ThinkingDisabled


class JsonOutput(_Typed, tag="json_schema"):
    schema: dict[str, Raw]


class OutputConfig(msgspec.Struct, kw_only=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonOutput | None = None


class MessagesMetadata(msgspec.Struct, kw_only=True):
    user_id: str | None = None


# -- the requests -------------------------------------------------------------------------


class TokenCountRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/messages/count_tokens`."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: MessagesToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(TokenCountRequest, kw_only=True):
    """`POST /v1/messages`."""

    max_tokens: Tokens
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    metadata: MessagesMetadata | None = None


class TokenCountAnswer(msgspec.Struct, kw_only=True):
    """How long a prompt is. The header `x-setpoint-tokens-estimated` says whether anybody counted."""

    input_tokens: int
