"""A chat's messages as Ollama's, one for one. Pure.

What must stay true: the result of a call names its call and its function, arguments are objects, images are
bare base64, and nothing of a message is lost without a word. Source: Ollama's `api/types.go`.
"""

from typing import Any

from adapters.chat_request import ImageUrl, Message, Part, Tool, arguments_of, data_url
from adapters.unsupported import Cannot
from contracts.errors import InvalidField

Told = dict[str, Any]
"""A message, or a piece of one, as Ollama has it."""


def conversation(messages: list[Message], cannot: Cannot) -> list[Told]:
    """Raises InvalidField, or UnsupportedParameter."""
    functions: dict[str, str] = {}
    told = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.name is not None and message.role != "function":
            cannot.parameter("messages.name", "its messages have no names")
        if message.role == "function":
            cannot.refuse(f"{where}.role", "use tools and messages of role tool")
        role = "system" if message.role == "developer" else message.role
        parts = message.parts()
        each: Told = {"role": role, "content": _text(parts)}
        others = [(i, part) for i, part in enumerate(parts) if part.type not in ("text", "refusal")]
        if others:
            each["images"] = [
                _image(part, f"{where}.content[{i}]", message.role, cannot) for i, part in others
            ]
        if message.tool_calls:
            each["tool_calls"] = [
                _call(call, f"{where}.tool_calls[{i}]", i, functions, cannot)
                for i, call in enumerate(message.tool_calls)
            ]
        if message.role == "tool":
            each |= _of_call(message, where, functions)
        told.append(each)
    if not told:
        raise InvalidField("messages: at least one", param="messages")
    return told


def _text(parts: list[Part]) -> str:
    """Its messages are one text: parts become its lines."""
    said = [part.refusal if part.type == "refusal" else part.text for part in parts]
    return "\n".join(text for text in said if text)


def _image(part: Part, where: str, role: str, cannot: Cannot) -> str:
    """The image's bytes in base64, without anything around them."""
    if part.type != "image_url" or part.image_url is None or role not in ("user", "tool"):
        cannot.refuse(where, f"no part of type {part.type} can stand there")
    image = part.image_url if isinstance(part.image_url, ImageUrl) else ImageUrl(url=part.image_url)
    if image.detail not in (None, "auto"):
        cannot.parameter("messages.image_url.detail", "it chooses an image's resolution itself")
    held = data_url(image.url)
    if held is None:
        cannot.refuse(f"{where}.image_url", "it takes data: URLs in base64, and fetches nothing")
    return held.data


def _call(call: Tool, where: str, number: int, functions: dict[str, str], cannot: Cannot) -> Told:
    if call.type != "function" or call.function is None:
        cannot.refuse(where, "it knows calls of functions only")
    if not call.id:
        raise InvalidField(f"{where}.id is required", param=f"{where}.id")
    functions[call.id] = call.function.name
    arguments = arguments_of(call.function, f"{where}.function.arguments")
    function = {"index": number, "name": call.function.name, "arguments": arguments}
    return {"id": call.id, "function": function}


def _of_call(message: Message, where: str, functions: dict[str, str]) -> Told:
    place = f"{where}.tool_call_id"
    if not message.tool_call_id:
        raise InvalidField(f"{place} is required", param=place)
    if message.tool_call_id not in functions:
        raise InvalidField(f"{place}: no call before it has this id", param=place)
    return {"tool_call_id": message.tool_call_id, "tool_name": functions[message.tool_call_id]}
