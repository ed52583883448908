"""Anthropic's answers to events: streams of content blocks, and whole messages. Sans-IO.

A block has a type when it begins, and its deltas belong to it by index. Text, thinking and calls of the
client's tools are told; blocks of Anthropic's own tools, which no request of ours asks for, and event types
that do not exist yet are passed over. What must stay true: no bytes raise; a second message inside a stream
is a broken stream, because what the first one said would stand there twice.
"""

import msgspec
from msgspec import Raw

from adapters.anthropic_conversation import SIGNED_BY
from adapters.anthropic_faults import fault_of
from adapters.anthropic_wire import (
    BlockPiece,
    DeltaPiece,
    EventPiece,
    MessagePiece,
    UsagePiece,
    read_event,
    read_message,
)
from adapters.cumulative_usage import merged
from adapters.event_stream import EventStreamDecoder
from adapters.openai_wire import has_items
from adapters.service_tier import openai_tier
from adapters.whole_body import WholeBodyDecoder, unreadable
from contracts.errors import UpstreamFault
from contracts.events import (
    Delta,
    End,
    Event,
    Fault,
    Finish,
    Opened,
    ToolCallDelta,
    Usage,
    UsageReport,
)

MAX_BLOCKS = 4096
"""Blocks that are open at once; each costs memory."""
MAX_THINKING_CHARS = 16 * 1024 * 1024
"""Thinking of one answer: it is kept, since its signature comes last and counts for all of it."""

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""A reason that is not here travels on as it is."""
_encode = msgspec.json.Encoder().encode


class _Block:
    """One open content block."""

    def __init__(self, piece: BlockPiece, call: int) -> None:
        self.piece = piece
        self.call = call
        """Which call of the client's tools it is, from 0."""
        self.has_arguments = False
        self.thinking: list[str] = []
        self.signature: list[str] = []


