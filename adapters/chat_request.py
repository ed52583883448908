"""OpenAI's chat request, read for dialects that speak otherwise: typed, checked, and in one shape.

OpenAI-speaking dialects never need this: they pass a client's bytes on. Pure. What must stay true: a value
that only travels on keeps its bytes (`Raw`: schemas, tool arguments, numbers), and whatever is wrong is an
InvalidField that names its member.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec import Raw

from contracts.errors import InvalidField

T = TypeVar("T")
NULL = Raw(b"null")

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Members:
    """A request's members by name, and which of them nobody has asked for yet. `null` is not there."""

    def __init__(self, members: Mapping[str, Raw], neutral: Mapping[str, Any]) -> None:
        """`neutral` are values that ask for nothing: they need not be supported by anyone."""
        self._left = {n: v for n, v in members.items() if bytes(v) != b"null"}
        self._neutral = neutral

    def raw(self, name: str) -> Raw | None:
        """The value in its own bytes."""
        return self._left.pop(name, None)

    def read(self, name: str, kind: type[T]) -> T | None:
        """The value as a `kind`. Raises InvalidField."""
        raw = self._left.pop(name, None)
        return None if raw is None else read(raw, kind, name)

    def left(self) -> list[str]:
        """Names that were given, ask for something, and were not looked at."""
        return [n for n, v in self._left.items() if not self._asks_nothing(n, v)]

    def _asks_nothing(self, name: str, value: Raw) -> bool:
        if name not in self._neutral:
            return False
        told, nothing = read(value, object, name), self._neutral[name]
        # 0 equals False in Python; but where `logprobs` is a number, 0 asks for something.
        return told == nothing and isinstance(told, bool) is isinstance(nothing, bool)


class ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class InputAudio(msgspec.Struct):
    """`data` is base64."""

    data: str | None = None
    format: str | None = None


class File(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(msgspec.Struct):
    """One part of a message's content. Which members are there depends on `type`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: File | None = None
    cache_control: Raw = NULL


class Function(msgspec.Struct):
    """A tool's declaration, or a call of one."""

    name: str
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None
    arguments: str | dict[str, Raw] | None = None


class Tool(msgspec.Struct):
    """An entry of `tools` or of `tool_calls`."""

    type: str = "function"
    id: str | None = None
    function: Function | None = None
    cache_control: Raw = NULL
    extra_content: Raw = NULL
    """What a provider's own layer over OpenAI's language adds to a call."""


class Message(msgspec.Struct):
    role: Role
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Tool] | None = None
    tool_call_id: str | None = None
    reasoning_content: Raw = NULL
    """An earlier answer's reasoning as text, which has two names."""
    reasoning: Raw = NULL
    reasoning_details: Raw = NULL
    function_call: Raw = NULL
    """How calls were told before `tool_calls`."""
    audio: Raw = NULL
    """A spoken answer, by its id at OpenAI."""

    def placed_parts(self, where: str) -> list[tuple[str, Part]]:
        """Its content as parts, whichever way it was written, each with its place in the request: the message's
        own is `where`. Texts that are empty are left out."""
        if isinstance(self.content, list):
            told = [(f"{where}.content[{n}]", part) for n, part in enumerate(self.content)]
        else:
            told = [(f"{where}.content", Part(type="text", text=self.content))]
        if self.refusal:
            told.append((f"{where}.refusal", Part(type="refusal", refusal=self.refusal)))
        return [(place, part) for place, part in told if part.type != "text" or part.text]


