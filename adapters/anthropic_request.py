"""An OpenAI chat request as a request to Anthropic's Messages API. Pure.

Sent under API version 2023-06-01: the later one has no sampling parameters at all. What must stay true: each
member of the client's request travels on, is refused by its name, or is named as dropped; none disappears.
Source: `MessageCreateParams` of the `anthropic` SDK 2.x, Anthropic's documentation of both versions.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from adapters import anthropic_thinking as thinking
from adapters.anthropic_conversation import Turn, answers_without_thinking, conversation
from adapters.chat_request import (
    Effort,
    Members,
    ToolChoice,
    default_limit,
    effort_of,
    messages_of,
    read,
    schema_of,
    stop_of,
    token_limit_of,
)
from adapters.dialect import AttemptContext
from adapters.function_tools import NO_PARAMETERS, FunctionTool, allowed, function_tools
from adapters.request_members import members_of, refuse_many
from adapters.unsupported import Cannot
from contracts.inference import InferRequest

ENGINE = "anthropic"
PASSED_ON = ("top_p", "top_k", "thinking", "cache_control", "inference_geo", "speed")
"""Members that Anthropic knows by the same name: `top_p`, and what is its own."""
MAX_TOKENS = 32_000
"""For a client that named no limit, where Anthropic wants one: the lowest maximum of models since 3.7."""
MAX_TOKENS_OF_OLD = 4096
"""Of Claude 3 and 3.5."""
_encode = msgspec.json.Encoder().encode


def messages_request(infer: InferRequest, attempt: AttemptContext) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of members that were left out.

    Raises InvalidField for what is wrong, UnsupportedParameter for what Anthropic cannot do.
    """
    cannot = Cannot(ENGINE, attempt.unsupported)
    refuse_many(infer, cannot)
    members = members_of(infer, attempt)
    system, turns = conversation(messages_of(members), cannot)
    body: dict[str, Any] = {"model": attempt.upstream_model, "stream": True, "messages": turns}
    if system:
        body["system"] = system
    limit = token_limit_of(members, attempt.max_tokens)
    body["max_tokens"] = limit or _default_limit(attempt)
    body |= {name: raw for name in PASSED_ON if (raw := members.raw(name)) is not None}
    _sampling(members, body, cannot)
    _stop(members, body, cannot)
    _tools(members, body, cannot)
    _output(members, body, turns, attempt.upstream_model, cannot)
    _who(members, body, cannot)
    _tier(members, body, cannot)
    for name in members.left():
        cannot.parameter(name)
    return _encode(body), cannot.dropped


def _default_limit(attempt: AttemptContext) -> int:
    old = thinking.generation(attempt.upstream_model) == "none"
    return default_limit(MAX_TOKENS_OF_OLD if old else MAX_TOKENS, attempt.context)


def _sampling(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    temperature = members.raw("temperature")
    if temperature is None:
        return
    if read(temperature, float, "temperature") > 1:
        cannot.parameter("temperature", "it goes up to 1 there")
    else:
        body["temperature"] = temperature


def _stop(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    stop = stop_of(members)
    if any(not text.strip() for text in stop):
        cannot.parameter("stop", "a stop sequence needs more than white space there")
    if kept := [text for text in stop if text.strip()]:
        body["stop_sequences"] = kept


def _tools(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    tools, choice = function_tools(members, cannot)
    declared = [_tool(tool) for tool in allowed(tools, choice)]
    one_at_a_time = members.read("parallel_tool_calls", bool) is False
    if not declared and choice.mode in ("auto", "none"):
        return
    body["tools"] = declared
    body["tool_choice"] = _choice(choice)
    if one_at_a_time and choice.mode != "none":
        body["tool_choice"]["disable_parallel_tool_use"] = True


def _tool(tool: FunctionTool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters or NO_PARAMETERS}
    if tool.description:
        told["description"] = tool.description
    if tool.strict:
        told["strict"] = True
    if bytes(tool.cache_control) != b"null":
        told["cache_control"] = tool.cache_control
    return told


def _choice(choice: ToolChoice) -> dict[str, Any]:
    match choice.mode:
        case "required":
            return {"type": "any"}
        case "named":
            return {"type": "tool", "name": choice.name}
        case mode:
            return {"type": mode}


def _output(
    members: Members, body: dict[str, Any], turns: list[Turn], model: str, cannot: Cannot
) -> None:
    """What the answer should look like, and how much is to be thought about it."""
    config: dict[str, Any] = {}
    schema = schema_of(members)
    if schema == "any_json":
        cannot.parameter("response_format", "it has no JSON without a schema")
    elif schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    effort = effort_of(members)
    if effort == "none":
        body.setdefault("thinking", {"type": "disabled"})
    elif effort is not None:
        why = _think(effort, body, config, turns, model)
        if why:
            cannot.parameter("reasoning_effort", why)
    if config:
        body["output_config"] = config
    _settled_by_thinking(body, cannot)


def _think(
    effort: Effort, body: dict[str, Any], config: dict[str, Any], turns: list[Turn], model: str
) -> str:
    """Ask for `effort`. Returns why it cannot be done, or "" when it is."""
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    match thinking.generation(model):
        case "none":
            return "this model does not reason"
        case "adaptive":
            config["effort"] = thinking.effort_word(effort)
            if not forced:  # an effort counts without thinking, too
                body.setdefault("thinking", thinking.adaptive())
        case "budget":
            if forced:
                return "this model cannot reason where tool_choice demands a call"
            if answers_without_thinking(turns):
                return "this model cannot go on reasoning without the reasoning_details it gave"
            budget = thinking.budget(effort, body["max_tokens"])
            if budget is None:
                return "this model needs a limit of 2048 tokens or more to reason"
            body.setdefault("thinking", budget)
    return ""


def _settled_by_thinking(body: dict[str, Any], cannot: Cannot) -> None:
    """A model that thinks is sampled in one way only."""
    asked = body.get("thinking")
    if not isinstance(asked, Mapping) or asked["type"] == "disabled":
        return
    temperature = body.get("temperature")
    if temperature is not None and read(temperature, float, "temperature") != 1:
        cannot.parameter("temperature", "a model that reasons takes no other than 1 there")
        del body["temperature"]
    if "top_k" in body:
        cannot.parameter("top_k", "a model that reasons takes none there")
        del body["top_k"]


def _who(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    """`metadata` is notes about a stored answer at OpenAI, and here the end user alone."""
    notes = members.read("metadata", dict[str, Raw]) or {}
    user = members.read("user", str)
    user = members.read("safety_identifier", str) or user
    told = notes.pop("user_id", None)
    if notes:
        cannot.parameter("metadata", "of it only user_id is known there")
    if user or told is not None:
        body["metadata"] = {"user_id": user or told}


def _tier(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    match members.read("service_tier", str):
        case "default" | "standard_only":
            body["service_tier"] = "standard_only"
        case None | "auto":
            pass
        case _:
            cannot.parameter("service_tier", "it is auto or default there")
