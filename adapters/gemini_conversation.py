"""A chat's messages as Gemini's: one system instruction, and turns of user and model. Pure.

What must stay true: every result of a call is in the user turn right after it, under the name of its function,
and nothing else is in that turn; a thought's signature goes back on the part it came with; and nothing of a
message is lost without a word. Source: the types of the `google-genai` SDK, Google's notes on thought
signatures, requests that were recorded with their answers.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from adapters.chat_request import NULL, ImageUrl, Message, Part, arguments_of, data_url
from adapters.unsupported import Cannot
from contracts.errors import InvalidField

Turn = dict[str, Any]
Told = dict[str, Any]
"""A part as Gemini has it."""

SIGNED_BY = "google-gemini-v1"
"""The `format` of reasoning details that Gemini signed: the name that OpenRouter gave it."""
UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator` in base64: for calls that another model made, or whose signature the client
did not send back. Without any, Gemini 3 refuses the whole request."""
MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}
"""By the end of a URL's path: what Gemini is told of an image that it fetches itself."""
_decode_details = msgspec.json.Decoder(list[dict[str, Any]]).decode


def conversation(messages: list[Message], cannot: Cannot) -> tuple[list[Told], list[Turn]]:
    """The parts of `systemInstruction`, and `contents`. Raises InvalidField, or UnsupportedParameter."""
    system: list[Told] = []
    turns: list[Turn] = []
    functions: dict[str, str] = {}
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.name is not None and message.role != "function":
            cannot.parameter("messages.name", "its messages have no names")
        match message.role:
            case "system" | "developer":
                system += [_text(part, where, cannot) for part in message.parts()]
            case "user":
                _add(turns, "user", _user_parts(message, where, cannot))
            case "assistant":
                _add(turns, "model", _model_parts(message, where, functions, cannot))
            case "tool":
                _add(turns, "user", [_result(message, where, functions, cannot)])
            case "function":
                cannot.refuse(f"{where}.role", "use tools and messages of role tool")
    if not turns:
        raise InvalidField("messages: at least one that is no system message", param="messages")
    return system, turns


def _add(turns: list[Turn], role: str, parts: list[Told]) -> None:
    """Messages of one role become one turn; but results of calls stand apart from what a user says."""
    if not parts:
        return
    before = turns[-1] if turns else None
    if (
        before
        and before["role"] == role
        and _is_result(before["parts"][-1]) == _is_result(parts[0])
    ):
        before["parts"] += parts
    else:
        turns.append({"role": role, "parts": parts})


def _is_result(part: Told) -> bool:
    return "functionResponse" in part


def _text(part: Part, where: str, cannot: Cannot) -> Told:
    text = part.text if part.type == "text" else part.refusal if part.type == "refusal" else None
    if text is None:
        cannot.refuse(where, f"no part of type {part.type} can stand there")
    return {"text": text}


def _user_parts(message: Message, where: str, cannot: Cannot) -> list[Told]:
    parts = enumerate(message.parts())
    return [_user_part(part, f"{where}.content[{number}]", cannot) for number, part in parts]


def _user_part(part: Part, where: str, cannot: Cannot) -> Told:
    if part.type == "image_url" and part.image_url is not None:
        return _image(part.image_url, where, cannot)
    if part.type == "file":
        return _file(part, where, cannot)
    return _text(part, where, cannot)


def _image(image: ImageUrl | str, where: str, cannot: Cannot) -> Told:
    if isinstance(image, str):
        image = ImageUrl(url=image)
    if image.detail not in (None, "auto"):
        cannot.parameter("messages.image_url.detail", "it chooses an image's resolution itself")
    if image.url.lower().startswith("data:"):
        return _inline(image.url, f"{where}.image_url", cannot)
    return {"fileData": {"fileUri": image.url, **_media_type(image.url)}}


def _media_type(url: str) -> Told:
    try:
        ending = urlsplit(url).path.rpartition(".")[2].lower()
    except ValueError:
        return {}
    return {"mimeType": MEDIA_TYPES[ending]} if ending in MEDIA_TYPES else {}


def _file(part: Part, where: str, cannot: Cannot) -> Told:
    if part.file is None or not part.file.file_data:
        cannot.refuse(f"{where}.file", "it takes files as file_data: a data: URL in base64")
    return _inline(part.file.file_data, f"{where}.file", cannot)


def _inline(url: str, where: str, cannot: Cannot) -> Told:
    held = data_url(url)
    if held is None or not held.media_type:
        cannot.refuse(where, "it takes data: URLs with a type, in base64")
    return {"inlineData": {"mimeType": held.media_type, "data": held.data}}


def _model_parts(
    message: Message, where: str, functions: dict[str, str], cannot: Cannot
) -> list[Told]:
    signed = _signatures(message.reasoning_details)
    parts = [_text(part, where, cannot) for part in message.parts()]
    if None in signed:  # it came on its own as well, in a last piece of text that was empty
        parts.append({"text": "", "thoughtSignature": signed[None]})
    calls: list[Told] = []
    for number, call in enumerate(message.tool_calls or ()):
        place = f"{where}.tool_calls[{number}]"
        if call.type != "function" or call.function is None:
            cannot.refuse(place, "it knows calls of functions only")
        if not call.id:
            raise InvalidField(f"{place}.id is required", param=f"{place}.id")
        functions[call.id] = call.function.name
        told: Told = {
            "functionCall": {
                "id": call.id,
                "name": call.function.name,
                "args": arguments_of(call.function, f"{place}.function.arguments"),
            }
        }
        if call.id in signed:
            told["thoughtSignature"] = signed[call.id]
        calls.append(told)
    if calls and not any("thoughtSignature" in told for told in calls):
        calls[0]["thoughtSignature"] = UNSIGNED  # of parallel calls only the first is signed
    return parts + calls


def _signatures(details: Raw) -> dict[str | None, str]:
    """What Gemini signed earlier, by the id of the call it came with; None for what came with text."""
    if details is NULL:
        return {}
    try:
        told = _decode_details(details)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return {
        call_id if isinstance(call_id := entry.get("id"), str) else None: entry["data"]
        for entry in told
        if entry.get("format") == SIGNED_BY and isinstance(entry.get("data"), str)
    }


def _result(message: Message, where: str, functions: dict[str, str], cannot: Cannot) -> Told:
    call_id = message.tool_call_id
    if not call_id:
        raise InvalidField(f"{where}.tool_call_id is required", param=f"{where}.tool_call_id")
    if call_id not in functions:
        raise InvalidField(
            f"{where}.tool_call_id: no call before it has this id", param=f"{where}.tool_call_id"
        )
    parts = _user_parts(message, where, cannot)
    if any("fileData" in part for part in parts):
        cannot.refuse(f"{where}.content", "a tool's result takes data: URLs only")
    said = "".join(part["text"] for part in parts if "text" in part)
    told: Told = {"id": call_id, "name": functions[call_id], "response": {"output": said}}
    media = [part for part in parts if "inlineData" in part]
    return {"functionResponse": {**told, "parts": media} if media else told}