class _JsonSchema(msgspec.Struct):
    schema: Raw = NULL


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`name` only where `mode` is "named"; `allowed` are the names that may be called, None for all."""

    mode: Literal["auto", "none", "required", "named"]
    name: str | None = None
    allowed: frozenset[str] | None = None


class _Named(msgspec.Struct):
    name: str


class _Entry(msgspec.Struct):
    function: _Named | None = None


class _Allowed(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[_Entry] = []


class _Choice(msgspec.Struct):
    type: str
    function: _Named | None = None
    allowed_tools: _Allowed | None = None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def read(raw: Raw | bytes, kind: type[T], name: str) -> T:
    """`raw` as a `kind`. Raises InvalidField that names `name`, with the place inside of it."""
    try:
        return cast(T, _decoder(kind).decode(raw))  # type: ignore[arg-type]  # a type is hashable
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        said = str(exc).replace("`$", f"`{name}")
        raise InvalidField(f"{name}: {said[:1].lower()}{said[1:]}", param=name) from exc


def messages_of(members: Members) -> list[Message]:
    return members.read("messages", list[Message]) or []


def tools_of(members: Members) -> list[Tool]:
    return members.read("tools", list[Tool]) or []


def stop_of(members: Members) -> list[str]:
    stop = members.read("stop", str | list[str])  # type: ignore[arg-type]  # a union is a type form
    return [stop] if isinstance(stop, str) else stop or []


def tool_choice_of(members: Members, tools: list[Tool]) -> ToolChoice | None:
    """What the client wants done with its tools. Raises InvalidField for one it did not declare."""
    asked = members.read("tool_choice", str | _Choice)  # type: ignore[arg-type]  # as for `stop`
    if asked is None:
        return None
    if isinstance(asked, str):
        if asked not in ("auto", "none", "required"):
            raise InvalidField(
                f"tool_choice: expected auto, none, required or an object, got {asked!r}",
                param="tool_choice",
            )
        if asked == "required" and not tools:
            raise InvalidField("tool_choice: there are no tools to call", param="tool_choice")
        return ToolChoice(mode=msgspec.convert(asked, Literal["auto", "none", "required"]))
    declared = {tool.function.name for tool in tools if tool.function is not None}
    if asked.type == "function" and asked.function is not None:
        names, choice = {asked.function.name}, ToolChoice(mode="named", name=asked.function.name)
    elif asked.type == "allowed_tools" and asked.allowed_tools is not None:
        listed = asked.allowed_tools.tools
        names = {entry.function.name for entry in listed if entry.function is not None}
        choice = ToolChoice(mode=asked.allowed_tools.mode, allowed=frozenset(names))
    else:
        raise InvalidField("tool_choice: neither a function nor allowed tools", param="tool_choice")
    if unknown := sorted(names - declared):
        raise InvalidField(f"tool_choice: tools has no {unknown[0]!r}", param="tool_choice")
    return choice


def schema_of(members: Members) -> Raw | Literal["any_json"] | None:
    """The JSON Schema that the answer must satisfy; "any_json" if any JSON will do; None for plain text."""
    asked = members.read("response_format", _Format)
    if asked is None or asked.type == "text":
        return None
    if asked.type == "json_object":
        return "any_json"
    if asked.json_schema is None or asked.json_schema.schema is NULL:
        raise InvalidField(
            "response_format.json_schema.schema is required", param="response_format"
        )
    return asked.json_schema.schema


def effort_of(members: Members) -> Effort | None:
    return members.read("reasoning_effort", Effort)  # type: ignore[arg-type]  # a Literal is one, too


def token_limit_of(members: Members, cap: int | None) -> int | None:
    """The lowest of the limits that the client named and the policy's `cap`; None where there is none."""
    named = [members.read(name, int) for name in ("max_completion_tokens", "max_tokens")]
    return min((n for n in (*named, cap) if n is not None and n > 0), default=None)


def default_limit(most: int, context: int | None) -> int:
    """Tokens for the answer to a client that named no limit, where there has to be one: `most`, but where the
    whole `context` is small, half of it is for the prompt."""
    return most if context is None else max(1, min(most, context // 2))


def arguments_of(call: Function, name: str) -> Raw:
    """A call's arguments as a JSON object. Raises InvalidField: no provider takes anything else."""
    arguments = call.arguments
    if isinstance(arguments, dict):
        return Raw(msgspec.json.encode(arguments))
    if not arguments or not arguments.strip():
        return Raw(b"{}")
    read(arguments.encode(), dict[str, Raw], name)
    return Raw(arguments.encode())


class DataUrl(msgspec.Struct, frozen=True, kw_only=True):
    """What a `data:` URL holds. `data` is base64, as it came."""

    media_type: str
    data: str


def data_url(url: str) -> DataUrl | None:
    """A base64 `data:` URL, read; None for any other URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.lower().startswith("data:"):
        return None
    media_type, *parameters = head[5:].lower().split(";")
    if "base64" not in (parameter.strip() for parameter in parameters):
        return None
    return DataUrl(media_type=media_type.strip(), data=data)
