"""One row a dialect: its words, its errors, what it lacks, its recordings. A new dialect is a new row here.

`test_conformance.py` runs every scenario over every row.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from adapters.dialect import WireRequest
from contracts.errors import FaultClass
from tests.adapters.conformance.told import (
    Told,
    anthropic_said,
    gemini_said,
    ollama_said,
    openai_said,
    tgi_said,
    triton_said,
)
from tests.adapters.conformance.understood import (
    Understood,
    by_anthropic,
    by_gemini,
    by_ollama,
    by_openai,
    by_tgi,
    by_triton,
)
from tests.fakes import (
    anthropic_words,
    gemini_words,
    mlx_words,
    ollama_words,
    openai_words,
    tgi_words,
    triton_words,
)
from tests.fakes.answers import Answer, Refusal


class Row(msgspec.Struct, frozen=True, kw_only=True):
    engine: str
    says: Callable[[Answer], bytes]
    """A whole stream."""
    says_at_once: Callable[[Answer], bytes]
    """The same as one document, for whoever ignores `stream: true`."""
    breaks: Callable[[Answer], bytes]
    """The stream of an answer that fails after its last content."""
    broken: FaultClass
    """As which class of fault that counts."""
    understands: Callable[[WireRequest], Understood]
    refusals: dict[FaultClass, Refusal]
    """Error answers, by what they mean."""
    models: dict[str, bytes]
    """Bodies of the probes' answers, by path, of a healthy endpoint that serves `a` and `b`."""
    recordings: tuple[str, ...]
    """Patterns under `tests/adapters/data`."""
    said: Callable[[bytes], Told]
    """What a recording says, naively read."""
    broken_recordings: frozenset[str] = frozenset()
    """Names of those that are no whole stream, and must end in a fault."""
    lacks: frozenset[str] = frozenset()
    """Abilities that a scenario may need, and this backend does not have."""
    uncounted: frozenset[str] = frozenset()
    """Members of a usage that this backend does not tell."""
    refuses: frozenset[str] = frozenset()
    """Of `PARAMETERS`, those that it cannot do. All others must reach it."""
    spells: dict[str, Any] = {}
    """Of those that reach it, the values that it knows under other names."""
    names_calls: bool = True
    """Its calls have ids of their own; else the gateway makes them."""
    counts: bool = True
    """It tells a usage; else the gateway counts what came."""
    ends_with_body: bool = False
    """Nothing but the end of the body, as HTTP says it, tells that its answer is whole."""
    stopped_here: bool = False
    """It is not told stop sequences: the gateway ends its answers at them."""
    unrecorded: str = ""
    """Why there are no recordings of it."""
    own_limit: int | None = None
    """The limit of tokens that the dialect sets for a client who named none."""
    content_type: str = "text/event-stream"


