"""The Anthropic dialect: the Messages API, for chats. Sans-IO.

What is asked is in `anthropic_request`, what is answered in `anthropic_stream`, what failed in
`anthropic_faults`; here they become a dialect.
"""

from collections.abc import Mapping

import msgspec

from adapters import anthropic_faults
from adapters.anthropic_request import ENGINE, messages_request
from adapters.anthropic_stream import DocumentDecoder, StreamDecoder
from adapters.anthropic_verbatim import BETA_HEADER, verbatim_body
from adapters.dialect import (
    AttemptContext,
    Decoder,
    Dialect,
    EndpointState,
    WireHead,
    WireRequest,
)
from adapters.model_list import state_by_list
from adapters.openai import listed_models
from adapters.rate_limits import ANTHROPIC, RateLimits, read_rate_limits
from adapters.retry_after import retry_after_s
from contracts.errors import UnsupportedParameter, UpstreamFault
from contracts.inference import InferRequest

API_VERSION = "2023-06-01"
"""The later one, 2026-10-21, refuses `temperature`, `top_p` and `top_k` at any value."""
MESSAGES = "/v1/messages"
MODELS = "/v1/models?limit=1000"
"""All of them; without a limit it lists twenty."""


class AnthropicDialect(Dialect):
    """Anthropic itself, and servers that speak as it does. It has a way of counting tokens, but calls what
    that answers an estimate, so there is none here."""

    engine: str = ENGINE

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        if infer.operation != "chat":
            asked = "input" if infer.operation == "embedding" else "prompt"
            raise UnsupportedParameter(
                f"{asked} is not supported by the engine {ENGINE}: it answers chats only",
                param=asked,
            )
        headers = (
            ("content-type", "application/json"),
            ("accept", "text/event-stream"),
            ("x-request-id", infer.request_id),
            *self.access(attempt.api_key),
        )
        wire = WireRequest(method="POST", path=MESSAGES, headers=headers)
        native = infer.native.get(ENGINE)
        own = verbatim_body(native, attempt) if native is not None else None
        if own is None:
            body, dropped = messages_request(infer, attempt)
            return msgspec.structs.replace(wire, body=body, dropped=dropped)
        if beta := infer.facts.headers.get(BETA_HEADER):
            headers = (*headers, (BETA_HEADER, beta))
        return msgspec.structs.replace(wire, headers=headers, body=own, native=True)

    def access(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        version = ("anthropic-version", API_VERSION)
        return (version, ("x-api-key", api_key)) if api_key else (version,)

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        if head.headers.get("content-type", "").lower().startswith("application/json"):
            return DocumentDecoder()
        return StreamDecoder()

    def rate_limits(self, head: WireHead) -> RateLimits | None:
        return read_rate_limits(head.headers, ANTHROPIC)

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        return anthropic_faults.fault_of(body, head.status, retry_after_s(head.headers))

    def probes(self) -> tuple[str, ...]:
        return (MODELS,)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        return state_by_list(answers.get(MODELS), self.fault, listed_models)
