"""What a backend answers, in each of the languages that can be asked in."""

import msgspec

from contracts.anthropic_answers import AnthropicError, AnthropicMessage, MessageEvent
from contracts.anthropic_api import MessagesRequest, TokenCountAnswer, TokenCountRequest
from contracts.errors import ErrorEnvelope
from contracts.openai_answers import ChatCompletion, ChatCompletionChunk, Completion, EmbeddingList
from contracts.openai_api import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
)
from contracts.responses_answers import ResponseEvent, ResponseObject
from contracts.responses_api import ResponsesRequest
from gateway.openapi.errors import AUTHENTICATED
from gateway.openapi.headers import header_references
from gateway.openapi.inference_operation import inference_operation
from gateway.openapi.media import event_schema, event_stream, json_content, named_event_schema
from gateway.openapi.operations import operation_object
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object

_DONE: Object = {
    "type": "object",
    "properties": {"data": {"const": "[DONE]"}},
    "required": ["data"],
}
"""The last event of a stream of OpenAI's."""


def inference_paths() -> Object:
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
    }


_ANTHROPIC_ERRORS = (
    "Errors have Anthropic's shape: an `AnthropicError`, whose `error` has the members of every other "
    "error here as well."
)


def _other_languages() -> Object:
    """Inferences that are asked for and answered in other words than those of a chat."""
    message = inference_operation(
        "createMessage",
        "Answer a conversation, as Anthropic's Messages API",
        MessagesRequest,
        {
            **json_content(AnthropicMessage),
            **event_stream(
                *(named_event_schema(kind) for kind in (MessageEvent, AnthropicError)),
            ),
        },
        "The message; with `stream: true`, server-sent events, each named after its type. One that "
        "fails ends with `error` instead of `message_stop`. `ping` keeps the connection open.",
    )
    count = operation_object(
        "countTokens",
        "How long a prompt is, as Anthropic's Messages API",
        {
            200: response_object(
                "The number of tokens.",
                json_content(TokenCountAnswer),
                headers=("x-request-id", "request-id", "x-setpoint-tokens-estimated"),
            )
        },
        (*AUTHENTICATED, 404, 408, 413, 417, 429, 502),
        tag="inference",
    )
    count["requestBody"] = {"required": True, "content": json_content(TokenCountRequest)}
    message["responses"]["200"]["headers"] |= header_references(["request-id"])
    for operation in (message, count):
        operation["description"] = _ANTHROPIC_ERRORS
    response = inference_operation(
        "createResponse",
        "Answer a conversation, as OpenAI's Responses; nothing is stored",
        ResponsesRequest,
        {**json_content(ResponseObject), **event_stream(named_event_schema(ResponseEvent))},
        "The response; with `stream: true`, server-sent events, each named after its type. One that "
        "fails ends with `error` and `response.failed`. Comments (`: ping`) keep the connection open.",
    )
    return {
        "/v1/responses": {"post": response},
        "/v1/messages": {"post": message},
        "/v1/messages/count_tokens": {"post": count},
    }


def _inference(
    identifier: str,
    summary: str,
    request: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    chunk: type[msgspec.Struct] | None,
) -> Object:
    content = json_content(answer)
    text = "The answer."
    if chunk is not None:
        content |= event_stream(event_schema(chunk), event_schema(ErrorEnvelope), _DONE)
        text = (
            "The answer; with `stream: true`, server-sent events. The data of each is a chunk, the "
            "last one's is `[DONE]`. A stream that fails ends with an ErrorEnvelope instead. Comments "
            "(`: ping`) keep the connection open."
        )
    return inference_operation(
        identifier, summary, request, content, text, session=chunk is not None
    )
