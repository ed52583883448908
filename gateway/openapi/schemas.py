"""Each Struct that travels, as a named schema."""

import msgspec

from contracts.anthropic_answers import AnthropicError, AnthropicMessage, MessageEvent
from contracts.anthropic_api import MessagesRequest, TokenCountAnswer, TokenCountRequest
from contracts.capability_answers import Capabilities
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
from contracts.tasks import TaskAccepted, TaskCancelled, TaskList, TaskRequest, TaskView
from gateway.openapi.references import Object
from gateway.openapi.task_bodies import task_bodies
from gateway.openapi.task_events import TASK_EVENTS

_REQUESTS = (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    MessagesRequest,
    ResponsesRequest,
    TaskRequest,
    TokenCountRequest,
)
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
    *TASK_EVENTS.values(),
)
_ONLY_WHEN_STREAMED: Object = {
    "if": {
        "required": ["stream_options"],
        "properties": {"stream_options": {"type": "object"}},
    },
    "then": {"required": ["stream"], "properties": {"stream": {"const": True}}},
}
"""What the Structs cannot say: `stream_options` is for streams, and wrong beside `stream: false`."""


def component_schemas() -> Object:
    """By name, in the order of the alphabet."""
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
    components |= task_bodies(components)
    return dict(sorted(components.items()))
