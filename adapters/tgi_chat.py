"""Chats with TGI: what its Messages API writes otherwise than OpenAI, in requests and in answers. Sans-IO.

Source: the router of version 3 (`ChatRequest`, `chat.rs`), its own integration tests' recorded answers.
"""

from typing import Any

import msgspec
from msgspec import Raw

from adapters.chat_request import Members, schema_of, token_limit_of, tool_choice_of, tools_of
from adapters.openai_decoders import DocumentDecoder, FaultOf, StreamDecoder
from adapters.openai_subset import checked_messages
from adapters.stop_sequences import stops_of
from adapters.unsupported import Cannot
from adapters.wire_json import read_piece
from contracts.events import Delta, Event, Finish

MAX_ARGUMENTS_CHARS = 1_000_000
"""Of a call that ends without a finish, how much is looked at to see whether it is whole."""
_NO_ID = ("", "0")
"""What stands where an id should: the same in each answer, so it tells no call from another."""
_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
_encode = msgspec.json.Encoder().encode
_decode_tools = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def fit_chat(members: dict[str, Raw], cannot: Cannot) -> None:
    """Change the members of a chat to what TGI reads. Raises InvalidField, UnsupportedParameter."""
    checked_messages(members, cannot, images=True)
    known = Members(members, {})
    _put(members, "stop", stops_of(members) or None)
    # It knows the older name only.
    members.pop("max_completion_tokens", None)
    _put(members, "max_tokens", token_limit_of(known, None))
    schema = schema_of(known)
    if schema is not None:
        value = {"type": "object"} if schema == "any_json" else schema
        _put(members, "response_format", {"type": "json", "value": value})
    if known.read("presence_penalty", float):
        cannot.parameter("presence_penalty", "it takes it for a repetition penalty")
    members.pop("presence_penalty", None)
    if known.read("top_p", float) == 1:
        del members["top_p"]  # what happens anyway, and it refuses the number
    # One call at a time is all it makes.
    members.pop("parallel_tool_calls", None)
    tools = tools_of(known)
    choice = tool_choice_of(known, tools)
    if choice is not None and choice.allowed is not None:
        cannot.parameter("tool_choice", "it may call any of the tools that it has")
        del members["tool_choice"]
    if any(
        tool.function is not None and bytes(tool.function.parameters) == b"null" for tool in tools
    ):
        _put(members, "tools", _with_parameters(members["tools"]))


def _put(members: dict[str, Raw], name: str, value: object) -> None:
    if value is None:
        members.pop(name, None)
    else:
        members[name] = Raw(_encode(value))


def _with_parameters(tools: Raw) -> list[dict[str, Any]]:
    """A function without parameters has an empty object of them; TGI has to be told."""
    told: list[dict[str, Any]] = []
    for tool in _decode_tools(tools):
        function = _decode_object(tool["function"])
        if bytes(function.get("parameters", Raw(b"null"))) == b"null":
            function["parameters"] = Raw(_encode(_NOTHING))
        told.append({**tool, "function": function})
    return told


class ChatStreamDecoder(StreamDecoder):
    """A stream of chunks. A call of a tool ends without a finish there: the one who sees that it is whole says
    so, when the stream says that it is done."""

    def __init__(self, fault_of: FaultOf) -> None:
        super().__init__(fault_of)
        self._arguments: list[str] = []
        self._chars = 0
        self._finished = False

    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        if data == b"[DONE]" and not self._finished and self._called():
            out.append(Finish(reason="tool_calls"))
        before = len(out)
        super().read(name, data, out)
        for event in out[before:]:
            if isinstance(event, Delta):
                _without_ids(event)
                self._keep(event)
            elif isinstance(event, Finish):
                self._finished = True

    def _keep(self, event: Delta) -> None:
        for piece in event.tool_calls:
            self._chars += len(piece.arguments)
            if self._chars <= MAX_ARGUMENTS_CHARS:
                self._arguments.append(piece.arguments)

    def _called(self) -> bool:
        if not self._arguments or self._chars > MAX_ARGUMENTS_CHARS:
            return False
        return read_piece(_decode_object, "".join(self._arguments).encode()) is not None


class ChatDocumentDecoder(DocumentDecoder):
    """A whole answer."""

    def read(self, body: bytes) -> list[Event]:
        events = super().read(body)
        for event in events:
            if isinstance(event, Delta):
                _without_ids(event)
        return events


def _without_ids(event: Delta) -> None:
    for piece in event.tool_calls:
        if piece.id in _NO_ID:
            piece.id = None
