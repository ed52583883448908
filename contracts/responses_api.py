"""OpenAI's Responses requests, as far as they can be said as a chat and need nothing to be stored.

What the Structs do not name is left out; what they name is checked. Built-in tools, stored conversations and
files by id are not here, and so are wrong. Source: `ResponseCreateParams` of the `openai` SDK 3.x.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from contracts.openai_api import Probability, Tokens

FUNCTION = "function"
"""The one type of tool."""
_ToolType = Annotated[str, Meta(extra_json_schema={"enum": [FUNCTION]})]


class _Typed(msgspec.Struct, tag_field="type", kw_only=True):
    """Told from its siblings by `type`."""


# -- what the input is made of ------------------------------------------------------------


class InputText(_Typed, tag="input_text"):
    text: str


class OutputText(_Typed, tag="output_text"):
    text: str


class OutputRefusal(_Typed, tag="refusal"):
    refusal: str


class InputImage(_Typed, tag="input_image"):
    image_url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class InputFile(_Typed, tag="input_file"):
    file_data: str
    filename: str | None = None


InputPart = InputText | OutputText | OutputRefusal | InputImage | InputFile


class FunctionCallItem(_Typed, tag="function_call"):
    call_id: str
    name: Annotated[str, Meta(min_length=1)]
    arguments: str


class FunctionCallOutput(_Typed, tag="function_call_output"):
    call_id: str
    output: str | list[InputText | InputImage | InputFile]


class ReasoningItem(_Typed, tag="reasoning"):
    """What the model thought before. Taken, and not shown to it again."""


class MessageItem(_Typed, tag="message"):
    """A message of anybody's. An item without a type is one as well."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputPart]


InputItem = MessageItem | FunctionCallItem | FunctionCallOutput | ReasoningItem

# -- tools, output ------------------------------------------------------------------------


class FunctionTool(msgspec.Struct, kw_only=True):
    type: _ToolType
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None


class ToolName(_Typed, tag="function"):
    name: str


class AllowedTools(_Typed, tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[ToolName]


class PlainText(_Typed, tag="text"):
    pass


class AnyJson(_Typed, tag="json_object"):
    pass


class SchemaJson(_Typed, tag="json_schema"):
    name: str
    schema: dict[str, Raw]
    description: str | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, kw_only=True):
    format: PlainText | AnyJson | SchemaJson | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningConfig(msgspec.Struct, kw_only=True):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


_SAYS_SOMETHING = {"contains": {"properties": {"type": {"not": {"const": "reasoning"}}}}}
"""Reasoning alone asks for nothing."""


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/responses`."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | Annotated[list[InputItem], Meta(min_length=1, extra_json_schema=_SAYS_SOMETHING)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolName | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    store: Annotated[bool | None, Meta(extra_json_schema={"enum": [False, None]})] = None
    background: Annotated[bool | None, Meta(extra_json_schema={"enum": [False, None]})] = None
    truncation: Annotated[str | None, Meta(extra_json_schema={"enum": ["disabled", None]})] = None
