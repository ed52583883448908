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

Message = dict[str, Any]
Part = dict[str, Any]
ResultBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock

BETWEEN = "\n"
"""What stands between blocks of text that become one text."""
_BILLING = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n*")
"""What Claude Code writes at the head of its system prompt, new with every request: no backend's cache would
ever know a prompt again that begins with it, and to a model it says nothing."""
_encode = msgspec.json.Encoder().encode


def chat_messages(system: str | list[TextBlock] | None, turns: list[Turn]) -> list[Message]:
    """The messages of a chat."""
    messages: list[Message] = []
    if told := _system_text(system):
        messages.append({"role": "system", "content": told})
    for turn in turns:
        match turn:
            case UserTurn():
                _add_user(turn.content, messages)
            case AssistantTurn():
                _add_assistant(turn, messages)
            case SystemTurn():
                messages.append({"role": "system", "content": _system_text(turn.content)})
    for message in messages:
        if isinstance(message["content"], list):
            silent = not message["content"] and "tool_calls" in message
            message["content"] = None if silent else _content(message["content"])
    return messages


def _system_text(system: str | list[TextBlock] | None) -> str:
    texts = [system or ""] if isinstance(system, str | None) else [b.text for b in system]
    told = (_BILLING.sub("", text) for text in texts)
    return BETWEEN.join(text for text in told if text)


def _add_user(content: str | list[UserBlock], messages: list[Message]) -> None:
    parts: list[Part] = []
    if isinstance(content, str):
        parts += _text(content)
    else:
        for block in content:
            if isinstance(block, ToolResultBlock):
                _add_result(block, messages, parts)
        for block in content:
            if not isinstance(block, ToolResultBlock):
                parts += _parts(block)
    if not parts and messages and messages[-1]["role"] == "tool":
        return
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"] += parts
    else:
        messages.append({"role": "user", "content": parts})


def _add_result(block: ToolResultBlock, messages: list[Message], parts: list[Part]) -> None:
    """Its text as the tool's message. Nothing else can stand there, so pictures and files come after it, as the
    user's."""
    if isinstance(block.content, str | None):
        told = _text(block.content or "")
    else:
        told = [part for inner in block.content for part in _parts(inner)]
    text = BETWEEN.join(part["text"] for part in told if part["type"] == "text")
    others = [part for part in told if part["type"] != "text"]
    if others:
        parts += [*_text(f"[What the call {block.tool_use_id} returned beside its text:]"), *others]
    if block.is_error:
        text = f"Error: {text}"
    messages.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": text})


def _add_assistant(turn: AssistantTurn, messages: list[Message]) -> None:
    blocks = [TextBlock(text=turn.content)] if isinstance(turn.content, str) else turn.content
    parts = [part for b in blocks if isinstance(b, TextBlock) for part in _text(b.text)]
    calls = [_call(block) for block in blocks if isinstance(block, ToolUseBlock)]
    last = messages[-1] if messages else None
    if last is not None and last["role"] == "assistant":
        last["content"] += parts
        calls = [*last.get("tool_calls", ()), *calls]
    else:
        last = {"role": "assistant", "content": parts}
        messages.append(last)
    if calls:
        last["tool_calls"] = calls


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


def _content(parts: Iterable[Part]) -> str | list[Part]:
    parts = list(parts)
    if all(part["type"] == "text" for part in parts):
        return BETWEEN.join(part["text"] for part in parts)
    return parts
