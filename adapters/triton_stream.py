"""Answers of Triton's generate extension to events: a text a response, and no word about its end. Sans-IO.

What must stay true: an answer is complete when its body has ended as HTTP says it should, after at least one
response; anything else is a broken stream. Why it ended is told by some backends only; for others it was the
limit, if as many tokens (where nobody counts them: responses) came as were asked for.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from adapters.event_stream import EventStreamDecoder
from adapters.openai_wire import ErrorPiece, has_items, read_error
from adapters.whole_body import WholeBodyDecoder, unreadable
from adapters.wire_json import read_piece
from contracts.errors import UpstreamFault
from contracts.events import Delta, End, Event, Fault, Finish, Usage, UsageReport

_T = TypeVar("_T", str, int)
FaultOf = Callable[[ErrorPiece, int | None], UpstreamFault]
_NO_REASON = frozenset({"", "None", "null"})


class _Response(msgspec.Struct):
    """One response. A tensor of one element is that element, or a list of it."""

    text_output: str | list[str] | None = None
    finish_reason: str | list[str] | None = None
    num_input_tokens: int | list[int] | None = None
    num_output_tokens: int | list[int] | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Response).decode


def _response(data: bytes) -> _Response | None:
    return read_piece(_decode, data)


class _Answer:
    """What the responses so far add up to. `limit`: tokens that were asked for."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reason: str | None = None
        self._prompt_tokens: int | None = None
        self._completion_tokens = 0
        self.responses = 0

    def add(self, response: _Response, out: list[Event]) -> None:
        self.responses += 1
        text = response.text_output
        text = "".join(text) if isinstance(text, list) else text
        if text:
            out.append(Delta(content=text))
        reason = _one(response.finish_reason)
        if reason is not None and reason not in _NO_REASON:
            self._reason = reason
        prompt, completion = _one(response.num_input_tokens), _one(response.num_output_tokens)
        if prompt is not None:
            self._prompt_tokens = prompt
        self._completion_tokens += completion or 0

    def farewell(self, out: list[Event]) -> None:
        reached = (self._completion_tokens or self.responses) >= self._limit
        out.append(Finish(reason=self._reason or ("length" if reached else "stop")))
        if self._prompt_tokens is not None:
            usage = Usage(
                prompt_tokens=self._prompt_tokens, completion_tokens=self._completion_tokens
            )
            out.append(UsageReport(usage=usage))


def _one(value: list[_T] | _T | None) -> _T | None:
    if isinstance(value, list):
        return value[0] if value else None
    return value


class StreamDecoder(EventStreamDecoder):
    """Responses of `generate_stream`."""

    def __init__(self, fault_of: FaultOf, limit: int) -> None:
        super().__init__()
        self._fault_of = fault_of
        self._answer = _Answer(limit)

    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        response = _response(data)
        if response is None:
            self.broken("the engine sent an event that is not valid JSON", out)
        elif has_items(response.error):
            self.fault(self._fault_of(read_error(data) or ErrorPiece(), None), out)
        elif response.text_output is None:
            self.broken("the engine sent a response without text_output", out)
        else:
            self._answer.add(response, out)

    def last(self, out: list[Event]) -> None:
        if self._answer.responses:
            self._answer.farewell(out)
        super().last(out)


class DocumentDecoder(WholeBodyDecoder):
    """A response of `generate`, which is 200 for some errors too."""

    def __init__(self, fault_of: FaultOf, limit: int) -> None:
        super().__init__()
        self._fault_of = fault_of
        self._answer = _Answer(limit)

    def read(self, body: bytes) -> list[Event]:
        response = _response(body)
        if response is None:
            return [unreadable()]
        if has_items(response.error) or response.text_output is None:
            otherwise = ErrorPiece(message="the engine's answer has no text_output")
            return [Fault(error=self._fault_of(read_error(body) or otherwise, None))]
        out: list[Event] = []
        self._answer.add(response, out)
        self._answer.farewell(out)
        out.append(End())
        return out
