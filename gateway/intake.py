"""A client's body to an InferRequest: the fields that matter checked, all others left as they came.

Pure. Wrong input is a ClientFault that says which field and why, or where the JSON breaks.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from contracts.errors import ClientFault, InvalidField, InvalidJson
from contracts.inference import InferRequest, Operation, RequestFacts
from contracts.openai_api import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Members,
    StreamOptions,
)
from gateway.expected_values import expected_values

T = TypeVar("T")
BYTES_PER_TOKEN = 4
"""The usual rule of thumb; the true count comes back with the answer's usage."""

SESSION_HEADER, CACHE_KEY = "x-session-id", "prompt_cache_key"
SESSION_MAX_CHARS = 128
"""As in `contracts.tasks`."""

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
"""Every member by which some backend lets itself be told how much to generate (llama.cpp: the last)."""
WHOLE_NUMBERS = (*TOKEN_LIMITS, "n", "seed", "dimensions", "priority", "max_output_tokens", "top_k")
"""Members that must be whole. JSON has one kind of number: 1000.0 is 1000, and YAML's 1e3 arrives so."""
_EXACT = 2**53
"""Above it a float stands for many whole numbers."""

_WRONG = (msgspec.DecodeError, RecursionError)
"""How a decoder says no."""
_members = msgspec.json.Decoder(Members)
_read_text = msgspec.json.Decoder(str).decode
_read_limit = msgspec.json.Decoder(int | None).decode
_decoders: dict[Operation, msgspec.json.Decoder[ChatRequest | CompletionRequest | EmbeddingRequest]]
_decoders = {
    "chat": msgspec.json.Decoder(ChatRequest),
    "completion": msgspec.json.Decoder(CompletionRequest),
    "embedding": msgspec.json.Decoder(EmbeddingRequest),
}
_PROMPT_MEMBER: dict[Operation, str] = {
    "chat": "messages",
    "completion": "prompt",
    "embedding": "input",
}
_AT_PATH = re.compile(r" - at `(?:\$|key in )\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")


def read_request(
    body: bytes,
    operation: Operation,
    *,
    request_id: str,
    key: str,
    headers: Mapping[str, str],
) -> InferRequest:
    """Check `body` and gather what rules may ask about.

    Raises InvalidJson (with line and column) or InvalidField (with `param`).
    """
    members, decoder = read_members(body), _decoders[operation]
    try:
        asked = decoder.decode(body)
    except _WRONG as exc:
        spelled = whole_numbers(members) if isinstance(exc, msgspec.ValidationError) else {}
        if not spelled:
            raise _fault(exc, decoder, body) from exc
        members |= spelled
        asked = checked(decoder, msgspec.json.encode(members))
    options = asked.stream_options
    return InferRequest(
        request_id=request_id,
        operation=operation,
        members=members,
        facts=_facts(operation, members, asked, key, headers),
        include_usage=options is not None and _wants_usage(options, asked.stream),
    )


def read_members(body: bytes) -> Members:
    """What a body says, each value in its own bytes. Raises InvalidJson with line and column, InvalidField
    for what is not an object."""
    try:
        body.decode()  # msgspec skips over what it need not read
        return _members.decode(body)
    except UnicodeDecodeError as exc:
        place = _place(exc.start, body)
        raise InvalidJson(f"the body is not valid JSON: it is not UTF-8 at {place}") from exc
    except _WRONG as exc:
        raise _fault(exc, _members, body) from exc


