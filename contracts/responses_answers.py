"""OpenAI's Responses as this gateway answers them, for the published API description.

Shapes only: `gateway.inbound.responses_answer` writes the bytes. Source: the types of the `openai` SDK 3.x.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class ResponseInputDetails(msgspec.Struct, kw_only=True):
    cached_tokens: int
    cache_write_tokens: int


class ResponseOutputDetails(msgspec.Struct, kw_only=True):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, kw_only=True):
    """Inclusive. Details are 0 where the backend did not tell them. `estimated`: it told nothing."""

    input_tokens: int
    input_tokens_details: ResponseInputDetails
    output_tokens: int
    output_tokens_details: ResponseOutputDetails
    total_tokens: int
    estimated: bool | UnsetType = UNSET


class IncompleteDetails(msgspec.Struct, kw_only=True):
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseFailure(msgspec.Struct, kw_only=True):
    code: str
    message: str


class OutputItem(msgspec.Struct, kw_only=True):
    """A `message` with its content, a `function_call`, or `reasoning`. What else is in it depends on that."""

    id: str
    type: Literal["message", "function_call", "reasoning"]
    status: Status


class ResponseObject(msgspec.Struct, kw_only=True):
    """`POST /v1/responses`, not streamed. It repeats what was asked."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Status
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    background: Literal[False]
    store: Literal[False]
    previous_response_id: None
    truncation: Literal["disabled"]
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str | None
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_p: float | None
    user: str | None


class ResponseEvent(msgspec.Struct, kw_only=True):
    """The data of one event of a streamed response; its name is its type. What else is in it depends on that."""

    type: str
    sequence_number: int
