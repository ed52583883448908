"""What Ollama refuses, as a table of checks, and more: what it passes over in silence, this fake refuses, so
that nothing that is sent to it is lost. Source: Ollama's `api/types.go` and `server/routes.go`.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from tests.fakes.answers import Refusal
from tests.fakes.ollama_words import refusal

COMMON = frozenset({"model", "stream", "options", "keep_alive", "truncate", "shift"})
CHAT = COMMON | {"messages", "tools", "format", "think", "logprobs", "top_logprobs"}
GENERATE = COMMON | {
    *("prompt", "suffix", "system", "template", "context", "raw", "images", "format", "think"),
    *("logprobs", "top_logprobs"),
}
EMBED = frozenset({"model", "input", "truncate", "dimensions", "options", "keep_alive"})
OPTIONS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("num_ctx", "num_predict", "num_keep", "seed", "top_k", "repeat_last_n"), int),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p"), (int, float)),
    **dict.fromkeys(("repeat_penalty", "presence_penalty", "frequency_penalty"), (int, float)),
    "stop": list,
}
MESSAGE = frozenset(
    {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
)
LEVELS = ("low", "medium", "high", "max")


def complaint(path: str, body: Any, models: tuple[str, ...]) -> Refusal | None:
    """The error that a request gets, or None if it is good."""
    known = {"/api/chat": CHAT, "/api/generate": GENERATE, "/api/embed": EMBED}[path]
    for name in body:
        if name not in known:
            return refusal(400, f"{name} would be passed over in silence")
    if body.get("model") not in models:
        return refusal(404, f"model '{body.get('model')}' not found")
    for said in _wrong(path, body):
        return refusal(400, said)
    return None


def _wrong(path: str, body: dict[str, Any]) -> Iterator[str]:
    for name, value in body.get("options", {}).items():
        if name not in OPTIONS:
            yield f"the option {name} would be passed over in silence"
        elif not isinstance(value, OPTIONS[name]):
            yield f"option {name!r} must be of another type"
    for name in ("stream", "raw", "truncate", "shift", "logprobs"):
        if not isinstance(body.get(name, True), bool):
            yield f"json: cannot unmarshal {name}"
    if not 0 <= body.get("top_logprobs", 0) <= 20:
        yield "top_logprobs must be between 0 and 20"
    think = body.get("think", True)
    if not isinstance(think, bool) and think not in LEVELS:
        yield f"invalid think value: {think!r}"
    wanted = body.get("format", "json")
    if not isinstance(wanted, dict) and wanted not in ("", "json"):
        yield "invalid JSON schema in format"
    match path:
        case "/api/chat":
            yield from _wrong_in_chat(body)
        case "/api/generate" if not isinstance(body.get("prompt"), str):
            yield "json: cannot unmarshal prompt"
        case "/api/embed" if not isinstance(body["input"], str | list):
            yield "invalid input type"


def _wrong_in_chat(body: dict[str, Any]) -> Iterator[str]:
    for number, message in enumerate(body["messages"]):
        where = f"messages[{number}]"
        yield from (f"{where}.{n} would be passed over" for n in message if n not in MESSAGE)
        if message["role"] not in ("system", "user", "assistant", "tool"):
            yield f"invalid role: {message['role']}, must be one of [system, user, assistant, tool]"
        if not isinstance(message.get("content", ""), str):
            yield f"json: cannot unmarshal array into {where}.content of type string"
        for image in message.get("images", ()):
            try:
                base64.b64decode(image, validate=True)
            except binascii.Error:
                yield f"illegal base64 data in {where}.images"
        for call in message.get("tool_calls", ()):
            if not isinstance(call["function"]["arguments"], dict):
                yield f"json: cannot unmarshal string into {where}.tool_calls.arguments"
    for tool in body.get("tools", ()):
        function = tool["function"]
        if tool["type"] != "function" or not {"name", "parameters"} <= set(function):
            yield "a tool is a function with a name and parameters"
        if set(function) - {"name", "description", "parameters"}:
            yield "a member of a tool would be passed over in silence"