class StreamDecoder(EventStreamDecoder):
    """Events of one streamed message."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._kept = 0
        self._opened = False
        self._begun = False
        self._usage = UsagePiece()

    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        event = read_event(data)
        if event is None:
            self.broken("the engine sent an event that is not valid JSON", out)
            return
        match event.type:
            case "content_block_delta":
                self._delta(event.index or 0, event.delta or DeltaPiece(), out)
            case "content_block_start":
                self._start(event, out)
            case "content_block_stop":
                self._stop(event.index or 0, out)
            case "message_start":
                self._message(event.message or MessagePiece(), out)
            case "message_delta":
                self._end_of_message(event, out)
            case "message_stop":
                self.end(out)
            case "error":
                self.fault(fault_of(data, None), out)
            case _ if name == "error" or has_items(event.error):
                self.fault(fault_of(data, None), out)

    def _message(self, message: MessagePiece, out: list[Event]) -> None:
        if self._begun:
            self.broken("the engine began a second message before the first had ended", out)
            return
        self._blocks.clear()
        usage = message.usage or UsagePiece()
        self._usage = usage
        if not self._opened:
            self._opened = True
            out.append(Opened(service_tier=openai_tier(usage.service_tier)))

    def _start(self, event: EventPiece, out: list[Event]) -> None:
        piece = event.content_block
        if piece is None:
            return
        if len(self._blocks) >= MAX_BLOCKS:
            self.broken(f"the engine began {MAX_BLOCKS} parts and ended none", out)
            return
        self._begun = True
        block = _Block(piece, self._calls)
        self._blocks[event.index or 0] = block
        match piece.type:
            case "text" if piece.text:
                out.append(Delta(content=piece.text))
            case "thinking" if piece.thinking:
                block.thinking.append(piece.thinking)
                out.append(Delta(reasoning=piece.thinking))
            case "tool_use":
                self._calls += 1
                call = ToolCallDelta(index=block.call, id=piece.id, name=piece.name)
                out.append(Delta(tool_calls=(call,)))

    def _delta(self, index: int, delta: DeltaPiece, out: list[Event]) -> None:
        block = self._blocks.get(index)
        if block is None:
            return
        match block.piece.type:
            case "text" if delta.text:
                out.append(Delta(content=delta.text))
            case "thinking":
                if delta.thinking:
                    block.thinking.append(delta.thinking)
                    out.append(Delta(reasoning=delta.thinking))
                if delta.signature:
                    block.signature.append(delta.signature)
                self._kept += len(delta.thinking or "") + len(delta.signature or "")
                if self._kept > MAX_THINKING_CHARS:
                    self.broken("the engine's thinking is too long to be kept", out)
            case "tool_use" if delta.partial_json:
                block.has_arguments = True
                piece = ToolCallDelta(index=block.call, arguments=delta.partial_json)
                out.append(Delta(tool_calls=(piece,)))

    def _stop(self, index: int, out: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        piece = block.piece
        if piece.type == "tool_use" and not block.has_arguments:
            arguments = _encode(piece.input or {}).decode()
            out.append(Delta(tool_calls=(ToolCallDelta(index=block.call, arguments=arguments),)))
        thinking = "".join(block.thinking)
        signature = "".join(block.signature) or piece.signature or ""
        if details := reasoning_details(index, piece, thinking, signature):
            out.append(details)

    def _end_of_message(self, event: EventPiece, out: list[Event]) -> None:
        delta = event.delta or DeltaPiece()
        for index in list(self._blocks):  # a server may forget to close them
            self._stop(index, out)
        finish(delta, out)
        self._usage = merged(self._usage, event.usage or UsagePiece())
        if delta.stop_reason:
            out.append(UsageReport(usage=usage_of(self._usage)))


class DocumentDecoder(WholeBodyDecoder):
    """A message in one piece, from a server that ignored `stream: true`."""

    def read(self, body: bytes) -> list[Event]:
        message = read_message(body)
        if message is None:
            return [unreadable()]
        if message.type == "error" or has_items(message.error):
            return [Fault(error=fault_of(body, None))]
        if message.content is None:
            return [Fault(error=UpstreamFault("the engine's answer has no content"))]
        usage = message.usage or UsagePiece()
        out: list[Event] = [Opened(service_tier=openai_tier(usage.service_tier))]
        calls = 0
        for index, block in enumerate(message.content):
            match block.type:
                case "text" if block.text:
                    out.append(Delta(content=block.text))
                case "thinking" if block.thinking:
                    out.append(Delta(reasoning=block.thinking))
                case "tool_use":
                    arguments = _encode(block.input or {}).decode()
                    call = ToolCallDelta(
                        index=calls, id=block.id, name=block.name, arguments=arguments
                    )
                    out.append(Delta(tool_calls=(call,)))
                    calls += 1
            if details := reasoning_details(index, block, block.thinking or "", block.signature):
                out.append(details)
        finish(message, out)
        out += [UsageReport(usage=usage_of(usage)), End()]
        return out


def reasoning_details(
    index: int, block: BlockPiece, thinking: str, signature: str | None
) -> Delta | None:
    """What a client must send back for the model to go on from this thinking, as OpenRouter writes it."""
    entry = {"format": SIGNED_BY, "index": index}
    if block.type == "thinking" and signature:
        entry |= {"type": "reasoning.text", "text": thinking, "signature": signature}
    elif block.type == "redacted_thinking" and block.data:
        entry |= {"type": "reasoning.encrypted", "data": block.data}
    else:
        return None
    return Delta(extra={"reasoning_details": Raw(_encode([entry]))})


def finish(told: DeltaPiece | MessagePiece, out: list[Event]) -> None:
    """Append why the message ended, if it has."""
    reason, details = told.stop_reason, told.stop_details
    if not reason:
        return
    if reason == "refusal" and details is not None and details.explanation:
        out.append(Delta(refusal=details.explanation))
    known = _FINISH_REASONS.get(reason, reason)
    out.append(Finish(reason=known, stop_sequence=told.stop_sequence))


def usage_of(piece: UsagePiece) -> Usage:
    """Counts made inclusive: Anthropic leaves what concerns its cache out of the input tokens."""
    cached, written = piece.cache_read_input_tokens, piece.cache_creation_input_tokens
    details = piece.output_tokens_details
    return Usage(
        prompt_tokens=(piece.input_tokens or 0) + (cached or 0) + (written or 0),
        completion_tokens=piece.output_tokens or 0,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=details.thinking_tokens if details else None,
    )
