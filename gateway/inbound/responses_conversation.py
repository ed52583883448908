"""The input of OpenAI's Responses as a chat's messages. Pure.

What must stay true: calls that follow each other, and the text before them, are one message of the assistant's;
results follow their calls. Reasoning is left out: there is no place for it in a chat.
"""

from collections.abc import Sequence
from typing import Any

from contracts.responses_api import (
    FunctionCallItem,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputItem,
    InputPart,
    InputText,
    MessageItem,
    OutputRefusal,
    OutputText,
    ReasoningItem,
)
from gateway.inbound.origins import Place

Message = dict[str, Any]
Part = dict[str, Any]
BETWEEN = "\n"
"""What stands between texts that become one."""


def chat_messages(
    instructions: str | None, given: str | list[InputItem]
) -> tuple[list[Message], list[Place]]:
    """The messages of a chat, and where each came from."""
    messages: list[Message] = []
    places: list[Place] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
        places.append(Place(path="instructions", content="instructions"))
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
        places.append(Place(path="input", content="input"))
        return messages, places
    for number, item in enumerate(given):
        at = f"input[{number}]"
        match item:
            case MessageItem():
                messages.append(_message(item))
                parts = _parts_of(item.content, f"{at}.content")
                places.append(Place(path=at, content=f"{at}.content", parts=parts))
            case FunctionCallItem():
                _add_call(item, at, messages, places)
            case FunctionCallOutput():
                _add_result(item, at, messages, places)
            case ReasoningItem():
                pass
    return messages, places


def _parts_of(content: str | Sequence[InputPart], at: str) -> list[str]:
    return [] if isinstance(content, str) else [f"{at}[{n}]" for n in range(len(content))]


def _message(item: MessageItem) -> Message:
    return {"role": item.role, "content": _content(item.content)}


def _add_call(
    item: FunctionCallItem, at: str, messages: list[Message], places: list[Place]
) -> None:
    function = {"name": item.name, "arguments": item.arguments}
    call = {"id": item.call_id, "type": "function", "function": function}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        places.append(Place(path=at, content=at))
    places[-1].calls.append(at)


def _add_result(
    item: FunctionCallOutput, at: str, messages: list[Message], places: list[Place]
) -> None:
    """Its text as the tool's message. Nothing else can stand there, so pictures and files follow as the user's."""
    content = _content(item.output)
    others: list[Part] = []
    paths: list[str] = []
    if not isinstance(content, str):
        told = zip(_parts_of(item.output, f"{at}.output"), content, strict=True)
        paths = [path for path, part in told if part["type"] != "text"]
        others = [part for part in content if part["type"] != "text"]
        content = BETWEEN.join(part["text"] for part in content if part["type"] == "text")
    messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content})
    places.append(Place(path=at, content=f"{at}.output"))
    if others:
        about = f"[What the call {item.call_id} returned beside its text:]"
        messages.append({"role": "user", "content": [{"type": "text", "text": about}, *others]})
        places.append(Place(path=at, content=f"{at}.output", parts=[at, *paths]))


def _content(content: str | Sequence[InputPart]) -> str | list[Part]:
    """Text alone is a string, which every backend understands."""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return BETWEEN.join(part["text"] for part in parts)
    return parts


def _part(part: InputPart) -> Part:
    match part:
        case InputText() | OutputText():
            return {"type": "text", "text": part.text}
        case OutputRefusal():
            return {"type": "text", "text": part.refusal}
        case InputImage():
            image = {"url": part.image_url, **({"detail": part.detail} if part.detail else {})}
            return {"type": "image_url", "image_url": image}
        case InputFile():
            name = {"filename": part.filename} if part.filename else {}
            return {"type": "file", "file": {"file_data": part.file_data, **name}}
