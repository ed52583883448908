"""A chat's messages as Anthropic's: one system prompt, and turns of user and assistant by turns. Pure.

Source: the Messages API reference as the `anthropic` SDK types it, and Anthropic's own notes on its
OpenAI-compatible endpoint (system messages are gathered at the beginning there as well).
What must stay true: every tool result is in the user turn right after the call it answers, turns never
repeat a role, no text block is blank, and nothing of a message is lost without a word.
"""

import re
from typing import Any

from msgspec import Raw

from adapters.chat_messages import (
    answered_id,
    calls_of,
    image_url_of,
    placed,
    signed_details,
    text_of,
)
from adapters.chat_request import ImageUrl, Message, Part, data_url
from adapters.unsupported import Cannot
from contracts.errors import InvalidField

Block = dict[str, Any]
Turn = dict[str, Any]

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
SIGNED_BY = "anthropic-claude-v1"
"""The `format` of reasoning details that Anthropic signed: the name that OpenRouter gave it."""
_NOT_IN_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")


def conversation(messages: list[Message], cannot: Cannot) -> tuple[list[Block], list[Turn]]:
    """The blocks of `system`, and the turns. Raises InvalidField, or UnsupportedParameter."""
    system: list[Block] = []
    turns: list[Turn] = []
    for where, message in placed(messages, cannot):
        match message.role:
            case "system" | "developer":
                system += _text_blocks(message, where, cannot)
            case "user":
                _add(turns, "user", _user_blocks(message, where, cannot))
            case "assistant":
                _add(turns, "assistant", _assistant_blocks(message, where, cannot))
            case "tool":
                _add(turns, "user", [_tool_result(message, where, cannot)])
    if not turns:
        raise InvalidField("messages: at least one that is no system message", param="messages")
    return system, turns


def answers_without_thinking(turns: list[Turn]) -> bool:
    """Whether the last assistant turn called tools without the thinking that led there. Models that think by
    a budget refuse to go on thinking from such a turn."""
    if len(turns) < 2 or turns[-1]["role"] != "user":
        return False
    kinds = [block["type"] for block in turns[-2]["content"]]
    return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")


def _add(turns: list[Turn], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _parts(message: Message, where: str) -> list[tuple[str, Part]]:
    """Without those of white space alone, which Anthropic refuses and models write beside their calls."""
    placed_parts = message.placed_parts(where)
    return [
        (p, part) for p, part in placed_parts if part.type != "text" or (part.text or "").strip()
    ]


def _text_blocks(message: Message, where: str, cannot: Cannot) -> list[Block]:
    return [_text_block(part, place, cannot) for place, part in _parts(message, where)]


def _text_block(part: Part, where: str, cannot: Cannot) -> Block:
    return _cached({"type": "text", "text": text_of(part, where, cannot)}, part.cache_control)


def _cached(block: Block, cache_control: Raw) -> Block:
    """`cache_control` is Anthropic's own; clients that know of it write it where Anthropic wants it."""
    return block if bytes(cache_control) == b"null" else {**block, "cache_control": cache_control}


def _user_blocks(message: Message, where: str, cannot: Cannot) -> list[Block]:
    return [_user_block(part, place, cannot) for place, part in _parts(message, where)]


def _user_block(part: Part, where: str, cannot: Cannot) -> Block:
    if part.type == "image_url" and part.image_url is not None:
        return _cached(_image(part.image_url, where, cannot), part.cache_control)
    if part.type == "file":
        return _cached(_document(part, where, cannot), part.cache_control)
    return _text_block(part, where, cannot)


def _image(image: ImageUrl | str, where: str, cannot: Cannot) -> Block:
    url = image_url_of(image, cannot)
    if url.lower().startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    held = data_url(url)
    if held is None or held.media_type not in IMAGE_TYPES:
        kinds = ", ".join(sorted(IMAGE_TYPES))
        cannot.refuse(f"{where}.image_url", f"it takes web addresses, and {kinds} in base64")
    source = {"type": "base64", "media_type": held.media_type, "data": held.data}
    return {"type": "image", "source": source}


def _document(part: Part, where: str, cannot: Cannot) -> Block:
    held = data_url(part.file.file_data or "") if part.file else None
    if part.file is None or held is None or held.media_type != "application/pdf":
        cannot.refuse(f"{where}.file", "it takes PDF files as file_data: a data: URL in base64")
    source = {"type": "base64", "media_type": held.media_type, "data": held.data}
    block = {"type": "document", "source": source}
    return {**block, "title": part.file.filename} if part.file.filename else block


def _assistant_blocks(message: Message, where: str, cannot: Cannot) -> list[Block]:
    blocks = _thinking_blocks(message.reasoning_details)
    blocks += _text_blocks(message, where, cannot)
    for call in calls_of(message, where, cannot):
        told = {"id": _call_id(call.id), "name": call.name, "input": call.arguments}
        blocks.append({"type": "tool_use", **told})
    return blocks


def _thinking_blocks(details: Raw) -> list[Block]:
    """Earlier thinking that the client sends back, as far as Anthropic signed it."""
    blocks: list[Block] = []
    for entry in signed_details(details, SIGNED_BY):
        if isinstance(entry.get("signature"), str) and isinstance(entry.get("text"), str):
            thinking = {"thinking": entry["text"], "signature": entry["signature"]}
            blocks.append({"type": "thinking", **thinking})
        elif isinstance(entry.get("data"), str):
            blocks.append({"type": "redacted_thinking", "data": entry["data"]})
    return blocks


def _tool_result(message: Message, where: str, cannot: Cannot) -> Block:
    call_id = _call_id(answered_id(message, where))
    block: Block = {"type": "tool_result", "tool_use_id": call_id}
    content = _user_blocks(message, where, cannot)
    return {**block, "content": content} if content else block


def _call_id(call_id: str) -> str:
    """Ids that other models made may have characters that Anthropic refuses. The same id everywhere."""
    return _NOT_IN_AN_ID.sub("_", call_id)
