"""Triton's generate extension (`/v2/models/M/generate_stream`): chats by a template, and text completions. Sans-IO.

What is asked is in `triton_request`, what is answered in `triton_stream`, what failed in `triton_faults`; here
they become a dialect. Its OpenAI frontend is another server with another API: `triton_openai`.
"""

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from adapters.chat_request import Members
from adapters.dialect import (
    AttemptContext,
    Decoder,
    Dialect,
    EndpointState,
    WireHead,
    WireRequest,
)
from adapters.openai_faults import as_fault
from adapters.openai_wire import ErrorPiece
from adapters.retry_after import retry_after_s
from adapters.stop_sequences import stopping
from adapters.triton_faults import class_of_triton, error_in
from adapters.triton_request import ENGINE, generate_request, limit_sent
from adapters.triton_stream import DocumentDecoder, StreamDecoder
from adapters.wire_json import read_answer
from contracts.errors import UpstreamFault
from contracts.inference import InferRequest

READY = "/v2/health/ready"
SERVER = "/v2"
INDEX = "POST /v2/repository/index"
_VERSION = "/versions/"


class TritonDialect(Dialect):
    """A model is named as Triton names it; `NAME/versions/2` is one version of it."""

    engine: str = ENGINE

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        body, dropped = generate_request(infer, attempt)
        model, _, version = attempt.upstream_model.partition(_VERSION)
        path = f"/v2/models/{quote(model, safe='')}"
        if version:
            path += f"{_VERSION}{quote(version, safe='')}"
        headers = (
            ("content-type", "application/json"),
            ("accept", "text/event-stream"),
            ("x-request-id", infer.request_id),
            *self.access(attempt.api_key),
        )
        return WireRequest(
            method="POST",
            path=f"{path}/generate_stream",
            headers=headers,
            body=body,
            dropped=dropped,
        )

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        whole = head.headers.get("content-type", "").lower().startswith("application/json")
        limit = limit_sent(Members({**infer.members, **attempt.overrides}, {}), attempt)
        inner: Decoder = (DocumentDecoder if whole else StreamDecoder)(self._fault_of, limit)
        return stopping(inner, infer, attempt, engine_stops=False)

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        found = error_in(body) or ErrorPiece()
        by_model = head.status == 400 and head.headers.get("content-type", "").startswith(
            "text/event-stream"
        )
        return self._fault_of(found, head.status, retry_after_s(head.headers), by_model=by_model)

    def _fault_of(
        self,
        found: ErrorPiece,
        status: int | None,
        retry_s: float | None = None,
        *,
        by_model: bool = False,
    ) -> UpstreamFault:
        fault = class_of_triton(found, status, by_model=by_model)
        return as_fault(fault, found, status, status=status, retry_s=retry_s)

    def probes(self) -> tuple[str, ...]:
        return (READY, SERVER, INDEX)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        ready = answers.get(READY)
        if ready is None:
            return EndpointState(why="no answer")
        if ready[0].status in (401, 403):
            return EndpointState(live=True, why="it refuses the API key")
        if ready[0].status != 200:
            return EndpointState(live=True, why="its models are not ready")
        return EndpointState(
            live=True,
            ready=True,
            why="ok",
            version=_version(answers.get(SERVER)),
            models=_models(answers.get(INDEX)),
        )


class _Server(msgspec.Struct):
    version: str


class _Entry(msgspec.Struct):
    name: str
    state: str = "READY"


_decode_server = msgspec.json.Decoder(_Server).decode
_decode_index = msgspec.json.Decoder(list[_Entry]).decode


def _version(answer: tuple[WireHead, bytes] | None) -> str | None:
    told = read_answer(_decode_server, answer)
    return told.version[:64] if told else None


def _models(answer: tuple[WireHead, bytes] | None) -> tuple[str, ...]:
    """Those that are ready, whatever they do: the index does not say which of them generate text."""
    listed = read_answer(_decode_index, answer) or []
    return tuple(dict.fromkeys(entry.name for entry in listed if entry.state == "READY"))
