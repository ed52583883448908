"""The statuses of refusals and failures: what each means, and where it may be the answer."""

from http import HTTPStatus

from contracts.errors import ErrorEnvelope
from gateway.openapi.headers import TOLD
from gateway.openapi.media import json_content
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object

_DECIDED = (400, 404, 429, 502, 503, 504)
"""Refusals that may come after a decision, and tell of it."""
_RETRY = ("Retry-After", "retry-after-ms", "x-should-retry")

ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
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
"""By status: what it means, and the headers that come with it."""
_PHRASES = {499: "Client Closed Request"}
"""Of statuses that are in use, and in no standard."""
ANYWHERE = (400, 405, 431, 500, 503)
"""What any path may answer: HTTP that cannot be read, a bug, too many connections."""
AUTHENTICATED = (401, 403)
INFERENCE = (*AUTHENTICATED, 404, 408, 413, 417, 429, 499, 502, 504)
"""What a request that a backend is to answer may meet."""


def error_response(status: int) -> Object:
    """What stands for `status` in the description's shared responses."""
    text, headers = ERRORS[status]
    return response_object(
        f"{_PHRASES.get(status) or HTTPStatus(status).phrase}. {text}",
        json_content(ErrorEnvelope),
        headers=("x-request-id", *headers, *(TOLD if status in _DECIDED else ())),
    )
