"""An OpenAI chat request as a request to Gemini's `streamGenerateContent`. Pure.

What must stay true: each member of the client's request travels on, is refused by its name, or is named as
dropped; none disappears. Source: the types of the `google-genai` SDK 3.x and what it sends, recorded requests,
Google's notes on its OpenAI-compatible endpoint.
"""

from typing import Any

import msgspec
from msgspec import Raw

from adapters.chat_request import (
    Members,
    effort_of,
    messages_of,
    read,
    schema_of,
    stop_of,
    token_limit_of,
)
from adapters.dialect import AttemptContext
from adapters.function_tools import FunctionTool, function_tools
from adapters.gemini_conversation import conversation
from adapters.gemini_schema import translated
from adapters.gemini_thinking import CannotThink, thinking_config
from adapters.request_members import members_of
from adapters.unsupported import Cannot
from contracts.inference import InferRequest

ENGINE = "gemini"
SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
"""Numbers that mean the same at Gemini, by their names there. `top_k` is Gemini's own."""
PASSED_ON = {
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
}
"""Members that are Gemini's own, by the names of Google's SDK for Python."""
TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
MAX_SEED = 2**31 - 1
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_encode = msgspec.json.Encoder().encode


def generate_request(infer: InferRequest, attempt: AttemptContext) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of members that were left out.

    Raises InvalidField for what is wrong, UnsupportedParameter for what Gemini cannot do.
    """
    cannot = Cannot(ENGINE, attempt.unsupported)
    members = members_of(infer, attempt)
    system, turns = conversation(messages_of(members), cannot)
    body: dict[str, Any] = {"contents": turns}
    if system:
        body["systemInstruction"] = {"parts": system}
    _tools(members, body, cannot)
    config: dict[str, Any] = {}
    if infer.facts.n > 1:
        config["candidateCount"] = infer.facts.n
    limit = token_limit_of(members, attempt.max_tokens)
    if limit is not None:
        config["maxOutputTokens"] = limit
    config |= {told: raw for n, told in SAMPLING.items() if (raw := members.raw(n)) is not None}
    if stop := stop_of(members):
        config["stopSequences"] = stop
    _seed(members, config, cannot)
    _logprobs(members, config)
    _format(members, config, cannot)
    _thinking(members, config, attempt.upstream_model, cannot)
    if config:
        body["generationConfig"] = config
    _tier(members, body, cannot)
    body |= {told: raw for n, told in PASSED_ON.items() if (raw := members.raw(n)) is not None}
    for name in members.left():
        cannot.parameter(name)
    return _encode(body), cannot.dropped


def _tools(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    tools, choice = function_tools(members, cannot)
    declared = [_tool(tool, number, cannot) for number, tool in enumerate(tools)]
    if not declared:
        return
    body["tools"] = [{"functionDeclarations": declared}]
    strict = any(tool.strict for tool in tools)
    mode = "VALIDATED" if strict and choice.mode == "auto" else _MODES[choice.mode]
    config: dict[str, Any] = {"mode": mode}
    if choice.mode == "named":
        config["allowedFunctionNames"] = [choice.name]
    elif choice.allowed is not None and choice.mode == "auto":
        # With AUTO a list of names is refused: only those are declared.
        kept = [tool for tool in declared if tool["name"] in choice.allowed]
        body["tools"] = [{"functionDeclarations": kept}]
    elif choice.allowed is not None:
        config["allowedFunctionNames"] = sorted(choice.allowed)
    body["toolConfig"] = {"functionCallingConfig": config}


def _tool(tool: FunctionTool, number: int, cannot: Cannot) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tool.name}
    if tool.description:
        told["description"] = tool.description
    if tool.parameters is not None:

        def unenforced(word: str) -> None:
            if tool.strict:  # otherwise nobody promises that arguments fit
                cannot.parameter(f"tools.{word}", "it does not enforce this part of a schema")

        name = f"tools[{number}].function.parameters"
        told["parametersJsonSchema"] = translated(tool.parameters, name, unenforced)
    return told


def _seed(members: Members, config: dict[str, Any], cannot: Cannot) -> None:
    seed = members.raw("seed")
    if seed is None:
        return
    if abs(read(seed, int, "seed")) > MAX_SEED:
        cannot.parameter("seed", f"it goes up to {MAX_SEED} there")
    else:
        config["seed"] = seed


def _logprobs(members: Members, config: dict[str, Any]) -> None:
    wanted = members.read("logprobs", bool)
    top = members.read("top_logprobs", int)
    if wanted or top:
        config["responseLogprobs"] = True
    if top:
        config["logprobs"] = top


def _format(members: Members, config: dict[str, Any], cannot: Cannot) -> None:
    schema = schema_of(members)
    if schema is None:
        return
    config["responseMimeType"] = "application/json"
    if isinstance(schema, Raw):

        def unenforced(word: str) -> None:
            cannot.parameter(f"response_format.{word}", "it does not enforce this part of a schema")

        name = "response_format.json_schema.schema"
        config["responseJsonSchema"] = translated(schema, name, unenforced)


def _thinking(members: Members, config: dict[str, Any], model: str, cannot: Cannot) -> None:
    own = members.raw("thinking_config")
    effort = effort_of(members)
    if own is not None:
        config["thinkingConfig"] = own
    elif effort is not None:
        try:
            told = thinking_config(effort, model)
        except CannotThink as exc:
            cannot.parameter("reasoning_effort", str(exc))
        else:
            config |= {"thinkingConfig": told} if told is not None else {}


def _tier(members: Members, body: dict[str, Any], cannot: Cannot) -> None:
    tier = members.read("service_tier", str)
    if tier in TIERS:
        body["serviceTier"] = TIERS[tier]
    elif tier not in (None, "auto"):
        cannot.parameter("service_tier", f"it is auto or one of {', '.join(TIERS)} there")
