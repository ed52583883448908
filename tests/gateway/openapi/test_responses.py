"""Answers."""

import pytest

from gateway.openapi.responses import response_object
from tests.support.described import DOCUMENT, operations


@pytest.mark.req("OPS-3")
def test_every_answer_with_a_body_has_the_id_of_its_request() -> None:
    own = [
        response
        for _, _, operation in operations()
        for response in operation["responses"].values()
        if "content" in response
    ]
    for response in [*own, *DOCUMENT["components"]["responses"].values()]:
        assert "x-request-id" in response["headers"]


def test_an_answer_refers_to_its_headers_by_name() -> None:
    made = response_object("Yes.", {}, headers=("Allow",))
    allow = {"$ref": "#/components/headers/Allow"}
    assert made == {"description": "Yes.", "headers": {"Allow": allow}, "content": {}}
