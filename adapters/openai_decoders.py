"""OpenAI-style answers to events: streams, whole documents, embeddings. Sans-IO.

Sloppy on purpose about order and repetition: `adapters.normalise` makes the events well-formed.
What must stay true: cutting the bytes differently never changes the events, and no bytes raise.
"""

from collections.abc import Callable

import msgspec

from adapters.event_stream import EventStreamDecoder
from adapters.openai_faults import status_in
from adapters.openai_wire import (
    NULL,
    ChoicePiece,
    ChunkPiece,
    DeltaPiece,
    ErrorPiece,
    UsagePiece,
    extra_members,
    has_items,
    members_decoder,
    read_chunk,
    read_error,
    read_texts,
)
from adapters.repeated_chunk import RepeatedChunk
from adapters.whole_body import WholeBodyDecoder, unreadable
from adapters.wire_json import as_utf8, read_piece
from contracts.errors import UpstreamFault
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

FaultOf = Callable[[ErrorPiece, int | None], UpstreamFault]
"""The dialect's word on an error object; the status is None inside a stream."""

_SILENT = DeltaPiece()
"""Of the chunk that has a choice's finish, or says who speaks."""
_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode


class ChunkDecoder(EventStreamDecoder):
    """Chunks of a stream to events."""

    _opened = False

    def __init__(self, fault_of: FaultOf) -> None:
        super().__init__()
        self._fault_of = fault_of

    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        if data == b"[DONE]":
            self.end(out)
            return
        chunk = read_chunk(data)
        if chunk is None:
            self.broken("the engine sent an event that is not valid JSON", out)
            return
        may_be_error = chunk.error is not NULL or chunk.detail is not NULL  # hardly ever
        if name == "error" or (may_be_error and _is_error(chunk)):
            self.fault(self._fault_of(read_error(data) or ErrorPiece(), None), out)
            return
        if not self._opened and chunk.choices:  # Azure's first chunk is about the prompt only
            self._opened = True
            out.append(_opened(chunk))
        chunk_events(chunk, out)


class StreamDecoder(ChunkDecoder):
    """For those who see it as it comes: of chunks that repeat the one before them only the text is read."""

    def __init__(self, fault_of: FaultOf) -> None:
        super().__init__(fault_of)
        self.repeated = RepeatedChunk(_events_of)

    @property
    def repeats(self) -> bool:
        """Whether the next bytes begin an event, and have reason to be the `repeated` chunk's."""
        return self.repeated.saved > 0 and self._sse.idle

    def read_all(self, name: str, datas: list[bytes], out: list[Event]) -> None:
        for data in datas:
            said = None if name == "error" else self.repeated.read(data)
            if said is not None:
                out.append(said)
            elif data := data.strip():
                self.read(name, data, out)
                if self._over:
                    return

    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        known = len(out)
        super().read(name, data, out)
        match out[known:]:
            case [Delta() as said] | [Opened(), Delta() as said]:
                self.repeated.learn(data, said)


class FoldedStreamDecoder(ChunkDecoder):
    """For those who see nothing of it before its end: texts that come together are decoded together, and come
    as one. Must stay true: it says what the chunks say one by one."""

    def read_all(self, name: str, datas: list[bytes], out: list[Event]) -> None:
        if not self._opened:  # it begins with who speaks
            if first := datas[0].strip():
                self.read(name, first, out)
            datas = datas[1:]
        if self._opened and name != "error":
            texts = read_texts(datas)
            if texts:
                pieces = len(texts)
                out.append(Delta(content="".join(texts), pieces=pieces))
                datas = datas[pieces:]
        if datas and not self._over:
            super().read_all(name, datas, out)


class DocumentDecoder(WholeBodyDecoder):
    """A backend that ignored `stream: true`: one JSON object to the events it stands for."""

    def __init__(self, fault_of: FaultOf) -> None:
        super().__init__()
        self._fault_of = fault_of

    def read(self, body: bytes) -> list[Event]:
        body = as_utf8(body)
        chunk = read_chunk(body)
        if chunk is None:
            return [unreadable()]
        if chunk.choices is None or _is_error(chunk):
            return [self._failed(body, "the engine's answer has no choices")]
        out: list[Event] = [_opened(chunk)]
        chunk_events(chunk, out)
        out.append(End())
        return out

    def _failed(self, body: bytes, otherwise: str) -> Event:
        """An answer with status 200 that is an error: its own code says which, else it is a bug."""
        found = read_error(body) or ErrorPiece(message=otherwise)
        return Fault(error=self._fault_of(found, status_in(found) or 500))


