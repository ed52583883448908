"""An operation whose answer a backend makes."""

import msgspec

from contracts.errors import ErrorEnvelope
from gateway.intake import SESSION_HEADER
from gateway.openapi.errors import INFERENCE
from gateway.openapi.headers import TOLD
from gateway.openapi.media import json_content
from gateway.openapi.operations import operation_object
from gateway.openapi.parameters import header_parameter
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object


def inference_operation(
    identifier: str,
    summary: str,
    request: type[msgspec.Struct],
    content: Object,
    text: str,
    *,
    session: bool = True,
) -> Object:
    """`text` describes the answer, `content` what is in it. `session`: requests of one may be kept together."""
    operation = operation_object(
        identifier,
        summary,
        {200: response_object(text, content, headers=("x-request-id", *TOLD))},
        INFERENCE,
        tag="inference",
    )
    refusal = response_object(
        "The engine refused, with a status of its own.", json_content(ErrorEnvelope)
    )
    operation["responses"]["default"] = refusal
    operation["requestBody"] = {"required": True, "content": json_content(request)}
    if session:
        text = "Requests of one session go where its beginning is cached; or `prompt_cache_key`."
        operation["parameters"] = [header_parameter(SESSION_HEADER, text)]
    return operation
