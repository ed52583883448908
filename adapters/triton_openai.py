"""Triton's OpenAI frontend: a server of its own in front of Triton, strict about what it is asked. Sans-IO.

It refuses members that it does not know; some that it knows it does not pass on, and those are refused here.
It says "stop" of each answer, so one that is as long as the limit is told by its usage, where it has one.
Source: `python/openai` of Triton's server: its schemas, its validation, its engine.
"""

from collections.abc import Mapping

from msgspec import Raw

from adapters.amending_decoder import AmendingDecoder
from adapters.chat_request import Members, token_limit_of, tool_choice_of, tools_of
from adapters.dialect import AttemptContext, Decoder, EndpointState, WireHead
from adapters.openai import models_of
from adapters.openai_subset import OpenAISubsetDialect, checked_messages
from adapters.openai_wire import ErrorPiece
from adapters.triton_faults import class_of_triton
from adapters.unsupported import Cannot
from contracts.errors import FaultClass
from contracts.events import Event, Finish
from contracts.inference import InferRequest

READY = "/health/ready"
MODELS = "/v1/models"
_SAMPLING = frozenset(
    {
        "max_tokens",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "stop",
        "min_tokens",
        "ignore_eos",
        "user",
    }
)


class TritonOpenAIDialect(OpenAISubsetDialect):
    engine = "triton_openai"
    takes = {
        "chat": _SAMPLING
        | {
            "messages",
            "tools",
            "tool_choice",
            "logprobs",
            "top_logprobs",
        },
        "completion": _SAMPLING | {"prompt", "echo", "logprobs"},
        "embedding": frozenset({"input", "dimensions", "encoding_format", "user"}),
    }

    def fit(
        self, members: dict[str, Raw], infer: InferRequest, attempt: AttemptContext, cannot: Cannot
    ) -> None:
        if infer.operation == "embedding":
            return
        # Of two it would take one, whichever is lower.
        limit = token_limit_of(Members(members, {}), None)
        members.pop("max_completion_tokens", None)
        if limit is not None:
            members["max_tokens"] = Raw(b"%d" % limit)
        if infer.operation != "chat":
            return
        checked_messages(members, cannot, images=False)
        known = Members(members, {})
        tools = tools_of(known)
        choice = tool_choice_of(known, tools)
        if choice is None:
            return
        if choice.allowed is not None or (choice.mode == "required" and len(tools) > 1):
            cannot.parameter("tool_choice", "of several tools it always calls the first")
            del members["tool_choice"]

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        inner = super().decoder(infer, attempt, head)
        if infer.operation == "embedding":
            return inner
        sent = Members({**infer.members, **attempt.overrides}, {})
        limit = token_limit_of(sent, attempt.max_tokens)
        if limit is None:
            return inner

        def amend(event: Event) -> None:
            if isinstance(event, Finish):
                event.limit = limit

        return AmendingDecoder(inner, amend)

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        told = class_of_triton(found, status)
        known = status is None or told in ("context_length", "not_found", "overload")
        return told if known else super().classify(found, status)

    def probes(self) -> tuple[str, ...]:
        return (READY, MODELS)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        ready = answers.get(READY)
        if ready is None:
            return EndpointState(why="no answer")
        if ready[0].status != 200:
            return EndpointState(live=True, why="its models are not ready")
        models = models_of(answers.get(MODELS))
        return EndpointState(live=True, ready=True, why="ok", models=models)
