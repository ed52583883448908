"""A chat's messages as Ollama's, one for one. Pure.

What must stay true: the result of a call names its call and its function, arguments are objects, images are
bare base64, and nothing of a message is lost without a word. Source: Ollama's `api/types.go`.
"""

from typing import Any

from adapters.chat_messages import (
    Call,
    answered_call,
    calls_of,
    image_url_of,
    placed,
    refuse_part,
    text_of,
)
from adapters.chat_request import Message, Part, data_url, read
from adapters.unsupported import Cannot
from contracts.errors import InvalidField

Told = dict[str, Any]
"""A message, or a piece of one, as Ollama has it."""


def conversation(messages: list[Message], cannot: Cannot) -> list[Told]:
    """Raises InvalidField, or UnsupportedParameter."""
    functions: dict[str, str] = {}
    told = []
    for where, message in placed(messages, cannot):
        role = "system" if message.role == "developer" else message.role
        said: list[str] = []
        images: list[str] = []
        for place, part in message.placed_parts(where):
            if part.type == "image_url" and role in ("user", "tool"):
                images.append(_image(part, place, cannot))
            else:
                said.append(text_of(part, place, cannot))
        each: Told = {"role": role, "content": "\n".join(said)}  # its messages are one text
        if images:
            each["images"] = images
        if role == "assistant" and (thinking := _thinking(message)):
            each["thinking"] = thinking
        if calls := list(calls_of(message, where, cannot)):
            each["tool_calls"] = [_call(call, number) for number, call in enumerate(calls)]
            functions |= {call.id: call.name for call in calls}
        if role == "tool":
            call_id, name = answered_call(message, where, functions)
            each |= {"tool_call_id": call_id, "tool_name": name}
        told.append(each)
    if not told:
        raise InvalidField("messages: at least one", param="messages")
    return told


def _image(part: Part, where: str, cannot: Cannot) -> str:
    """The image's bytes in base64, without anything around them."""
    if part.image_url is None:
        refuse_part(part, where, cannot)
    held = data_url(image_url_of(part.image_url, cannot))
    if held is None:
        cannot.refuse(f"{where}.image_url", "it takes data: URLs in base64, and fetches nothing")
    return held.data


def _thinking(message: Message) -> str:
    """Earlier thinking that the client sends back: models that call tools while they think go on from there."""
    for raw in (message.reasoning_content, message.reasoning):
        told = read(raw, object, "messages")
        if isinstance(told, str) and told:
            return told
    return ""


def _call(call: Call, number: int) -> Told:
    function = {"index": number, "name": call.name, "arguments": call.arguments}
    return {"id": call.id, "function": function}
