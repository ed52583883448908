"""The OpenAI dialect: chat, text completions and embeddings, as OpenAI and its many imitators speak them.

Base of the other OpenAI-speaking dialects, which override what differs. Sans-IO.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters import openai_body
from adapters.dialect import (
    AttemptContext,
    Counting,
    Decoder,
    EndpointState,
    Prefill,
    WireHead,
    WireRequest,
)
from adapters.load_signals import LoadMetrics
from adapters.model_list import state_by_list
from adapters.openai_decoders import (
    DocumentDecoder,
    EmbeddingDecoder,
    FoldedStreamDecoder,
    StreamDecoder,
)
from adapters.openai_faults import as_fault, class_of, status_in
from adapters.openai_wire import ErrorPiece, read_error
from adapters.rate_limits import OPENAI, RateLimits, read_rate_limits
from adapters.retry_after import retry_after_s
from adapters.wire_json import read_piece
from contracts.errors import FaultClass, UpstreamFault
from contracts.inference import InferRequest, Operation

PATHS: dict[Operation, str] = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
}


class OpenAIDialect:
    """OpenAI itself, and any backend that speaks as it does."""

    engine = "openai"
    limit_names: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    """Every member by which this backend lets itself be told how much to generate."""
    withheld: frozenset[str] = frozenset()
    """Members of the client's that do not travel on, because policy decides them."""
    always_lists = False
    """Every such backend lists its models: one that does not is another program."""

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        members = {**infer.members, **attempt.overrides}
        for name in self.withheld:
            members.pop(name, None)
        body: dict[str, openai_body.Value] = {**members, **self.own_members(attempt)}
        body["model"] = attempt.upstream_model
        if infer.operation != "embedding":
            told = "stream_options" in members
            body["stream"] = True
            body["stream_options"] = _with_usage(members["stream_options"]) if told else _ONLY_USAGE
            cap = self.token_cap(infer, attempt)
            if cap is not None:
                default = self.limit_name(infer.operation)
                body |= openai_body.capped(members, cap, default, self.limit_names)
        return WireRequest(
            method="POST",
            path=PATHS[infer.operation],
            headers=self.headers(infer, attempt),
            body=openai_body.encode(body),
        )

    def headers(self, infer: InferRequest, attempt: AttemptContext) -> tuple[tuple[str, str], ...]:
        """Never the client's own: only what this backend needs."""
        accept = "application/json" if infer.operation == "embedding" else "text/event-stream"
        return (
            ("content-type", "application/json"),
            ("accept", accept),
            ("x-request-id", infer.request_id),
            *self.access(attempt.api_key),
        )

    def access(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {api_key}"),) if api_key else ()

    def own_members(self, attempt: AttemptContext) -> dict[str, int]:
        """Body members that only this backend knows, by which it is told what the intent asks."""
        return {}

    def token_cap(self, infer: InferRequest, attempt: AttemptContext) -> int | None:
        """The most tokens this attempt may generate, or None to leave it to the backend."""
        return attempt.max_tokens

    def limit_name(self, operation: Operation) -> str:
        """The member that limits tokens where the client named none. OpenAI's reasoning models
        refuse the older name."""
        return "max_completion_tokens" if operation == "chat" else "max_tokens"

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        kind = head.headers.get("content-type", "").lower()
        if infer.operation == "embedding":
            return EmbeddingDecoder(self.fault_of)
        if kind.startswith("application/json"):
            return DocumentDecoder(self.fault_of)
        return (FoldedStreamDecoder if attempt.joins else StreamDecoder)(self.fault_of)

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        found = read_error(body) or ErrorPiece()
        return self.fault_of(found, head.status, retry_after_s(head.headers))

    def queue_s(self, head: WireHead) -> float | None:
        return None

    def rate_limits(self, head: WireHead) -> RateLimits | None:
        return read_rate_limits(head.headers, OPENAI)

    def counting(self, infer: InferRequest, attempt: AttemptContext) -> Counting | None:
        return None

    def prefill(self) -> Prefill:
        return "none"

    def load_metrics(self) -> LoadMetrics | None:
        return None

    def fault_of(
        self, found: ErrorPiece, status: int | None, retry_s: float | None = None
    ) -> UpstreamFault:
        """An error object as a fault. `status` None: it came inside a stream, where the object may
        tell the status itself: a stream can fail after its 200, and before its first token."""
        told = status if status is not None else status_in(found)
        fault = self.classify(found, told)
        return as_fault(fault, found, told, status=status, param=found.param, retry_s=retry_s)

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        """What kind of failure, by what the engine says and then by status."""
        return class_of(found, status)

    def probes(self) -> tuple[str, ...]:
        return ("/v1/models",)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        return state_by_list(
            answers.get("/v1/models"), self.fault, listed_models, always_there=self.always_lists
        )


_ONLY_USAGE = {"include_usage": True}
_decode_options = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


def _with_usage(options: msgspec.Raw) -> dict[str, Any]:
    """The client's stream options, with usage asked for."""
    # Where it is no object, the client asked for a whole answer, where nobody looks at it.
    return {**(read_piece(_decode_options, options) or {}), **_ONLY_USAGE}


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model] = []


_decode_models = msgspec.json.Decoder(_ModelList).decode


def listed_models(body: bytes) -> tuple[str, ...]:
    """Ids in an OpenAI model list, sorted as the backend sorts them; none if it is not one."""
    listed = read_piece(_decode_models, body)
    return tuple(entry.id for entry in listed.data) if listed else ()


def models_of(answer: tuple[WireHead, bytes] | None) -> tuple[str, ...]:
    """The same of a probe's answer; none where there was no good one."""
    return listed_models(answer[1]) if answer is not None and answer[0].status == 200 else ()
