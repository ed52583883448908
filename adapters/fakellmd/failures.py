"""The errors that the fake answers with: vLLM's statuses and words in OpenAI's object.

Also the injected ones of llm-d-inference-sim: by a header (`X-Return-Error: 503`), or at a rate.
"""

from http import HTTPStatus

import msgspec

from adapters.fakellmd.draws import mix, uniform
from adapters.fakellmd.settings import FailureType, LlmdSettings

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}


class ApiError(Exception):
    """An error answer. `kind` is the `type` of its object."""

    def __init__(
        self, status: int, message: str, *, kind: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or _TYPES.get(status, "APIError")
        self.param = param

    def encode(self) -> bytes:
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status,
        }
        return msgspec.json.encode({"error": error})


QUEUE_FULL = "Failed to enqueue request, waiting requests queue is full"
ENGINE_LOST = "EngineCore encountered an issue. See stack trace (above) for the root cause."

_INJECTED: dict[FailureType, tuple[int, str]] = {
    "rate_limit": (429, "Rate limit reached. Please try again later."),
    "invalid_api_key": (401, "Incorrect API key provided."),
    "context_length": (
        400,
        "This model's maximum context length is {max_model_len} tokens. However, your messages "
        "resulted in more tokens. Please reduce the length of the messages.",
    ),
    "server_error": (503, "The server is overloaded or not ready yet."),
    "invalid_request": (400, "Invalid request: missing required parameter."),
    "model_not_found": (404, "The model does not exist or you do not have access to it."),
}


def asked_for(header: str) -> ApiError:
    """The error that `X-Return-Error` names; a 400 that says so where the header is not a status."""
    digits = header if header.isascii() and header.isdigit() and len(header) <= 4 else "0"
    if not 400 <= int(digits) <= 599:
        return ApiError(400, f"X-Return-Error must be a status from 400 to 599, got {header!r}")
    status = int(header)
    phrase = next((known.phrase for known in HTTPStatus if known == status), "Error")
    return ApiError(status, f"{phrase} (as X-Return-Error asked)")


def injected(settings: LlmdSettings, ordinal: int) -> ApiError | None:
    """The failure that hits request number `ordinal`, if one does. The same for the same seed."""
    key = mix(settings.seed, 11, ordinal)
    if uniform(key) * 100.0 >= settings.failure_injection_rate:
        return None
    kind = settings.failure_types[mix(key, 12) % len(settings.failure_types)]
    status, message = _INJECTED[kind]
    return ApiError(status, message.format(max_model_len=settings.max_model_len))
