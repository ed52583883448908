"""Hugging Face's TGI, version 3: chats by its Messages API, text completions by `generate_stream`. Sans-IO.

What its chats write otherwise is in `tgi_chat`, text completions are in `tgi_text`, what failed in
`tgi_faults`; here they become a dialect. It takes as many requests at once as it was started with, and
refuses the next one.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from adapters.dialect import AttemptContext, Decoder, EndpointState, WireHead, WireRequest
from adapters.load_signals import LoadMetrics
from adapters.openai import models_of
from adapters.openai_subset import LABELS, OpenAISubsetDialect
from adapters.openai_wire import ErrorPiece
from adapters.stop_sequences import stopping
from adapters.tgi_chat import ChatDocumentDecoder, ChatStreamDecoder, fit_chat
from adapters.tgi_faults import class_of_tgi
from adapters.tgi_text import PATH, GenerateDecoder, GenerateDocumentDecoder, generate_request
from adapters.unsupported import Cannot
from adapters.wire_json import read_answer
from contracts.errors import FaultClass
from contracts.inference import InferRequest

_CHAT = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "tool_prompt",
        "guideline",
        "response_format",
        "max_tokens",
        "stop",
        "temperature",
        "top_p",
        "frequency_penalty",
        "seed",
        "logprobs",
        "top_logprobs",
        *LABELS,
    }
)


class _Info(msgspec.Struct):
    version: str | None = None
    model_sha: str | None = None
    max_total_tokens: int | None = None
    max_concurrent_requests: int | None = None


_decode_info = msgspec.json.Decoder(_Info).decode


class TgiDialect(OpenAISubsetDialect):
    engine = "tgi"
    limit_names = ("max_tokens",)
    takes = {"chat": _CHAT}

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        if infer.operation != "completion":
            return super().request(infer, attempt)
        body, dropped = generate_request(infer, attempt, self.engine)
        headers = self.headers(infer, attempt)
        return WireRequest(method="POST", path=PATH, headers=headers, body=body, dropped=dropped)

    def fit(
        self, members: dict[str, Raw], infer: InferRequest, attempt: AttemptContext, cannot: Cannot
    ) -> None:
        fit_chat(members, cannot)

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        whole = head.headers.get("content-type", "").lower().startswith("application/json")
        inner: Decoder
        if infer.operation == "completion":
            inner = (GenerateDocumentDecoder if whole else GenerateDecoder)(self.fault_of)
        else:
            inner = (ChatDocumentDecoder if whole else ChatStreamDecoder)(self.fault_of)
        # It ends at a stop sequence, with the sequence as the end of its text.
        return stopping(inner, infer, attempt, engine_stops=True)

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        return class_of_tgi(found, status)

    def load_metrics(self) -> LoadMetrics | None:
        return LoadMetrics(waiting=("tgi_queue_size",), running=("tgi_batch_current_size",))

    def probes(self) -> tuple[str, ...]:
        return ("/health", "/info", "/v1/models")

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        health = answers.get("/health")
        if health is None:
            return EndpointState(why="no answer")
        if health[0].status != 200:
            return EndpointState(live=True, why="its health check fails")
        info = read_answer(_decode_info, answers.get("/info")) or _Info()
        return EndpointState(
            live=True,
            ready=True,
            why="ok",
            version=info.version,
            model_digest=f"revision:{info.model_sha}" if info.model_sha else None,
            models=models_of(answers.get("/v1/models")),
            slots=info.max_concurrent_requests or None,
            context=info.max_total_tokens or None,
        )
