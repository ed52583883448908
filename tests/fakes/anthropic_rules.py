"""What Anthropic refuses, as a table of checks: so that a fake does not take what the real one would not.

Versions 2023-06-01 and 2026-10-21. Source: the Messages API reference as the `anthropic` SDK types it, the
migration notes of the later version, and error texts told in public issues; texts are in their sense.
"""

import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.answers import Refusal
from tests.fakes.anthropic_words import refusal

OLD, NEW = "2023-06-01", "2026-10-21"
SAMPLING = frozenset({"temperature", "top_p", "top_k"})
REQUIRED = ("model", "max_tokens", "messages")
KNOWN = frozenset(
    {
        *REQUIRED,
        "cache_control",
        "container",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def complaint(headers: dict[str, str], body: Any) -> Refusal | None:
    """The error that a request gets, or None if it is good. Header names are lower-case."""
    if "x-api-key" not in headers and not headers.get("authorization", "").startswith("Bearer "):
        return refusal("authentication_error", "x-api-key header is required")
    version = headers.get("anthropic-version")
    if version not in (OLD, NEW):
        return refusal("invalid_request_error", "anthropic-version: header is required")
    for said in _wrong(body, version):
        return refusal("invalid_request_error", said)
    return None


def _wrong(body: Any, version: str) -> Iterator[str]:
    if not isinstance(body, dict):
        yield "the request body is not valid JSON"
        return
    yield from (f"{name}: Field required" for name in REQUIRED if name not in body)
    known = KNOWN | SAMPLING if version == OLD else KNOWN
    yield from (f"{name}: Extra inputs are not permitted" for name in body if name not in known)
    if body["max_tokens"] < 1:
        yield "max_tokens: must be greater than or equal to 1"
    if not 0 <= body.get("temperature", 0) <= 1:
        yield "temperature: range: 0..1"
    if any(not text.strip() for text in body.get("stop_sequences", ())):
        yield "stop_sequences: each stop sequence must contain non-whitespace"
    yield from _wrong_in_messages(body["messages"], version)
    yield from _wrong_in_system(body.get("system", ()))
    yield from _wrong_in_tools(body)
    yield from _wrong_in_thinking(body)


def _wrong_in_system(system: Any) -> Iterator[str]:
    for number, block in enumerate(() if isinstance(system, str) else system):
        if block["type"] != "text" or not block["text"].strip():
            yield f"system.{number}: text content blocks must be non-empty"


def _wrong_in_messages(messages: list[Any], version: str) -> Iterator[str]:
    roles = {"user", "assistant"} if version == OLD else {"user", "assistant", "system"}
    if not messages:
        yield "messages: at least one message is required"
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        if message["role"] not in roles:
            yield f"{where}.role: unexpected role {message['role']!r}"
        blocks = message["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        if not blocks:
            yield f"{where}: all messages must have non-empty content"
        yield from _wrong_in_blocks(blocks, where, message["role"])
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        first = [block["type"] for block in blocks[: len(results)]]
        if sorted(results) != sorted(open_calls):
            yield f"{where}: `tool_use` ids without `tool_result` blocks immediately after, or the other way"
        if any(kind != "tool_result" for kind in first):
            yield f"{where}: tool_result blocks must come first"
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(open_calls)) < len(open_calls):
            yield f"{where}: `tool_use` ids must be unique"
    if open_calls:
        yield "messages: `tool_use` ids were found without `tool_result` blocks"


def _wrong_in_blocks(blocks: list[Any], where: str, role: str) -> Iterator[str]:
    for number, block in enumerate(blocks):
        place = f"{where}.content.{number}"
        match block["type"]:
            case "text":
                if not block["text"]:
                    yield f"{place}: text content blocks must be non-empty"
                elif not block["text"].strip():
                    yield f"{place}: text content blocks must contain non-whitespace text"
            case "image" | "document" if role == "user":
                yield from _wrong_in_source(block["source"], place)
            case "tool_use" if role == "assistant":
                if not _ID.fullmatch(block["id"]):
                    yield f"{place}.tool_use.id: String should match pattern"
                if not isinstance(block["input"], dict):
                    yield f"{place}.tool_use.input: Input should be a valid dictionary"
            case "thinking" | "redacted_thinking" if role == "assistant":
                pass
            case "tool_result" if role == "user":
                inner = block.get("content", ())
                if not isinstance(inner, str):
                    yield from _wrong_in_blocks(inner, place, role)
            case kind:
                yield f"{place}: unexpected block {kind!r} of {role}"


def _wrong_in_source(source: Any, place: str) -> Iterator[str]:
    match source["type"]:
        case "base64":
            if source["media_type"] not in _IMAGES | {"application/pdf"}:
                yield f"{place}.source.media_type: unexpected {source['media_type']!r}"
        case "url":
            if not source["url"].startswith(("http://", "https://")):
                yield f"{place}.source.url: not a URL"
        case kind:
            yield f"{place}.source: unexpected {kind!r}"


def _wrong_in_tools(body: dict[str, Any]) -> Iterator[str]:
    tools = body.get("tools", [])
    for number, tool in enumerate(tools):
        if not _NAME.fullmatch(tool["name"]):
            yield f"tools.{number}.custom.name: String should match pattern"
        if tool["input_schema"].get("type") != "object":
            yield f"tools.{number}.custom.input_schema.type: Input should be 'object'"
    choice = body.get("tool_choice")
    if choice is None:
        return
    if choice["type"] not in ("auto", "any", "tool", "none"):
        yield f"tool_choice: unexpected {choice['type']!r}"
    if not tools:
        yield "tool_choice: may only be specified while providing tools"
    if choice["type"] == "tool" and choice["name"] not in [tool["name"] for tool in tools]:
        yield f"tool_choice: tool {choice['name']!r} not found"


def _wrong_in_thinking(body: dict[str, Any]) -> Iterator[str]:
    config = body.get("output_config", {})
    if config.get("effort", "low") not in EFFORTS:
        yield "output_config.effort: unexpected value"
    thinking = body.get("thinking", {"type": "disabled"})
    if thinking["type"] not in ("enabled", "adaptive", "disabled", "between_tools"):
        yield "thinking.type: unexpected value"
    if thinking["type"] not in ("enabled", "adaptive"):
        return
    if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        yield "thinking.budget_tokens: at least 1024 and below max_tokens"
    if body.get("temperature", 1) != 1:
        yield "`temperature` may only be set to 1 when thinking is enabled"
    if "top_k" in body:
        yield "`top_k` must be unset when thinking is enabled"
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        yield "Thinking may not be enabled when tool_choice forces tool use."
