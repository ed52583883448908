"""The OpenAPI 3.1 description of the HTTP surface, generated from the Structs.

`python -m gateway.openapi` writes it into `contracts/`; a test fails when that file is out of date,
and another when its paths are not the routes of the application. The same Structs and the same
version give the same bytes.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

import contracts
from contracts.control import LoggedDecision
from contracts.errors import ErrorEnvelope
from contracts.openai_answers import ChatCompletion, ChatCompletionChunk, Completion, EmbeddingList
from contracts.openai_api import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    ModelEntry,
    ModelList,
)
from contracts.operator_answers import (
    DecisionList,
    IntentList,
    Liveness,
    Readiness,
    Reloaded,
    ReloadRefused,
)
from gateway.version import VERSION

Object = dict[str, Any]
FILE = "openapi.json"
_REQUESTS = (ChatRequest, CompletionRequest, EmbeddingRequest)
_ANSWERS = (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    DecisionList,
    EmbeddingList,
    ErrorEnvelope,
    IntentList,
    Liveness,
    ModelEntry,
    ModelList,
    Readiness,
    ReloadRefused,
    Reloaded,
)
_OPEN: list[Object] = []
"""No token is asked for."""


def document(version: str = VERSION) -> bytes:
    """The description of the running version, as UTF-8 JSON. Takes a few milliseconds."""
    described = {
        "openapi": "3.1.1",
        "info": {
            "title": "Setpoint",
            "version": version,
            "summary": "OpenAI's API, kept inside the intents that an operator declared.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [
            {"name": "inference", "description": "OpenAI's endpoints."},
            {"name": "operation", "description": "Health, metrics, administration."},
        ],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {str(status): _error(status) for status in _ERRORS},
            "headers": {
                name: {"description": text, "schema": {"type": kind}}
                for name, (kind, text) in _HEADERS.items()
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not needed where the configuration names no token.",
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    return (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()


# -- what exists --------------------------------------------------------------------------

_HEADERS: dict[str, tuple[str, str]] = {
    "x-request-id": (
        "string",
        "The request's own x-request-id (up to 128 visible ASCII characters), else a new one.",
    ),
    "x-setpoint-intent": ("string", "The intent that the request fell under, or `none`."),
    "x-setpoint-decision": ("string", "What was decided, by which rules, in one line."),
    "x-setpoint-model": ("string", "The model that answered, where one was asked."),
    "x-setpoint-attempts": ("integer", "Attempts made at backends."),
    "x-setpoint-queue-ms": ("number", "Milliseconds spent waiting for a place in a pool."),
    "x-setpoint-overhead-ms": (
        "number",
        "Milliseconds of the gateway's own: no queue, no backend.",
    ),
    "openai-processing-ms": ("integer", "Milliseconds from receipt to this answer's head."),
    "Retry-After": ("integer", "Seconds after which a repetition may succeed."),
    "retry-after-ms": ("integer", "The same, more exactly, in milliseconds."),
    "x-should-retry": ("string", "`false`: the gateway has repeated what was worth repeating."),
    "WWW-Authenticate": ("string", "The scheme that is asked for."),
    "Allow": ("string", "The methods that this path has."),
}
_TOLD = (
    "x-setpoint-intent",
    "x-setpoint-decision",
    "x-setpoint-model",
    "x-setpoint-attempts",
    "x-setpoint-queue-ms",
    "x-setpoint-overhead-ms",
    "openai-processing-ms",
)
"""What an inference's answer tells about how it came to be, a refusal's too once it was decided on."""
_DECIDED = (400, 404, 429, 502, 503, 504)
_RETRY = ("Retry-After", "retry-after-ms", "x-should-retry")

_ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
    400: ("The request is wrong; `param` names the field.", ()),
    401: ("A token is needed.", ("WWW-Authenticate",)),
    403: ("The token is not known, or the operator's is needed.", ()),
    404: ("No such model, or no such path; the message names the nearest.", ()),
    405: ("This path has other methods.", ("Allow",)),
    408: ("The body did not arrive in time.", ()),
    413: ("The body is too large.", ()),
    417: ("Only `100-continue` can be expected.", ()),
    429: (
        "Declined for now: a queue is full, a promise cannot be kept, or a policy says no.",
        _RETRY,
    ),
    431: ("The request line or the headers are too large.", ()),
    500: ("A bug in the gateway.", ()),
    502: ("The engine failed.", _RETRY),
    503: ("Not now: no backend is ready, the wait was too long, or it is shutting down.", _RETRY),
    504: ("The engine did not answer in time.", _RETRY),
}
_ANYWHERE = (400, 405, 431, 500, 503)
"""What any path may answer: HTTP that cannot be read, a bug, too many connections."""
_AUTHENTICATED = (401, 403)
_INFERENCE = (*_AUTHENTICATED, 404, 408, 413, 417, 429, 502, 504)


def _paths() -> Object:
    return {
        "/v1/chat/completions": {
            "post": _inference(
                "createChatCompletion",
                "Answer a conversation",
                ChatRequest,
                ChatCompletion,
                ChatCompletionChunk,
            )
        },
        "/v1/completions": {
            "post": _inference(
                "createCompletion", "Continue a text", CompletionRequest, Completion, Completion
            )
        },
        "/v1/embeddings": {
            "post": _inference(
                "createEmbedding", "Embed texts", EmbeddingRequest, EmbeddingList, None
            )
        },
        "/v1/models": {
            "get": _operation(
                "listModels",
                "The models that can be named",
                {200: _answer("The models.", _json(ModelList))},
                _AUTHENTICATED,
                tag="inference",
            )
        },
        "/v1/models/{id}": {
            "parameters": [
                {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": "A model's name; it may contain slashes.",
                    "schema": {"type": "string"},
                }
            ],
            "get": _operation(
                "retrieveModel",
                "One model",
                {200: _answer("The model.", _json(ModelEntry))},
                (*_AUTHENTICATED, 404),
                tag="inference",
            ),
        },
        "/v1/intents": {
            "get": _operation(
                "listIntents",
                "Is each promise kept?",
                {200: _answer("Every intent, measured now.", _json(IntentList))},
                _AUTHENTICATED,
            )
        },
        "/v1/decisions": {
            "parameters": [
                _query("limit", "The most to return, newest last; 100 by default."),
                _query("after", "Only those with a number above this one."),
                _query("intent", "Only those about this intent.", "string"),
            ],
            "get": _operation(
                "listDecisions",
                "What the control loop decided, and whether it worked",
                {
                    200: _answer(
                        "The newest decisions; as server-sent events, each as it comes, with "
                        "`Accept: text/event-stream` (`Last-Event-ID` takes up where it ended).",
                        {
                            **_json(DecisionList),
                            "text/event-stream": {"schema": _reference(LoggedDecision)},
                        },
                    )
                },
                _AUTHENTICATED,
            ),
        },
        "/livez": {
            "get": _operation(
                "livez",
                "Is the process alive?",
                {200: _answer("It is.", _json(Liveness))},
                security=_OPEN,
            )
        },
        "/readyz": {"get": _readiness("readyz")},
        "/health": {"get": _readiness("health")},
        "/metrics": {
            "get": _operation(
                "metrics",
                "Prometheus metrics",
                {200: _answer("The exposition.", {"text/plain": {"schema": {"type": "string"}}})},
                _AUTHENTICATED,
            )
        },
        "/openapi.json": {
            "get": _operation(
                "openapi",
                "This description",
                {
                    200: _answer(
                        "OpenAPI 3.1.", {"application/json": {"schema": {"type": "object"}}}
                    )
                },
                security=_OPEN,
            )
        },
        "/admin/reload": {
            "post": _operation(
                "reload",
                "Read the policies again",
                {
                    200: _answer("They are in force.", _json(Reloaded)),
                    422: _answer(
                        "They are broken; the old ones stay in force.", _json(ReloadRefused)
                    ),
                },
                _AUTHENTICATED,
            )
        },
    }


def _inference(
    identifier: str,
    summary: str,
    request: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    chunk: type[msgspec.Struct] | None,
) -> Object:
    content = _json(answer)
    text = "The answer."
    if chunk is not None:
        content["text/event-stream"] = {"schema": _reference(chunk)}
        text = (
            "The answer; with `stream: true`, server-sent events. The data of each is a chunk, the "
            "last one's is `[DONE]`. A stream that fails ends with an ErrorEnvelope instead. Comments "
            "(`: ping`) keep the connection open."
        )
    operation = _operation(
        identifier,
        summary,
        {200: _answer(text, content, headers=("x-request-id", *_TOLD))},
        _INFERENCE,
        tag="inference",
    )
    refusal = _answer("The engine refused, with a status of its own.", _json(ErrorEnvelope))
    operation["responses"]["default"] = refusal
    operation["requestBody"] = {"required": True, "content": _json(request)}
    return operation


def _query(name: str, text: str, kind: str = "integer") -> Object:
    return {"name": name, "in": "query", "description": text, "schema": {"type": kind}}


def _readiness(identifier: str) -> Object:
    return _operation(
        identifier,
        "Can it serve?",
        {
            200: _answer("It can.", _json(Readiness)),
            503: _answer(
                "It cannot, and why; or too many connections.", _json(Readiness, ErrorEnvelope)
            ),
        },
        security=_OPEN,
    )


# -- how OpenAPI says it ------------------------------------------------------------------


def _operation(
    identifier: str,
    summary: str,
    answers: dict[int, Object],
    errors: Iterable[int] = (),
    *,
    tag: str = "operation",
    security: list[Object] | None = None,
) -> Object:
    """One operation; what any path may answer is added to its own `answers` and `errors`."""
    responses = {
        status: {"$ref": f"#/components/responses/{status}"} for status in (*errors, *_ANYWHERE)
    }
    responses |= answers
    operation: Object = {
        "operationId": identifier,
        "summary": summary,
        "tags": [tag],
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }
    if security is not None:
        operation["security"] = security
    return operation


def _answer(text: str, content: Object, *, headers: Iterable[str] = ("x-request-id",)) -> Object:
    return {"description": text, "headers": _header_references(headers), "content": content}


def _error(status: int) -> Object:
    text, headers = _ERRORS[status]
    return _answer(
        f"{HTTPStatus(status).phrase}. {text}",
        _json(ErrorEnvelope),
        headers=("x-request-id", *headers, *(_TOLD if status in _DECIDED else ())),
    )


def _header_references(names: Iterable[str]) -> Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _json(*kinds: type[msgspec.Struct]) -> Object:
    references = [_reference(kind) for kind in kinds]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"application/json": {"schema": schema}}


def _reference(kind: type[msgspec.Struct]) -> Object:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _schemas() -> Object:
    _, components = msgspec.json.schema_components(
        (*_REQUESTS, *_ANSWERS), ref_template="#/components/schemas/{name}"
    )
    for component in components.values():
        if "description" in component:  # a docstring, with the source's own line breaks
            component["description"] = " ".join(component["description"].split())
    for kind in _REQUESTS:
        # JSON Schema's default already; said aloud, since fields unknown here travel on.
        components[kind.__name__]["additionalProperties"] = True
    return dict(sorted(components.items()))


def main() -> None:
    """Write the description beside the Structs it comes from."""
    (Path(contracts.__file__).parent / FILE).write_bytes(document())


if __name__ == "__main__":
    main()
