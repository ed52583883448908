"""Errors in Anthropic's words. Pure.

The status is the one that every other client of the gateway would get; the type follows from it. Beside
Anthropic's two members the error has those that the gateway's errors always have.
"""

import msgspec

from contracts.errors import ContextTooLong, GatewayError
from gateway.inbound.origins import SAME, Origins

_TYPES: dict[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
TOO_LONG = "prompt is too long"
"""How Anthropic says it. Coding agents look for these words, and then shorten their conversation."""
_encode = msgspec.json.Encoder().encode


def error_type(error: GatewayError) -> str:
    """Which of Anthropic's kinds it is."""
    return _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")


def error_body(error: GatewayError, request_id: str, origins: Origins = SAME) -> bytes:
    """The body of an error's answer, and the data of an error event."""
    said = origins.told(error.envelope().error)
    message = said.message
    if said.code == ContextTooLong.code and not message.lower().startswith(TOO_LONG):
        message = f"{TOO_LONG}: {message}"
    told = msgspec.structs.replace(said, type=error_type(error), message=message)
    return _encode({"type": "error", "error": told, "request_id": request_id})
