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
    Tool,
    ToolChoice,
    effort_of,
    messages_of,
    read,
    schema_of,
    stop_of,
    token_limit_of,
    tool_choice_of,
    tools_of,
)
from adapters.dialect import AttemptContext
from adapters.unsupported import Cannot
from contracts.inference import InferRequest

ENGINE = "anthropic"
OUR_OWN = ("model", "stream", "stream_options", "n")
"""Members that are not the client's to send on: decided here, or judged by `facts`."""
PASSED_ON = ("top_p", "top_k", "thinking", "cache_control", "inference_geo", "speed")
"""Members that Anthropic knows by the same name: `top_p`, and what is its own."""
ASKS_NOTHING: dict[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "store": False,
    "modalities": ["text"],
    "functions": [],
}
"""Values that are what happens anyway."""
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
    if infer.facts.n > 1:
        cannot.refuse("n", "it gives one answer to a request")
    given = {n: v for n, v in {**infer.members, **attempt.overrides}.items() if n not in OUR_OWN}
    members = Members(given, ASKS_NOTHING)
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
    limit = MAX_TOKENS_OF_OLD if old else MAX_TOKENS
    # Where the whole context is small, half of it is for the prompt.
    return limit if attempt.context is None else max(1, min(limit, attempt.context // 2))


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
    tools = tools_of(members)
    choice = tool_choice_of(members, tools) or ToolChoice(mode="auto")
    declared = [_tool(tool, number, cannot) for number, tool in enumerate(tools)]
    if choice.allowed is not None:
        declared = [tool for tool in declared if tool["name"] in choice.allowed]
    one_at_a_time = members.read("parallel_tool_calls", bool) is False
    if not declared and choice.mode in ("auto", "none"):
        return
    body["tools"] = declared
    body["tool_choice"] = _choice(choice)
    if one_at_a_time and choice.mode != "none":
        body["tool_choice"]["disable_parallel_tool_use"] = True


def _tool(tool: Tool, number: int, cannot: Cannot) -> dict[str, Any]:
    function = tool.function
    if tool.type != "function" or function is None:
        cannot.refuse(f"tools[{number}].type", "it knows functions only")
    empty = bytes(function.parameters) == b"null"
    told: dict[str, Any] = {
        "name": function.name,
        "input_schema": {"type": "object", "properties": {}} if empty else function.parameters,
    }
    if function.description:
        told["description"] = function.description
    if function.strict:
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