ONLY_OPENAIS = frozenset(
    {"logit_bias", "store", "verbosity", "prediction", "prompt_cache_key", "an_unknown_one"}
)
"""Parameters that no other provider has."""
OPENAI = Row(
    engine="openai",
    says=openai_words.stream,
    says_at_once=openai_words.document,
    breaks=lambda answer: openai_words.broken_by(
        answer, {"message": "The server had an error", "type": "server_error", "code": None}
    ),
    broken="stream_broken",
    understands=by_openai,
    refusals={
        "client": openai_words.refusal(
            400,
            {
                "message": "Unknown parameter: 'x'",
                "type": "invalid_request_error",
                "param": "x",
                "code": None,
            },
        ),
        "auth": openai_words.refusal(
            401, {"message": "Incorrect API key", "code": "invalid_api_key"}
        ),
        "not_found": openai_words.refusal(
            404, {"message": "The model does not exist", "code": "model_not_found"}
        ),
        "context_length": openai_words.refusal(
            400, {"message": "too long", "code": "context_length_exceeded"}
        ),
        "content": openai_words.refusal(
            400, {"message": "rejected", "code": "content_policy_violation"}
        ),
        "rate_limit": openai_words.refusal(
            429, {"message": "slow down", "code": "rate_limit_exceeded"}, retry_after="7"
        ),
        "quota": openai_words.refusal(429, {"message": "no money", "code": "insufficient_quota"}),
        "overload": openai_words.refusal(
            503, {"message": "overloaded", "code": "server_is_overloaded"}
        ),
        "upstream_bug": openai_words.refusal(500, {"message": "oops", "type": "server_error"}),
    },
    models={"/v1/models": openai_words.model_list("a", "b")},
    recordings=(
        "recordings/openai_chat/*.sse",
        "recordings/deepseek/*.sse",
        "recordings/groq/*.sse",
    ),
    broken_recordings=frozenset({"stream_test_tool_use_failed_error_streaming_25e988"}),
    said=openai_said,
)
LLAMACPP = Row(
    engine="llamacpp",
    says=lambda answer: openai_words.stream(answer, "llamacpp"),
    says_at_once=lambda answer: openai_words.document(answer, "llamacpp"),
    breaks=lambda answer: openai_words.broken_by(
        answer, {"code": 500, "message": "decode failed", "type": "server_error"}, "llamacpp"
    ),
    broken="upstream_bug",
    understands=by_openai,
    refusals={
        "client": openai_words.refusal(
            500, {"code": 500, "message": "Failed to parse tools", "type": "server_error"}
        ),
        "auth": openai_words.refusal(
            401, {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}
        ),
        "context_length": openai_words.refusal(
            400, {"code": 400, "message": "too long", "type": "exceed_context_size_error"}
        ),
        "unavailable": openai_words.refusal(
            503, {"code": 503, "message": "Loading model", "type": "unavailable_error"}
        ),
        "upstream_bug": openai_words.refusal(
            500, {"code": 500, "message": "oops", "type": "server_error"}
        ),
    },
    models={"/health": b'{"status":"ok"}', "/v1/models": openai_words.model_list("a", "b")},
    recordings=("transcripts/llamacpp_chat*.sse", "transcripts/llamacpp_tools.sse"),
    said=openai_said,
    lacks=frozenset({"refusal"}),
    spells={"response_format": {"type": "json_object", "schema": {"type": "object"}}},
    uncounted=frozenset({"reasoning_tokens"}),
    own_limit=32_768,
)
VLLM = Row(
    engine="vllm",
    says=lambda answer: openai_words.stream(answer, "vllm"),
    says_at_once=lambda answer: openai_words.document(answer, "vllm"),
    breaks=lambda answer: openai_words.broken_by(
        answer,
        {"code": 500, "message": "EngineCore died", "type": "InternalServerError", "param": None},
        "vllm",
    ),
    broken="upstream_bug",
    understands=by_openai,
    refusals={
        "client": openai_words.refusal(
            400, {"message": "bad", "type": "BadRequestError", "param": None, "code": 400}
        ),
        "auth": openai_words.refusal(401, "Unauthorized"),
        "not_found": openai_words.refusal(
            404, {"message": "no such model", "type": "NotFoundError", "code": 404}
        ),
        "context_length": openai_words.refusal(
            400,
            {
                "message": "This model's maximum context length is 1024 tokens",
                "type": "BadRequestError",
                "param": "input_tokens",
                "code": 400,
            },
        ),
        "overload": openai_words.refusal(
            503, {"message": "Service Unavailable", "type": "ServiceUnavailableError", "code": 503}
        ),
        "upstream_bug": openai_words.refusal(
            500, {"message": "oops", "type": "InternalServerError", "code": 500}
        ),
    },
    models={"/health": b"", "/v1/models": openai_words.model_list("a", "b")},
    recordings=("transcripts/vllm_chat_usage.sse",),
    said=openai_said,
    lacks=frozenset({"refusal"}),
)
LLMD = msgspec.structs.replace(VLLM, engine="llmd")
ANTHROPIC = Row(
    engine="anthropic",
    says=anthropic_words.stream,
    says_at_once=anthropic_words.document,
    breaks=lambda answer: anthropic_words.broken_by(answer, "overloaded_error", "Overloaded"),
    broken="overload",
    understands=by_anthropic,
    refusals={
        "client": anthropic_words.refusal(
            "invalid_request_error", "max_tokens: Field required", x_should_retry="false"
        ),
        "auth": anthropic_words.refusal("authentication_error", "invalid x-api-key sk-ant-1234"),
        "not_found": anthropic_words.refusal("not_found_error", "model: claude-nope"),
        "context_length": anthropic_words.refusal(
            "invalid_request_error", "prompt is too long: 208656 tokens > 200000 maximum"
        ),
        "content": anthropic_words.refusal(
            "invalid_request_error", "Output blocked by content filtering policy"
        ),
        "rate_limit": anthropic_words.refusal(
            "rate_limit_error", "would exceed your rate limit", retry_after="7"
        ),
        "quota": anthropic_words.refusal("billing_error", "your credit balance is too low"),
        "overload": anthropic_words.refusal("overloaded_error", "Overloaded"),
        "timeout": anthropic_words.refusal("timeout_error", "took too long"),
        "upstream_bug": anthropic_words.refusal("api_error", "Internal server error"),
    },
    models={"/v1/models?limit=1000": anthropic_words.model_list("a", "b")},
    recordings=("recordings/anthropic/*.sse",),
    broken_recordings=frozenset({"stream_spliced_message_start_2ac79b"}),
    said=anthropic_said,
    own_limit=32_000,
    refuses=ONLY_OPENAIS
    | {
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "top_logprobs",
        "response_format",
    },
)
GEMINI = Row(
    engine="gemini",
    says=gemini_words.stream,
    says_at_once=gemini_words.document,
    breaks=lambda answer: gemini_words.broken_by(
        answer, "UNAVAILABLE", "The model is overloaded. Please try again later."
    ),
    broken="overload",
    understands=by_gemini,
    refusals={
        "client": gemini_words.refusal("INVALID_ARGUMENT", "Invalid value at 'contents'"),
        "auth": gemini_words.wrong_key(),
        "not_found": gemini_words.refusal("NOT_FOUND", "models/nope is not found"),
        "context_length": gemini_words.refusal(
            "INVALID_ARGUMENT",
            "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        ),
        "rate_limit": gemini_words.refusal(
            "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", retry_after="7"
        ),
        "quota": gemini_words.exhausted("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
        "overload": gemini_words.refusal("UNAVAILABLE", "The model is overloaded."),
        "unavailable": gemini_words.refusal("UNAVAILABLE", "The service is unavailable."),
        "timeout": gemini_words.refusal("DEADLINE_EXCEEDED", "The request timed out."),
        "upstream_bug": gemini_words.refusal("INTERNAL", "An internal error has occurred."),
    },
    models={"/v1/models?pageSize=1000": gemini_words.model_list("a", "b")},
    recordings=("recordings/gemini/*.sse",),
    said=gemini_said,
    lacks=frozenset({"one_call"}),
    refuses=ONLY_OPENAIS,
    spells={"response_format": "application/json"},
)
OLLAMA = Row(
    engine="ollama",
    says=ollama_words.stream,
    says_at_once=ollama_words.document,
    breaks=lambda answer: ollama_words.broken_by(
        answer, "an error was encountered while running the model: CUDA error"
    ),
    broken="upstream_bug",
    understands=by_ollama,
    refusals={
        "client": ollama_words.refusal(400, '"gemma:2b" does not support tools'),
        "auth": ollama_words.refusal(401, "unauthorized"),
        "not_found": ollama_words.refusal(404, "model 'nope' not found"),
        "context_length": ollama_words.too_long(8889, 4096),
        "rate_limit": ollama_words.refusal(429, "too many requests", retry_after="7"),
        "overload": ollama_words.refusal(
            503, "server busy, please try again.  maximum pending requests exceeded"
        ),
        "unavailable": ollama_words.refusal(502, "remote model is unavailable"),
        "upstream_bug": ollama_words.refusal(500, "llama runner process has terminated"),
    },
    models={
        "/api/version": b'{"version":"0.21.0"}',
        "/api/tags": ollama_words.model_list("a", "b"),
    },
    recordings=("recordings/ollama/*.ndjson",),
    said=ollama_said,
    lacks=frozenset({"refusal", "tool_choice", "one_call", "image_urls"}),
    uncounted=frozenset({"cached_tokens", "reasoning_tokens"}),
    refuses=ONLY_OPENAIS,
    spells={"response_format": "json"},
    content_type="application/x-ndjson",
)
MLX = Row(
    engine="mlx",
    says=mlx_words.stream,
    says_at_once=mlx_words.document,
    breaks=mlx_words.broken_by,
    broken="stream_broken",
    understands=by_openai,
    refusals={
        "client": mlx_words.refusal(404, "'dict object' has no attribute 'role'"),
        "not_found": mlx_words.refusal(404, mlx_words.NOT_FOUND),
        "auth": Refusal(status=401, body=b""),  # of a proxy in front: it asks for no key itself
        "context_length": mlx_words.refusal(
            400, "This model's maximum context length is 2048 tokens"
        ),
        "unavailable": mlx_words.refusal(503, "[METAL] Command buffer execution failed"),
        "upstream_bug": mlx_words.refusal(500, "oops"),
    },
    models={"/health": b'{"status": "ok"}', "/v1/models": mlx_words.model_list("a", "b")},
    recordings=("transcripts/mlx_*.sse",),
    said=openai_said,
    lacks=frozenset(
        {"refusal", "tool_choice", "one_call", "images", "effort", "json"},
    ),
    uncounted=frozenset({"reasoning_tokens"}),
    stopped_here=True,
    refuses=ONLY_OPENAIS | {"logprobs", "top_logprobs", "response_format"},
)
TGI = Row(
    engine="tgi",
    says=tgi_words.stream,
    says_at_once=tgi_words.document,
    breaks=lambda answer: tgi_words.broken_by(answer, "Model is overloaded"),
    broken="overload",
    understands=by_tgi,
    refusals={
        "client": tgi_words.refusal(
            422, "Input validation error: `temperature` must be strictly positive", "validation"
        ),
        "auth": Refusal(status=401, body=b""),
        "context_length": tgi_words.refusal(
            422,
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
            "Given: 4000 `inputs` tokens and 200 `max_new_tokens`",
            "validation",
        ),
        "overload": tgi_words.refusal(429, "Model is overloaded", "overloaded"),
        "unavailable": tgi_words.refusal(503, "unhealthy", "healthcheck"),
        "upstream_bug": tgi_words.refusal(
            424, "Request failed during generation: Server error: CUDA out of memory", "generation"
        ),
    },
    models={
        "/health": b"",
        "/info": tgi_words.info(),
        "/v1/models": openai_words.model_list("a", "b"),
    },
    recordings=("recordings/tgi/*.sse",),
    said=tgi_said,
    lacks=frozenset({"refusal", "one_call", "parallel_calls", "reasoning", "effort"}),
    uncounted=frozenset({"cached_tokens", "reasoning_tokens"}),
    names_calls=False,
    refuses=ONLY_OPENAIS | {"presence_penalty"},
    spells={"response_format": {"type": "json", "value": {"type": "object"}}},
)
TRITON = Row(
    engine="triton",
    says=triton_words.stream,
    says_at_once=triton_words.document,
    breaks=triton_words.broken_by,
    broken="upstream_bug",
    understands=by_triton,
    refusals={
        "client": triton_words.refusal(
            500, "failed to parse the request JSON buffer: Invalid value. at 14"
        ),
        "auth": triton_words.refusal(401, "This API is restricted"),
        "not_found": triton_words.refusal(404, "Request for unknown model: 'nope' is not found"),
        "context_length": triton_words.model_error(
            "This model's maximum context length is 1024 tokens"
        ),
        "overload": triton_words.refusal(503, "[request id: 42] Exceeds maximum queue size"),
        "unavailable": triton_words.refusal(503, "Server exiting"),
        "upstream_bug": triton_words.model_error("boom before"),
    },
    models={
        "/v2/health/ready": b"",
        "/v2": triton_words.server(),
        "POST /v2/repository/index": triton_words.index("a", "b", c="UNAVAILABLE"),
    },
    recordings=("transcripts/triton/*.sse",),
    broken_recordings=frozenset({"generate_error"}),
    said=triton_said,
    lacks=frozenset({"refusal", "tools", "images", "reasoning", "effort", "json", "length"}),
    uncounted=frozenset({"cached_tokens", "reasoning_tokens"}),
    counts=False,
    ends_with_body=True,
    stopped_here=True,
    own_limit=1024,
    refuses=ONLY_OPENAIS | {"logprobs", "top_logprobs", "response_format"},
)
TRITON_OPENAI = Row(
    engine="triton_openai",
    says=triton_words.openai_stream,
    says_at_once=triton_words.openai_document,
    breaks=triton_words.openai_broken_by,
    broken="stream_broken",
    understands=by_openai,
    refusals={
        "client": triton_words.detail(
            422,
            [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs", "input": 1}],
        ),
        "auth": triton_words.detail(401, "This API is restricted, expecting header"),
        "not_found": triton_words.detail(400, "Unknown model: nope"),
        "context_length": triton_words.detail(
            400, "This model's maximum context length is 1024 tokens"
        ),
        "upstream_bug": triton_words.detail(500, "Unknown tokenizer"),
    },
    models={"/health/ready": b"", "/v1/models": openai_words.model_list("a", "b")},
    recordings=(),
    unrecorded="it runs in images with GPUs only, and nobody has published a stream of it",
    said=openai_said,
    lacks=frozenset(
        {"refusal", "any_tool", "one_call", "images", "reasoning", "effort", "json", "length"}
    ),
    uncounted=frozenset({"cached_tokens", "reasoning_tokens"}),
    refuses=ONLY_OPENAIS | {"response_format"},
)
ROWS = {
    row.engine: row
    for row in (
        OPENAI,
        LLAMACPP,
        VLLM,
        LLMD,
        ANTHROPIC,
        GEMINI,
        OLLAMA,
        MLX,
        TGI,
        TRITON,
        TRITON_OPENAI,
    )
}
