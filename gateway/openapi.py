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
from contracts.anthropic_answers import AnthropicError, AnthropicMessage, MessageEvent
from contracts.anthropic_api import MessagesRequest, TokenCountAnswer, TokenCountRequest
from contracts.capability_answers import Capabilities
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
from contracts.pool_answers import PoolDrain, PoolHealth, PoolList
from contracts.responses_answers import ResponseEvent, ResponseObject
from contracts.responses_api import ResponsesRequest
from contracts.tasks import (
    EndEvent,
    ErrorEvent,
    GapEvent,
    MetricsEvent,
    StartedEvent,
    TaskAccepted,
    TaskCancelled,
    TaskList,
    TaskRequest,
    TaskView,
    TokenEvent,
)
from gateway.intake import SESSION_HEADER
from gateway.version import VERSION
from policies.loop import RECENT_DECISIONS

Object = dict[str, Any]
FILE = "openapi.json"
_REQUESTS = (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    MessagesRequest,
    ResponsesRequest,
    TaskRequest,
    TokenCountRequest,
)
_TASK_EVENTS: dict[str, type[msgspec.Struct]] = {
    "started": StartedEvent,
    "token": TokenEvent,
    "metrics": MetricsEvent,
    "gap": GapEvent,
    "end": EndEvent,
    "error": ErrorEvent,
}
_ANSWERS = (
    AnthropicError,
    AnthropicMessage,
    Capabilities,
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    DecisionList,
    EmbeddingList,
    ErrorEnvelope,
    IntentList,
    Liveness,
    MessageEvent,
    ModelEntry,
    ModelList,
    PoolDrain,
    PoolHealth,
    PoolList,
    Readiness,
    ReloadRefused,
    Reloaded,
    ResponseEvent,
    ResponseObject,
    TaskAccepted,
    TaskCancelled,
    TaskList,
    TaskView,
    TokenCountAnswer,
    *_TASK_EVENTS.values(),
)
_ONLY_WHEN_STREAMED: Object = {
    "if": {
        "required": ["stream_options"],
        "properties": {"stream_options": {"type": "object"}},
    },
    "then": {"required": ["stream"], "properties": {"stream": {"const": True}}},
}
"""What the Structs cannot say: `stream_options` is for streams, and wrong beside `stream: false`."""
_EVENT_ID = "^[0-9]{0,15}$"
"""An empty one is none, as browsers have it."""
_DONE: Object = {
    "type": "object",
    "properties": {"data": {"const": "[DONE]"}},
    "required": ["data"],
}
"""The last event of a stream of OpenAI's."""
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
            {"name": "inference", "description": "OpenAI's endpoints, and Anthropic's messages."},
            {"name": "tasks", "description": "Work that is handed in, watched and fetched."},
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

_BUDGET_HEADERS: dict[str, tuple[str, str]] = {
    f"{name}-{unit}": (
        kind,
        f"{text} in the caller's budget of {words}, on every answer to one that has it.",
    )
    for unit, words, amount, names in (
        ("requests", "requests", "integer", "x-ratelimit"),
        ("tokens", "tokens", "integer", "x-ratelimit"),
        ("usd", "US dollars", "number", "x-setpoint-budget"),
    )
    for name, kind, text in (
        (f"{names}-limit", amount, "What may be used at most"),
        (f"{names}-remaining", amount, "What is left"),
        (f"{names}-reset", "string", "How long until all of it is free again (`6m0s`, `20ms`),"),
    )
} | {
    "x-setpoint-budget-unpriced-requests": (
        "integer",
        "Requests of this caller that a budget of money could not count: their models have no price.",
    )
}
_HEADERS: dict[str, tuple[str, str]] = {
    "x-request-id": (
        "string",
        "The request's own x-request-id (up to 128 visible ASCII characters), else a new one.",
    ),
    "request-id": ("string", "The same, where Anthropic's SDKs look for it."),
    "x-setpoint-tokens-estimated": (
        "string",
        "`false`: the backend's own tokenizer counted; `true`: the number follows from the size.",
    ),
    "x-setpoint-intent": ("string", "The intent that the request fell under, or `none`."),
    "x-setpoint-decision": ("string", "What was decided, by which rules, in one line."),
    "x-setpoint-model": ("string", "The model that answered, where one was asked."),
    "x-setpoint-dropped": (
        "string",
        "Parameters that the backend cannot do and that were left out, with commas; absent without any.",
    ),
    "x-setpoint-attempts": ("integer", "Attempts made at backends."),
    "x-setpoint-cost-usd": (
        "number",
        "What the answer cost, where its model has a price and its backend counted; absent where "
        "not. Of a stream, `usage.cost` tells it.",
    ),
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
    **_BUDGET_HEADERS,
    "Location": ("string", "Where the new task can be looked at."),
}
_TOLD = (
    "x-setpoint-intent",
    "x-setpoint-decision",
    "x-setpoint-model",
    "x-setpoint-dropped",
    "x-setpoint-attempts",
    "x-setpoint-cost-usd",
    "x-setpoint-queue-ms",
    "x-setpoint-overhead-ms",
    "openai-processing-ms",
    *_BUDGET_HEADERS,
)
"""What an inference's answer tells about how it came to be, a refusal's too once it was decided on."""
_DECIDED = (400, 404, 429, 502, 503, 504)
_RETRY = ("Retry-After", "retry-after-ms", "x-should-retry")

_ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
    400: ("The request is wrong; `param` names the field.", ()),
    401: ("A token is needed.", ("WWW-Authenticate",)),
    403: ("The token is not known, or the operator's is needed.", ()),
    404: ("No such model, pool, task or path; the message may name the nearest.", ()),
    405: ("This path has other methods.", ("Allow",)),
    408: ("The body did not arrive in time.", ()),
    413: ("The body is too large.", ()),
    417: ("Only `100-continue` can be expected.", ()),
    422: ("The idempotency key belongs to a task with another body.", ()),
    429: (
        "Declined for now: a queue is full, a promise cannot be kept, a budget is used up, or a policy "
        "says no.",
        _RETRY,
    ),
    431: ("The request line or the headers are too large.", ()),
    499: ("Somebody who may has cancelled it by its id.", ()),
    500: ("A bug in the gateway.", ()),
    502: ("The engine failed.", _RETRY),
    503: ("Not now: no backend is ready, the wait was too long, or it is shutting down.", _RETRY),
    504: ("The engine did not answer in time.", _RETRY),
}
_PHRASES = {499: "Client Closed Request"}
"""Of statuses that are in use, and in no standard."""
_ANYWHERE = (400, 405, 431, 500, 503)
"""What any path may answer: HTTP that cannot be read, a bug, too many connections."""
_AUTHENTICATED = (401, 403)
_INFERENCE = (*_AUTHENTICATED, 404, 408, 413, 417, 429, 499, 502, 504)


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
        **_other_languages(),
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
                _query(
                    "limit",
                    "The most to return, newest last; 100 by default.",
                    minimum=0,
                    maximum=RECENT_DECISIONS,
                ),
                _query(
                    "after", "Only those with a number above this one.", minimum=0, maximum=2**53
                ),
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
                            **_events(_event(LoggedDecision, named="decision")),
                        },
                    )
                },
                _AUTHENTICATED,
            ),
        },
        **_task_paths(),
        **_pool_paths(),
        "/v1/capabilities": {
            "get": _operation(
                "capabilities",
                "What this gateway can do",
                {200: _answer("As it is now.", _json(Capabilities))},
                _AUTHENTICATED,
            )
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


_ANTHROPIC_ERRORS = (
    "Errors have Anthropic's shape: an `AnthropicError`, whose `error` has the members of every other "
    "error here as well."
)


def _other_languages() -> Object:
    """Inferences that are asked for and answered in other words than those of a chat."""
    message = _generated(
        "createMessage",
        "Answer a conversation, as Anthropic's Messages API",
        MessagesRequest,
        {
            **_json(AnthropicMessage),
            **_events(
                *(_named_event(kind) for kind in (MessageEvent, AnthropicError)),
            ),
        },
        "The message; with `stream: true`, server-sent events, each named after its type. One that "
        "fails ends with `error` instead of `message_stop`. `ping` keeps the connection open.",
    )
    count = _operation(
        "countTokens",
        "How long a prompt is, as Anthropic's Messages API",
        {
            200: _answer(
                "The number of tokens.",
                _json(TokenCountAnswer),
                headers=("x-request-id", "request-id", "x-setpoint-tokens-estimated"),
            )
        },
        (*_AUTHENTICATED, 404, 408, 413, 417, 429, 502),
        tag="inference",
    )
    count["requestBody"] = {"required": True, "content": _json(TokenCountRequest)}
    message["responses"]["200"]["headers"] |= _header_references(["request-id"])
    for operation in (message, count):
        operation["description"] = _ANTHROPIC_ERRORS
    response = _generated(
        "createResponse",
        "Answer a conversation, as OpenAI's Responses; nothing is stored",
        ResponsesRequest,
        {**_json(ResponseObject), **_events(_named_event(ResponseEvent))},
        "The response; with `stream: true`, server-sent events, each named after its type. One that "
        "fails ends with `error` and `response.failed`. Comments (`: ping`) keep the connection open.",
    )
    return {
        "/v1/responses": {"post": response},
        "/v1/messages": {"post": message},
        "/v1/messages/count_tokens": {"post": count},
    }


def _task_paths() -> Object:
    task = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "A task's id; of a request that is being answered, its `x-request-id`.",
        "schema": {"type": "string"},
    }
    key = _header("Idempotency-Key", "A submission with the same key is the same task.")
    key["schema"] |= {"pattern": "^[!-~]{1,255}$"}
    after = _header("Last-Event-ID", "The last event that was read; those after it follow.")
    after["schema"] |= {"pattern": _EVENT_ID}
    taken = _answer(
        "It waits or runs.", _json(TaskAccepted), headers=("x-request-id", "Location", *_TOLD)
    )
    taken["links"] = {
        operation: {"operationId": operation, "parameters": {"id": "$response.body#/task_id"}}
        for operation in ("retrieveTask", "streamTask", "cancelTask")
    }
    submit = _operation(
        "createTask",
        "Hand in work",
        {202: taken},
        (*(status for status in _INFERENCE if status != 499), 422),
        tag="tasks",
    )
    submit["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [_named(n) for n in _TASK_BODIES]}}},
    }
    stream = _answer(
        "Server-sent events `started`, `token`, `metrics`, `gap`, and at last `end` or `error`, each "
        "with an `id`. Comments (`: ping`) keep the connection open.",
        _events(*(_event(kind, named=name) for name, kind in _TASK_EVENTS.items())),
    )
    one = (*_AUTHENTICATED, 404)
    return {
        "/v1/tasks": {
            "post": {"parameters": [key], **submit},
            "get": {
                "parameters": [
                    _query("limit", "The newest so many; 100 by default.", minimum=1, maximum=1000),
                    _query("state", "`all`: what has ended too.", "string", enum=["all"]),
                ],
                **_operation(
                    "listTasks",
                    "What waits and runs now, chats and embeddings included",
                    {200: _answer("Oldest first.", _json(TaskList))},
                    _AUTHENTICATED,
                    tag="tasks",
                ),
            },
        },
        "/v1/tasks/{id}": {
            "parameters": [task],
            "get": _operation(
                "retrieveTask",
                "One task, with its result as far as it has come",
                {200: _answer("As it is now.", _json(TaskView))},
                one,
                tag="tasks",
            ),
        },
        "/v1/tasks/{id}/stream": {
            "parameters": [
                task,
                after,
                _query(
                    "last_event_id",
                    "The same, where no header can be set.",
                    "string",
                    pattern=_EVENT_ID,
                ),
                _query("metrics", "1: `metrics` once a second.", enum=[0, 1]),
            ],
            "get": _operation(
                "streamTask",
                "The events of a task",
                {200: stream, 204: {"description": "The last event has been read already."}},
                (*one, 429),
                tag="tasks",
            ),
        },
        "/v1/tasks/{id}/cancel": {
            "parameters": [task],
            "post": _operation(
                "cancelTask",
                "End a task, or a request that is being answered; nothing more of it goes out",
                {200: _answer("The state that it is in for ever.", _json(TaskCancelled))},
                one,
                tag="tasks",
            ),
        },
    }


