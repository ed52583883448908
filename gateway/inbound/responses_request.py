"""A body of `POST /v1/responses` to the chat that it asks for.

Pure. What must stay true: nothing is stored, so what needs that is refused by name; each other member is told in
the chat, only repeated in the answer, or named as left out. Wrong input is a ClientFault.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from contracts.errors import ClientFault, InvalidField
from contracts.inference import InferRequest
from contracts.openai_api import Members
from contracts.responses_api import (
    FUNCTION,
    AllowedTools,
    AnyJson,
    FunctionTool,
    PlainText,
    ReasoningItem,
    ResponsesRequest,
    SchemaJson,
    ToolName,
)
from gateway.inbound.origins import Origins, Place
from gateway.inbound.own_tools import refuse_own_tools
from gateway.inbound.responses_conversation import chat_messages
from gateway.inbound.untold import fit_for_a_header, given, refuse, untold
from gateway.intake import checked, read_members, read_request, whole_numbers

_STATELESS = "nothing is stored here: send the whole conversation as input"
REFUSED = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "prompt": "nothing is stored here: send its text as instructions",
}
SAME_NAMES = ("stream", "temperature", "top_p", "user", "safety_identifier", "prompt_cache_key")
"""Members that mean the same in a chat."""
_MEMBERS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "tool_choice.function": "tool_choice",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
}
"""What members of the chat are called here."""
QUIET = frozenset(
    {
        "stream_options",
        "input.id",
        "input.status",
        "input.summary",
        "input.content",
        "input.encrypted_content",
        "input.content.annotations",
        "input.content.logprobs",
    }
)
"""Members that ask for what happens anyway, and those of earlier output that are no words of it."""
ASKS_NOTHING = {"include": Raw(b"[]"), "top_logprobs": Raw(b"0")}
"""Values that are what happens anyway."""
REPEATED = (
    "instructions",
    "max_output_tokens",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "temperature",
    "top_p",
    "user",
)
"""Members that the answer tells as they came, or as null."""
_DEFAULTS: dict[str, Any] = {
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
}
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(ResponsesRequest)


def read_responses(
    body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]
) -> tuple[InferRequest, dict[str, Any], Origins]:
    """The chat, the members that the answer repeats, and which of it came from where. Raises InvalidJson, or ClientFault with `param`."""
    members = given(read_members(body))
    body = _prepared(members)
    asked = _checked(body)
    chat, places = _chat(asked, members)
    origins = Origins(members=_MEMBERS, messages=places)
    try:
        infer = read_request(_encode(chat), "chat", request_id=request_id, key=key, headers=headers)
    except ClientFault as exc:
        raise origins.corrected(exc) from exc.__cause__
    quiet = QUIET.union(n for n, value in ASKS_NOTHING.items() if members.get(n) == value)
    left_out = [name for name in untold(body, asked) if name not in quiet]
    if not asked.tools and asked.tool_choice not in (None, "none", "auto"):
        left_out.append("tool_choice")
    if asked.truncation not in (None, "disabled"):
        left_out.append("truncation")
    if asked.reasoning and asked.reasoning.summary:
        left_out.append("reasoning.summary")
    repeated = {name: members.get(name) for name in REPEATED}
    repeated |= {name: members.get(name, value) for name, value in _DEFAULTS.items()}
    infer = msgspec.structs.replace(infer, untold=fit_for_a_header(left_out))
    return infer, repeated, origins


def _prepared(members: Members) -> bytes:
    """The body as it is to be read. Raises what nobody can do without OpenAI's own servers."""
    for name, why in REFUSED.items():
        if name in members:
            raise refuse(name, why)
    members |= whole_numbers(members)
    if "input" in members:
        members["input"] = _with_types(members["input"])
    refuse_own_tools(members.get("tools"), (None, FUNCTION), "OpenAI's")
    return _encode(members)


def _checked(body: bytes) -> ResponsesRequest:
    asked = checked(_decoder, body)
    if asked.store:
        raise refuse("store", _STATELESS)
    if asked.background:
        raise refuse("background", "submit a task instead: POST /v1/tasks")
    return asked


def _with_types(items: Raw) -> Raw:
    """Items as they are, but messages with the type that clients may leave out."""
    try:
        listed = msgspec.json.decode(items, type=list[dict[str, Raw]])
    except (msgspec.MsgspecError, RecursionError):
        return items
    message = Raw(b'"message"')
    return Raw(_encode([i if "type" in i else {"type": message, **i} for i in listed]))


def _chat(asked: ResponsesRequest, members: Members) -> tuple[dict[str, Any], list[Place]]:
    """The chat, and where its messages came from."""
    messages, places = chat_messages(asked.instructions, asked.input)
    chat: dict[str, Any] = {"model": asked.model, "messages": messages}
    if isinstance(asked.input, list) and all(isinstance(i, ReasoningItem) for i in asked.input):
        raise InvalidField("input: there is no message in it", param="input")
    chat |= {name: members[name] for name in SAME_NAMES if name in members}
    if asked.max_output_tokens is not None:
        chat["max_completion_tokens"] = asked.max_output_tokens
    if asked.service_tier not in (None, "auto"):
        chat["service_tier"] = asked.service_tier
    if asked.reasoning and asked.reasoning.effort:
        chat["reasoning_effort"] = asked.reasoning.effort
    if asked.text is not None:
        chat |= _format(asked.text.format)
        if asked.text.verbosity not in (None, "medium"):
            chat["verbosity"] = asked.text.verbosity
    if asked.tools:
        chat["tools"] = [_tool(tool) for tool in asked.tools]
        chat |= _tool_choice(asked)
    return chat, places


def _format(wanted: PlainText | AnyJson | SchemaJson | None) -> dict[str, Any]:
    match wanted:
        case AnyJson():
            return {"response_format": {"type": "json_object"}}
        case SchemaJson():
            named: dict[str, Any] = {"name": wanted.name, "schema": wanted.schema}
            if wanted.description is not None:
                named["description"] = wanted.description
            if wanted.strict is not None:
                named["strict"] = wanted.strict
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case _:
            return {}


def _tool(tool: FunctionTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    for name in ("description", "parameters", "strict"):
        if (value := getattr(tool, name)) is not None:
            function[name] = value
    return {"type": "function", "function": function}


def _tool_choice(asked: ResponsesRequest) -> dict[str, Any]:
    told: dict[str, Any] = {}
    match asked.tool_choice:
        case "none" | "auto" | "required":
            told["tool_choice"] = asked.tool_choice
        case ToolName(name=name):
            told["tool_choice"] = {"type": "function", "function": {"name": name}}
        case AllowedTools(mode=mode, tools=tools):
            listed = [{"type": "function", "function": {"name": tool.name}} for tool in tools]
            allowed = {"mode": mode, "tools": listed}
            told["tool_choice"] = {"type": "allowed_tools", "allowed_tools": allowed}
    if asked.parallel_tool_calls is not None:
        told["parallel_tool_calls"] = asked.parallel_tool_calls
    return told
