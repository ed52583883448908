"""Anthropic's turns as a chat's messages. Pure.

What must stay true: the results of tools follow the call right away, each as a message of its own; turns of one
role that follow each other are one message, as Anthropic reads them; what is all text is a string, which every
backend understands. Thinking is left out: models other than Anthropic's have no use for it.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from contracts.anthropic_api import (
    AssistantTurn,
    Base64Source,
    ContentSource,
    DocumentBlock,
    ImageBlock,
    SearchResultBlock,
    SystemTurn,
    TextBlock,
    TextSource,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
    UrlSource,
    UserBlock,
    UserTurn,
)
from gateway.inbound.origins import Place

Message = dict[str, Any]
Part = dict[str, Any]
Placed = tuple[str, Part]
"""A part, and where it came from."""
ResultBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock

BETWEEN = "\n"
"""What stands between blocks of text that become one text."""
_BILLING = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n*")
"""What Claude Code writes at the head of its system prompt, new with every request: no backend's cache would
ever know a prompt again that begins with it, and to a model it says nothing."""
_encode = msgspec.json.Encoder().encode


def chat_messages(
    system: str | list[TextBlock] | None, turns: list[Turn]
) -> tuple[list[Message], list[Place]]:
    """The messages of a chat, and where each came from."""
    messages: list[Message] = []
    places: list[Place] = []
    if told := _system_text(system):
        messages.append({"role": "system", "content": told})
        places.append(Place(path="system", content="system"))
    for number, turn in enumerate(turns):
        at = f"messages[{number}]"
        match turn:
            case UserTurn():
                _add_user(turn.content, at, messages, places)
            case AssistantTurn():
                _add_assistant(turn, at, messages, places)
            case SystemTurn():
                messages.append({"role": "system", "content": _system_text(turn.content)})
                places.append(_turn(at))
    for message, place in zip(messages, places, strict=True):
        if isinstance(message["content"], list):
            silent = not message["content"] and "tool_calls" in message
            place.parts = [path for path, _ in message["content"]]
            message["content"] = None if silent else _content(message["content"])
    return messages, places


def _turn(at: str) -> Place:
    return Place(path=at, content=f"{at}.content")


def _system_text(system: str | list[TextBlock] | None) -> str:
    texts = [system or ""] if isinstance(system, str | None) else [b.text for b in system]
    told = (_BILLING.sub("", text) for text in texts)
    return BETWEEN.join(text for text in told if text)


def _add_user(
    content: str | list[UserBlock], at: str, messages: list[Message], places: list[Place]
) -> None:
    parts: list[Placed] = []
    if isinstance(content, str):
        parts += _placed(f"{at}.content", _text(content))
    else:
        for number, block in enumerate(content):
            if isinstance(block, ToolResultBlock):
                place = f"{at}.content[{number}]"
                messages.append(_result(block, place, parts))
                places.append(Place(path=place, content=f"{place}.content"))
        for number, block in enumerate(content):
            if not isinstance(block, ToolResultBlock):
                parts += _placed(f"{at}.content[{number}]", _parts(block))
    if not parts and messages and messages[-1]["role"] == "tool":
        return
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"] += parts
    else:
        messages.append({"role": "user", "content": parts})
        places.append(_turn(at))


def _result(block: ToolResultBlock, at: str, parts: list[Placed]) -> Message:
    """Its text as the tool's message. Nothing else can stand there, so pictures and files come after it, as the
    user's: they go to `parts`."""
    told: list[Placed] = []
    if isinstance(block.content, str | None):
        told += _placed(f"{at}.content", _text(block.content or ""))
    else:
        for number, inner in enumerate(block.content):
            told += _placed(f"{at}.content[{number}]", _parts(inner))
    text = BETWEEN.join(part["text"] for _, part in told if part["type"] == "text")
    others = [(path, part) for path, part in told if part["type"] != "text"]
    if others:
        about = f"[What the call {block.tool_use_id} returned beside its text:]"
        parts += [*_placed(at, _text(about)), *others]
    if block.is_error:
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}


def _add_assistant(
    turn: AssistantTurn, at: str, messages: list[Message], places: list[Place]
) -> None:
    blocks = [TextBlock(text=turn.content)] if isinstance(turn.content, str) else turn.content
    parts: list[Placed] = []
    calls: list[tuple[str, dict[str, Any]]] = []
    for number, block in enumerate(blocks):
        place = f"{at}.content" if isinstance(turn.content, str) else f"{at}.content[{number}]"
        if isinstance(block, TextBlock):
            parts += _placed(place, _text(block.text))
        elif isinstance(block, ToolUseBlock):
            calls.append((place, _call(block)))
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": []})
        places.append(_turn(at))
    messages[-1]["content"] += parts
    if calls:
        messages[-1].setdefault("tool_calls", []).extend(call for _, call in calls)
        places[-1].calls.extend(path for path, _ in calls)


def _call(block: ToolUseBlock) -> dict[str, Any]:
    function = {"name": block.name, "arguments": _encode(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function}


def _parts(block: ResultBlock) -> list[Part]:
    match block:
        case TextBlock():
            return _text(block.text)
        case ImageBlock():
            return [{"type": "image_url", "image_url": {"url": _url(block.source)}}]
        case SearchResultBlock():
            texts = [block.title, block.source, *(inner.text for inner in block.content)]
            return _text(BETWEEN.join(texts))
        case DocumentBlock():
            return _document(block)


def _document(block: DocumentBlock) -> list[Part]:
    about = [part for text in (block.title, block.context) for part in _text(text or "")]
    match block.source:
        case Base64Source() as source:
            name = block.title or f"document.{source.media_type.rpartition('/')[2]}"
            file = {"filename": name, "file_data": _url(source)}
            return [*_text(block.context or ""), {"type": "file", "file": file}]
        case TextSource() as source:
            return [*about, *_text(source.data)]
        case ContentSource(content=content):
            inner = [TextBlock(text=content)] if isinstance(content, str) else content
            return [*about, *(part for block in inner for part in _parts(block))]


def _url(source: Base64Source | UrlSource) -> str:
    if isinstance(source, UrlSource):
        return source.url
    return f"data:{source.media_type};base64,{source.data}"


def _text(text: str) -> list[Part]:
    """One part; none where there is nothing to say."""
    return [{"type": "text", "text": text}] if text else []


def _placed(at: str, parts: Iterable[Part]) -> list[Placed]:
    return [(at, part) for part in parts]


def _content(placed: Iterable[Placed]) -> str | list[Part]:
    parts = [part for _, part in placed]
    if all(part["type"] == "text" for part in parts):
        return BETWEEN.join(part["text"] for part in parts)
    return parts
