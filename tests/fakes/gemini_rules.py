"""What Gemini refuses, as a table of checks: so that a fake does not take what the real one would not.

Version v1. Source: the types of the `google-genai` SDK 3.x, recorded requests, error texts told in public
issues; texts are in their sense. JSON names may be in camel case or in snake case: proto3 takes both.
"""

import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.answers import Refusal
from tests.fakes.gemini_words import refusal, wrong_key

KNOWN = frozenset(
    {
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "cachedContent",
        "serviceTier",
        "store",
    }
)
CONFIG = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseModalities",
        "mediaResolution",
        "thinkingConfig",
    }
)
PARTS = frozenset({"text", "inlineData", "fileData", "functionCall", "functionResponse"})
BESIDE = frozenset({"thought", "thoughtSignature", "mediaResolution"})
KEYWORDS = frozenset(
    {
        *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum"),
        *("items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf"),
        *("properties", "additionalProperties", "required", "propertyOrdering"),
    }
)
"""Of JSON Schema, those that the SDK lists at `response_json_schema`."""
FREE = frozenset({"args", "response", "parametersJsonSchema", "responseJsonSchema"})
"""Members with names of the caller's own inside."""
LEVELS = frozenset({"MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def camel(value: Any) -> Any:
    """With names in camel case, as far as they are Google's."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_(\w)", lambda m: m[1].upper(), name): v for name, v in value.items()}
    return {name: v if name in FREE else camel(v) for name, v in named.items()}


def complaint(headers: dict[str, str], model: str, body: Any) -> Refusal | None:
    """The error that a request to generate gets, or None if it is good. Header names are lower-case."""
    if not headers.get("x-goog-api-key"):
        return refusal("PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
    if headers["x-goog-api-key"] == "wrong":
        return wrong_key()
    for said in _wrong(camel(body), model):
        return refusal("INVALID_ARGUMENT", said)
    return None


def _unknown(name: str, at: str) -> str:
    return f"Invalid JSON payload received. Unknown name {name!r} at {at!r}: Cannot find field."


def _wrong(body: dict[str, Any], model: str) -> Iterator[str]:
    yield from (_unknown(name, "") for name in body if name not in KNOWN)
    if not body.get("contents"):
        yield "* GenerateContentRequest.contents: contents is not specified"
    for part in body.get("systemInstruction", {}).get("parts", ()):
        if set(part) != {"text"} or not part["text"]:
            yield "system_instruction.parts: must be text"
    yield from _wrong_in_contents(body["contents"], model)
    yield from _wrong_in_tools(body)
    yield from _wrong_in_config(body.get("generationConfig", {}), model)
    if body.get("serviceTier", "standard") not in ("standard", "flex", "priority"):
        yield "Invalid value at 'service_tier'"


def _wrong_in_contents(contents: list[Any], model: str) -> Iterator[str]:
    calls: list[str] = []
    for number, content in enumerate(contents):
        where = f"contents[{number}]"
        if content["role"] not in ("user", "model"):
            yield "Please use a valid role: user, model."
        if not content["parts"]:
            yield f"{where}.parts: must contain at least one part"
        for part in content["parts"]:
            yield from _wrong_in_part(part, where, content["role"])
        results = [
            p["functionResponse"]["name"] for p in content["parts"] if "functionResponse" in p
        ]
        if sorted(results) != sorted(calls):
            yield (
                "Please ensure that the number of function response parts is equal to the number of "
                "function call parts of the function call turn."
            )
        made = [part for part in content["parts"] if "functionCall" in part]
        calls = [part["functionCall"]["name"] for part in made]
        if made and "gemini-3" in model and not made[0].get("thoughtSignature"):
            yield "Function call is missing a thought_signature in functionCall parts."


def _wrong_in_part(part: dict[str, Any], where: str, role: str) -> Iterator[str]:
    yield from (_unknown(n, f"{where}.parts") for n in part if n not in PARTS | BESIDE)
    kinds = PARTS & set(part)
    if len(kinds) != 1:
        yield f"{where}.parts: required oneof field 'data' must have one initialized field"
    if "functionCall" in kinds and role != "model":
        yield f"{where}: function calls are the model's"
    if "functionResponse" in kinds and role != "user":
        yield f"{where}: function responses are the user's"
    for kind in ("functionCall", "functionResponse"):
        inner = {"functionCall": "args", "functionResponse": "response"}[kind]
        if kind in kinds and not isinstance(part[kind].get(inner, {}), dict):
            yield f"Invalid value at '{where}.parts.{kind}.{inner}' (type.googleapis.com/google.protobuf.Struct)"
    if "inlineData" in kinds:
        blob = part["inlineData"]
        if "/" not in blob.get("mimeType", "") or not _BASE64.fullmatch(blob.get("data", "")):
            yield f"Unable to process input image at {where}"
    if "fileData" in kinds:
        uri = part["fileData"].get("fileUri", "")
        if not uri.startswith(("https://", "gs://")):
            yield f"Invalid or unsupported file uri: {uri}"
    if not _BASE64.fullmatch(part.get("thoughtSignature", "x")):
        yield "Base64 decoding failed"


def _wrong_in_tools(body: dict[str, Any]) -> Iterator[str]:
    declared = [f for tool in body.get("tools", ()) for f in tool.get("functionDeclarations", ())]
    for number, function in enumerate(declared):
        where = f"tools[0].function_declarations[{number}]"
        if not _NAME.fullmatch(function["name"]):
            yield f"{where}.name: Invalid function name"
        schema = function.get("parametersJsonSchema")
        if schema is not None:
            yield from _wrong_in_schema(schema, f"{where}.parameters_json_schema")
            if schema.get("type") != "object":
                yield f"{where}.parameters_json_schema: must describe an object"
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    mode, allowed = config.get("mode", "AUTO"), config.get("allowedFunctionNames")
    if mode not in ("AUTO", "ANY", "NONE", "VALIDATED"):
        yield "Invalid value at 'tool_config.function_calling_config.mode'"
    if allowed is not None and mode not in ("ANY", "VALIDATED"):
        yield "Allowed function names should only be set when the function calling mode is ANY."
    names = {function["name"] for function in declared}
    if allowed is not None and not set(allowed) <= names:
        yield "allowed_function_names: unknown function"
    if mode in ("ANY", "VALIDATED") and not names:
        yield "Function calling config is set without function_declarations."


def _wrong_in_schema(schema: Any, where: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    yield from (_unknown(word, where) for word in schema if word not in KEYWORDS)
    if "$ref" in schema and any(not word.startswith("$") for word in schema):
        yield f"{where}: a $ref may have no other properties beside it"
    if any(
        not isinstance(v, str | int | float) or isinstance(v, bool) for v in schema.get("enum", ())
    ):
        yield f"Invalid value at '{where}.enum'"
    for name in ("properties", "$defs"):
        for inner, each in schema.get(name, {}).items():
            yield from _wrong_in_schema(each, f"{where}.{name}.{inner}")
    for name in ("anyOf", "oneOf", "prefixItems"):
        for each in schema.get(name, ()):
            yield from _wrong_in_schema(each, f"{where}.{name}")
    for name in ("items", "additionalProperties"):
        yield from _wrong_in_schema(schema.get(name), f"{where}.{name}")


def _wrong_in_config(config: dict[str, Any], model: str) -> Iterator[str]:
    yield from (_unknown(name, "generation_config") for name in config if name not in CONFIG)
    if not 0 <= config.get("temperature", 0) <= 2:
        yield "temperature must be in the range [0.0, 2.0]."
    if not 1 <= config.get("candidateCount", 1) <= 8:
        yield "candidate_count must be in the range [1, 8]."
    if config.get("maxOutputTokens", 1) < 1:
        yield "max_output_tokens must be positive."
    if len(config.get("stopSequences", ())) > 5:
        yield "The number of stop sequences must be at most 5."
    if abs(config.get("seed", 0)) >= 2**31:
        yield "Invalid value at 'generation_config.seed' (TYPE_INT32)"
    if "logprobs" in config and not config.get("responseLogprobs"):
        yield "logprobs may only be set when response_logprobs is true."
    if not 0 <= config.get("logprobs", 0) <= 20:
        yield "logprobs must be in the range [0, 20]."
    kind = config.get("responseMimeType", "text/plain")
    if kind not in ("text/plain", "application/json", "text/x.enum"):
        yield "Invalid response_mime_type"
    if "responseJsonSchema" in config:
        if kind != "application/json":
            yield "response_json_schema needs response_mime_type application/json"
        yield from _wrong_in_schema(config["responseJsonSchema"], "response_json_schema")
    yield from _wrong_in_thinking(config.get("thinkingConfig", {}), model)


def _wrong_in_thinking(thinking: dict[str, Any], model: str) -> Iterator[str]:
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None and budget is not None:
        yield "You can only set one of thinking_budget and thinking_level."
    if level is not None and level not in LEVELS:
        yield "Invalid value at 'generation_config.thinking_config.thinking_level'"
    if level is not None and "gemini-2" in model:
        yield "Thinking level is not supported for this model."
    if thinking and ("gemini-2.0" in model or "gemini-1" in model):
        yield "Thinking is not enabled for this model."
    if budget == 0 and "pro" in model:
        yield "Budget 0 is invalid. This model only works in thinking mode."
