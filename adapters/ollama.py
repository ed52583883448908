"""The Ollama dialect: its own API, for chats, text completions and embeddings. Sans-IO.

Not its OpenAI-compatible one, which passes over in silence what it does not know. What is asked is in
`ollama_request`, what is answered in `ollama_stream`, what failed in `ollama_faults`; here they become a dialect.
"""

from collections.abc import Callable, Mapping

import msgspec

from adapters import ollama_faults
from adapters.dialect import (
    AttemptContext,
    Decoder,
    Dialect,
    EndpointState,
    WireHead,
    WireRequest,
)
from adapters.embedding_decoder import EmbeddingDecoder
from adapters.embeddings import encoding_of
from adapters.model_list import state_by_list
from adapters.ollama_embeddings import read_vectors
from adapters.ollama_request import (
    ENGINE,
    Made,
    chat_request,
    completion_request,
    embedding_request,
)
from adapters.ollama_stream import DocumentDecoder, StreamDecoder
from adapters.ollama_wire import listed_models, told_version
from adapters.retry_after import retry_after_s
from contracts.errors import UpstreamFault
from contracts.inference import InferRequest, Operation

VERSION, MODELS = "/api/version", "/api/tags"
"""Neither loads a model. How much context a model has is told by POST only (`/api/show`), and how much it
was loaded with only while it is (`/api/ps`): the configuration says so instead."""
_HOW: dict[Operation, tuple[str, Callable[[InferRequest, AttemptContext], Made]]] = {
    "chat": ("/api/chat", chat_request),
    "completion": ("/api/generate", completion_request),
    "embedding": ("/api/embed", embedding_request),
}


class OllamaDialect(Dialect):
    engine: str = ENGINE

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        path, make = _HOW[infer.operation]
        body, dropped = make(infer, attempt)
        kind = "json" if infer.operation == "embedding" else "x-ndjson"
        headers = (
            ("content-type", "application/json"),
            ("accept", f"application/{kind}"),
            ("x-request-id", infer.request_id),
            *self.access(attempt.api_key),
        )
        return WireRequest(method="POST", path=path, headers=headers, body=body, dropped=dropped)

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        prompt_tokens = infer.facts.prompt_tokens
        if infer.operation == "embedding":
            told = encoding_of(infer), prompt_tokens
            return EmbeddingDecoder(read_vectors, ollama_faults.fault_of, *told)
        if head.headers.get("content-type", "").lower().startswith("application/json"):
            return DocumentDecoder(prompt_tokens)
        return StreamDecoder(prompt_tokens)

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        return ollama_faults.fault_of(body, head.status, retry_after_s(head.headers))

    def probes(self) -> tuple[str, ...]:
        return (VERSION, MODELS)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        state = state_by_list(answers.get(MODELS), self.fault, listed_models, always_there=True)
        version = answers.get(VERSION)
        if version is None or not state.ready:
            return state
        return msgspec.structs.replace(state, version=told_version(version[1]))
