"""Ollama's answers to events: lines of JSON, and whole answers. Sans-IO.

The last line says `done`, and why; an error is a line of its own. Calls come whole. What must stay true: no bytes
raise, and arguments keep their bytes.
"""

import msgspec

from adapters.line_stream import LineStreamDecoder
from adapters.logprobs import Token, content_logprobs
from adapters.ollama_faults import fault_of
from adapters.ollama_wire import (
    CallPiece,
    ChunkPiece,
    LogprobPiece,
    MessagePiece,
    TokenPiece,
    read_chunk,
)
from adapters.openai_wire import has_items
from adapters.whole_body import WholeBodyDecoder, unreadable
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

_FINISH_REASONS = {"": "stop", "load": "stop", "unload": "stop"}
"""A reason that is not here travels on as it is: "stop" and "length" are OpenAI's own words."""


class AnswerReader:
    """The lines of one answer, in their order."""

    def __init__(self, prompt_tokens: int) -> None:
        """`prompt_tokens` are the gateway's own count, for when Ollama tells none."""
        self._prompt_tokens = prompt_tokens
        self._opened = False
        self._calls = 0

    def read(self, chunk: ChunkPiece, out: list[Event]) -> None:
        """Append what one line says."""
        if not self._opened:
            self._opened = True
            out.append(Opened())
        message = chunk.message or MessagePiece(content=chunk.response, thinking=chunk.thinking)
        if message.thinking:
            out.append(Delta(reasoning=message.thinking))
        if message.content or chunk.logprobs:
            logprobs = _logprobs(chunk.logprobs) if chunk.logprobs else None
            out.append(Delta(content=message.content or "", logprobs=logprobs))
        for call in message.tool_calls or ():
            self._call(call, out)
        if chunk.done:
            reason = chunk.done_reason or ""
            out.append(Finish(reason=_FINISH_REASONS.get(reason, reason)))
            if chunk.eval_count is not None or chunk.prompt_eval_count is not None:
                out.append(UsageReport(usage=self._usage(chunk)))

    def _call(self, call: CallPiece, out: list[Event]) -> None:
        function = call.function
        if function is None or not function.name:
            return
        arguments = bytes(function.arguments).decode() if has_items(function.arguments) else "{}"
        piece = ToolCallDelta(
            index=self._calls, id=call.id, name=function.name, arguments=arguments
        )
        self._calls += 1
        out.append(Delta(tool_calls=(piece,)))

    def _usage(self, chunk: ChunkPiece) -> Usage:
        """An older Ollama says nothing of a prompt that it still had in its cache."""
        prompt = chunk.prompt_eval_count
        return Usage(
            prompt_tokens=self._prompt_tokens if prompt is None else prompt,
            completion_tokens=chunk.eval_count or 0,
            estimated=prompt is None,
        )


class StreamDecoder(LineStreamDecoder):
    """A streamed answer."""

    def __init__(self, prompt_tokens: int) -> None:
        super().__init__()
        self._answer = AnswerReader(prompt_tokens)

    def read(self, line: bytes, out: list[Event]) -> None:
        if not line.strip():
            return
        chunk = read_chunk(line)
        if chunk is None:
            self.broken("the engine sent a line that is not valid JSON", out)
        elif has_items(chunk.error):
            self.fault(fault_of(line, None), out)
        else:
            self._answer.read(chunk, out)
            if chunk.done:
                self.end(out)


class DocumentDecoder(WholeBodyDecoder):
    """An answer in one piece, from a server that ignored `stream: true`."""

    def __init__(self, prompt_tokens: int) -> None:
        super().__init__()
        self._answer = AnswerReader(prompt_tokens)

    def read(self, body: bytes) -> list[Event]:
        chunk = read_chunk(body)
        if chunk is None:
            return [unreadable()]
        if has_items(chunk.error):
            return [Fault(error=fault_of(body, None))]
        out: list[Event] = []
        self._answer.read(chunk, out)
        return [*out, End()]


def _logprobs(pieces: list[LogprobPiece]) -> msgspec.Raw:
    return content_logprobs(
        (_token(piece), map(_token, piece.top_logprobs or ())) for piece in pieces
    )


def _token(piece: TokenPiece) -> Token:
    return piece.token, piece.logprob
