"""Errors in Anthropic's words."""

import json

import pytest

from contracts import errors
from gateway.inbound.messages_errors import error_body, error_type

pytestmark = pytest.mark.req("RUN-6")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidField("x"), "invalid_request_error"),
        (errors.Cancelled("x"), "invalid_request_error"),
        (errors.MissingToken("x"), "authentication_error"),
        (errors.WrongToken("x"), "permission_error"),
        (errors.ModelNotFound("x"), "not_found_error"),
        (errors.BodyTooLarge("x"), "request_too_large"),
        (errors.QueueFull("x"), "rate_limit_error"),
        (errors.Draining("x"), "overloaded_error"),
        (errors.UpstreamFault("x"), "api_error"),
        (errors.UpstreamTimeout("x"), "timeout_error"),
        (errors.GatewayError("x"), "api_error"),
        (errors.UpstreamFault("x", status=529, type="odd"), "overloaded_error"),
    ],
)
def test_the_type_follows_from_the_status(error: errors.GatewayError, kind: str) -> None:
    assert error_type(error) == kind
    told = json.loads(error_body(error, "req_1"))
    assert told["type"] == "error"
    assert told["request_id"] == "req_1"
    assert (told["error"]["type"], told["error"]["message"]) == (kind, "x")
    assert told["error"]["code"] == error.code


def test_a_prompt_that_is_too_long_is_so_in_the_words_that_agents_look_for() -> None:
    error = errors.ContextTooLong(
        "This model's maximum context length is 10 tokens.", param="messages"
    )
    told = json.loads(error_body(error, "r"))["error"]
    assert told["message"] == f"prompt is too long: {error.message}"
    again = errors.ContextTooLong("Prompt is too long: 11 tokens > 10 maximum")
    assert json.loads(error_body(again, "r"))["error"]["message"] == again.message
