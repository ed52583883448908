"""Events to what the client reads: OpenAI's chunks, or the one object they fold into.

Pure. Every answer has one id, one creation time and one model name (the one the client knows),
whatever the backend called them. Constant parts of a chunk are encoded once a stream.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from adapters.repeated_chunk import Member
from contracts.errors import GatewayError, UpstreamFault
from contracts.events import (
    Delta,
    Document,
    End,
    Event,
    Fault,
    Finish,
    Opened,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from contracts.inference import Operation

HEARTBEAT = b": ping\n"
"""A comment with a single newline: no SDK takes it for an event, also after an `id:` line."""

PIECE_BYTES = 64
"""What one piece of a folded answer counts beside its text: it is kept as an object of its own."""

ReasoningField = Literal["reasoning_content", "reasoning"]
_encode = msgspec.json.Encoder().encode


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same in all chunks of one answer. `created_s` is Unix time."""

    operation: Operation
    id: str
    created_s: int
    model: str
    """As clients name it: the one that was decided on, until an attempt says `served_by` another."""
    reasoning_field: ReasoningField = "reasoning_content"


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`; details only where the backend told them."""
    shown: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    if cached is not None or written is not None:
        details = {"cached_tokens": cached or 0}
        if written is not None:
            details["cache_write_tokens"] = written
        shown["prompt_tokens_details"] = details
    if usage.reasoning_tokens is not None:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.estimated:
        shown["estimated"] = True
    return shown


def _tool_piece(call: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": call.arguments}
    if call.name is not None:
        function = {"name": call.name, **function}
    shown: dict[str, Any] = {"index": call.index}
    if call.id is not None:
        shown |= {"id": call.id, "type": "function"}
    shown["function"] = function
    return shown


class StreamWriter:
    """Well-formed events to SSE frames. One `write` for everything that arrived together."""

    heartbeat = HEARTBEAT

    def __init__(
        self,
        identity: Identity,
        *,
        include_usage: bool,
        cost: Callable[[Usage], float | None] = lambda usage: None,
    ) -> None:
        """`cost` tells what was used in USD, where that is known: a stream's head is sent before it is, so
        it stands in the usage chunk, for clients that ask for one."""
        self._identity = identity
        self._include_usage = include_usage
        self._cost = cost
        self._chat = identity.operation == "chat"
        self._started: set[int] = set()
        self._usage_tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._head = b""
        self._around: dict[tuple[int, Member], tuple[bytes, bytes]] = {}
        self._set_head(None, None)

    def served_by(self, model: str) -> None:
        """An attempt at `model` is about to be made. Not after the first content."""
        if model != self._identity.model:
            self._identity = msgspec.structs.replace(self._identity, model=model)
            self._set_head(None, None)

    def failed(self, error: GatewayError, request_id: str) -> bytes:
        """The last event of a stream that failed."""
        return error_frame(error, request_id)

    def around(self, choice: int, member: Member) -> tuple[bytes, bytes] | None:
        """The frame of a `Delta` that has nothing but a text there: before and after it. None: it would not be
        the only one, or does not have that text."""
        if choice not in self._started or (member == "reasoning" and not self._chat):
            return None
        return self._frame_around(choice, member)

    def write(self, events: Iterable[Event]) -> bytes:
        """The frames for `events`; empty if none of them shows."""
        frames: list[bytes] = []
        for event in events:
            match event:
                case Delta():
                    self._delta(event, frames)
                case Finish():
                    self._finish(event, frames)
                case UsageReport():
                    if self._include_usage:
                        shown = usage_object(event.usage)
                        if (usd := self._cost(event.usage)) is not None:
                            shown["cost"] = usd
                        usage = _encode(shown)
                        frames.append(b'%b"choices":[],"usage":%b}\n\n' % (self._head, usage))
                case Opened():
                    self._set_head(event.system_fingerprint, event.service_tier)
                case End():
                    frames.append(b"data: [DONE]\n\n")
                case Fault():
                    frames.append(error_frame(event.error))
                case Document():
                    raise TypeError("a document is not a stream")
        return b"".join(frames)

    def _set_head(self, fingerprint: str | None, tier: str | None) -> None:
        identity = self._identity
        members: dict[str, Any] = {
            "id": identity.id,
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "created": identity.created_s,
            "model": identity.model,
        }
        if fingerprint is not None:
            members["system_fingerprint"] = fingerprint
        if tier is not None:
            members["service_tier"] = tier
        self._head = b"data: %b," % _encode(members)[:-1]
        self._around.clear()

    def _choice(self, index: int, body: bytes, logprobs: bytes, reason: bytes) -> bytes:
        name = b'"delta":' if self._chat else b'"text":'
        return b'%b"choices":[{"index":%d,%b%b,"logprobs":%b,"finish_reason":%b}]%b' % (
            self._head,
            index,
            name,
            body,
            logprobs,
            reason,
            self._usage_tail,
        )

    def _start(self, index: int, frames: list[bytes]) -> None:
        if index not in self._started:
            self._started.add(index)
            if self._chat:
                role = b'{"role":"assistant","content":""}'
                frames.append(self._choice(index, role, b"null", b"null"))

    def _frame_around(self, index: int, member: Member) -> tuple[bytes, bytes]:
        found = self._around.get((index, member))
        if found is None:
            name = "content" if member == "content" else self._identity.reasoning_field
            body = b'{"%b":\0}' % name.encode() if self._chat else b"\0"
            before, _, after = self._choice(index, body, b"null", b"null").partition(b"\0")
            found = self._around[index, member] = (before, after)
        return found

    def _delta(self, event: Delta, frames: list[bytes]) -> None:
        self._start(event.choice, frames)
        more = event.reasoning or event.refusal or event.tool_calls or event.extra
        if not more and event.logprobs is None:
            before, after = self._frame_around(event.choice, "content")
            frames.append(b"%b%b%b" % (before, _encode(event.content), after))
            return
        logprobs = bytes(event.logprobs) if event.logprobs is not None else b"null"
        body = _encode(self._delta_object(event) if self._chat else event.content)
        frames.append(self._choice(event.choice, body, logprobs, b"null"))

    def _delta_object(self, event: Delta) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if event.content:
            shown["content"] = event.content
        if event.reasoning:
            shown[self._identity.reasoning_field] = event.reasoning
        if event.refusal:
            shown["refusal"] = event.refusal
        if event.tool_calls:
            shown["tool_calls"] = [_tool_piece(call) for call in event.tool_calls]
        return shown | (event.extra or {})

    def _finish(self, event: Finish, frames: list[bytes]) -> None:
        self._start(event.choice, frames)
        body = b"{}" if self._chat else b'""'
        frames.append(self._choice(event.choice, body, b"null", _encode(event.reason)))


def error_frame(error: GatewayError, request_id: str | None = None) -> bytes:
    """The last event of a stream that failed. The SDKs raise APIError from it."""
    return b"data: %b\n\n" % error.encode(request_id)


class _Choice(msgspec.Struct):
    """One folded choice."""

    content: list[str] = []
    reasoning: list[str] = []
    refusal: list[str] = []
    calls: list[dict[str, Any]] = []
    logprobs: list[Any] = []
    extra: dict[str, list[Any]] = {}
    reason: str | None = None

    def add(self, event: Delta) -> None:
        if event.content:
            self.content.append(event.content)
        if event.reasoning:
            self.reasoning.append(event.reasoning)
        if event.refusal:
            self.refusal.append(event.refusal)
        for call in event.tool_calls:
            self._tool(call)
        if event.logprobs is not None:
            self.logprobs.append(_read(event.logprobs))
        if event.extra:
            for name, raw in event.extra.items():
                self.extra.setdefault(name, []).append(_read(raw))

    def _tool(self, piece: ToolCallDelta) -> None:
        while len(self.calls) <= piece.index:
            self.calls.append(
                {"id": "", "type": "function", "function": {"name": "", "arguments": []}}
            )
        call = self.calls[piece.index]
        if piece.id is not None:
            call["id"] = piece.id
        if piece.name is not None:
            call["function"]["name"] = piece.name
        call["function"]["arguments"].append(piece.arguments)


def _read(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise UpstreamFault("a part of the engine's answer is not valid JSON") from exc


def _size(event: Delta) -> int:
    """How many bytes are kept for it."""
    size = PIECE_BYTES
    if event.content:
        size += len(event.content.encode())
    if event.reasoning:
        size += len(event.reasoning.encode())
    if event.refusal:
        size += len(event.refusal.encode())
    for call in event.tool_calls:
        told = f"{call.id or ''}{call.name or ''}{call.arguments}"
        size += PIECE_BYTES + len(told.encode())
    if event.logprobs is not None:
        size += len(bytes(event.logprobs))
    if event.extra:
        size += sum(len(bytes(raw)) for raw in event.extra.values())
    return size


class Fold:
    """A stream folded into the one object of a non-streamed answer.

    Raises UpstreamFault from `add` when the answer passes `max_bytes`, or cannot be read.
    """

    def __init__(self, identity: Identity, *, max_bytes: int) -> None:
        self._identity = identity
        self._max_bytes = max_bytes
        self._bytes = 0
        self._choices: defaultdict[int, _Choice] = defaultdict(_Choice)
        self._opened = Opened()
        self._usage: Usage | None = None
        self._document: dict[str, msgspec.Raw] | None = None

    def add(self, events: Iterable[Event]) -> None:
        for event in events:  # by their types, not by patterns: see `adapters.normalise`
            if type(event) is Delta:  # nearly every event there is
                self._bytes += _size(event)
                if self._bytes > self._max_bytes:  # what came before is kept, and no more
                    raise UpstreamFault(
                        "the answer is larger than this gateway allows", code="answer_too_large"
                    )
                self._choices[event.choice].add(event)
            elif type(event) is Finish:
                self._choices[event.choice].reason = event.reason
            elif type(event) is UsageReport:
                self._usage = event.usage
            elif type(event) is Opened:
                self._opened = event
            elif type(event) is Document:
                self._document = event.members

    def body(self) -> bytes:
        """The answer, as far as it has come: whole after `End`."""
        identity = self._identity
        if self._document is not None:
            return _encode({**self._document, "model": identity.model})
        chat = identity.operation == "chat"
        shown: dict[str, Any] = {
            "id": identity.id,
            "object": "chat.completion" if chat else "text_completion",
            "created": identity.created_s,
            "model": identity.model,
            "choices": [
                (self._message if chat else _text)(i, c) for i, c in sorted(self._choices.items())
            ],
        }
        if self._usage is not None:
            shown["usage"] = usage_object(self._usage)
        if self._opened.system_fingerprint is not None:
            shown["system_fingerprint"] = self._opened.system_fingerprint
        if self._opened.service_tier is not None:
            shown["service_tier"] = self._opened.service_tier
        return _encode(shown)

    def _message(self, index: int, choice: _Choice) -> dict[str, Any]:
        content = "".join(choice.content)
        refusal = "".join(choice.refusal)
        silent = not content and bool(choice.calls or refusal or choice.extra)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if silent else content,
            "refusal": refusal or None,
        }
        if reasoning := "".join(choice.reasoning):
            message[self._identity.reasoning_field] = reasoning
        if choice.calls:
            message["tool_calls"] = [_whole_call(call) for call in choice.calls]
        if choice.extra:
            message |= {name: joined(pieces) for name, pieces in choice.extra.items()}
        return {
            "index": index,
            "message": message,
            "logprobs": joined(choice.logprobs) if choice.logprobs else None,
            "finish_reason": choice.reason,
        }


def _whole_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": "".join(function["arguments"])}}


def _text(index: int, choice: _Choice) -> dict[str, Any]:
    return {
        "index": index,
        "text": "".join(choice.content),
        "logprobs": joined(choice.logprobs) if choice.logprobs else None,
        "finish_reason": choice.reason,
    }


_IDENTIFIERS = frozenset({"id", "type", "role", "object", "format", "index"})
"""Members that name something: repeated in pieces, never spelled across them."""


def joined(pieces: Iterable[Any]) -> Any:
    """The pieces of a value as one: texts and lists grow, objects merge, of the rest the last counts.

    All at once, so that a long answer costs its own length and not the square of it.
    """
    told = [piece for piece in pieces if piece is not None]
    if len(told) < 2:
        return told[0] if told else None
    if all(isinstance(piece, str) for piece in told):
        return "".join(told)
    if all(isinstance(piece, list) for piece in told):
        return [item for piece in told for item in piece]
    if not all(isinstance(piece, dict) for piece in told):
        return told[-1]
    by_name: dict[str, list[Any]] = {}
    for piece in told:
        for name, value in piece.items():
            if name in _IDENTIFIERS and value is not None:
                by_name[name] = [value]
            else:
                by_name.setdefault(name, []).append(value)
    return {name: joined(values) for name, values in by_name.items()}
