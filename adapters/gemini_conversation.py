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

from adapters.chat_messages import (
    answered_call,
    calls_of,
    image_url_of,
    placed,
    signed_details,
    text_of,
)
from adapters.chat_request import ImageUrl, InputAudio, Message, Part, data_url
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
AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mp3"}
"""By OpenAI's formats of what is spoken to it."""
FETCHED = ("https://", "gs://")
"""How URLs begin that Gemini fetches itself."""


class _Signed(msgspec.Struct):
    thought_signature: str | None = None


class _Extra(msgspec.Struct):
    google: _Signed | None = None


_decode_extra = msgspec.json.Decoder(_Extra | None).decode


def conversation(messages: list[Message], cannot: Cannot) -> tuple[list[Told], list[Turn]]:
    """The parts of `systemInstruction`, and `contents`. Raises InvalidField, or UnsupportedParameter."""
    system: list[Told] = []
    turns: list[Turn] = []
    functions: dict[str, str] = {}
    for where, message in placed(messages, cannot):
        match message.role:
            case "system" | "developer":
                system += _texts(message, where, cannot)
            case "user":
                _add(turns, "user", _user_parts(message, where, cannot))
            case "assistant":
                _add(turns, "model", _model_parts(message, where, functions, cannot))
            case "tool":
                _add(turns, "user", [_result(message, where, functions, cannot)])
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


def _texts(message: Message, where: str, cannot: Cannot) -> list[Told]:
    return [{"text": text_of(part, p, cannot)} for p, part in message.placed_parts(where)]


def _user_parts(message: Message, where: str, cannot: Cannot) -> list[Told]:
    return [_user_part(part, place, cannot) for place, part in message.placed_parts(where)]


def _user_part(part: Part, where: str, cannot: Cannot) -> Told:
    if part.type == "image_url" and part.image_url is not None:
        return _image(part.image_url, where, cannot)
    if part.type == "input_audio":
        return _audio(part.input_audio or InputAudio(), where, cannot)
    if part.type == "file":
        return _file(part, where, cannot)
    return {"text": text_of(part, where, cannot)}


def _image(image: ImageUrl | str, where: str, cannot: Cannot) -> Told:
    url = image_url_of(image, cannot)
    if url.lower().startswith("data:"):
        return _inline(url, f"{where}.image_url", cannot)
    if not url.lower().startswith(FETCHED):
        cannot.refuse(
            f"{where}.image_url", f"it takes data: URLs, and fetches {' and '.join(FETCHED)}"
        )
    return {"fileData": {"fileUri": url, **_media_type(url)}}


def _media_type(url: str) -> Told:
    try:
        ending = urlsplit(url).path.rpartition(".")[2].lower()
    except ValueError:
        return {}
    return {"mimeType": MEDIA_TYPES[ending]} if ending in MEDIA_TYPES else {}


def _audio(audio: InputAudio, where: str, cannot: Cannot) -> Told:
    kind = AUDIO_TYPES.get(audio.format or "")
    if kind is None or not audio.data:
        cannot.refuse(
            f"{where}.input_audio", f"it takes {' or '.join(AUDIO_TYPES)} as data in base64"
        )
    return {"inlineData": {"mimeType": kind, "data": audio.data}}


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
    parts = _texts(message, where, cannot)
    if None in signed:  # it came on its own as well, in a last piece of text that was empty
        parts.append({"text": "", "thoughtSignature": signed[None]})
    calls: list[Told] = []
    for call in calls_of(message, where, cannot):
        functions[call.id] = call.name
        made = {"id": call.id, "name": call.name, "args": call.arguments}
        told: Told = {"functionCall": made}
        if signature := signed.get(call.id) or _extra_signature(call.told.extra_content):
            told["thoughtSignature"] = signature
        calls.append(told)
    if calls and not any("thoughtSignature" in told for told in calls):
        calls[0]["thoughtSignature"] = UNSIGNED  # of parallel calls only the first is signed
    return parts + calls


def _signatures(details: Raw) -> dict[str | None, str]:
    """What Gemini signed earlier, by the id of the call it came with; None for what came with text."""
    return {
        call_id if isinstance(call_id := entry.get("id"), str) else None: entry["data"]
        for entry in signed_details(details, SIGNED_BY)
        if isinstance(entry.get("data"), str)
    }


def _extra_signature(extra: Raw) -> str | None:
    """A call's signature as Google's own layer over OpenAI's language tells it."""
    try:
        told = _decode_extra(extra)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return told.google.thought_signature if told and told.google else None


def _result(message: Message, where: str, functions: dict[str, str], cannot: Cannot) -> Told:
    call_id, name = answered_call(message, where, functions)
    parts = _user_parts(message, where, cannot)
    if any("fileData" in part for part in parts):
        cannot.refuse(f"{where}.content", "a tool's result takes data: URLs only")
    said = "".join(part["text"] for part in parts if "text" in part)
    told: Told = {"id": call_id, "name": name, "response": {"output": said}}
    media = [part for part in parts if "inlineData" in part]
    return {"functionResponse": {**told, "parts": media} if media else told}
