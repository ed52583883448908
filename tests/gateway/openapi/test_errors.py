"""Every error that there is, and in one shape."""

import json
from collections.abc import Iterator

import pytest

from contracts import errors
from gateway.openapi.errors import ERRORS
from tests.support.described import DOCUMENT, operations, validator


def leaves(kind: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from leaves(child)


@pytest.mark.req("OPS-3", "RUN-6")
def test_every_status_of_the_error_tree_is_described_for_chats() -> None:
    chat = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]
    task = DOCUMENT["paths"]["/v1/tasks"]["post"]["responses"]
    for_tasks_only = set(task) - set(chat)
    assert for_tasks_only == {"202", "422"}
    assert {str(kind.status) for kind in leaves(errors.GatewayError)} <= {*chat, *for_tasks_only}


@pytest.mark.req("OPS-3", "RUN-6")
def test_every_described_error_is_the_error_envelope() -> None:
    responses = DOCUMENT["components"]["responses"]
    assert set(responses) == {str(status) for status in ERRORS}
    for response in responses.values():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorEnvelope"}
    for path, method, operation in operations():
        for status, response in operation["responses"].items():
            own = status in ("200", "202", "204", "422", "default") or (
                path in ("/readyz", "/health")
            )
            assert "$ref" in response or own, (path, method, status)
    assert validator("ErrorEnvelope").is_valid(
        json.loads(errors.QueueFull("full", retry_after_s=2).encode("req_1"))
    )
