"""Chats with llama.cpp: what its server would pass over without a word. Pure.

Seen at b10434, whose `/props` tells whether the model's template has a place for tools.
"""

import msgspec
from msgspec import Raw

from adapters.chat_request import Members, tool_choice_of, tools_of
from adapters.openai_wire import NULL, is_present
from adapters.unsupported import Cannot
from adapters.wire_json import read_piece

TOOL_MEMBERS = ("tools", "tool_choice", "parallel_tool_calls")
_FITTED = frozenset({"tools", "tool_choice", "response_format"})
_ANY_OBJECT = Raw(b'{"type":"json_object","schema":{"type":"object"}}')


class _Format(msgspec.Struct):
    type: str
    schema: Raw = NULL


_decode_format = msgspec.json.Decoder(_Format | None).decode


def fit_chat(members: dict[str, Raw], cannot: Cannot, *, tools: bool | None) -> None:
    """Change the members of a chat to what the server does. `tools` is what its template says, None where that is
    not known. Raises InvalidField, UnsupportedParameter."""
    if not _FITTED.isdisjoint(members):
        _fit_tools(members, cannot, tools)
        _fit_format(members)


def _fit_tools(members: dict[str, Raw], cannot: Cannot, has_place: bool | None) -> None:
    """Take out tools that nobody may call (it would write calls into its text), or that its model's template has
    no place for: it passes over them, whatever `tool_choice` says. Raises InvalidField, UnsupportedParameter."""
    known = Members(members, {})
    tools = tools_of(known)
    choice = tool_choice_of(known, tools)
    if not tools:
        return
    unwanted = choice is not None and choice.mode == "none"
    if not unwanted and has_place is False:
        cannot.parameter("tools", "its model's template has no place for them")
    if unwanted or has_place is False:
        for name in TOOL_MEMBERS:
            members.pop(name, None)


def _fit_format(members: dict[str, Raw]) -> None:
    """Any JSON is asked for with a schema: without one it gives prose."""
    asked = read_piece(_decode_format, members.get("response_format", NULL))
    if asked is not None and asked.type == "json_object" and not is_present(asked.schema):
        members["response_format"] = _ANY_OBJECT
