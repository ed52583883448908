"""The Gemini dialect: Google's Generative Language API, for chats and embeddings. Sans-IO.

What is asked is in `gemini_request`, what is answered in `gemini_stream`, what failed in `gemini_faults`; here
they become a dialect. Version `v1` of the API, as the `google-genai` SDK 3.x has it.
"""

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from adapters import gemini_faults
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
from adapters.gemini_embeddings import batch_request, read_vectors
from adapters.gemini_request import ENGINE, generate_request
from adapters.gemini_stream import DocumentDecoder, StreamDecoder
from adapters.model_list import state_by_list
from adapters.retry_after import retry_after_s
from adapters.wire_json import read_piece
from contracts.errors import UnsupportedParameter, UpstreamFault
from contracts.inference import InferRequest

MODELS = "/v1/models?pageSize=1000"
"""All of them; without a size it lists fifty."""
USABLE = frozenset({"generateContent", "embedContent"})


class _Model(msgspec.Struct, rename="camel"):
    name: str
    supported_generation_methods: list[str] | None = None


class _ModelList(msgspec.Struct):
    models: list[_Model] = []


_decode_models = msgspec.json.Decoder(_ModelList).decode


class GeminiDialect(Dialect):
    """Google itself, and servers that speak as it does. Its count of a prompt's tokens costs a request to
    somebody else's computer, so there is none here."""

    engine: str = ENGINE

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        if infer.operation == "completion":
            raise UnsupportedParameter(
                f"prompt is not supported by the engine {ENGINE}: it answers chats only",
                param="prompt",
            )
        model = resource_name(attempt.upstream_model)
        embeds = infer.operation == "embedding"
        if embeds:
            path = f"/v1/{model}:batchEmbedContents"
            body, dropped = batch_request(infer, attempt, model)
        else:
            path = f"/v1/{model}:streamGenerateContent?alt=sse"
            body, dropped = generate_request(infer, attempt)
        headers = (
            ("content-type", "application/json"),
            ("accept", "application/json" if embeds else "text/event-stream"),
            ("x-request-id", infer.request_id),
            *self.access(attempt.api_key),
        )
        return WireRequest(method="POST", path=path, headers=headers, body=body, dropped=dropped)

    def access(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        return (("x-goog-api-key", api_key),) if api_key else ()

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        if infer.operation == "embedding":
            told = encoding_of(infer), infer.facts.prompt_tokens
            return EmbeddingDecoder(read_vectors, gemini_faults.fault_of, *told)
        if head.headers.get("content-type", "").lower().startswith("application/json"):
            return DocumentDecoder(infer.facts.n)
        return StreamDecoder(infer.facts.n)

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        return gemini_faults.fault_of(body, head.status, retry_after_s(head.headers))

    def probes(self) -> tuple[str, ...]:
        return (MODELS,)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        return state_by_list(answers.get(MODELS), self.fault, listed_models)


def resource_name(model: str) -> str:
    """`gemini-3-flash` is `models/gemini-3-flash`; a tuned model is named in full. Fit for a path."""
    return quote(model if "/" in model else f"models/{model}", safe="/-_.~:@")


def listed_models(body: bytes) -> tuple[str, ...]:
    """Names of models that answer or embed, without `models/`; none if it is no list."""
    listed = read_piece(_decode_models, body)
    if listed is None:
        return ()
    return tuple(
        entry.name.removeprefix("models/")
        for entry in listed.models
        if entry.supported_generation_methods is None
        or USABLE & set(entry.supported_generation_methods)
    )