_TASK_BODIES = ("ChatTask", "CompletionTask")


def _task_bodies(components: dict[str, Any]) -> Object:
    """What may be handed in: OpenAI's requests with the members of a task beside them, the model left
    out where only one is served, and one answer each."""
    own = components["TaskRequest"]["properties"]
    bodies: Object = {}
    pairs = ((ChatRequest, "messages", "prompt"), (CompletionRequest, "prompt", "messages"))
    for name, (kind, member, other) in zip(_TASK_BODIES, pairs, strict=True):
        asked = components[kind.__name__]["properties"]
        properties = {k: v for k, v in asked.items() if k not in ("stream", "stream_options")}
        properties |= {**own, "n": {"enum": [1, None]}, other: {"type": "null"}}
        properties["model"] = {"anyOf": [properties["model"], {"type": "null"}]}
        if member == "prompt":
            # Token ids: the engine looks at each of them, and here only at what the list begins with.
            first: Object = {"type": ["null", "boolean", "number", "object"]}
            tokens: Object = {"type": "array", "prefixItems": [first]}
            single: Object = {"type": "array", "maxItems": 1}
            properties["prompt"] = {"anyOf": [{"type": "string"}, tokens, single]}
        bodies[name] = {
            "type": "object",
            "description": f"A task, by {member}.",
            "properties": properties,
            "required": [member],
            "additionalProperties": True,
        }
    return bodies


