"""What every translation of a chat's messages judges alike, whatever the backend's own words are. Pure.

What must stay true: nothing of a message is lost without a word. What only OpenAI has is refused where it
stands, and what can be left out is left out by its name.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Raw

from adapters.chat_request import NULL, ImageUrl, Message, Part, Tool, arguments_of
from adapters.unsupported import Cannot
from contracts.errors import InvalidField

_decode_details = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the assistant made of one of the client's functions. `arguments` is an object, in JSON."""

    id: str
    name: str
    arguments: Raw
    told: Tool
    """The entry of `tool_calls` that it was read from."""


def placed(messages: list[Message], cannot: Cannot) -> Iterator[tuple[str, Message]]:
    """Each message with its place in the request. Raises UnsupportedParameter."""
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        refuse_what_none_translates(message, where, cannot)
        if message.name is not None:
            cannot.parameter("messages.name", "its messages have no names")
        yield where, message


def refuse_what_none_translates(message: Message, where: str, cannot: Cannot) -> None:
    """Calls and their results as they were told before there were tools, and an assistant's audio: without them
    a message would say something else. Raises UnsupportedParameter."""
    if message.role == "function":
        cannot.refuse(f"{where}.role", "use tools and messages of role tool")
    if bytes(message.function_call) != b"null":
        cannot.refuse(f"{where}.function_call", "use tools and tool_calls")
    if bytes(message.audio) != b"null":
        cannot.refuse(
            f"{where}.audio", "an earlier answer's audio is at OpenAI; send its transcript"
        )


def text_of(part: Part, where: str, cannot: Cannot) -> str:
    """What a part says in words. Raises UnsupportedParameter for one that is no text."""
    text = part.text if part.type == "text" else part.refusal if part.type == "refusal" else None
    if text is None:
        refuse_part(part, where, cannot)
    return text


def words_of(message: Message, where: str, cannot: Cannot) -> str:
    """All that a message says, for an engine that is told words only. Raises UnsupportedParameter, with its
    place, for what is none: a call, its result, an image. Which roles there are is the caller's to judge."""
    if message.tool_calls:
        cannot.refuse(f"{where}.tool_calls", "it knows no tools")
    if message.role == "tool":
        cannot.refuse(f"{where}.role", "it knows no tools")
    return "".join(text_of(part, place, cannot) for place, part in message.placed_parts(where))


def refuse_part(part: Part, where: str, cannot: Cannot) -> NoReturn:
    cannot.refuse(where, f"no part of type {part.type} can stand there")


def image_url_of(image: ImageUrl | str, cannot: Cannot) -> str:
    """An image's URL, whichever way it was written."""
    if isinstance(image, str):
        return image
    if image.detail not in (None, "auto"):
        cannot.parameter("messages.image_url.detail", "it chooses an image's resolution itself")
    return image.url


def calls_of(message: Message, where: str, cannot: Cannot) -> Iterator[Call]:
    """Raises UnsupportedParameter for what is no function, InvalidField for what is wrong."""
    for number, told in enumerate(message.tool_calls or ()):
        place = f"{where}.tool_calls[{number}]"
        if told.type != "function" or told.function is None:
            cannot.refuse(place, "it knows calls of functions only")
        if not told.id:
            raise InvalidField(f"{place}.id is required", param=f"{place}.id")
        arguments = arguments_of(told.function, f"{place}.function.arguments")
        yield Call(id=told.id, name=told.function.name, arguments=arguments, told=told)


def answered_id(message: Message, where: str) -> str:
    """The id of the call whose result this is. Raises InvalidField."""
    if not message.tool_call_id:
        raise InvalidField(f"{where}.tool_call_id is required", param=f"{where}.tool_call_id")
    return message.tool_call_id


def answered_call(message: Message, where: str, functions: Mapping[str, str]) -> tuple[str, str]:
    """The same, with its function's name: `functions` are the names of those called before, by the ids of their
    calls. Raises InvalidField."""
    call_id = answered_id(message, where)
    if call_id not in functions:
        raise InvalidField(
            f"{where}.tool_call_id: no call before it has this id", param=f"{where}.tool_call_id"
        )
    return call_id, functions[call_id]


def signed_details(details: Raw, signed_by: str) -> list[dict[str, Any]]:
    """Entries of an assistant's `reasoning_details` whose `format` is `signed_by`. Another model's reasoning is
    of no use here, and no part of what was said."""
    if details is NULL:
        return []
    try:
        told = _decode_details(details)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return []
    return [entry for entry in told if entry.get("format") == signed_by]