class EmbeddingDecoder(DocumentDecoder):
    """An embeddings answer: its members as they are."""

    def read(self, body: bytes) -> list[Event]:
        body = as_utf8(body)
        members, chunk = read_piece(members_decoder.decode, body), read_chunk(body)
        if members is None or chunk is None:
            return [unreadable()]
        if "data" not in members or _is_error(chunk):
            return [self._failed(body, "the engine's answer has no data")]
        out: list[Event] = [Document(members=members)]
        if chunk.usage is not None:
            out.append(UsageReport(usage=usage_of(chunk.usage)))
        out.append(End())
        return out


def _is_error(chunk: ChunkPiece) -> bool:
    return has_items(chunk.error) or (chunk.choices is None and has_items(chunk.detail))


def _events_of(data: bytes) -> list[Event]:
    """What a chunk says that is no error and not the stream's first."""
    out: list[Event] = []
    chunk = read_chunk(data)
    if chunk is not None and not _is_error(chunk):
        chunk_events(chunk, out)
    return out


def _opened(chunk: ChunkPiece) -> Opened:
    return Opened(system_fingerprint=chunk.system_fingerprint, service_tier=chunk.service_tier)


def chunk_events(chunk: ChunkPiece, out: list[Event]) -> None:
    """Append what one chunk says. Content that rides on a finish chunk (vLLM) comes before the finish."""
    for choice in chunk.choices or ():
        index = choice.index or 0
        if choice.delta != _SILENT or choice.logprobs != NULL:
            delta = _delta(index, choice)
            if delta is not None:
                out.append(delta)
        if choice.finish_reason:
            met = None if choice.stop_reason is NULL else _stop_sequence(choice.stop_reason)
            out.append(Finish(reason=choice.finish_reason, choice=index, stop_sequence=met))
    if chunk.usage is not None and chunk.usage.prompt_tokens is not None:
        out.append(UsageReport(usage=usage_of(chunk.usage)))


def _stop_sequence(told: msgspec.Raw) -> str | None:
    return msgspec.json.decode(told, type=str) if bytes(told).startswith(b'"') else None


def _delta(index: int, choice: ChoicePiece) -> Delta | None:
    piece = choice.delta or choice.message
    logprobs = None
    if choice.logprobs != NULL:
        logprobs = choice.logprobs.copy()  # of a view, which would keep its whole chunk in memory
    if piece is None:
        if not choice.text and (logprobs is None or not _tells_tokens(logprobs)):
            return None
        return Delta(choice=index, content=choice.text or "", logprobs=logprobs)
    content = piece.content
    reasoning = piece.reasoning_content or piece.reasoning or ""
    match content:
        case list():
            content, thought = _parts(content)
            reasoning += thought
    extra = extra_members(piece)
    if not (content or reasoning or piece.refusal or piece.tool_calls or extra) and (
        logprobs is None or not _tells_tokens(logprobs)
    ):
        return None
    return Delta(
        choice=index,
        content=content or "",
        reasoning=reasoning,
        refusal=piece.refusal or "",
        tool_calls=_tool_calls(piece) if piece.tool_calls else (),
        logprobs=logprobs,
        extra=extra,
    )


def _tells_tokens(logprobs: msgspec.Raw) -> bool:
    """A token can have no text of its own (a piece of a character) and yet have a probability."""
    told = read_piece(_decode_any, bytes(logprobs))
    return isinstance(told, dict) and any(told.values())


def _tool_calls(piece: DeltaPiece) -> tuple[ToolCallDelta, ...]:
    calls = []
    for call in piece.tool_calls or ():
        function = call.function
        arguments = function.arguments if function else None
        if isinstance(arguments, dict):
            arguments = _encode(arguments).decode()
        calls.append(
            ToolCallDelta(
                index=-1 if call.index is None else call.index,
                id=call.id,
                name=function.name if function else None,
                arguments=arguments or "",
            )
        )
    return tuple(calls)


def _parts(parts: list[object]) -> tuple[str, str]:
    """Content as a list of parts (Mistral's reasoning models): text, and thinking."""
    text, thought = "", ""
    for part in parts:
        match part:
            case {"type": "text", "text": str(piece)}:
                text += piece
            case {"type": "thinking", "thinking": list(inner)}:
                thought += _parts(inner)[0]
            case {"type": "thinking", "thinking": str(piece)}:
                thought += piece
    return text, thought


def usage_of(piece: UsagePiece) -> Usage:
    """Counts made inclusive: xAI leaves reasoning out of the completion tokens, but not of the total."""
    prompt, completion = piece.prompt_tokens_details, piece.completion_tokens_details
    reasoning = completion.reasoning_tokens if completion else None
    prompt_tokens, completion_tokens = piece.prompt_tokens or 0, piece.completion_tokens or 0
    if reasoning and piece.total_tokens == prompt_tokens + completion_tokens + reasoning:
        completion_tokens += reasoning
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=prompt.cached_tokens if prompt else None,
        cache_write_tokens=prompt.cache_write_tokens if prompt else None,
        reasoning_tokens=reasoning,
    )