def _pool_paths() -> Object:
    pool = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "A pool's id.",
        "schema": {"type": "string"},
    }
    wait = _query(
        "wait",
        "How long the answer may wait until nothing runs any more: `30s`, at most `5m`.",
        "string",
        pattern="^(0|[0-9]{1,5}ms|([0-9]{1,2}|[12][0-9]{2}|300)s|[1-5]m)$",
    )
    one = (*_AUTHENTICATED, 404)
    return {
        "/v1/pools": {
            "get": _operation(
                "listPools",
                "What stands behind the gateway, and how it is",
                {200: _answer("All pools.", _json(PoolList))},
                _AUTHENTICATED,
            )
        },
        "/v1/pools/{id}/health": {
            "parameters": [pool],
            "get": _operation(
                "poolHealth",
                "How one pool is",
                {200: _answer("Its state, and that of each endpoint.", _json(PoolHealth))},
                one,
            ),
        },
        "/v1/pools/{id}/drain": {
            "parameters": [pool, wait],
            "post": _operation(
                "drainPool",
                "Take a pool out of service; what runs goes on",
                {200: _answer("It gets nothing new; what is left.", _json(PoolDrain))},
                one,
            ),
        },
        "/v1/pools/{id}/reload": {
            "parameters": [pool],
            "post": _operation(
                "reloadPool",
                "Take a pool into service as if it were new, and test it",
                {200: _answer("It was probed and tested.", _json(PoolHealth))},
                one,
            ),
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
        content |= _events(_event(chunk), _event(ErrorEnvelope), _DONE)
        text = (
            "The answer; with `stream: true`, server-sent events. The data of each is a chunk, the "
            "last one's is `[DONE]`. A stream that fails ends with an ErrorEnvelope instead. Comments "
            "(`: ping`) keep the connection open."
        )
    return _generated(identifier, summary, request, content, text, session=chunk is not None)


def _generated(
    identifier: str,
    summary: str,
    request: type[msgspec.Struct],
    content: Object,
    text: str,
    *,
    session: bool = True,
) -> Object:
    """An operation whose answer, described by `text`, a backend makes."""
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
    if session:
        text = "Requests of one session go where its beginning is cached; or `prompt_cache_key`."
        operation["parameters"] = [_header(SESSION_HEADER, text)]
    return operation


def _header(name: str, text: str) -> Object:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def _query(name: str, text: str, kind: str = "integer", **bounds: int | str | list[Any]) -> Object:
    """`bounds` are JSON Schema's: without them the description would promise more than is taken."""
    schema = {"type": kind, **bounds}
    return {"name": name, "in": "query", "description": text, "schema": schema}


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
        f"{_PHRASES.get(status) or HTTPStatus(status).phrase}. {text}",
        _json(ErrorEnvelope),
        headers=("x-request-id", *headers, *(_TOLD if status in _DECIDED else ())),
    )


def _header_references(names: Iterable[str]) -> Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _json(*kinds: type[msgspec.Struct]) -> Object:
    references = [_reference(kind) for kind in kinds]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"application/json": {"schema": schema}}


def _events(*kinds: Object) -> Object:
    """A stream of these events. Each is described by its fields, as OpenAPI 3.2 has it and tools for 3.1
    read it too: the `schema` of a stream is that of one event."""
    return {"text/event-stream": {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": [*kinds]}}}


def _event(kind: type[msgspec.Struct], *, named: str | None = None) -> Object:
    """An event whose data is a `kind` as JSON; those with a name have an id as well."""
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": _reference(kind),
    }
    fields: Object = {"data": data}
    if named is not None:
        fields |= {"event": {"const": named}, "id": {"type": "string", "pattern": "^[0-9]+$"}}
    return {"type": "object", "properties": fields, "required": [*fields]}


def _named_event(kind: type[msgspec.Struct]) -> Object:
    """An event whose name is the `type` of its data, and which has no id."""
    event = _event(kind)
    event["properties"]["event"] = {"type": "string"}
    return {**event, "required": ["data", "event"]}


def _reference(kind: type[msgspec.Struct]) -> Object:
    return _named(kind.__name__)


def _named(name: str) -> Object:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> Object:
    _, components = msgspec.json.schema_components(
        (*_REQUESTS, *_ANSWERS), ref_template="#/components/schemas/{name}"
    )
    for component in components.values():
        if "description" in component:  # a docstring, with the source's own line breaks
            component["description"] = " ".join(component["description"].split())
    for streamed in (ChatRequest, CompletionRequest):
        components[streamed.__name__] |= _ONLY_WHEN_STREAMED
    for kind in _REQUESTS:
        # JSON Schema's default already; said aloud, since fields unknown here travel on.
        components[kind.__name__]["additionalProperties"] = True
    components |= _task_bodies(components)
    return dict(sorted(components.items()))


def main() -> None:
    """Write the description beside the Structs it comes from."""
    (Path(contracts.__file__).parent / FILE).write_bytes(document())


if __name__ == "__main__":
    main()
