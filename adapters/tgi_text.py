"""Text completions with TGI: its `generate_stream`, which tells what its imitation of OpenAI's does not. Sans-IO.

Source: the router of version 3 (`GenerateParameters`, `StreamResponse`).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from adapters.chat_request import Members, read
from adapters.dialect import AttemptContext
from adapters.event_stream import EventStreamDecoder
from adapters.openai_subset import LABELS
from adapters.openai_wire import ErrorPiece, has_items, read_error
from adapters.prompt import prompt_of
from adapters.request_members import ASKS_NOTHING, OUR_OWN
from adapters.stop_sequences import stops_of
from adapters.unsupported import Cannot
from adapters.whole_body import WholeBodyDecoder, unreadable
from adapters.wire_json import read_piece
from contracts.errors import UpstreamFault
from contracts.events import Delta, End, Event, Fault, Finish, Usage, UsageReport
from contracts.inference import InferRequest

PATH = "/generate_stream"
PASSED_ON = ("frequency_penalty", "seed", "top_k", "typical_p", "repetition_penalty", "truncate")
"""Numbers that it knows by the same names: OpenAI's, and its own."""
FaultOf = Callable[[ErrorPiece, int | None], UpstreamFault]
_encode = msgspec.json.Encoder().encode


def generate_request(
    infer: InferRequest, attempt: AttemptContext, engine: str
) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of members that were left out.

    Raises InvalidField for what is wrong, UnsupportedParameter for what it cannot do.
    """
    cannot = Cannot(engine, attempt.unsupported)
    if infer.facts.n > 1:
        cannot.refuse("n", "it gives one answer to a request")
    given = {**infer.members, **attempt.overrides}
    skipped = OUR_OWN | LABELS  # labels ask nothing of an engine
    members = Members({n: v for n, v in given.items() if n not in skipped}, ASKS_NOTHING)
    inputs = prompt_of(members, cannot)
    parameters: dict[str, Any] = {"details": True}
    named = members.read("max_tokens", int)
    limit = min((n for n in (named, attempt.max_tokens) if n is not None and n > 0), default=None)
    if limit is not None:
        parameters["max_new_tokens"] = limit
    temperature = members.raw("temperature")
    if temperature is not None and not read(temperature, float, "temperature"):
        parameters["do_sample"] = False  # it refuses the number 0
    else:
        parameters["do_sample"] = True
        parameters |= {} if temperature is None else {"temperature": temperature}
    top_p = members.raw("top_p")
    if top_p is not None and read(top_p, float, "top_p") != 1:
        parameters["top_p"] = top_p
    members.raw("stop")
    if stops := stops_of(given):
        parameters["stop"] = stops
    parameters |= {n: raw for n in PASSED_ON if (raw := members.raw(n)) is not None}
    for name in members.left():
        cannot.parameter(name)
    return _encode({"inputs": inputs, "parameters": parameters}), cannot.dropped


class _Token(msgspec.Struct):
    text: str = ""
    special: bool = False


class _Details(msgspec.Struct):
    finish_reason: str = "stop"
    generated_tokens: int = 0
    input_length: int | None = None
    prefill: list[Any] = []


class _Response(msgspec.Struct):
    """An event of the stream; without `token`, a whole answer."""

    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Response).decode


def _response(data: bytes) -> _Response | None:
    return read_piece(_decode, data)


def _farewell(response: _Response, out: list[Event]) -> None:
    details = response.details
    out.append(Finish(reason=details.finish_reason if details else "stop"))
    if details is not None:
        prompt = details.input_length if details.input_length is not None else len(details.prefill)
        usage = Usage(prompt_tokens=prompt, completion_tokens=details.generated_tokens)
        out.append(UsageReport(usage=usage))


class GenerateDecoder(EventStreamDecoder):
    """Tokens, and with the last one the whole text and how it came to an end."""

    def __init__(self, fault_of: FaultOf) -> None:
        super().__init__()
        self._fault_of = fault_of

    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        response = _response(data)
        if response is None:
            self.broken("the engine sent an event that is not valid JSON", out)
            return
        if has_items(response.error):
            self.fault(self._fault_of(read_error(data) or ErrorPiece(), None), out)
            return
        token = response.token
        if token is not None and token.text and not token.special:
            out.append(Delta(content=token.text))
        if response.generated_text is not None or response.details is not None:
            _farewell(response, out)
            self.end(out)


class GenerateDocumentDecoder(WholeBodyDecoder):
    """A whole answer, of `/generate`."""

    def __init__(self, fault_of: FaultOf) -> None:
        super().__init__()
        self._fault_of = fault_of

    def read(self, body: bytes) -> list[Event]:
        response = _response(body)
        if response is None:
            return [unreadable()]
        if has_items(response.error) or response.generated_text is None:
            otherwise = ErrorPiece(message="the engine's answer has no text")
            return [Fault(error=self._fault_of(read_error(body) or otherwise, 500))]
        out: list[Event] = []
        if response.generated_text:
            out.append(Delta(content=response.generated_text))
        _farewell(response, out)
        out.append(End())
        return out