def checked(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """`body` as the decoder's type. Raises InvalidField (with `param`), InvalidJson."""
    try:
        return decoder.decode(body)
    except _WRONG as exc:
        raise _fault(exc, decoder, body) from exc


def whole_numbers(members: Members) -> Members:
    """Those of `WHOLE_NUMBERS` that are whole but written with a point or an exponent, without it."""
    spelled: Members = {}
    for name in WHOLE_NUMBERS:
        if name not in members:
            continue
        try:
            value = msgspec.json.decode(members[name])
        except msgspec.DecodeError:  # out of a float's range
            continue
        if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
            spelled[name] = msgspec.Raw(b"%d" % int(value))
    return spelled


def _facts(
    operation: Operation,
    members: Members,
    asked: ChatRequest | CompletionRequest | EmbeddingRequest,
    key: str,
    headers: Mapping[str, str],
) -> RequestFacts:
    prompt_bytes = len(members[_PROMPT_MEMBER[operation]])
    return RequestFacts(
        operation=operation,
        model=asked.model,
        stream=bool(asked.stream),
        max_tokens=_token_limit(members),
        prompt_tokens=prompt_bytes // BYTES_PER_TOKEN or 1,
        messages=len(asked.messages),
        n=asked.n or 1,
        tools=0 if asked.tools is None else len(asked.tools),
        key=key,
        user=asked.user or "",
        headers=dict(headers),
        session=_session(operation, members, headers),
    )


def _session(operation: Operation, members: Members, headers: Mapping[str, str]) -> str:
    """The client's name for what belongs together: our header, or OpenAI's word for the same wish. No more
    than a hint, so that one that is too long is cut, and one that is no text is none."""
    if operation == "embedding":
        return ""
    named = headers[SESSION_HEADER].strip() if SESSION_HEADER in headers else ""
    if not named and CACHE_KEY in members:
        try:
            named = _read_text(members[CACHE_KEY])
        except msgspec.MsgspecError:
            named = ""
    return named[:SESSION_MAX_CHARS]


def _token_limit(members: Members) -> int | None:
    """The most the client could get, whichever of its limits a backend goes by: a cap that looked at
    another one could be stepped around. None: one of them is no limit, or there is none."""
    most: int | None = None
    for name in TOKEN_LIMITS:
        if name not in members:
            continue
        try:
            tokens = _read_limit(members[name])
        except msgspec.MsgspecError:
            tokens = 0  # a spelling of some backend's own; no promise can be read from it
        if tokens is None:
            continue
        if tokens <= 0:
            return None
        if most is None or tokens > most:
            most = tokens
    return most


def _wants_usage(options: StreamOptions, stream: bool | None) -> bool:
    if not stream:
        raise InvalidField(
            "stream_options is only allowed when stream is true", param="stream_options"
        )
    return bool(options.include_usage)


def _fault(exc: Exception, decoder: msgspec.json.Decoder[Any], body: bytes) -> ClientFault:
    """What is wrong with a body that is one of `_WRONG`."""
    if isinstance(exc, msgspec.ValidationError):
        return _invalid_field(str(exc), decoder.type, body)
    if isinstance(exc, msgspec.DecodeError):
        return InvalidJson(f"the body is not valid JSON: {_where(str(exc), body)}")
    return InvalidJson("the body is not valid JSON: it is nested too deeply")


def _invalid_field(text: str, kind: Any, body: bytes) -> ClientFault:
    """msgspec's "Expected `str`, got `int` - at `$.model`" as "model: expected `str`, got `int`"."""
    found = _AT_PATH.search(text)
    path = found[1] if found else ""
    message = text[: found.start()] if found else text
    if missing := _MISSING.search(message):
        # the path ends with the missing member already, unless the whole body lacks it
        param = path if path.endswith(missing[1]) else f"{path}.{missing[1]}".lstrip(".")
        return InvalidField(f"{param} is required", param=param)
    wrong_word = message.startswith(("Invalid enum value", "Invalid value"))
    if wrong_word and (known := expected_values(kind, body, path)):
        message += f", expected one of {', '.join(known)}"
    where = f"{path}: " if path else ""
    return InvalidField(f"{where}{message[:1].lower()}{message[1:]}", param=path or None)


def _where(text: str, body: bytes) -> str:
    """msgspec's words, with line and column instead of a byte offset."""
    found = _AT_BYTE.search(text)
    if found is None:
        return f"{text.lower()} at {_place(len(body), body)}"
    reason = text[: found.start()].removeprefix("JSON is malformed:").strip()
    return f"{reason} at {_place(int(found[1]), body)}"


def _place(offset: int, body: bytes) -> str:
    """Lines and columns count from 1, columns in bytes."""
    offset = min(offset, len(body))
    line = body.count(b"\n", 0, offset) + 1
    column = offset - (body.rfind(b"\n", 0, offset) + 1) + 1
    return f"line {line}, column {column} (byte {offset})"
