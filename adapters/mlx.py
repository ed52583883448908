"""MLX's `mlx_lm.server`: OpenAI's words as far as they go, on one worker. Sans-IO.

Seen at mlx-lm 0.32: it reads the members it knows and ignores all others; stop sequences cut text out of
the answer while it goes on; streams tell no log-probabilities; what fails while an answer begins is a 404,
whatever it was; what fails later closes the connection. A client that leaves while its prompt is read is not
noticed, and everybody else waits for that prompt: so one request at a time, unless the operator wants otherwise.

What must stay true: no request ends its generating thread or its process, which nothing but a restart
brings back. Values that do are refused here, since another attempt would take the next endpoint with it.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from adapters.chat_request import Members, tool_choice_of, tools_of
from adapters.dialect import AttemptContext, Decoder, EndpointState, WireHead
from adapters.openai import models_of
from adapters.openai_subset import LABELS, OpenAISubsetDialect, checked_messages
from adapters.openai_wire import ErrorPiece
from adapters.stop_sequences import stopping, stops_of
from adapters.unsupported import Cannot
from contracts.errors import FaultClass, UpstreamFault
from contracts.inference import InferRequest

AT_ONCE = 1
DEFAULT_MODEL = "default_model"
"""Its own name for the model it was started with. Any other makes it load one, or fetch it from the hub."""
_SAMPLING = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "repetition_context_size",
        "presence_penalty",
        "frequency_penalty",
        "xtc_probability",
        "xtc_threshold",
        "seed",
        "num_draft_tokens",
        *LABELS,
    }
)
_CHAT = _SAMPLING | {"messages", "tools", "chat_template_kwargs"}
_TOP_K_MAX = 1000
"""Below any vocabulary. A `top_k` of a whole one, or of more, ends the generating thread."""
_XTC_THRESHOLD_MAX = 0.5
"""A higher one ends it too."""
_SEED_MAX = 2**64 - 1
_DEAD = "generation thread died"
_UNKNOWN_MODEL_TEXTS = (
    "snapshot folder",
    "repository not found",
    "repo id",
    "is not a valid model",
)


class MlxDialect(OpenAISubsetDialect):
    engine = "mlx"
    takes = {
        "chat": _CHAT,
        "completion": _SAMPLING | {"prompt"},
    }

    def fit(
        self, members: dict[str, Raw], infer: InferRequest, attempt: AttemptContext, cannot: Cannot
    ) -> None:
        stops_of(members)  # they are carried out here; now is the time to say that they are wrong
        members.pop("stop", None)
        _without_harm(members, cannot)
        if infer.operation != "chat":
            return
        checked_messages(members, cannot, images=False)
        known = Members(members, {})
        choice = tool_choice_of(known, tools_of(known))
        if choice is not None and choice.mode == "none":
            members.pop("tools", None)
        elif choice is not None and (choice.mode != "auto" or choice.allowed is not None):
            cannot.parameter("tool_choice", "its models decide for themselves")
        members.pop("tool_choice", None)

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        # Pieces after a stop are not counted.
        piecewise = msgspec.structs.replace(attempt, joins=False)
        inner = super().decoder(infer, piecewise, head)
        return stopping(inner, infer, attempt, engine_stops=False)

    def fault_of(
        self, found: ErrorPiece, status: int | None, retry_s: float | None = None
    ) -> UpstreamFault:
        fault = super().fault_of(found, status, retry_s)
        if fault.fault == "client":
            fault.status = 400  # its 404 is about the request, and not about a path
        return fault

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        message = (found.message or "").lower()
        if _DEAD in message:
            return "unavailable"
        if status == 404 and message:
            unknown = any(text in message for text in _UNKNOWN_MODEL_TEXTS)
            return "not_found" if unknown else "client"
        return super().classify(found, status)

    def probes(self) -> tuple[str, ...]:
        return ("/health", "/v1/models")

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        health = answers.get("/health")
        if health is None:
            return EndpointState(why="no answer")
        if health[0].status != 200:
            return EndpointState(live=True, why="its generating thread is dead")
        models = models_of(answers.get("/v1/models"))
        # Without a cache of models its list is an empty body; a model given by its path is listed by it.
        names = tuple(DEFAULT_MODEL if name.startswith("/") else name for name in models)
        return EndpointState(
            live=True,
            ready=True,
            why="ok",
            models=names or (DEFAULT_MODEL,),
            advised_slots=AT_ONCE,
        )


def _without_harm(members: dict[str, Raw], cannot: Cannot) -> None:
    """Take out what would end more than this request. `logit_bias` is not taken at all: a token beyond the
    vocabulary is written beyond its memory, and nothing tells how large the vocabulary is."""
    known = Members(members, {})
    top_k = known.read("top_k", int)
    if top_k is not None and top_k > _TOP_K_MAX:
        cannot.parameter("top_k", f"it goes up to {_TOP_K_MAX} there")
        del members["top_k"]
    threshold = known.read("xtc_threshold", float)
    if threshold is not None and threshold > _XTC_THRESHOLD_MAX:
        cannot.parameter("xtc_threshold", f"it goes up to {_XTC_THRESHOLD_MAX} there")
        del members["xtc_threshold"]
    seed = known.read("seed", int)
    if seed is not None and not 0 <= seed <= _SEED_MAX:
        cannot.parameter("seed", f"it goes from 0 to {_SEED_MAX} there")
        del members["seed"]
