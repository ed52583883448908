"""A body of `POST /v1/messages`, or of its `count_tokens`, to the chat that it asks for.

Pure. What must stay true: each member is told in the chat, is refused by its name, or is named as left out;
Anthropic itself, where it is the backend, gets what the client wrote. Wrong input is a ClientFault.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from contracts.anthropic_api import (
    CUSTOM,
    AnyChoice,
    AutoChoice,
    MessagesRequest,
    MessagesTool,
    MessagesToolChoice,
    NamedChoice,
    NoChoice,
    OutputConfig,
    Thinking,
    ThinkingDisabled,
    ThinkingEnabled,
    TokenCountRequest,
)
from contracts.errors import ClientFault
from contracts.inference import InferRequest
from contracts.openai_api import Members
from gateway.inbound.messages_conversation import chat_messages
from gateway.inbound.origins import Origins, Place
from gateway.inbound.own_tools import refuse_own_tools
from gateway.inbound.untold import fit_for_a_header, given, refuse, untold
from gateway.intake import SESSION_MAX_CHARS, checked, read_members, read_request, whole_numbers

T = TypeVar("T", bound=TokenCountRequest)
ENGINE = "anthropic"
REFUSED = {
    "container": "nothing is carried out here",
    "mcp_servers": "nothing is carried out here: connect the client to them",
    "output_format": "say it as output_config.format",
}
SAME_NAMES = ("temperature", "top_p", "top_k", "stream")
"""Members that mean the same in a chat."""
_MEMBERS = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "tool_choice.function": "tool_choice",
    "response_format.json_schema": "output_config.format",
    "response_format": "output_config.format",
}
_FUNCTIONS = {"parameters": "input_schema"}
"""What members of the chat, and of a tool's function, are called here."""
HINT = ".cache_control"
"""Within other members an answer is the same without it."""
_LOW_BELOW, _MEDIUM_BELOW = 4096, 16_384
"""Tokens of a thinking budget, as the words that a chat has for it."""
_SESSION = re.compile(r'_session_([\w-]+)\Z|"session_id"\s*:\s*"([^"]+)"')
"""How Claude Code names its session within `metadata.user_id`."""
_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(MessagesRequest)
_count = msgspec.json.Decoder(TokenCountRequest)


def read_messages(
    body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]
) -> tuple[InferRequest, MessagesRequest, Origins]:
    """The chat, what was asked, and which of it became what. Raises InvalidJson, or ClientFault with `param`."""
    members, asked = _read(body, _messages)
    left_out = [name for name in untold(body, asked) if not name.endswith(HINT)]
    if not asked.tools and isinstance(asked.tool_choice, AnyChoice | NamedChoice):
        left_out.append("tool_choice")
    chat, origins = _chat(asked)
    chat["max_completion_tokens"] = asked.max_tokens
    chat |= {name: members[name] for name in SAME_NAMES if name in members}
    if asked.stop_sequences:
        chat["stop"] = asked.stop_sequences
    user = asked.metadata.user_id if asked.metadata else None
    if user:
        chat["user"] = user
    infer = _infer(chat, origins, request_id, key, headers)
    infer = msgspec.structs.replace(
        infer, native={ENGINE: members}, untold=fit_for_a_header(left_out)
    )
    return _in_session(infer, user), asked, origins


def read_count(
    body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]
) -> InferRequest:
    """The chat whose prompt is to be counted. Raises as `read_messages`."""
    _, asked = _read(body, _count)
    return _infer(*_chat(asked), request_id, key, headers)


def _read(body: bytes, decoder: msgspec.json.Decoder[T]) -> tuple[Members, T]:
    members = given(read_members(body))
    for name, why in REFUSED.items():
        if name in members:
            raise refuse(name, why)
    if spelled := whole_numbers(members):
        members |= spelled
        body = _encode(members)
    refuse_own_tools(members.get("tools"), (None, CUSTOM), "Anthropic's")
    return members, checked(decoder, body)


def _infer(
    chat: dict[str, Any],
    origins: Origins,
    request_id: str,
    key: str,
    headers: Mapping[str, str],
) -> InferRequest:
    try:
        return read_request(_encode(chat), "chat", request_id=request_id, key=key, headers=headers)
    except ClientFault as exc:
        raise origins.corrected(exc) from exc.__cause__


def _origins(places: list[Place], asked: TokenCountRequest) -> Origins:
    config = asked.output_config or OutputConfig()
    disabled = isinstance(asked.thinking, ThinkingDisabled)
    thinks = disabled or config.effort is None
    effort = "thinking" if thinks else "output_config.effort"
    return Origins(
        members={**_MEMBERS, "reasoning_effort": effort}, functions=_FUNCTIONS, messages=places
    )


def _chat(asked: TokenCountRequest) -> tuple[dict[str, Any], Origins]:
    """The members that both requests have, and where they came from."""
    messages, places = chat_messages(asked.system, asked.messages)
    chat: dict[str, Any] = {"model": asked.model, "messages": messages}
    if asked.tools:
        chat["tools"] = [_tool(tool) for tool in asked.tools]
        chat |= _tool_choice(asked.tool_choice)
    config = asked.output_config or OutputConfig()
    if config.format is not None:
        schema = {"name": "answer", "schema": config.format.schema, "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    effort = _effort(asked.thinking, config)
    if effort is not None:
        chat["reasoning_effort"] = effort
    return chat, _origins(places, asked)


def _tool(tool: MessagesTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: MessagesToolChoice | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    match choice:
        case AutoChoice():
            told["tool_choice"] = "auto"
        case AnyChoice():
            told["tool_choice"] = "required"
        case NamedChoice():
            told["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        case NoChoice():
            return {"tool_choice": "none"}
        case None:
            return {}
    if choice.disable_parallel_tool_use:
        told["parallel_tool_calls"] = False
    return told


def _effort(thinking: Thinking | None, config: OutputConfig) -> str | None:
    """How much is to be thought. Who leaves it to the model (`adaptive`) has asked for nothing."""
    if isinstance(thinking, ThinkingDisabled):
        return "none"
    if config.effort is not None or not isinstance(thinking, ThinkingEnabled):
        return config.effort
    budget = thinking.budget_tokens
    return "low" if budget < _LOW_BELOW else "medium" if budget < _MEDIUM_BELOW else "high"


def _in_session(infer: InferRequest, user: str | None) -> InferRequest:
    """Coding agents say which of their sessions a request belongs to: what their prompts begin with is in some
    cache."""
    found = _SESSION.search(user or "")
    if infer.facts.session or found is None:
        return infer
    session = (found[1] or found[2])[:SESSION_MAX_CHARS]
    facts = msgspec.structs.replace(infer.facts, session=session)
    return msgspec.structs.replace(infer, facts=facts)
