"""The llama.cpp server: OpenAI's words, its own errors, slots and health.

Probes are `/health`, `/props` and `/v1/models` only: `/slots` and `/metrics` wake a sleeping
server (seen at b10434). Work never queues inside it, because a queued request cannot be cancelled
there: the gateway keeps the queue and dispatches at most `total_slots` at once.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.amending_decoder import AmendingDecoder
from adapters.dialect import (
    AttemptContext,
    Counting,
    Decoder,
    EndpointState,
    Prefill,
    WireHead,
    WireRequest,
)
from adapters.llamacpp_request import fit_chat
from adapters.load_signals import LoadMetrics
from adapters.openai import OpenAIDialect, models_of
from adapters.openai_wire import ErrorPiece
from adapters.token_counting import by_llamacpp, countable
from adapters.unsupported import Cannot
from adapters.wire_json import read_answer
from contracts.errors import FaultClass
from contracts.events import Event, UsageReport
from contracts.inference import InferRequest, Operation

UNNAMED_CONTEXT = 32_768
"""Bounds a request without a limit, while the server has not told its context. Without any bound
some prompts generate until the client leaves."""

_CLIENT_TEXTS = (
    "parse error",
    "missing 'role'",
    "failed to parse",
    "input is not supported",
    "is required",
    "unsupported",
    "invalid",
)
"""What the deterministic 500s say: the request is wrong, another attempt will fail as well."""


class LlamaCppDialect(OpenAIDialect):
    engine = "llamacpp"
    limit_names = (
        *OpenAIDialect.limit_names,
        "n_predict",
    )  # its own name, which overrules the others

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        cannot = Cannot(self.engine, attempt.unsupported)
        members = {**infer.members, **attempt.overrides}
        if infer.operation == "chat":
            fit_chat(members, cannot, tools=attempt.tools)
        wire = super().request(
            msgspec.structs.replace(infer, members=members),
            msgspec.structs.replace(attempt, overrides={}),
        )
        return msgspec.structs.replace(wire, dropped=cannot.dropped)

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        inner = super().decoder(infer, attempt, head)
        one = infer.operation == "embedding" or (infer.operation == "chat" and infer.facts.n == 1)
        return inner if one else AmendingDecoder(inner, _Summed())

    def limit_name(self, operation: Operation) -> str:
        return "max_tokens"

    def token_cap(self, infer: InferRequest, attempt: AttemptContext) -> int | None:
        if attempt.max_tokens is not None:
            return attempt.max_tokens
        # Never below what the client itself named, so that its own limit stays as it is.
        return max(attempt.context or UNNAMED_CONTEXT, infer.facts.max_tokens or 0)

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        message = (found.message or "").lower()
        if found.type == "exceed_context_size_error":
            return "context_length"
        if status == 500 and any(text in message for text in _CLIENT_TEXTS):
            return "client"
        if found.type == "unavailable_error":
            return "unavailable"
        return super().classify(found, status)

    def counting(self, infer: InferRequest, attempt: AttemptContext) -> Counting | None:
        return by_llamacpp(infer, attempt) if countable(infer) else None

    def prefill(self) -> Prefill:
        return "repeats"  # seen at b10434: the answer is the last message and what follows it

    def load_metrics(self) -> LoadMetrics | None:
        """Asking wakes a sleeping server, and keeps one from falling asleep: only for an operator who says
        that it never sleeps. It needs `--metrics`."""
        return LoadMetrics(
            waiting=("llamacpp:requests_deferred",), running=("llamacpp:requests_processing",)
        )

    def probes(self) -> tuple[str, ...]:
        return ("/health", "/props", "/v1/models")

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        health = answers.get("/health")
        if health is None:
            return EndpointState(why="no answer")
        if health[0].status != 200:
            why = "it is loading its model" if health[0].status == 503 else "its health check fails"
            return EndpointState(live=True, why=why)
        props = read_answer(_decode_object, answers.get("/props")) or {}
        entry = _first_model(answers.get("/v1/models"))
        settings = props.get("default_generation_settings")
        context = settings.get("n_ctx") if isinstance(settings, dict) else None
        slots = props.get("total_slots")
        caps = props.get("chat_template_caps")
        tools = caps.get("supports_tools") if isinstance(caps, dict) else None
        sleeping = props.get("is_sleeping") is True
        models = models_of(answers.get("/v1/models"))
        return EndpointState(
            live=True,
            ready=True,
            why="sleeping; it wakes with the next request" if sleeping else "ok",
            tools=tools if isinstance(tools, bool) else None,
            sleeping=sleeping,
            version=_text(props.get("build_info")),
            model_digest=_digest(props, entry),
            models=tuple(map(_file_name, models)),
            slots=slots if isinstance(slots, int) and slots > 0 else None,
            context=context if isinstance(context, int) and context > 0 else None,
        )


class _Summed:
    """Amends usages, of which the server tells one a choice, to what came to there."""

    def __init__(self) -> None:
        self._completion_tokens = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, UsageReport):
            self._completion_tokens += event.usage.completion_tokens
            event.usage = msgspec.structs.replace(
                event.usage, completion_tokens=self._completion_tokens
            )


def _file_name(model: str) -> str:
    """A server without `--alias` names its model by the path it was started with. Clients need not
    know where that is, and the server takes any name."""
    return model.rpartition("/")[2] if model.endswith(".gguf") else model


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def _first_model(answer: tuple[WireHead, bytes] | None) -> dict[str, Any]:
    data = (read_answer(_decode_object, answer) or {}).get("data")
    first = data[0] if isinstance(data, list) and data else None
    return first if isinstance(first, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _digest(props: dict[str, Any], entry: dict[str, Any]) -> str | None:
    """What tells one model from another as far as the server tells: its name, size, parameter count,
    vocabulary, quantisation and template. Not a hash of the weights: the server does not offer one."""
    meta = entry.get("meta")
    if not isinstance(meta, dict):
        return None
    told = {
        "id": entry.get("id"),
        "meta": {k: meta[k] for k in sorted(meta) if k != "n_ctx"},
        "template": props.get("chat_template"),
    }
    digest = hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()
    return f"told-sha256:{digest[:32]}"
